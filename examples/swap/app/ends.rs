//! The two ends that a party has: the payer's in the channel that it pays in, the payee's in the
//! other one; each with its monitor and its signer.

use bitcoin::{Network, ScriptBuf, Transaction};
use millstream::keys::{Context, Entropy, Seed};
use millstream::monitor::{Act, Fate, Monitor, Policy, Sight, Watch};
use millstream::node::watch::{payee_subject, payer_subject};
use millstream::signer::{MemorySigner, Past, PeerId, Request, Role, Signer, budget};
use millstream::store::{MemoryStore, Store};
use millstream::stream::payee::PayeeRecord;
use millstream::stream::payer::PayerRecord;
use millstream::stream::{Payee, Payer};
use millstream::tx::hold::{HoldSettlement, Preimage};
use millstream::units::{Height, HoldId, KeyIndex, Msat, SessionId, UtcSeconds};

use super::chains::{Chain, Kind};
use crate::common::Error;

/// Auxiliary randomness is no matter here.
pub(crate) const AUX: Entropy = Entropy::new([0; 32]);

pub(crate) fn session() -> SessionId {
    SessionId::MIN
}

/// The key that a payer uses in its one channel.
pub(crate) fn payer_key(
    context: &Context,
    network: Network,
    seed: u8,
) -> Result<bitcoin::XOnlyPublicKey, Error> {
    Ok(Seed::new([seed; 32]).payer_key(context, network, KeyIndex::MIN)?.public())
}

pub(crate) fn base_key(
    context: &Context,
    network: Network,
    seed: u8,
) -> Result<bitcoin::XOnlyPublicKey, Error> {
    Ok(Seed::new([seed; 32]).base_key(context, network)?.public())
}

fn signer(seed: u8, network: Network, now: UtcSeconds) -> Result<MemorySigner, Error> {
    let all = Msat::MAX;
    let policy = budget::Policy { hour: all, day: all, peer: all, slice: all };
    let mut signer = MemorySigner::new(Seed::new([seed; 32]), network, policy, None, &AUX)?;
    signer.release_day_budget_without_record(now)?;
    Ok(signer)
}

/// The paying end.
pub(crate) struct Out {
    pub(crate) payer: Payer,
    pub(crate) monitor: Monitor,
    pub(crate) signer: MemorySigner,
}

/// The paid end.
pub(crate) struct In {
    pub(crate) payee: Payee,
    pub(crate) monitor: Monitor,
    pub(crate) signer: MemorySigner,
}

impl Out {
    pub(crate) fn new(
        context: &Context,
        payer: Payer,
        monitor: Monitor,
        (seed, kind): (u8, &Kind),
        past: Past,
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let mut signer = signer(seed, kind.network, now)?;
        signer.open_session(PeerId::new(payer.record().base()), session(), Msat::MAX)?;
        if let Some(next) = signer.reserve(now, None)? {
            signer.apply(next.commit(&mut MemoryStore::default())?)?;
        }
        payer.register(&mut signer, past)?;
        let _ = context;
        Ok(Self { payer, monitor, signer })
    }

    pub(crate) fn first(
        context: &Context,
        payer: Payer,
        end: (u8, &Kind),
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let monitor = Monitor::load(context, Watch::new(payer_subject(&payer)))?;
        Self::new(context, payer, monitor, end, Past::New, now)
    }

    /// After a power cut: what the store has, and a payer that must be shown its best voucher.
    pub(crate) fn load(
        &self,
        context: &Context,
        store: &MemoryStore,
        (seed, kind): (u8, &Kind),
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let key = self.payer.record().key()?;
        let bytes = store.get(&key)?.ok_or("no payer's record")?;
        let record = PayerRecord::decode(&key, &bytes)?.into_unsure();
        let payer = Payer::load(context, payer_key(context, kind.network, seed)?, record)?;
        let monitor = load_monitor(context, store, self.monitor.record())?;
        Self::new(context, payer, monitor, (seed, kind), Past::Unknown { from: None }, now)
    }
}

