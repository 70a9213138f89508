//! What a payer bills when its batches are lost: the difference of two tables of lanes.

use alloc::vec::Vec;

use crate::batch::Sealed;
use crate::batch::flight::Front;
use crate::batch::item::{Charge, Item, LeafSize};
use crate::batch::lanes::{LaneState, Lanes, LanesError};
use crate::batch::{BatchError, Channel};
use crate::node::NodeError;
use crate::stream::Payer;
use crate::units::{ItemId, Lane, Msat};
use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

/// One batch for everything that the payee lacks.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) sealed: Sealed,
    /// The lanes as they are stated with it.
    pub(super) before: Lanes,
    /// The payer's lanes after it.
    pub(super) after: Lanes,
}

/// The channel as the payee holds it: at `paid`, with room up to what is signed.
struct Behind<'a> {
    machine: &'a Payer,
    paid: Msat,
}

impl Channel for Behind<'_> {
    fn outpoint(&self) -> OutPoint {
        self.machine.outpoint()
    }

    fn payee(&self) -> XOnlyPublicKey {
        Channel::payee(self.machine)
    }

    fn paid(&self) -> Msat {
        self.paid
    }

    fn room(&self) -> Msat {
        self.machine.signed().saturating_sub(self.paid)
    }
}

/// The bill of `machine`, whose lanes are `ours`, to a payee that holds `theirs` at `paid`.
///
/// One item a lane, above every id that was used in it. What was paid in lanes that are closed by
/// now, or by plain vouchers, and lost, is billed in a lane of its own, which is closed after it.
///
/// # Errors
/// [`LanesError`] if there are too many lanes.
pub(super) fn bill(
    machine: &Payer,
    ours: &Lanes,
    theirs: &Lanes,
    paid: Msat,
) -> Result<Bill, NodeError> {
    let before = brought_to(ours, theirs)?;
    let owed = machine.signed().checked_sub(paid).ok_or(LanesError::SumDiffers)?;
    let (missing, rest) = missing(ours, &before, owed);
    let mut before = before;
    let beside = if rest > Msat::ZERO { Some(open_beside(&mut before, rest)?) } else { None };
    let front = Front::new(&Behind { machine, paid }, before.clone());
    let mut builder = front.build(LeafSize::ONE)?;
    for (lane, amount) in missing.into_iter().chain(beside.map(|lane| (lane, rest))) {
        let last = |lanes: &Lanes| lanes.state(lane).and_then(|state| state.last);
        let last = last(ours).max(last(&before)).map_or(0, ItemId::to_u64);
        let id = last.checked_add(1).and_then(|id| ItemId::new(id).ok());
        let id = id.ok_or(BatchError::Range { what: "item id" })?;
        let item = Item { lane, id, charge: Charge::Amount(amount), hash: None };
        builder.push(&item).map_err(|error| BatchError::Item { at: 0, error })?;
    }
    let sealed = builder.seal()?;
    let mut after = sealed.credited.lanes.clone();
    if let Some(lane) = beside {
        let _total = after.close(lane)?;
    }
    Ok(Bill { sealed, before, after })
}

/// What is `owed` in each lane, and what of it is in none: of lanes that are closed, of plain
/// vouchers, or all of it where the two tables cannot both be right.
fn missing(ours: &Lanes, theirs: &Lanes, owed: Msat) -> (Vec<(Lane, Msat)>, Msat) {
    let lanes = ours.missing_at(theirs).ok().and_then(|lanes| {
        let mut amounts = lanes.iter().map(|(_, amount)| *amount);
        let rest = amounts.try_fold(owed, Msat::checked_sub)?;
        Some((lanes, rest))
    });
    lanes.unwrap_or((Vec::new(), owed))
}

/// The payee's lanes with those of `ours` open, and no others.
pub(super) fn brought_to(ours: &Lanes, theirs: &Lanes) -> Result<Lanes, LanesError> {
    let mut next = theirs.clone();
    for (lane, held) in theirs.iter() {
        // One that paid less since, with higher ids, was closed and opened again.
        let again = |state: LaneState| state.total < held.total && state.last > held.last;
        if ours.state(lane).is_none_or(again) {
            let _total = next.close(lane)?;
        }
    }
    for (lane, state) in ours.iter() {
        match next.state(lane) {
            Some(held) => next.set_limit(lane, state.limit.max(held.total))?,
            None => next.open(lane, state.limit)?,
        }
    }
    Ok(next)
}

/// Opens the first lane that is free.
fn open_beside(lanes: &mut Lanes, limit: Msat) -> Result<Lane, LanesError> {
    let free = (0..=u16::MAX).filter_map(|lane| Lane::new(lane).ok());
    let lane = free.into_iter().find(|lane| lanes.state(*lane).is_none()).unwrap_or(Lane::MAX);
    lanes.open(lane, limit)?;
    Ok(lane)
}
