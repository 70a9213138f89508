//! The monitor: what one side of a stream channel does on the chain about its holds.
//!
//! A voucher with holds stays valid when the next one is signed. So a payer that ever signed a hold
//! watches the outpoint until its spend is buried, and a payee that knows a preimage must be on the
//! chain in time. The monitor does both, for one outpoint and one side, with a record of its own:
//! it needs nothing of `stream` but what [`Monitor::follow`] is told after each step, and can go on
//! where the channel's own record is lost, or on another machine.
//!
//! ```text
//!  payee                                          payer
//!  settle ---- lead -----+                        (a settlement is published, also an old one)
//!   |   dearer each block|                         |
//!   v                    v                         v
//!  in a block at s     t - k - margin             in a block at s
//!   |                                              |
//!  claim from s + k --- dearer --- t              time out after t --- dearer --- t + reaction,
//!   |                                              |     or s + k, if that is sooner
//!   '------> the preimage is on the chain ------> revealed, and after a release reported as such
//!
//!  every spend is undone by a reorg, and made again; it is over when all of them are buried
//! ```
//!
//! [`Monitor::decide`] is a pure function of the record and a [`Sight`]: what the chain shows of
//! the outpoints in [`Monitor::watched`], preimages from elsewhere, a fee rate, and coins. It looks
//! at what is, not at what has happened: whatever was missed, undone, evicted or lost in a restart
//! is seen in the next look, and what was sent is read off the mempool. The caller
//!
//! 1. looks up [`Monitor::watched`] after every change of the chain, and calls `decide`;
//! 2. commits the step's record, applies it, and looks again if there is more to look up;
//! 3. signs and sends each [`Act`]: a settlement after `stream::Payee::promise_held`, which is a
//!    promise of the channel's own record; the rest by [`Monitor::sign`] and
//!    [`Monitor::sign_child`];
//! 4. tells the [`News`]: a revealed preimage folds the hold upstream.
//!
//! # Rules
//!
//! * W1. A preimage that was seen is never forgotten.
//! * W2. A payee never claims what it released, and never settles for it.
//! * W3. A settlement is in a block k and the margin before the first expiry of a known preimage,
//!   as far as fees can do it; a hold that is past that is worth none.
//! * W4. Fees rise by a half for each block that is missing to `lead`, and for each that is past
//!   the last good one, up to all that the output holds: what is late goes to the miner before it
//!   goes to who has no right to it. A timeout's last good block is `reaction` after the block that
//!   allows it.
//!   A settlement is raised by a child of the payee's own output; where there is none, by coins.
//!   Neither costs more than what is at stake.
//! * W5. A replacement pays more than what it replaces, in all and by size (BIP125); what is ours
//!   and pays the rate is left alone; nearly is enough while a deadline has yet to press. What it
//!   replaces may spend coins that nobody knows: where time is short it bids the most then.
//! * W6. What is in no block, or not buried, is not over.
//!
//! # Example
//!
//! ```
//! use millstream::keys::Context;
//! use millstream::monitor::{Act, Monitor, Policy, Sight};
//! use millstream::store::{Batch, Durability, Store};
//!
//! /// One look: the record is durable before anything leaves.
//! fn look(
//!     context: &Context,
//!     monitor: &mut Monitor,
//!     store: &mut dyn Store,
//!     sight: &Sight<'_>,
//!     policy: &Policy,
//! ) -> Result<Vec<Act>, Box<dyn core::error::Error>> {
//!     let step = monitor.decide(context, sight, policy)?;
//!     if step.record != *monitor.record() {
//!         let mut batch = Batch::default();
//!         batch.put(step.record.key()?, &step.record.encode()?)?;
//!         store.commit(&batch, Durability::Barrier)?;
//!         monitor.apply(&step.record)?;
//!     }
//!     Ok(step.acts)
//! }
//! ```
//!
//! Rank 4. Imports `signer`, `tx`, `store`, `wire` (its reader), `keys`, `units`. Used by whoever
//! drives a channel with holds; `node::watch` joins it to `stream`.

mod coin;
mod error;
mod pace;
mod record;
mod see;
mod settle;
mod spend;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};

pub use error::MonitorError;
pub use record::{Fate, Side, Standing, Subject, Watch, Watched};

use crate::keys::{Context, Entropy};
use crate::signer::{Request, Signer};
use crate::tx::hold::{HoldSettlement, HoldSpend, Preimage};
use crate::tx::seen::OutputStatus;
use crate::tx::{ChangeScript, Channel, FeeInput, FundingOutput, PayeeSpend, Voucher};
use crate::units::{Blocks, FeeRate, Height, HoldId, Sat, UtcSeconds};

