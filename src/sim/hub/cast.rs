//! Who takes part: senders before the hub, receivers behind it, and the channels between them,
//! opened once and copied for each run.

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Network, OutPoint, Txid, XOnlyPublicKey};

use super::Flaw;
use crate::keys::{Context, Entropy, Seed};
use crate::signer::budget::Policy as Budgets;
use crate::signer::{MemorySigner, PeerId, Signer as _};
use crate::store::MemoryStore;
use crate::stream::payer::Opening;
use crate::stream::{HoldRules, Payee, Payer, Terms, View};
use crate::tx::seen::{OutputStatus, Tip};
use crate::tx::{ChangeScript, Delay};
use crate::units::{Blocks, Height, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds};

/// Auxiliary randomness is no matter here.
pub(in crate::sim) const AUX: Entropy = Entropy::new([0; 32]);
/// Where every funding confirmed.
pub(super) const FUNDED: u32 = 100;
/// The tip at which a run begins: every funding is deep.
pub(in crate::sim) const BEGIN: u32 = 110;
/// Channels on each side of the hub.
pub(super) const CHANNELS: u8 = 2;
/// The claim's delay on every channel: above reaction and depth.
pub(super) const K: u16 = 12;
/// The settle margin of every channel.
pub(super) const MARGIN: u32 = 10;
const CAPACITY: u64 = 200_000;
const NOW: u64 = 1_800_000_000;

/// One channel, seen from both ends.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Line {
    pub(in crate::sim) payer: Payer,
    pub(in crate::sim) payee: Payee,
}

/// The channels into the hub and out of it.
#[derive(Debug)]
pub(in crate::sim) struct Cast {
    pub(in crate::sim) context: Context,
    pub(in crate::sim) into: Vec<Line>,
    pub(super) out: Vec<Line>,
}

/// The hub's own seeds, as payee and as payer.
const HUB_PAYEE: u8 = 20;
const HUB_PAYER: u8 = 21;
/// The first sender's and the first receiver's.
const SENDERS: u8 = 40;
const RECEIVERS: u8 = 60;

pub(super) fn seed(byte: u8) -> Seed {
    Seed::new([byte; 32])
}

fn broken<E>(_: E) -> Flaw {
    Flaw::Stage
}

fn base(context: &Context, byte: u8) -> Result<XOnlyPublicKey, Flaw> {
    Ok(seed(byte).base_key(context, Network::Regtest).map_err(broken)?.public())
}

fn payer_key(context: &Context, byte: u8, index: u8) -> Result<XOnlyPublicKey, Flaw> {
    let index = KeyIndex::new(index.into()).map_err(broken)?;
    Ok(seed(byte).payer_key(context, Network::Regtest, index).map_err(broken)?.public())
}

pub(super) fn now() -> UtcSeconds {
    UtcSeconds::new(NOW).unwrap_or(UtcSeconds::MIN)
}

pub(super) fn tip(height: Height) -> Tip {
    Tip { height, hash: BlockHash::all_zeros(), time: now() }
}

pub(in crate::sim) fn view(height: Height) -> View {
    let tip_age_max = Seconds::new(7_200).unwrap_or(Seconds::MIN);
    View { tip: tip(height), now: now(), tip_age_max }
}

pub(in crate::sim) fn session(number: usize) -> SessionId {
    u64::try_from(number.saturating_add(1))
        .ok()
        .and_then(|id| SessionId::new(id).ok())
        .unwrap_or(SessionId::MIN)
}

fn terms(base: XOnlyPublicKey) -> Result<Terms, Flaw> {
    let mut terms = Terms::new(Network::Regtest, base).map_err(broken)?;
    terms.delay = (Delay::new(50).map_err(broken)?, Delay::new(2_000).map_err(broken)?);
    terms.capacity = (Sat::new(10_000).map_err(broken)?, Sat::new(1_000_000).map_err(broken)?);
    terms.confirmation_depth = Blocks::new(3).map_err(broken)?;
    terms.settle_margin = Blocks::new(MARGIN).map_err(broken)?;
    terms.expiry = UtcSeconds::new(NOW.saturating_add(1_000)).map_err(broken)?;
    let (fee, dust) = (Sat::new(300).map_err(broken)?, Sat::new(600).map_err(broken)?);
    terms.holds = HoldRules { k: K, fee, dust, count: 6 };
    Ok(terms)
}

