//! What leaves the node: first to the store, then to the chain, to peers, and to the caller.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction, Txid};

use super::{LinkId, NodeError, ReceivedBatch};
use crate::Arc;
use crate::ledger::WorkerKey;
use crate::meter::tariff::TariffHash;
use crate::meter::{MeterError, Statement, Window};
use crate::store::{Batch, Durability, Key, Store, StoreError};
use crate::stream::bundle::BundleSum;
use crate::stream::{SpendKind, Terms};
use crate::tx::JointSpend;
use crate::tx::hold::{Hold, HoldSettlement, Preimage};
use crate::units::{ChannelAlias, Height, HoldId, Msat, Ppm, Sat, Seconds, SessionId, UtcSeconds};
use crate::wire::{Message, OfferHash, Refusal};

/// 4,096 records: the most that one input writes, a settlement of 92 channels with all sessions.
const INPUT_ENTRIES: usize = 4_096;
/// 8 MiB: as many sessions with the largest tariffs, and the channels.
const INPUT_BYTES: usize = 8_388_608;

/// Everything that one drain produced, locked until its records are durable.
///
/// P4: the only way to the messages, transactions and events is [`Effects::commit`], so nothing can
/// leave before what it depends on is stored. One barrier a drain, however many payments.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    batch: Batch,
    barrier: bool,
    out: Outbox,
}

/// What may leave now, in the order of the fields: broadcast, send, look up, tell.
///
/// The commit came first (P4). The chain comes before the peers, because a payee that is shown a
/// channel looks for its funding at once.
#[derive(Debug, Default)]
#[must_use]
#[non_exhaustive]
pub struct Outbox {
    /// Packages for the chain, parents first; repeating a broadcast is harmless.
    pub broadcasts: Vec<Vec<Transaction>>,
    /// Messages for connected peers, in order.
    pub sends: Vec<(LinkId, Message)>,
    /// Outpoints whose status the node wants to be told by [`super::Input::Output`].
    pub look_ups: Vec<OutPoint>,
    /// News for the caller.
    pub events: Vec<Event>,
    /// Batches that were taken from payers, with their items.
    pub batches: Vec<ReceivedBatch>,
    /// Bundles that payers hold for, with their items.
    pub bundles: Vec<ReceivedBundle>,
}

/// The items of a bundle that a payee holds durably; they are paid with its preimage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedBundle {
    /// The channel.
    pub outpoint: OutPoint,
    /// The hold that it stands behind.
    pub id: HoldId,
    /// Root, number and sum, counted again.
    pub sum: BundleSum,
    /// The items, as `batch` reads them.
    pub items: Arc<[u8]>,
}

