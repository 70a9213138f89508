//! Outputs that payers show and that are in no block: how many a payee keeps, and until when.
//!
//! Whoever replaces its own funding can show another one every minute, for next to nothing. So what
//! only mempools bear out takes a small part of the node, and is forgotten once it is gone. Nobody
//! else can be pushed out by it: who finds that part full is refused, and passes when its funding
//! has confirmed.

use alloc::vec::Vec;

use bitcoin::OutPoint;

use super::lineage::Side;
use super::{Node, NodeError, Now, PayeeSlot};
use crate::signer::Signer;
use crate::stream::Payee;
use crate::units::{Blocks, Msat};

/// 10,240, half of the channels: what payers may open and top up. The other half is for what this
/// payee's own settlements of them make.
const OPENINGS_MAX: usize = 10_240;
/// 1,024 channels whose outputs are in no block, beside what settlements and top-ups make.
const UNCONFIRMED_MAX: usize = 1_024;
/// 6 blocks without the output: it was replaced, or mempools have dropped it. If it comes back, its
/// payer shows it again.
const GONE_BLOCKS: u32 = 6;
/// 2,016 blocks, two weeks, where something was paid on it: after that time mempools forget a
/// transaction by themselves.
const GONE_PAID_BLOCKS: u32 = 2_016;

impl PayeeSlot {
    pub(super) const fn new(machine: Payee, parent: Option<OutPoint>) -> Self {
        let (at, proved, leads) = (None, None, None);
        Self { machine, at, proved, parent, leads, gone: None, lanes: None, told: None }
    }

    /// Whether a payee signature on the output has left: whatever becomes of the output now, its
    /// payer can spend it so if it ever comes back (S6).
    pub(super) const fn is_promised(&self) -> bool {
        self.machine.phase().stated().is_some()
    }

    /// Whether only a mempool speaks for it: neither a block nor a payee's own signature made it.
    fn is_unconfirmed(&self) -> bool {
        self.parent.is_none() && self.machine.deadline().is_none()
    }

    /// How long the chain may know nothing of it; none for ever, where more was paid than the terms
    /// put at risk: a reorg has taken a channel out that was buried once. And none for ever where a
    /// promise is out (S6): taken up anew with its record gone, the channel would give credit in
    /// full beside a settlement that states less.
    ///
    /// Neither time nor depth makes that safe. The payer has the settlement from the mempool, and
    /// nobody but the payee's record remembers it: the key that signed it follows from the payer's,
    /// so the same outpoint looks new. The funding can come back as long as its coins are unspent,
    /// and which coins those are the node never learns: it is told of outputs, not of the inputs of
    /// the transactions that make them, and forgets a funding only as a payer. So the place stays
    /// taken, the limit above keeps what that costs small, and the payee decides about it: what it
    /// settles once the funding is deep takes no such place, short of a reorg of that depth.
    fn patience(&self) -> Option<Blocks> {
        let earned = self.machine.earned();
        let blocks = if earned == Msat::ZERO { GONE_BLOCKS } else { GONE_PAID_BLOCKS };
        let credit = self.machine.zero_conf_limit().to_msat();
        Blocks::new(blocks).ok().filter(|_| earned <= credit && !self.is_promised())
    }
}

impl<S: Signer> Node<S> {
    /// Room for one more channel of a payer, in a block or not.
    pub(super) fn make_room(&mut self, now: &Now, confirmed: bool) -> Result<(), NodeError> {
        let unconfirmed = |slot: &&PayeeSlot| slot.is_unconfirmed();
        let waiting = if confirmed { 0 } else { self.payees.values().filter(unconfirmed).count() };
        let full = self.channels() >= OPENINGS_MAX;
        if !full && waiting < UNCONFIRMED_MAX {
            return Ok(());
        }
        // Somebody needs the place at once of what the chain does not know now, unless a promise
        // is out on it: see `patience`.
        let gone = self.payees.iter().filter(|(_, slot)| {
            let nothing = slot.machine.earned() == Msat::ZERO && !slot.is_promised();
            slot.is_unconfirmed() && slot.gone.is_some() && nothing
        });
        let gone: Vec<OutPoint> = gone.map(|(outpoint, _)| *outpoint).collect();
        let none = gone.is_empty();
        for outpoint in gone {
            self.close_channel(now, Side::Payee, outpoint, None)?;
        }
        match (none, full) {
            (false, _) => Ok(()),
            (true, true) => Err(NodeError::TooMany { what: "channels", max: OPENINGS_MAX }),
            (true, false) => {
                let (what, max) = ("channels that are in no block", UNCONFIRMED_MAX);
                Err(NodeError::TooMany { what, max })
            }
        }
    }

    /// After a look at the output: a channel that is in no block is forgotten once the chain has
    /// known nothing of it for long.
    pub(super) fn forget_gone(
        &mut self,
        now: &Now,
        outpoint: OutPoint,
        known: bool,
    ) -> Result<(), NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?;
        // It may have come to its end just now.
        let Some(slot) = self.payees.get_mut(&outpoint) else { return Ok(()) };
        if known || !slot.is_unconfirmed() {
            slot.gone = None;
            return Ok(());
        }
        let since = *slot.gone.get_or_insert(tip.height);
        let over = |blocks| tip.height >= since.saturating_after(blocks);
        if slot.patience().is_some_and(over) {
            self.close_channel(now, Side::Payee, outpoint, None)?;
        }
        Ok(())
    }
}
