//! What the caller of a node can want.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Transaction, Witness};

use super::{LinkId, WorkPolicy};
use crate::batch::Sealed;
use crate::batch::flight::FlightLimits;
use crate::ledger::scheme::{FoundBlock, Reach};
use crate::ledger::{Credit, WorkerKey};
use crate::meter::Window;
use crate::meter::tariff::Tariff;
use crate::monitor::Policy;
use crate::stream::bundle::Bundle;
use crate::stream::payer::{Ending, Opening, PayerRecord};
use crate::tx::hold::{HoldSettlement, PaymentHash, Preimage};
use crate::tx::{FeeInput, Settlement};
use crate::units::{FeeRate, Height, HoldId, Lane, Msat, Ppm, Quantity, Sat, Seconds, SessionId};
use crate::wire::OfferHash;

/// What a caller can want.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Asks a payee for its terms.
    AskTerms(LinkId),
    /// Takes a channel whose funding transaction is signed: stores record and backup, then
    /// broadcasts and shows it to the payee.
    Fund {
        /// The payee's connection, if there is one already.
        link: Option<LinkId>,
        /// What was funded.
        opening: Box<Opening>,
        /// The funding transaction.
        funding: Transaction,
        /// Which of its outputs is the channel's.
        vout: u32,
        /// The channel's backup, sealed by the seed's owner, stored in the same commit.
        backup: Vec<u8>,
    },
    /// Takes a channel that was restored from its backup.
    Adopt(Box<PayerRecord>),
    /// Takes up a payer's channel over a connection: asks the payee for its best voucher.
    Attach {
        /// The payee's connection.
        link: LinkId,
        /// The channel.
        outpoint: OutPoint,
    },
    /// Pays more in a channel, outside the meter.
    Pay {
        /// The channel.
        outpoint: OutPoint,
        /// How much more.
        more: Msat,
        /// Out of which session's budget.
        session: SessionId,
        /// Whether it may be the last voucher.
        ending: Ending,
    },
    /// Settles payee's channels in one transaction whose fee comes out of the payee's output.
    Settle {
        /// The channels.
        outpoints: Vec<OutPoint>,
        /// Where the payee's money goes.
        script: ScriptBuf,
        /// The fee rate.
        rate: FeeRate,
    },
    /// Settles as was drafted by [`super::Node::draft_settlement`], with coins that pay fees.
    ///
    /// Refused if a channel was paid more since: draft it again.
    SettleDrafted {
        /// What was drafted.
        settlement: Box<Settlement>,
        /// The witnesses of its coins, in order: of [`Settlement::transaction`] with
        /// [`Settlement::spent`].
        witnesses: Vec<Witness>,
    },
    /// Payee: settles a channel with its holds, alone: as
    /// [`super::Node::draft_hold_settlement`], or [`super::Event::HoldSettlementDue`], says.
    /// [`Self::TendHolds`] claims them.
    SettleHeld {
        /// What was drafted.
        settlement: Box<HoldSettlement>,
        /// The witnesses of its coins, in order.
        witnesses: Vec<Witness>,
    },
    /// Proposes to close a payer's channel.
    Close {
        /// The channel.
        outpoint: OutPoint,
        /// Where the rest goes.
        script: ScriptBuf,
        /// The fee, out of the rest.
        fee: Sat,
    },
    /// Proposes to top up a payer's channel.
    TopUp {
        /// The channel.
        outpoint: OutPoint,
        /// The coins that bring the money.
        inputs: Vec<FeeInput>,
        /// The new value.
        capacity: Sat,
        /// Carries the balance, out of this session's budget; else the payee is paid out.
        carries: Option<SessionId>,
    },
    /// Forgets a channel whose funding has not confirmed, and broadcasts it no more.
    ///
    /// Allowed while nothing is paid on it, or once a conflicting transaction is buried
    /// ([`super::Event::FundingConflicted`]). Its coins are the caller's to spend elsewhere. Until
    /// one of them is, the funding may still confirm: what it locks then is refunded from its
    /// backup, which stays in the store.
    ///
    /// A payee may forget a channel of its own so, as long as its output is in no block and no
    /// payee signature on it has left: what it was paid there is written off, and comes back only
    /// if the payer shows the channel again. Once it has signed a settlement, close or top-up the
    /// channel stays ([`crate::stream::StreamError::WrongPhase`]): forgotten and shown again it
    /// would be credited in full, and then be spent by what was signed.
    Abandon {
        /// The channel.
        outpoint: OutPoint,
    },
    /// Completes a top-up that the payee has signed.
    FinishTopUp {
        /// The old outpoint.
        outpoint: OutPoint,
        /// The witnesses of the coins, in order.
        witnesses: Vec<Witness>,
    },
    /// Takes a payer's coin back after the deadline.
    Refund {
        /// The channel.
        outpoint: OutPoint,
        /// Where to.
        script: ScriptBuf,
        /// The fee rate.
        rate: FeeRate,
    },
    /// Offers a session to a payer.
    OfferSession {
        /// Whom.
        link: LinkId,
        /// The session's id, unique among the buyer's and the seller's sessions: best drawn at
        /// random, so that no third party can guess it.
        session: SessionId,
        /// The tariff.
        tariff: Tariff,
        /// Credit and prepay.
        window: Window,
        /// How far a stamp may be from the buyer's clock.
        skew: Seconds,
        /// How far the meters may differ.
        tolerance: Ppm,
    },
    /// Seller: another price. Ends a session and offers its successor, with the same window.
    ///
    /// The buyer's [`Command::AcceptSession`] may come at once: its node waits for the last payment
    /// of the old session. Both meters count the successor from the old one's last reading on, so
    /// that nothing that is delivered between the two goes unbilled.
    ChangeTariff {
        /// The session that ends.
        session: SessionId,
        /// The session that is offered in its place; unique as in [`Command::OfferSession`].
        next: SessionId,
        /// Its tariff, in the same measure.
        tariff: Tariff,
        /// How far a stamp may be from the buyer's clock.
        skew: Seconds,
        /// How far the meters may differ.
        tolerance: Ppm,
    },
    /// Takes an offered session and pays it from a channel; if that waits for the acknowledgement
    /// of a payment, as soon as it has come.
    AcceptSession {
        /// The session.
        session: SessionId,
        /// What was offered, as it was told: another offer of the session is not taken, though it
        /// came over a newer line.
        offer: OfferHash,
        /// The channel.
        outpoint: OutPoint,
        /// The most that it may cost.
        budget: Msat,
        /// How much the seller's reading may be ahead of the own meter beside the tolerance.
        slack: Quantity,
    },
    /// The own meter's total: the seller's is billed, the buyer's is what claims are held against.
    Meter {
        /// The session.
        session: SessionId,
        /// The total since the session's start.
        total: Quantity,
    },
    /// Payer: opens a lane, which may pay up to `limit`; the payee is told with the next batch.
    OpenLane {
        /// The channel.
        outpoint: OutPoint,
        /// The lane.
        lane: Lane,
        /// What its total may reach.
        limit: Msat,
        /// Out of which session's budget what is lost is signed again: the one of the last batch,
        /// or until there is one this. After a restart the caller opens that budget anew.
        session: SessionId,
    },
    /// Payer: sets what a lane's total may reach, as its session's window moves on.
    LimitLane {
        /// The channel.
        outpoint: OutPoint,
        /// The lane.
        lane: Lane,
        /// What its total may reach.
        limit: Msat,
    },
    /// Payer: closes a lane. One of the same number that is opened later is another.
    CloseLane {
        /// The channel.
        outpoint: OutPoint,
        /// The lane.
        lane: Lane,
    },
    /// Payer: bounds what may be sent and not acknowledged, which is what it has at risk. Without
    /// it: 12 windows and 10,000 sat, after a restart too.
    LimitFlight {
        /// The channel.
        outpoint: OutPoint,
        /// The bounds.
        limits: FlightLimits,
    },
    /// Pays a batch that was built on [`super::Node::front`], or on the one after what is in
    /// flight. Refused, it is gone: ask [`super::Node::flight`] for room first.
    PayBatch {
        /// The channel.
        outpoint: OutPoint,
        /// The batch.
        batch: Box<Sealed>,
        /// Out of which session's budget at the signer.
        session: SessionId,
    },
    /// Payer: holds an amount for a preimage. A channel with holds pays no session and no batch;
    /// [`super::Event::HoldSigned`] tells the hold's id.
    OfferHold {
        /// The channel, whose change is its own script.
        outpoint: OutPoint,
        /// What the preimage has to hash to.
        hash: PaymentHash,
        /// How much.
        amount: Sat,
        /// Until which height.
        expiry: Height,
        /// Out of which session's budget at the signer.
        session: SessionId,
    },
    /// Payer: holds the sum of many payments for one preimage; or, where one of equal hash and
    /// expiry is open, merges them into that.
    OfferBundle {
        /// The channel.
        outpoint: OutPoint,
        /// Hash, expiry and sum.
        bundle: Bundle,
        /// The items, as [`BundleSum::builder`](crate::stream::bundle::BundleSum::builder) sealed
        /// them; of a merged bundle all of them.
        items: Vec<u8>,
        /// Out of which session's budget at the signer.
        session: SessionId,
    },
    /// Payer: raises an open hold to an amount.
    GrowHold {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// To how much.
        amount: Sat,
        /// Out of which session's budget at the signer.
        session: SessionId,
    },
    /// Payer: pays a hold whose preimage came from elsewhere; one that its payee reveals over the
    /// connection is folded without this.
    FoldHold {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// What its hash is of.
        preimage: Preimage,
        /// Out of which session's budget at the signer, where a bundle's total is above its hold.
        session: SessionId,
    },
    /// Payee: delivers, and reveals the preimage of a hold. From then on
    /// [`Payee::settle_by`](crate::stream::Payee::settle_by) is a duty, unless the payer folds:
    /// [`Self::TendHolds`] does it.
    FulfilHold {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
        /// What its hash is of.
        preimage: Preimage,
    },
    /// Payee: does not deliver, and promises not to claim a hold.
    ReleaseHold {
        /// The channel.
        outpoint: OutPoint,
        /// The hold.
        id: HoldId,
    },
    /// How holds are brought home from now on, until it is said again: with every new rate and
    /// coin, and after each start. The node then settles, claims and times out by itself, raises
    /// its fees against each deadline, and says it all again after a reorg (`monitor`).
    TendHolds {
        /// Where claims and timeouts pay to, and how early.
        policy: Box<Policy>,
        /// The rate that confirms within the policy's `lead`.
        rate: FeeRate,
        /// Confirmed coins that may raise a settlement, and those that a pending one spends.
        coins: Vec<FeeInput>,
    },
    /// Pool: credits accepted work of a worker. The next flush pays what is due by
    /// [`Self::TendWork`], in one voucher however often a worker was credited until then; the
    /// credit itself is durable behind it, with a channel or without.
    ///
    /// Only for work that was verified, and once: what is refused is not credited.
    CreditWork {
        /// Whose: the base key of its terms.
        worker: WorkerKey,
        /// How much, and what it is worth: of as many shares as were verified.
        credit: Credit,
    },
    /// Pool: counts accepted work of a worker that blocks pay: durable behind the flush, and worth
    /// what [`Self::FindBlock`] makes of it. The same rule: verified work only, and once.
    LogWork {
        /// Whose: the base key of its terms.
        worker: WorkerKey,
        /// How much: [`Credit::unpriced`].
        credit: Credit,
        /// What a block that is found now is shared over: the scheme's.
        reach: Reach,
    },
    /// Pool: a block was found. Those who worked for it until now are kept with it, and owed its
    /// reward when the chain has it so deep as it says ([`super::Event::BlockShared`]); until then
    /// its coinbase is one of [`super::Node::watched`]. If it is in no block at the depth of 101,
    /// it is lost ([`super::Event::BlockLost`]).
    ///
    /// Told again it does nothing: say it again after a power cut before the flush.
    FindBlock(FoundBlock),
    /// Pool: lets a payer's channel pay a worker's work, what is owed until now and what comes.
    /// Also another one in place of the channel before, once everything on that is acknowledged.
    ///
    /// The channel's payee is the worker, it is open, and from now on it pays nothing else.
    BindWorker {
        /// Whose work.
        worker: WorkerKey,
        /// The channel.
        outpoint: OutPoint,
        /// The name of its budget at the signer: no session of the same payee.
        session: SessionId,
        /// The most that may be paid for its work; bound again it can be raised.
        budget: Msat,
    },
    /// Pool: when work is paid from now on, until it is said again; after each start anew. Without
    /// it every millisatoshi is paid at once.
    TendWork(WorkPolicy),
    /// Ends a session.
    EndSession(SessionId),
    /// Forgets a session that has ended, and writes off what it is still owed.
    ForgetSession(SessionId),
}
