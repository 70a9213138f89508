//! The node: many peers, channels and sessions behind one input and one drain.
//!
//! ```text
//!   handle(now, Input) ... handle(now, Input)      any number of times; decides and applies
//!   flush(now, store)  = drain, commit (one barrier), reserve budgets -> Outbox
//!   Outbox: broadcasts, sends, look_ups, events    leave only after the commit
//! ```
//!
//! It routes an input to the one machine that decides it, keeps what belongs together in one commit
//! (a voucher and the session that it pays), and knows nothing of sockets, clocks or disks. It is a
//! payer in some channels and a payee in others at once.
//!
//! The way of a payment: `Command::Meter` (seller) -> `meter` prices it -> `Reading` to the buyer
//! -> `meter` checks it -> [`Payer::pay`] -> `signer` -> `Voucher` to the seller ->
//! [`Payee::accept`] -> records committed -> `Ack`, and the session counts it as paid.
//!
//! If a commit fails, what is in memory may be ahead of the store: drop the node and
//! [`Node::load`] it again. Nothing has left.
//!
//! Rank 5. Used by `rt`, `sim`, the examples and the command line.

mod batch;
mod chain;
mod command;
mod effects;
mod error;
mod hold;
mod leave;
mod lineage;
mod link;
mod load;
mod payee;
mod payer;
pub mod plan;
mod rebroadcast;
mod session;
#[cfg(test)]
mod tests;
mod unconfirmed;
pub mod watch;
mod work;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bitcoin::{Network, OutPoint, Transaction, Txid};

pub use batch::{Receipts, ReceivedBatch};
pub use command::Command;
pub use effects::{Effects, Event, Outbox, ReceivedBundle, Wake, WakeReason};
pub use error::NodeError;
pub use work::WorkPolicy;

use crate::batch::lanes::Lanes;
use crate::keys::{Context, Entropy};
use crate::signer::budget::Ahead;
use crate::signer::{MemorySigner, Signer, SignerError};
use crate::store::Store;
use crate::stream::payer::Ending;
use crate::stream::{Payee, Payer, Terms, View};
use crate::tx::seen::{OutputStatus, Tip};
use crate::units::{ChannelAlias, FeeRate, Height, Msat, Quantity, Seconds, SessionId, UtcSeconds};
use crate::wire::{Message, OfferHash};
use hold::Order;
use session::{NewSession, Offer, SessionSlot, Successor};

/// 4,096: what a payee on one connection may hold open by name; each costs about 100 bytes.
const ALIASES_MAX: usize = 4_096;
/// An hour: the longest wait before something that nobody answered is said again.
const REPEAT_SECONDS_MAX: u64 = 3_600;
/// 20,480 channels at a node, on both sides together: its signer holds no more, and a channel that
/// cannot be signed for is worth nothing.
const CHANNELS_MAX: usize = MemorySigner::CHANNELS_MAX;

/// One connection to a peer, named by the driver; a name is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The time and the auxiliary randomness of one input.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub time: UtcSeconds,
    /// Auxiliary randomness for signatures (BIP340); zeros are safe.
    pub aux: Entropy,
}

/// How a node behaves, fixed at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The chain that its channels live on.
    pub network: Network,
    /// What it offers as a payee; `None` if it only pays.
    pub terms: Option<Terms>,
    /// How old the tip may be before the chain counts as stalled.
    pub tip_age_max: Seconds,
    /// How long a payment waits for its acknowledgement before it is sent again.
    pub resend_after: Seconds,
    /// Payments of a session wait until this much is due, or the session pauses or ends.
    pub pay_step: Msat,
    /// The smallest rate that the chain's nodes relay: a payee takes part in no close below it, nor
    /// in one that does not pay as much more than the last.
    pub relay_floor: FeeRate,
}

/// What a node is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A connection is up.
    Connected(LinkId),
    /// A connection is gone.
    Disconnected(LinkId),
    /// A message came.
    Received(LinkId, Message),
    /// The best chain has a new tip.
    Tip(Tip),
    /// What the chain shows of an outpoint that was looked up or is watched; `None`: nothing.
    Output(OutPoint, Option<OutputStatus>),
    /// The time of [`Node::wake`] has come.
    Woken,
    /// The caller wants something.
    Do(Command),
}