impl Line {
    fn open(
        context: &Context,
        payer: (u8, u8),
        payee: u8,
        outpoint: OutPoint,
    ) -> Result<Self, Flaw> {
        let base = base(context, payee)?;
        let terms = terms(base)?;
        let index = KeyIndex::new(payer.1.into()).map_err(broken)?;
        let key = payer_key(context, payer.0, payer.1)?;
        let (delay, capacity) =
            (Delay::new(1_900).map_err(broken)?, Sat::new(CAPACITY).map_err(broken)?);
        let at = Height::new(BEGIN).map_err(broken)?;
        let change = ChangeScript::Own;
        let opening =
            Opening::new(context, &terms, index, key, delay, capacity, change, &view(at))?;
        let (record, _, request) = opening.funded(outpoint);
        let mut payer = Payer::load(context, key, record)?;
        let status = funded(&payer);
        let payee = Payee::open(context, &terms, &request, Some(&status), &view(at))?;
        let seen = payer.notice(Some(&status), &tip(at))?;
        payer.apply(seen.record())?;
        Ok(Self { payer, payee })
    }
}

/// What the chain shows of a channel whose output is unspent.
pub(super) fn funded(payer: &Payer) -> OutputStatus {
    let output = payer.channel().to_txout();
    OutputStatus {
        value: payer.channel().capacity(),
        script: output.script_pubkey,
        confirmed: Height::new(FUNDED).ok(),
        truc: true,
        spent: None,
    }
}

impl Cast {
    pub(in crate::sim) fn new() -> Result<Self, Flaw> {
        let context = Context::new();
        let at = |byte: u8| OutPoint::new(Txid::from_byte_array([byte; 32]), 0);
        let into = (0..CHANNELS).map(|n| {
            let sender = (SENDERS.saturating_add(n), 0);
            Line::open(&context, sender, HUB_PAYEE, at(1_u8.saturating_add(n)))
        });
        let into = into.collect::<Result<_, _>>()?;
        let out = (0..CHANNELS).map(|n| {
            let receiver = RECEIVERS.saturating_add(n);
            Line::open(&context, (HUB_PAYER, n), receiver, at(128_u8.saturating_add(n)))
        });
        let out = out.collect::<Result<_, _>>()?;
        Ok(Self { context, into, out })
    }

    /// The hub's machine of a payer's record that its store holds.
    pub(super) fn load_payer(
        &self,
        record: crate::stream::payer::PayerRecord,
    ) -> Result<Payer, Flaw> {
        let known = self.out.iter().position(|line| line.payer.outpoint() == record.outpoint());
        let index = known.and_then(|at| u8::try_from(at).ok()).ok_or(Flaw::Stage)?;
        Ok(Payer::load(&self.context, payer_key(&self.context, HUB_PAYER, index)?, record)?)
    }

    /// The hub's machine of a payee's record that its store holds.
    pub(in crate::sim) fn load_payee(
        &self,
        record: crate::stream::payee::PayeeRecord,
    ) -> Result<Payee, Flaw> {
        Ok(Payee::load(&self.context, base(&self.context, HUB_PAYEE)?, record)?)
    }

    /// A signer without memory, with a session of every peer that it may pay.
    fn signer(byte: u8, peers: &[XOnlyPublicKey]) -> Result<MemorySigner, Flaw> {
        let all = Msat::MAX;
        let budgets = Budgets { hour: all, day: all, peer: all, slice: all };
        let mut signer = MemorySigner::new(seed(byte), Network::Regtest, budgets, None, &AUX)?;
        signer.release_day_budget_without_record(now())?;
        for (number, base) in peers.iter().enumerate() {
            signer.open_session(PeerId::new(*base), session(number), all)?;
        }
        if let Some(next) = signer.reserve(now(), None)? {
            signer.apply(next.commit(&mut MemoryStore::default())?)?;
        }
        Ok(signer)
    }

    pub(super) fn hub_signer(&self) -> Result<MemorySigner, Flaw> {
        let peers = (0..CHANNELS).map(|n| base(&self.context, RECEIVERS.saturating_add(n)));
        Self::signer(HUB_PAYER, &peers.collect::<Result<Vec<_>, _>>()?)
    }

    pub(in crate::sim) fn sender_signer(&self, number: u8) -> Result<MemorySigner, Flaw> {
        Self::signer(SENDERS.saturating_add(number), &[base(&self.context, HUB_PAYEE)?])
    }
}