/// What the node tells its caller. Everything stated is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A payee's terms.
    TermsReceived {
        /// From whom.
        link: LinkId,
        /// The terms, checked.
        terms: Terms,
    },
    /// The payee has taken a channel (told on both sides).
    Opened {
        /// The channel.
        outpoint: OutPoint,
        /// Its value.
        capacity: Sat,
    },
    /// A payer has shown a channel in which it says to have paid already: this payee has lost its
    /// store, or was never told. What the payer sends again counts; nothing else can.
    RecoveredOnPayersWord {
        /// The channel.
        outpoint: OutPoint,
        /// What the payer says to have paid.
        claimed: Msat,
    },
    /// A payer's channel may be paid on: opened, or taken up again.
    Ready {
        /// The channel.
        outpoint: OutPoint,
        /// What is signed.
        signed: Msat,
        /// What the payee lost and is owed again.
        behind: Msat,
    },
    /// The payee holds a newer voucher.
    Received {
        /// The channel.
        outpoint: OutPoint,
        /// How much more counts as paid.
        gained: Msat,
        /// The cumulative amount.
        paid: Msat,
    },
    /// The payee has acknowledged a payment.
    Acknowledged {
        /// The channel.
        outpoint: OutPoint,
        /// The cumulative amount that the payee holds durably.
        paid: Msat,
    },
    /// A window that waited for its budget was refused by it, and is not sent.
    BatchUnpaid {
        /// The channel.
        outpoint: OutPoint,
        /// What it would have been paid up to.
        paid: Msat,
    },
    /// Payer: a hold is signed, anew or for more; with its record durable its voucher leaves.
    HoldSigned {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// What the channel can cost now at most.
        exposure: Msat,
    },
    /// Payer: a hold that waited for its budget was refused by it, and is not offered.
    HoldUnsigned {
        /// The channel.
        outpoint: OutPoint,
        /// Whose budget.
        session: SessionId,
    },
    /// Payer: the payee holds the newest state durably.
    HoldsAcknowledged {
        /// The channel.
        outpoint: OutPoint,
        /// What the channel can cost now at most.
        exposure: Msat,
    },
    /// Payer: the payee has revealed a preimage, the proof of payment; the hold is folded. Not so
    /// where the budget refuses what a bundle's total is above its hold, less than a satoshi (after
    /// a restart no session is known): [`super::Command::FoldHold`] then.
    HoldRevealed {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// What its hash is of.
        preimage: Preimage,
    },
    /// Payer: the payee has promised not to claim a hold, and it is dropped. Old vouchers stay
    /// valid, so it stays at risk.
    HoldReleased {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// Until which height the payee could break its promise.
        at_risk_until: Height,
    },
    /// Payee: a payer holds an amount, or more than before, for a preimage. The caller decides:
    /// [`super::Command::FulfilHold`] or [`super::Command::ReleaseHold`]. After a restart it is not
    /// told again: what nobody has decided on stands open in
    /// [`Payee::holds`](crate::stream::Payee::holds).
    HoldOffered {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        hold: Hold,
        /// Its items, if it is a bundle: they stand in [`Outbox::bundles`].
        bundle: Option<BundleSum>,
    },
    /// Payee: the payer has paid a hold.
    HoldFolded {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
    },
    /// Payee: the payer has left out a hold that was released or is past.
    HoldDropped {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
    },
    /// A settlement put a hold on the chain, or a spend of its output was undone there.
    HoldPublished {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// What its output is worth: of an older voucher it may be less than what is held now.
        amount: Sat,
    },
    /// A claim on the chain has shown a preimage, be it in a block or not: the proof of payment.
    /// Whoever owes the same upstream can be shown it.
    HoldShown {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// What its hash is of.
        preimage: Preimage,
    },
    /// The payee claimed a hold on the chain.
    HoldClaimed {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// At which height, if it has confirmed.
        at: Option<Height>,
        /// It had promised not to: its word is worth nothing, and the proof is on the chain.
        after_release: bool,
    },
    /// The payer took a hold back on the chain.
    HoldTimedOut {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// At which height, if it has confirmed.
        at: Option<Height>,
        /// Its preimage was known: a claim came too late.
        lost: bool,
    },
    /// Payee: a settlement with holds is due, with coins that raise its fee. Whoever has their keys
    /// signs it, then [`super::Command::SettleHeld`].
    HoldSettlementDue {
        /// The channel.
        outpoint: OutPoint,
        /// The transaction.
        settlement: Box<HoldSettlement>,
    },
    /// Payee: a settlement with holds should pay so much more, and no coin of
    /// [`super::Command::TendHolds`] brings it.
    HoldFeeMissing {
        /// The channel.
        outpoint: OutPoint,
        /// How much.
        missing: Sat,
    },
    /// A claim, a timeout or a settlement of holds is due, and nothing is sent before
    /// [`super::Command::TendHolds`]. Told at every block.
    HoldsUntended {
        /// The channel.
        outpoint: OutPoint,
    },
    /// Every hold of a channel has come to its end on the chain, and that is buried.
    HoldsOver {
        /// The channel.
        outpoint: OutPoint,
    },
    /// The peer refused something.
    Refused {
        /// From whom.
        link: LinkId,
        /// Its name for the channel.
        alias: ChannelAlias,
        /// Why.
        code: Refusal,
    },
    /// The seller offers a session.
    SessionOffered {
        /// From whom.
        link: LinkId,
        /// The session.
        session: SessionId,
        /// All of the following: what the buyer names when it takes the session.
        offer: OfferHash,
        /// Its tariff.
        tariff: TariffHash,
        /// What the buyer would risk: `prepay` of its own money, beside the budget.
        window: Window,
        /// How far a stamp may be from the buyer's clock.
        skew: Seconds,
        /// How far the seller's meter may be above the buyer's.
        tolerance: Ppm,
    },
    /// Service may be delivered (seller), or is expected (buyer).
    ServiceOn {
        /// The session.
        session: SessionId,
    },
    /// Service stops until the debt is paid.
    ServiceOff {
        /// The session.
        session: SessionId,
        /// What is owed and not paid.
        debt: Msat,
    },
    /// The session is over; the seller's statement follows when it is checked.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// What it came to.
        owed: Msat,
    },
    /// The seller's signed statement agrees with what this side counted.
    StatementAgreed {
        /// What both sides count.
        statement: Statement,
    },
    /// The seller has signed something else than this side counted (M8 of `meter`): its statement
    /// proves it. Nothing of the session changes.
    StatementDisputed {
        /// What the seller signed.
        statement: Statement,
        /// What does not fit.
        why: MeterError,
    },
    /// A transaction that spends a coin of this channel's funding is buried: the funding can never
    /// confirm, and [`super::Command::Abandon`] forgets the channel.
    FundingConflicted {
        /// The channel.
        outpoint: OutPoint,
        /// The other transaction.
        by: Txid,
    },
    /// The output confirmed; the payer's refund is possible from the deadline on.
    Confirmed {
        /// The channel.
        outpoint: OutPoint,
        /// The deadline.
        deadline: Height,
    },
    /// A reorg took the output out of its block.
    Unconfirmed {
        /// The channel.
        outpoint: OutPoint,
    },
    /// The output is spent, in the mempool or in a block.
    Spent {
        /// The channel.
        outpoint: OutPoint,
        /// By which transaction.
        by: Txid,
        /// How.
        kind: SpendKind,
        /// At which height, if it has confirmed.
        at: Option<Height>,
    },
    /// The payee has settled more than this payer knows to have signed: it lost its memory, or its
    /// key is in other hands.
    SettledAboveSigned {
        /// The channel.
        outpoint: OutPoint,
        /// What the settlement states.
        paid: Msat,
        /// What this payer knew of.
        signed: Msat,
    },
    /// A reorg has undone the spend.
    SpendUndone {
        /// The channel.
        outpoint: OutPoint,
    },
    /// The channel goes on at another outpoint.
    RolledOver {
        /// The old outpoint.
        from: OutPoint,
        /// The new one.
        to: OutPoint,
        /// Its value.
        capacity: Sat,
    },
    /// The record is forgotten: the spend is buried, or the chain has not known the output of a
    /// payee's channel, which was in no block, for so long that it will never come.
    Closed {
        /// The channel.
        outpoint: OutPoint,
    },
    /// The payee has signed the top-up: the coins' owner signs now, then
    /// [`super::Command::FinishTopUp`].
    TopUpAgreed {
        /// The old outpoint.
        outpoint: OutPoint,
        /// The transaction.
        spend: Box<JointSpend>,
    },
    /// Pool: a voucher for a worker's work is signed; it leaves with this, and both records are
    /// durable.
    WorkPaid {
        /// Whose work.
        worker: WorkerKey,
        /// The channel.
        outpoint: OutPoint,
        /// How much more.
        paid: Msat,
        /// What the worker was paid in all, over all its channels.
        total: Msat,
    },
    /// Pool: a worker cannot be paid, wholly or in part. What is due stays owed; it is told once
    /// until something is paid again. With [`NodeError::NoRoom`] the channel wants a top-up or a
    /// settlement, or another one is to be bound.
    WorkUnpaid {
        /// Whose work.
        worker: WorkerKey,
        /// What is due.
        due: Msat,
        /// Why it is not paid.
        why: NodeError,
    },
    /// Pool: a block is shared out; what it brought is owed, and paid as other work is.
    BlockShared {
        /// Its hash.
        id: [u8; 32],
        /// Subsidy and fees.
        reward: Msat,
        /// What the pool keeps of it; all the rest is owed.
        fee: Msat,
        /// Among how many.
        workers: u32,
    },
    /// Pool: the chain has dropped a block, for good: nobody is owed anything for it.
    BlockLost {
        /// Its hash.
        id: [u8; 32],
    },
    /// A message of the peer does not make sense here; the state is as it was.
    Misbehaved {
        /// From whom.
        link: LinkId,
        /// Which message.
        message: &'static str,
    },
}