/// Many channels, sessions and peers of one machine.
pub struct Node<S> {
    config: Config,
    context: Context,
    signer: S,
    tip: Option<Tip>,
    payees: BTreeMap<OutPoint, PayeeSlot>,
    payers: BTreeMap<OutPoint, PayerSlot>,
    /// Each payee's channel behind the one whose spend makes it, until that is buried.
    heirs: BTreeSet<(OutPoint, OutPoint)>,
    /// The payee's channels whose payer is at a connection, so that its end looks at no others.
    placed: BTreeMap<LinkId, BTreeSet<OutPoint>>,
    /// Channels that payers show and the chain was asked about, by the link that shows them.
    asked: BTreeMap<(OutPoint, LinkId), payee::Asked>,
    /// Sessions that sellers offer and the caller has not taken.
    offers: BTreeMap<(LinkId, SessionId), Offer>,
    /// The names that each peer uses for a payee's channels.
    links: BTreeMap<LinkId, BTreeMap<ChannelAlias, OutPoint>>,
    /// The names that this node uses for its payer's channels.
    aliases: BTreeMap<ChannelAlias, OutPoint>,
    sessions: BTreeMap<SessionId, SessionSlot>,
    next_alias: u32,
    /// Signed transactions that are not final yet; each new tip sends them again.
    unconfirmed: BTreeMap<Txid, Transaction>,
    effects: Effects,
    /// Windows of batches that have not arrived whole, one a link.
    assemblies: BTreeMap<LinkId, Box<batch::Assembly>>,
    /// Payments that wait for a budget reservation to be durable.
    waiting: Vec<(Payment, Ahead)>,
    /// The same of holds.
    waiting_holds: Vec<hold::Waiting>,
    /// Vouchers with bundles whose items have not arrived whole, one a link.
    pending_holds: BTreeMap<LinkId, Box<hold::Pending>>,
    /// The watch over each channel that has holds, or had them.
    watches: hold::Watches,
    /// What work has earned, and which channels pay it.
    works: work::Works,
}

/// A payee's channel and where its payer is.
#[derive(Debug)]
struct PayeeSlot {
    machine: Payee,
    /// The first connection that named it, or the last that brought a new voucher.
    at: Option<(LinkId, ChannelAlias)>,
    /// The last connection that brought a voucher which nobody else could have sent.
    proved: Option<LinkId>,
    /// The outpoint whose spend makes this one; also after that is buried, if it is this payee's
    /// own word what the channel is: a stranger may not open it on other terms.
    parent: Option<OutPoint>,
    /// Where its spend leads by this payee's signature, as the chain showed it last.
    leads: Option<OutPoint>,
    /// The tip's height at which the chain knew the output no more, if that is so.
    gone: Option<Height>,
    /// What batches paid in its lanes; none before the first.
    lanes: Option<Box<Lanes>>,
    /// When the payer is told again what became of its holds.
    told: Option<Repeat>,
}

/// A payer's channel and where its payee is.
#[derive(Debug)]
struct PayerSlot {
    machine: Payer,
    link: Option<LinkId>,
    alias: ChannelAlias,
    /// What the payee has acknowledged.
    acked: Msat,
    /// When a payment that is not acknowledged is sent again.
    resend_at: Option<UtcSeconds>,
    /// The payee has not said yet what it holds of the channel.
    asked: Option<Repeat>,
    /// It was shown again since the last repetition, because the payee refused its signature.
    shown_again: bool,
    /// A session that is taken when the last payment is acknowledged.
    next: Option<Acceptance>,
    /// What has made the funding impossible, if anything has.
    conflict: Option<Txid>,
    /// Its lanes, and the batches that are not acknowledged; none before a lane was opened.
    batches: Option<Box<batch::Sending>>,
    /// What it holds, beside its machine.
    held: hold::Holding,
    /// A top-up that the payee has not signed yet, or that waits for the coins' witnesses.
    top_up: Option<leave::PendingTopUp>,
    /// As the payee's.
    parent: Option<OutPoint>,
}

/// What was asked and not answered: when it is asked again, and after how long then.
///
/// On a line that loses nothing the first answer ends it. Where nobody answers the waits double, so
/// that a peer which never will costs a message an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Repeat {
    at: UtcSeconds,
    wait: Seconds,
}

impl Repeat {
    const fn after(now: UtcSeconds, wait: Seconds) -> Self {
        Self { at: now.saturating_after(wait), wait }
    }

    fn again(self, now: UtcSeconds) -> Self {
        let longest = Seconds::new(REPEAT_SECONDS_MAX).unwrap_or(Seconds::MAX);
        Self::after(now, self.wait.saturating_add(self.wait).min(longest.max(self.wait)))
    }
}