/// The watch over one outpoint, for one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    watch: Watch,
    channel: Channel,
}

/// The world at one decision, as values.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The height of the tip.
    pub tip: Height,
    /// What a look-up of each of [`Monitor::watched`] says; those that nobody knows are left out.
    pub outputs: &'a [(OutPoint, OutputStatus)],
    /// Preimages from elsewhere: the other channel of a hub, the application. Any may be there.
    pub preimages: &'a [Preimage],
    /// The rate that confirms within the policy's `lead`.
    pub rate: FeeRate,
    /// Confirmed coins that may raise a settlement, and those that a pending one spends.
    pub coins: &'a [FeeInput],
}

/// How one side likes to be on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Where claims and timeouts pay to.
    pub till: ScriptBuf,
    /// How many blocks before its last good block a transaction is sent, at the rate of the chain.
    pub lead: Blocks,
    /// Within how many blocks a payer's timeout is to confirm, from the block that allows it: what
    /// the policy of a hub or a swap counts on. It presses towards that, and after it. A payer that
    /// owes nothing upstream may set more, and pay the chain's rate for longer.
    pub reaction: Blocks,
    /// What a replacement pays more at least, for its own size; and the least rate that is relayed.
    pub relay_floor: FeeRate,
    /// No rate is above this one.
    pub rate_max: FeeRate,
}

impl Policy {
    /// A policy that pays to `till` and starts 6 blocks ahead, an hour; as many for a timeout.
    #[must_use]
    pub fn new(till: ScriptBuf) -> Self {
        let six = Blocks::new(6).unwrap_or(Blocks::MIN);
        Self {
            till,
            lead: six,
            reaction: six,
            relay_floor: FeeRate::new(100).unwrap_or(FeeRate::MIN),
            rate_max: FeeRate::MAX,
        }
    }
}

/// What follows from a look: record first, then what is sent, then what is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is due on the chain is lost with it"]
#[non_exhaustive]
pub struct Step {
    /// The next record; to be stored if it differs from the last one.
    pub record: Watch,
    /// What is to be signed and sent. It is due again at the next look if it does not arrive.
    pub acts: Vec<Act>,
    /// What is new since the last record. What a power cut swallows of it stands in the record: the
    /// preimages and the fates of [`Watch::holds`].
    pub news: Vec<News>,
    /// Holds whose spend would cost more than it brings at this rate; they wait.
    pub unworthy: Vec<HoldId>,
    /// The settlement should pay so much more, and no coin of the sight brings it.
    pub missing_fee: Option<Sat>,
}

/// One transaction that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The payee's settlement of the best voucher with its holds; added coins need witnesses. With
    /// a child it is one package, because alone it might not be taken.
    Settle(HoldSettlement, Option<PayeeSpend>),
    /// The child of the settlement that is in the mempool, or its successor: it pays for both.
    Bump(PayeeSpend),
    /// A payee's claim, or a payer's timeout.
    Spend(HoldSpend),
}

/// What the chain showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The channel's output is spent, or the spend has moved to another block or out of it.
    Spent {
        /// By which transaction.
        by: Txid,
        /// In which block.
        at: Option<Height>,
    },
    /// A reorg or a replacement has undone the spend.
    SpendUndone,
    /// A settlement put a hold on the chain, or a spend of its output was undone.
    Published {
        /// Which.
        id: HoldId,
        /// What its output is worth: of an older voucher it may be less than what is held now.
        amount: Sat,
    },
    /// A claim showed the preimage, be it in a block or not: whoever owes the same upstream can be
    /// shown it.
    Revealed {
        /// Which.
        id: HoldId,
        /// The preimage.
        preimage: Preimage,
    },
    /// The payee claimed a hold.
    Claimed {
        /// Which.
        id: HoldId,
        /// In which block.
        at: Option<Height>,
        /// The payee had promised not to: its word is worth nothing, and the proof is on the chain.
        after_release: bool,
    },
    /// The payer timed a hold out.
    TimedOut {
        /// Which.
        id: HoldId,
        /// In which block.
        at: Option<Height>,
        /// The preimage was known: a claim came too late.
        lost: bool,
    },
    /// Everything is buried; the record may be forgotten.
    Over,
}

impl Monitor {
    /// The watch of a record, new or read from the store: three point multiplications.
    ///
    /// # Errors
    /// [`MonitorError::Tx`] if the record's keys do not make a channel.
    pub fn load(context: &Context, watch: Watch) -> Result<Self, MonitorError> {
        let Subject { payer, base, delay, outpoint, capacity, .. } = watch.subject;
        let output = FundingOutput::new(context, payer, base, delay)?;
        // Holds are signed where the change is the channel's own script, and nowhere else.
        let channel = Channel::new(outpoint, capacity, output, ChangeScript::Own)?;
        Ok(Self { watch, channel })
    }