/// Why the node wants to be woken, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wake {
    /// At this time.
    pub at: UtcSeconds,
    /// What will be done then.
    pub why: WakeReason,
}

/// What a wake-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WakeReason {
    /// A payment was not acknowledged; it is sent again.
    Resend,
    /// What a session or a channel asked of the peer was not answered; it is asked again.
    Repeat,
    /// Work has been owed for so long that it is paid, be it little.
    PayWork,
}

impl Effects {
    /// Makes the records durable and opens the rest. Without records it does not touch the store.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may leave; drop the node, and load it again from the store.
    pub fn commit(self, store: &mut dyn Store) -> Result<Outbox, StoreError> {
        if self.barrier {
            store.commit(&self.batch, Durability::Barrier)?;
        } else if !self.batch.is_empty() {
            store.commit(&self.batch, Durability::Lazy)?;
        }
        Ok(self.out)
    }

    /// Whether there is nothing to commit and nothing to let out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
            && self.out.sends.is_empty()
            && self.out.broadcasts.is_empty()
            && self.out.look_ups.is_empty()
            && self.out.events.is_empty()
            && self.out.batches.is_empty()
            && self.out.bundles.is_empty()
    }

    /// Refuses an input that might not fit the drain's one commit any more.
    pub(super) fn check_room(&self) -> Result<(), NodeError> {
        let entries = self.batch.len().saturating_add(INPUT_ENTRIES);
        let bytes = self.batch.bytes().saturating_add(INPUT_BYTES);
        if entries > Batch::ENTRIES_MAX || bytes > Batch::BYTES_MAX {
            return Err(NodeError::TooMany {
                what: "writes of one drain",
                max: Batch::ENTRIES_MAX,
            });
        }
        Ok(())
    }

    /// Refuses a step of more records than one input usually writes.
    pub(super) fn check_room_for(&self, entries: usize) -> Result<(), NodeError> {
        if self.batch.len().saturating_add(entries) > Batch::ENTRIES_MAX {
            return Err(NodeError::TooMany {
                what: "writes of one drain",
                max: Batch::ENTRIES_MAX,
            });
        }
        Ok(())
    }

    /// A record that must be durable before anything of this drain leaves.
    pub(super) fn put(&mut self, key: Key, bytes: &[u8]) -> Result<(), StoreError> {
        self.batch.put(key, bytes)?;
        self.barrier = true;
        Ok(())
    }

    /// A record that may ride on a later barrier.
    pub(super) fn put_lazily(&mut self, key: Key, bytes: &[u8]) -> Result<(), StoreError> {
        self.batch.put(key, bytes)
    }

    pub(super) fn delete(&mut self, key: Key) -> Result<(), StoreError> {
        self.batch.delete(key)?;
        self.barrier = true;
        Ok(())
    }

    pub(super) const fn batch_for_barrier(&mut self) -> &mut Batch {
        self.barrier = true;
        &mut self.batch
    }

    pub(super) fn send(&mut self, link: LinkId, message: impl Into<Message>) {
        self.out.sends.push((link, message.into()));
    }

    pub(super) fn broadcast(&mut self, package: Vec<Transaction>) {
        self.out.broadcasts.push(package);
    }

    pub(super) fn look_up(&mut self, outpoint: OutPoint) {
        if !self.out.look_ups.contains(&outpoint) {
            self.out.look_ups.push(outpoint);
        }
    }

    pub(super) fn hand_over(&mut self, batch: ReceivedBatch) {
        self.out.batches.push(batch);
    }

    pub(super) fn hand_over_bundle(&mut self, bundle: ReceivedBundle) {
        self.out.bundles.push(bundle);
    }

    pub(super) const fn holds_window(&self) -> bool {
        !self.out.batches.is_empty()
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.out.events.push(event);
    }
}

impl Outbox {
    /// Adds what a later drain produced behind what this one did.
    pub(super) fn append(&mut self, mut later: Self) {
        self.broadcasts.append(&mut later.broadcasts);
        self.sends.append(&mut later.sends);
        self.look_ups.append(&mut later.look_ups);
        self.events.append(&mut later.events);
        self.batches.append(&mut later.batches);
        self.bundles.append(&mut later.bundles);
    }
}