/// How a buyer wants to take an offered session.
#[derive(Debug, Clone, Copy)]
struct Acceptance {
    session: SessionId,
    /// What begins is this, over whatever line.
    offer: OfferHash,
    budget: Msat,
    slack: Quantity,
}

/// A voucher that is to be signed and sent.
#[derive(Debug, Clone, Copy)]
struct Payment {
    outpoint: OutPoint,
    paid: Msat,
    session: SessionId,
    ending: Ending,
}

/// Only the counts: the signer holds secrets.
impl<S> core::fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node")
            .field("payees", &self.payees.len())
            .field("payers", &self.payers.len())
            .field("links", &self.links.len())
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

impl<S: Signer> Node<S> {
    /// A node without channels. Its signer's secrets stay in the signer.
    pub fn new(config: Config, context: Context, signer: S) -> Self {
        Self {
            config,
            context,
            signer,
            tip: None,
            payees: BTreeMap::new(),
            payers: BTreeMap::new(),
            heirs: BTreeSet::new(),
            placed: BTreeMap::new(),
            asked: BTreeMap::new(),
            offers: BTreeMap::new(),
            aliases: BTreeMap::new(),
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_alias: 0,
            unconfirmed: BTreeMap::new(),
            effects: Effects::default(),
            assemblies: BTreeMap::new(),
            waiting: Vec::new(),
            waiting_holds: Vec::new(),
            pending_holds: BTreeMap::new(),
            watches: hold::Watches::default(),
            works: work::Works::default(),
        }
    }

    /// Decides on one input and applies the decision in memory.
    ///
    /// # Errors
    /// Whatever the input gets wrong; the machines are as they were. A refused message is answered
    /// to the peer all the same. [`NodeError::TooMany`] writes: flush, then repeat the input.
    pub fn handle(&mut self, now: &Now, input: Input) -> Result<(), NodeError> {
        // Before anything is decided: a batch that fills up midway would part memory and store.
        self.effects.check_room()?;
        match input {
            Input::Connected(link) => {
                self.links.entry(link).or_default();
                Ok(())
            }
            Input::Disconnected(link) => {
                self.disconnected(link);
                Ok(())
            }
            Input::Received(link, message) => self.received(now, link, message),
            Input::Tip(tip) => {
                self.tip = Some(tip);
                self.watches.look_anew();
                self.ask_for_starts(now);
                self.broadcast_again()?;
                self.drop_past(now)
            }
            Input::Output(outpoint, status) => self.output(now, outpoint, status.as_ref()),
            Input::Woken => {
                let done = self.woken(now);
                // Else the driver would wake it again at once, and for ever.
                let due = |wake: Wake| wake.at <= now.time && now.time < UtcSeconds::MAX;
                debug_assert!(!self.wake().is_some_and(due), "{:?} at {}", self.wake(), now.time);
                done
            }
            Input::Do(command) => self.run(now, command),
        }
    }

    /// Takes out everything since the last drain; [`Self::flush`] is the usual way.
    pub fn drain(&mut self) -> Effects {
        core::mem::take(&mut self.effects)
    }

    /// Drains, makes the records durable with at most one barrier, opens budgets that were reserved
    /// by it, and sends what waited for them.
    ///
    /// # Errors
    /// [`NodeError::Store`]: drop the node, and load it again; nothing has left.
    pub fn flush(&mut self, now: &Now, store: &mut dyn Store) -> Result<Outbox, NodeError> {
        let mut outbox = Outbox::default();
        loop {
            let settled = self.settle_work(now);
            let mut waiting = core::mem::take(&mut self.waiting);
            let mut holds = core::mem::take(&mut self.waiting_holds);
            let ahead = waiting.first().map(|(_, ahead)| *ahead);
            let ahead = ahead.or_else(|| holds.first().map(|waiting| waiting.ahead));
            let reserved = match self.signer.reserve(now.time, ahead) {
                // The budgets wait for their clock; what was decided without them does not.
                Err(SignerError::ClockBackwards { .. }) => {
                    self.waiting = core::mem::take(&mut waiting);
                    self.waiting_holds = core::mem::take(&mut holds);
                    None
                }
                reserved => reserved?,
            };
            let staged = match reserved {
                Some(reservation) => Some(reservation.stage(self.effects.batch_for_barrier())?),
                None => None,
            };
            outbox.append(self.drain().commit(store)?);
            let reserved = staged.is_some();
            if let Some(staged) = staged {
                self.signer.apply(staged.after_barrier())?;
            }
            if (waiting.is_empty() && holds.is_empty()) || !reserved {
                if settled {
                    return Ok(outbox);
                }
                continue;
            }
            for (payment, _) in waiting {
                // A payment that is refused now was refused for good; its session shows it as due.
                if let Err(why) = self.pay_to(now, payment) {
                    self.drop_unsigned(&payment);
                    self.work_refused(now, payment.outpoint, why);
                }
            }
            self.order_again(now, holds);
        }
    }

