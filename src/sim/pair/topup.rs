//! Top-ups, and settlements of several channels in one transaction.

use bitcoin::OutPoint;

use super::Flaw;
use super::counters::Count;
use super::stage::{BY_HAND, Pair};
use crate::node::{Command, NodeError};
use crate::stream::payee::PayeePhase;
use crate::tx::{FeeInput, payee_script};
use crate::units::{FeeRate, Sat, SessionId};

/// 3 proposals of one top-up: a lost message is made good by the next.
const TRIES_MAX: usize = 3;

/// A top-up on its way.
#[derive(Debug, Clone)]
pub(super) struct TopUp {
    from: OutPoint,
    coin: FeeInput,
    capacity: Sat,
    carries: bool,
    tries: usize,
}

impl Pair {
    /// Proposes a top-up, or again one whose answer was lost; finishes it if the payee has signed.
    pub(super) fn top_up(&mut self) -> Result<(), Flaw> {
        let pending = self.pending_top_up.take().filter(|pending| {
            pending.tries < TRIES_MAX && self.current_on(&self.script_of(pending.from)).is_some()
        });
        let pending = match pending.filter(|pending| self.is_unspent(pending.from)) {
            Some(pending) => pending,
            None => match self.new_top_up()? {
                Some(pending) => pending,
                None => return self.pay(),
            },
        };
        let TopUp { from, capacity, carries, .. } = pending;
        let inputs = vec![pending.coin.clone()];
        let carries = if carries { Some(SessionId::new(BY_HAND)?) } else { None };
        let tries = pending.tries.saturating_add(1);
        self.pending_top_up = Some(TopUp { tries, ..pending });
        self.agreed = None;
        self.command(self.payer, Command::TopUp { outpoint: from, inputs, capacity, carries })?;
        self.finish_top_up()
    }

    fn is_unspent(&self, outpoint: OutPoint) -> bool {
        let status = self.world.chain().with(|chain| chain.output(outpoint));
        status.is_some_and(|status| status.spent.is_none())
    }

    fn new_top_up(&mut self) -> Result<Option<TopUp>, Flaw> {
        let Some(from) = self.current() else { return Ok(None) };
        let Some(payer) = self.payer_of(from) else { return Ok(None) };
        let (old, signed) = (payer.channel().capacity(), payer.signed());
        let (carries, fee) = (self.dice.chance(500), Sat::new(self.dice.within(400, 900))?);
        let more = Sat::new(self.dice.within(10_000, 300_000))?;
        let value = more.saturating_add(fee);
        let (tx, coin) = self.world.coin(value)?;
        // A joint spend has confirmed inputs only.
        let sent = self.world.chain().with(|chain| chain.submit(&tx).is_ok());
        if !sent {
            return Ok(None);
        }
        self.mine(1)?;
        let paid_out = if carries { Sat::ZERO } else { signed.floor_to_sat() };
        let capacity = old.saturating_add(more).saturating_sub(paid_out);
        Ok(Some(TopUp { from, coin, capacity, carries, tries: 0 }))
    }

    /// What the payee has signed the payer completes, but for some that it leaves lying.
    fn finish_top_up(&mut self) -> Result<(), Flaw> {
        let Some((outpoint, spend)) = self.agreed.take() else { return Ok(()) };
        if self.dice.chance(150) {
            self.counters.count(Count::TopUpLeft);
            self.pending_top_up = None;
            return Ok(());
        }
        let witnesses = self.world.sign_coins(spend.transaction(), spend.spent())?;
        if self.command(self.payer, Command::FinishTopUp { outpoint, witnesses })? {
            self.pending_top_up = None;
        }
        Ok(())
    }

    /// Settles every channel that can be in one transaction; one alone if there is no second.
    pub(super) fn settle_batch(&mut self) -> Result<(), Flaw> {
        let rate = FeeRate::new(self.dice.within(1_000, 3_000))?;
        let outpoints = self.batch_of(&self.currents().collect::<Vec<_>>());
        if outpoints.len() > 1 && self.settle_all(outpoints, rate)? {
            return Ok(());
        }
        self.settle_some(1_000)
    }

    /// The channels that one settlement may hold: its inputs are confirmed, or it has one input.
    pub(super) fn batch_of(&self, outpoints: &[OutPoint]) -> Vec<OutPoint> {
        let fits = |outpoint: &&OutPoint| {
            self.payee_of(**outpoint).is_some_and(|payee| {
                let open = matches!(payee.phase(), PayeePhase::Open | PayeePhase::Promised { .. });
                open && payee.deadline().is_some() && payee.best().is_some()
            })
        };
        outpoints.iter().filter(fits).copied().collect()
    }

    pub(super) fn settle_all(
        &mut self,
        outpoints: Vec<OutPoint>,
        rate: FeeRate,
    ) -> Result<bool, Flaw> {
        self.rate_most = self.rate_most.max(rate);
        let first = outpoints.first().and_then(|outpoint| self.payee_of(*outpoint));
        let Some(payee) = first else { return Ok(false) };
        let key = payee.channel().output().payee();
        let Some(end) = self.world.end(self.payee) else { return Ok(false) };
        let script = match self.payout.get(&key) {
            Some(script) => script.clone(),
            None => payee_script(end.node().context(), key).map_err(NodeError::from)?,
        };
        self.payout.insert(key, script.clone());
        self.command(self.payee, Command::Settle { outpoints, script, rate })
    }
}