impl In {
    pub(crate) fn first(
        context: &Context,
        payee: Payee,
        (seed, kind): (u8, &Kind),
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let base = base_key(context, kind.network, seed)?;
        let monitor = Monitor::load(context, Watch::new(payee_subject(&payee, base)))?;
        Self::new(payee, monitor, (seed, kind), now)
    }

    fn new(
        payee: Payee,
        monitor: Monitor,
        (seed, kind): (u8, &Kind),
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let mut signer = signer(seed, kind.network, now)?;
        signer.register(payee.channel(), Role::Payee { stated: None })?;
        Ok(Self { payee, monitor, signer })
    }

    /// After a power cut: what the store has.
    pub(crate) fn load(
        &self,
        context: &Context,
        store: &MemoryStore,
        (seed, kind): (u8, &Kind),
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let key = self.payee.record().key()?;
        let bytes = store.get(&key)?.ok_or("no payee's record")?;
        let base = base_key(context, kind.network, seed)?;
        let payee = Payee::load(context, base, PayeeRecord::decode(&key, &bytes)?)?;
        let monitor = load_monitor(context, store, self.monitor.record())?;
        Self::new(payee, monitor, (seed, kind), now)
    }

    /// Signs a settlement with holds, after its promise was made durable.
    pub(crate) fn sign(
        &mut self,
        settlement: HoldSettlement,
        now: UtcSeconds,
    ) -> Result<Transaction, Error> {
        let request = Request::HoldSettlement { settlement: &settlement };
        let signature = self.signer.sign(&request, now, &AUX)?;
        Ok(settlement.finish(&signature, Vec::new())?)
    }
}

fn load_monitor(context: &Context, store: &MemoryStore, last: &Watch) -> Result<Monitor, Error> {
    let key = last.key()?;
    let watch = match store.get(&key)? {
        Some(bytes) => Watch::decode(&key, &bytes)?,
        None => Watch::new(*last.subject()),
    };
    Ok(Monitor::load(context, watch)?)
}

/// One look of a monitor at its chain: the next record, and what is due.
pub(crate) fn look(
    context: &Context,
    monitor: &Monitor,
    chain: &Chain,
    till: &ScriptBuf,
) -> Result<(Watch, Vec<Act>), Error> {
    let watched = monitor.watched();
    let outputs: Vec<_> =
        watched.into_iter().filter_map(|at| Some((at, chain.output(at)?))).collect();
    let (tip, rate) = (chain.height(), chain.kind.rate()?);
    let sight = Sight { tip, outputs: &outputs, preimages: &[], rate, coins: &[] };
    let step = monitor.decide(context, &sight, &Policy::new(till.clone()))?;
    Ok((step.record, step.acts))
}

/// Where a hold stands on its chain, for good or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The channel's output is unspent.
    Unspent,
    /// Something is on its way, or not deep enough yet.
    Pending,
    /// Its output is there, and nobody spends it.
    Published,
    Claimed,
    TimedOut,
    /// The channel is spent without it.
    Absent,
}

/// What a monitor and the chain say of hold `id`.
pub(crate) fn verdict(monitor: &Monitor, chain: &Chain, id: HoldId) -> Verdict {
    let Some(status) = chain.output(monitor.outpoint()) else { return Verdict::Pending };
    let Some(spend) = status.spent else { return Verdict::Unspent };
    let deep = |at: Option<Height>| {
        at.is_some_and(|at| at.depth_at(chain.height()).to_u32() >= chain.kind.depth)
    };
    let held = monitor.record().holds().iter().find(|held| held.hold.id == id);
    match held.map_or(Fate::Held, |held| held.fate) {
        Fate::Claimed { at, .. } if deep(at) => Verdict::Claimed,
        Fate::TimedOut { at, .. } if deep(at) => Verdict::TimedOut,
        Fate::Held if deep(spend.confirmed) => Verdict::Absent,
        Fate::Published { .. } => Verdict::Published,
        Fate::Held | Fate::Claimed { .. } | Fate::TimedOut { .. } => Verdict::Pending,
    }
}

/// The preimage that a monitor has taken off its chain.
pub(crate) fn seen(monitor: &Monitor, id: HoldId) -> Option<Preimage> {
    let mut holds = monitor.record().holds().iter();
    holds.find(|held| held.hold.id == id).and_then(|held| held.preimage)
}