    /// When and why the node wants [`Input::Woken`] next.
    #[must_use]
    pub fn wake(&self) -> Option<Wake> {
        let resend = self.payers.values().filter_map(|slot| slot.resend_at).min();
        let resend = resend.map(|at| Wake { at, why: WakeReason::Resend });
        let asked = self.payers.values().filter_map(|slot| slot.asked);
        let repeat = asked.chain(self.sessions.values().filter_map(SessionSlot::repeat));
        let repeat = repeat.map(|repeat| repeat.at).chain(self.next_told());
        let repeat = repeat.map(|at| Wake { at, why: WakeReason::Repeat });
        let work = self.works.next_at().map(|at| Wake { at, why: WakeReason::PayWork });
        resend.into_iter().chain(repeat).chain(work).min_by_key(|wake| wake.at)
    }

    /// The outpoints whose status the node must be told after every change of the chain: its
    /// channels, the holds of theirs that are on it, the coins of fundings that have not confirmed,
    /// and coinbases of blocks that are not buried.
    pub fn watched(&self) -> impl Iterator<Item = OutPoint> + '_ {
        let channels = self.payees.keys().chain(self.payers.keys()).copied();
        let coins = self.watches.coins().chain(self.funding_coins());
        channels.chain(coins).chain(self.coinbases())
    }

    /// How many channels it has, on both sides.
    fn channels(&self) -> usize {
        self.payees.len().saturating_add(self.payers.len())
    }

    /// The payee's machine of a channel.
    pub fn payee(&self, outpoint: OutPoint) -> Option<&Payee> {
        self.payees.get(&outpoint).map(|slot| &slot.machine)
    }

    /// All payee's channels.
    pub fn payees(&self) -> impl Iterator<Item = &Payee> {
        self.payees.values().map(|slot| &slot.machine)
    }

    /// The payer's machine of a channel.
    pub fn payer(&self, outpoint: OutPoint) -> Option<&Payer> {
        self.payers.get(&outpoint).map(|slot| &slot.machine)
    }

    /// All payer's channels.
    pub fn payers(&self) -> impl Iterator<Item = &Payer> {
        self.payers.values().map(|slot| &slot.machine)
    }

    /// A session's meter; none once it is forgotten.
    pub fn session(&self, session: SessionId) -> Option<&crate::meter::Session> {
        self.sessions.get(&session).map(SessionSlot::meter)
    }

    /// What a seller offers and the caller has not taken: its tariff and its window.
    pub fn offer(&self, link: LinkId, session: SessionId) -> Option<&crate::meter::Session> {
        self.offers.get(&(link, session)).map(|offer| &offer.meter)
    }

    /// The name of that offer, by which the caller takes it.
    pub fn offer_hash(&self, link: LinkId, session: SessionId) -> Option<OfferHash> {
        self.offers.get(&(link, session)).map(|offer| offer.hash)
    }

    /// The signer, for budgets and registrations.
    pub const fn signer_mut(&mut self) -> &mut S {
        &mut self.signer
    }

    /// The curve context, for building openings and terms.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// The world as the node sees it at `time`.
    ///
    /// # Errors
    /// [`NodeError::NoTip`] before the first tip.
    pub fn view(&self, time: UtcSeconds) -> Result<View, NodeError> {
        let tip = self.tip.ok_or(NodeError::NoTip)?;
        Ok(View { tip, now: time, tip_age_max: self.config.tip_age_max })
    }

    /// Whether every machine's promises to itself hold; simulation calls it after every step.
    ///
    /// # Errors
    /// [`NodeError::Stream`], [`NodeError::Meter`] if not.
    pub fn check_invariants(&self) -> Result<(), NodeError> {
        for slot in self.payees.values() {
            slot.machine.check_invariants(&self.context)?;
        }
        for slot in self.payers.values() {
            slot.machine.check_invariants()?;
        }
        self.check_watches()?;
        for slot in self.sessions.values() {
            slot.meter().check_invariants()?;
        }
        Ok(())
    }

    fn run(&mut self, now: &Now, command: Command) -> Result<(), NodeError> {
        match command {
            Command::AskTerms(link) => self.ask_terms(link),
            Command::Fund { link, opening, funding, vout, backup } => {
                self.fund(now, link, &opening, funding, vout, &backup)
            }
            Command::Adopt(record) => self.adopt(*record),
            Command::Attach { link, outpoint } => self.attach(now, link, outpoint),
            Command::Pay { outpoint, more, session, ending } => {
                self.pay_more(now, outpoint, more, session, ending)
            }
            Command::Settle { outpoints, script, rate } => {
                self.settle(now, &outpoints, script, rate)
            }
            Command::SettleDrafted { settlement, witnesses } => {
                self.settle_drafted(now, *settlement, witnesses)
            }
            Command::SettleHeld { settlement, witnesses } => {
                self.settle_held(now, *settlement, witnesses)
            }
            Command::Close { outpoint, script, fee } => self.close(now, outpoint, script, fee),
            Command::TopUp { outpoint, inputs, capacity, carries } => {
                self.top_up(now, outpoint, inputs, capacity, carries)
            }
            Command::FinishTopUp { outpoint, witnesses } => {
                self.finish_top_up(now, outpoint, witnesses)
            }
            Command::Abandon { outpoint } => self.abandon(now, outpoint),
            Command::Refund { outpoint, script, rate } => self.refund(now, outpoint, script, rate),
            Command::OfferSession { link, session, tariff, window, skew, tolerance } => {
                self.new_session(now, NewSession { link, session, tariff, window, skew, tolerance })
            }
            Command::ChangeTariff { session, next, tariff, skew, tolerance } => {
                let next = Successor { session: next, tariff, skew, tolerance };
                self.change_tariff(now, session, next)
            }
            Command::AcceptSession { session, offer, outpoint, budget, slack } => {
                self.accept_session(now, outpoint, Acceptance { session, offer, budget, slack })
            }
            Command::Meter { session, total } => self.meter(now, session, total),
            Command::OfferHold { outpoint, hash, amount, expiry, session } => {
                self.order_hold(now, outpoint, session, Order::Offer { hash, amount, expiry })
            }
            Command::OfferBundle { outpoint, bundle, items, session } => {
                self.offer_bundle(now, outpoint, bundle, &items, session)
            }
            Command::GrowHold { outpoint, id, amount, session } => {
                self.order_hold(now, outpoint, session, Order::Grow { id, amount })
            }
            Command::FoldHold { outpoint, id, preimage, session } => {
                self.order_hold(now, outpoint, session, Order::Fold { id, preimage })
            }
            Command::FulfilHold { outpoint, id, preimage } => {
                self.fulfil_hold(now, outpoint, id, preimage)
            }
            Command::ReleaseHold { outpoint, id } => self.release_hold(now, outpoint, id),
            Command::TendHolds { policy, rate, coins } => self.tend_holds(now, policy, rate, coins),
            Command::EndSession(session) => self.end_session(now, session),
            Command::ForgetSession(session) => self.forget_session(now, session),
            other => self.run_many(now, other),
        }
    }

    /// What pays many at once: lanes with their batches, and work.
    fn run_many(&mut self, now: &Now, command: Command) -> Result<(), NodeError> {
        match command {
            Command::OpenLane { outpoint, lane, limit, session } => {
                self.open_lane(now, outpoint, (lane, limit), session)
            }
            Command::LimitLane { outpoint, lane, limit } => self.limit_lane(outpoint, lane, limit),
            Command::CloseLane { outpoint, lane } => self.close_lane(outpoint, lane),
            Command::LimitFlight { outpoint, limits } => self.limit_flight(outpoint, limits),
            Command::PayBatch { outpoint, batch, session } => {
                self.pay_batch(now, outpoint, *batch, session)
            }
            Command::CreditWork { worker, credit } => self.credit_work(worker, credit),
            Command::LogWork { worker, credit, reach } => self.log_work(worker, credit, reach),
            Command::FindBlock(block) => self.find_block(&block),
            Command::BindWorker { worker, outpoint, session, budget } => {
                self.bind_worker(worker, outpoint, (session, budget))
            }
            Command::TendWork(policy) => {
                self.tend_work(policy);
                Ok(())
            }
            // Every other command is the caller's.
            _ => Err(NodeError::NotAsked { what: "this command" }),
        }
    }
}