    /// The record after a step of the channel's own machine: its best voucher, and each hold that
    /// some voucher could still put on the chain, in the order of the ids.
    ///
    /// A payer watches what its newest and older vouchers hold (`stream::Payer::holds`) and needs
    /// no voucher; a payee what its best one holds, with the preimages that it knows. Holds that
    /// are not named any more are forgotten, unless their output is on the chain. Commit it with
    /// the channel's own record, before the voucher leaves or counts.
    ///
    /// # Errors
    /// [`MonitorError::TooMany`], [`MonitorError::BrokenRecord`] for ids that do not rise.
    pub fn follow(&self, best: Option<Voucher>, holds: &[Watched]) -> Result<Watch, MonitorError> {
        self.watch.following(best, holds)
    }

    /// Takes the record of a step. The only mutation.
    ///
    /// # Errors
    /// [`MonitorError::BrokenRecord`] for another outpoint's; [`MonitorError::OldStep`] for one
    /// that would forget a preimage, or go on where all is over.
    pub fn apply(&mut self, record: &Watch) -> Result<(), MonitorError> {
        if record.subject != self.watch.subject || !record.holds_together() {
            return Err(MonitorError::BrokenRecord { at: 0 });
        }
        if !record.may_follow(&self.watch) {
            return Err(MonitorError::OldStep { outpoint: self.outpoint() });
        }
        self.watch = record.clone();
        Ok(())
    }

    /// What is stored.
    pub const fn record(&self) -> &Watch {
        &self.watch
    }

    /// The channel, to sign for.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The channel's outpoint.
    pub const fn outpoint(&self) -> OutPoint {
        self.watch.subject.outpoint
    }

    /// Every outpoint that is to be looked up: the channel's, of each hold on the chain, and what
    /// this payee has of a settlement in the mempool.
    #[must_use]
    pub fn watched(&self) -> Vec<OutPoint> {
        let mut watched = alloc::vec![self.outpoint()];
        watched.extend(self.watch.own_coin());
        watched.extend(self.watch.holds.iter().filter_map(|held| self.watch.coin_of(held)));
        watched
    }

    /// What follows from what the chain shows.
    ///
    /// Equal records and sights give equal steps, and a step that was lost comes again. Costs a
    /// point multiplication for each hold once the channel is spent, or its settlement due.
    ///
    /// # Errors
    /// [`MonitorError::OtherOutput`] if the look-up of the channel shows another script or value:
    /// the source is not to be believed. [`MonitorError::Tx`] for what a voucher cannot have.
    pub fn decide(
        &self,
        context: &Context,
        sight: &Sight<'_>,
        policy: &Policy,
    ) -> Result<Step, MonitorError> {
        let seen = see::see(self, context, sight)?;
        let mut step = Step {
            record: seen.watch,
            acts: Vec::new(),
            news: seen.news,
            unworthy: Vec::new(),
            missing_fee: None,
        };
        if step.record.is_over() {
            return Ok(step);
        }
        settle::settle(self, context, sight, policy, &mut step)?;
        spend::spend(&seen.coins, sight, policy, &mut step)?;
        Ok(step)
    }

    /// Signs a claim or a timeout; the signer has the channel registered in this side's role.
    ///
    /// # Errors
    /// [`MonitorError::Signer`], [`MonitorError::Tx`].
    pub fn sign(
        &self,
        spend: HoldSpend,
        signer: &mut dyn Signer,
        now: UtcSeconds,
        aux: &Entropy,
    ) -> Result<Transaction, MonitorError> {
        let request = Request::HoldSpend { channel: &self.channel, spend: &spend };
        let signature = signer.sign(&request, now, aux)?;
        Ok(spend.finish(&signature)?)
    }

    /// Signs the child of a settlement; the signer has the channel registered as the payee's.
    ///
    /// # Errors
    /// [`MonitorError::Signer`], [`MonitorError::Tx`].
    pub fn sign_child(
        &self,
        child: PayeeSpend,
        signer: &mut dyn Signer,
        now: UtcSeconds,
        aux: &Entropy,
    ) -> Result<Transaction, MonitorError> {
        let request = Request::PayeeSpend { channel: &self.channel, spend: &child };
        let signature = signer.sign(&request, now, aux)?;
        Ok(child.finish(&signature)?)
    }
}
