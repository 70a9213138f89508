//! The signer that keeps its secrets in memory.

use alloc::collections::{BTreeMap, VecDeque};

use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{Network, OutPoint};

use super::budget::{Ahead, BudgetRecord, Committed, Policy, Purse, Reservation};
use super::channel::{Entry, Joint, Payee, Payer, Side};
use super::held::HeldAt;
use super::{Attest, Exposure, KeyName, Past, PeerId, Request, Role, Signer, SignerError};
use crate::keys::{BaseKey, Context, Entropy, Seed, tagged_hash};
use crate::tx::hold::HeldChecked;
use crate::tx::{Channel, JointSpend, Refund, Settlement, VoucherChecked};
use crate::units::{Height, Msat, SessionId, UtcSeconds};

/// A [`Signer`] with the seed in memory, wiped when dropped.
///
/// A voucher costs its digest and its signature, and four look-ups in ordered maps: no allocation,
/// no derivation, no write.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct MemorySigner {
    pub(super) context: Context,
    seed: Seed,
    base: BaseKey,
    network: Network,
    policy: Policy,
    pub(super) channels: BTreeMap<OutPoint, Entry>,
    /// What was signed on channels that were forgotten, the newest last.
    forgotten: VecDeque<(OutPoint, Side)>,
    /// S7: the latest time at which a voucher was signed or a reservation applied.
    pub(super) clock: UtcSeconds,
    /// `None`: the record is missing (B6).
    pub(super) purse: Option<Purse>,
}

/// The state of a [`MemorySigner`] without its secrets, to be compared and printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    channels: BTreeMap<OutPoint, Side>,
    forgotten: VecDeque<(OutPoint, Side)>,
    clock: UtcSeconds,
    purse: Option<Purse>,
}

impl MemorySigner {
    /// 20,480: ten thousand payers, and what their channels roll over into. An entry takes less
    /// than 1 KiB with its scripts, so all of them 20 MiB.
    pub const CHANNELS_MAX: usize = 20_480;
    /// 1,024: catches a caller that registers a channel again which it just forgot. Beyond that
    /// nothing is at risk, since the spend of a forgotten outpoint is buried.
    const FORGOTTEN_MAX: usize = 1_024;

    /// A signer with the keys of `seed` on `network`.
    ///
    /// `record`: what [`BudgetRecord::load`] gave; what it reserved counts as spent. With `None`
    /// the day counts as used: nothing is paid before
    /// [`Self::release_day_budget_without_record`], on a new machine too. `entropy` blinds the
    /// curve's context.
    ///
    /// # Errors
    /// [`SignerError::Key`] for a seed without keys, which nobody will meet.
    pub fn new(
        seed: Seed,
        network: Network,
        policy: Policy,
        record: Option<&BudgetRecord>,
        entropy: &Entropy,
    ) -> Result<Self, SignerError> {
        let mut context = Context::new();
        context.randomize(entropy);
        let base = seed.base_key(&context, network)?;
        Ok(Self {
            context,
            seed,
            base,
            network,
            policy,
            channels: BTreeMap::new(),
            forgotten: VecDeque::new(),
            clock: record.map_or(UtcSeconds::MIN, BudgetRecord::clock),
            purse: record.map(|record| Purse::restart(policy, record)),
        })
    }

    /// Starts the budgets from nothing at `now`, though the record of what was spent is missing:
    /// up to a whole day's budget may be spent twice that day. For a new machine, or when the owner
    /// says so.
    ///
    /// # Errors
    /// [`SignerError::RecordPresent`] if nothing is missing.
    pub fn release_day_budget_without_record(
        &mut self,
        now: UtcSeconds,
    ) -> Result<(), SignerError> {
        if self.purse.is_some() {
            return Err(SignerError::RecordPresent);
        }
        self.clock = self.clock.max(now);
        self.purse = Some(Purse::empty(self.policy));
        Ok(())
    }

    /// The largest cost of any voucher that was ever signed on `outpoint`: what the payee can take
    /// of it, holds included whose expiry had not passed when the newest one with holds was signed.
    ///
    /// `None` if it is no registered channel of ours as payer, or not resumed.
    pub fn exposure(&self, outpoint: OutPoint) -> Option<Msat> {
        let payer = self.channels.get(&outpoint)?.payer().ok()?;
        self.exposure_at(outpoint, payer.height)
    }

    /// The same while the tip is at `height`: released holds count up to their expiry.
    pub fn exposure_at(&self, outpoint: OutPoint, height: Height) -> Option<Msat> {
        let payer = self.channels.get(&outpoint)?.payer().ok()?;
        payer.check_known(outpoint).ok().map(|()| payer.exposure_at(height))
    }

    /// The curve's context, blinded, for verifying with.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Everything but the secrets.
    pub fn snapshot(&self) -> Snapshot {
        let channels = self.channels.iter().map(|(id, entry)| (*id, entry.side.clone()));
        Snapshot {
            channels: channels.collect(),
            forgotten: self.forgotten.clone(),
            clock: self.clock,
            purse: self.purse.clone(),
        }
    }

    pub(super) fn entry(&self, outpoint: OutPoint) -> Result<&Entry, SignerError> {
        self.channels.get(&outpoint).ok_or(SignerError::UnknownChannel { outpoint })
    }

    pub(super) fn check_clock(&self, now: UtcSeconds) -> Result<(), SignerError> {
        let last = self.clock;
        if now < last { Err(SignerError::ClockBackwards { last, now }) } else { Ok(()) }
    }

    fn voucher(
        &mut self,
        channel: &Channel,
        paid: Msat,
        session: SessionId,
        now: UtcSeconds,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let outpoint = channel.outpoint();
        self.check_one_outpoint(outpoint)?;
        self.check_clock(now)?;
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.check_same(channel)?;
        // From our own copy of the channel, and before anything changes: `paid` is in range.
        let digest = entry.channel.digest(paid)?;
        let payer = entry.payer_mut()?;
        payer.check_forward(outpoint, paid)?;
        let amount = paid.saturating_sub(payer.exposure_at(payer.height));
        if amount > Msat::ZERO {
            let purse = self.purse.as_mut().ok_or(SignerError::RecordMissing)?;
            purse.spend(&Ahead { peer: payer.peer, session, amount }, now)?;
        }
        payer.vouched(paid);
        payer.holds_ended();
        payer.cleared = true;
        self.clock = now;
        Ok(entry.key.sign(&self.context, digest, aux))
    }

    /// S3. Looked up once a channel: while one outpoint of a script is paid on, no other can be.
    pub(super) fn check_one_outpoint(&self, outpoint: OutPoint) -> Result<(), SignerError> {
        let entry = self.entry(outpoint)?;
        let payer = entry.payer()?;
        if payer.cleared {
            return Ok(());
        }
        let mut others = self.channels.iter().filter(|(id, _)| **id != outpoint);
        match others.find(|(_, other)| other.stands_before(entry, payer)) {
            Some((first, _)) => Err(SignerError::SecondOutpoint { first: *first }),
            None => Ok(()),
        }
    }

    fn settlement(
        &mut self,
        settlement: &Settlement,
        index: usize,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let digest = settlement.digest(index)?;
        let inputs = settlement.parts().len();
        let missing = crate::tx::TxError::NoSuchInput { index, inputs };
        let part = settlement.parts().get(index).ok_or(missing)?;
        let outpoint = part.channel().outpoint();
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.check_same(part.channel())?;
        let paid = part.voucher().voucher().paid;
        let payee = entry.payee_mut()?;
        payee.check_settlement(paid)?;
        payee.signed(paid, None);
        Ok(entry.key.sign(&self.context, digest, aux))
    }

    fn refund(&self, refund: &Refund, aux: &Entropy) -> Result<Signature, SignerError> {
        let input = refund.transaction().input.first().map(|input| input.previous_output);
        let outpoint = input.unwrap_or_default();
        let entry = self.entry(outpoint)?;
        entry.payer()?;
        if entry.channel.output() != refund.from() {
            return Err(SignerError::OtherChannel { outpoint });
        }
        Ok(entry.key.sign(&self.context, refund.digest()?, aux))
    }

    fn joint(
        &mut self,
        spend: &JointSpend,
        top_up: bool,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let digest = spend.digest()?;
        let outpoint = spend.channel().outpoint();
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.check_same(spend.channel())?;
        match &mut entry.side {
            Side::Payer(payer) => payer.check_joint(spend)?,
            Side::Payee(payee) => {
                let joint = Joint::of(spend, top_up);
                payee.check_joint(spend.paid(), &joint)?;
                payee.signed(spend.paid(), Some(joint));
            }
        }
        Ok(entry.key.sign(&self.context, digest, aux))
    }

    fn attest(&self, kind: Attest, bytes: &[u8], aux: &Entropy) -> Signature {
        self.base.pair().sign(&self.context, tagged_hash(kind.tag(), &[bytes]), aux)
    }

    /// The side that a channel starts from, and for a descendant what its predecessor allows.
    fn side(&self, channel: &Channel, role: Role) -> Result<Side, SignerError> {
        let outpoint = channel.outpoint();
        let known = self.forgotten.iter().rev().find(|(id, _)| *id == outpoint);
        let (index, peer, past) = match (role, known) {
            (Role::Payee { .. }, Some((_, side @ Side::Payee(_))))
            | (Role::Payer { .. }, Some((_, side @ Side::Payer(_)))) => return Ok(side.clone()),
            (Role::Payee { stated }, _) => return Ok(Side::Payee(Payee { stated, joint: None })),
            (Role::Payer { index, peer, past }, _) => (index, peer, past),
        };
        let root = match past {
            Past::New | Past::Unknown { from: None } => outpoint,
            Past::Follows { from } | Past::Unknown { from: Some(from) } => {
                self.entry(from).and_then(Entry::payer).map_or(from, |before| before.root)
            }
            Past::Descends { from, carried } => self.root_of_carried(channel, from, carried)?,
        };
        Ok(Side::Payer(Payer::new(index, peer, past, outpoint, root)))
    }

    /// The root of the line in which `channel` descends from `from`, where `carried` was charged.
    fn root_of_carried(
        &self,
        channel: &Channel,
        from: OutPoint,
        carried: Msat,
    ) -> Result<OutPoint, SignerError> {
        let before = self.entry(from)?;
        let payer = before.payer().map_err(|_| SignerError::NotADescendant { from })?;
        if before.channel.output().script() != channel.output().script() {
            return Err(SignerError::NotADescendant { from });
        }
        payer.check_known(from)?;
        let exposure = payer.exposure;
        if carried > exposure {
            return Err(SignerError::AboveExposure { exposure, asked: carried });
        }
        Ok(payer.root)
    }

    /// S5: a top-up that is proposed again, by a transaction of the same id, can carry more than
    /// the last time. That was charged on the predecessor, of which the new outpoint is a spend:
    /// the payee can have the one or the other, so it is not charged here once more.
    fn carry_more(&mut self, channel: &Channel, role: Role) -> Result<(), SignerError> {
        let Role::Payer { past: Past::Descends { from, carried }, .. } = role else {
            return Ok(());
        };
        let outpoint = channel.outpoint();
        let known = self.entry(outpoint)?.payer()?;
        if carried <= known.exposure {
            return Ok(());
        }
        let root = self.root_of_carried(channel, from, carried)?;
        let missing = SignerError::UnknownChannel { outpoint };
        let known = self.channels.get_mut(&outpoint).ok_or(missing)?.payer_mut()?;
        if known.root != root {
            return Err(SignerError::NotADescendant { from });
        }
        known.exposure = carried;
        Ok(())
    }
}

impl Signer for MemorySigner {
    fn public(&self, name: KeyName) -> Result<XOnlyPublicKey, SignerError> {
        match name {
            KeyName::Base => Ok(self.base.public()),
            KeyName::Payer(index) => {
                Ok(self.seed.payer_key(&self.context, self.network, index)?.public())
            }
        }
    }

    fn register(&mut self, channel: &Channel, role: Role) -> Result<(), SignerError> {
        let outpoint = channel.outpoint();
        if let Some(entry) = self.channels.get(&outpoint) {
            let again = match (&entry.side, role) {
                (Side::Payer(payer), Role::Payer { index, peer, .. }) => {
                    (payer.index, payer.peer) == (index, peer)
                }
                (Side::Payee(_), Role::Payee { .. }) => true,
                _ => false,
            };
            let same = again && entry.channel == *channel;
            if !same {
                return Err(SignerError::AlreadyRegistered { outpoint });
            }
            return self.carry_more(channel, role);
        }
        if self.channels.len() >= Self::CHANNELS_MAX {
            return Err(SignerError::TooManyChannels { max: Self::CHANNELS_MAX });
        }
        let output = channel.output();
        let (key, want) = match role {
            Role::Payer { index, .. } => {
                (self.seed.payer_key(&self.context, self.network, index)?, output.payer())
            }
            Role::Payee { .. } => {
                (self.base.for_payer(&self.context, output.payer())?, output.payee())
            }
        };
        if key.public() != want {
            return Err(SignerError::WrongKey { want, got: key.public() });
        }
        let side = self.side(channel, role)?;
        self.channels.insert(outpoint, Entry { channel: channel.clone(), key, side });
        // One that comes back from the forgotten ones is refused as a whole.
        self.carry_more(channel, role).inspect_err(|_| drop(self.channels.remove(&outpoint)))
    }

    fn resume(&mut self, voucher: &VoucherChecked) -> Result<(), SignerError> {
        let outpoint = voucher.outpoint();
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.get_mut(&outpoint).ok_or(missing)?;
        entry.payer()?;
        // The proof is of a signature; that it is of our own copy of the channel is seen here.
        voucher.check_fits(&entry.channel)?;
        entry.payer_mut()?.vouched(voucher.voucher().paid);
        Ok(())
    }

    fn resume_held(&mut self, checked: &HeldChecked) -> Result<(), SignerError> {
        self.take_up_held(checked)
    }

    fn resume_exposure(
        &mut self,
        outpoint: OutPoint,
        exposure: &Exposure,
    ) -> Result<(), SignerError> {
        self.take_up_exposure(outpoint, exposure)
    }

    fn forget(&mut self, outpoint: OutPoint) -> Result<(), SignerError> {
        let missing = SignerError::UnknownChannel { outpoint };
        let entry = self.channels.remove(&outpoint).ok_or(missing)?;
        if self.forgotten.len() >= Self::FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back((outpoint, entry.side));
        Ok(())
    }

    fn sign(
        &mut self,
        request: &Request<'_>,
        now: UtcSeconds,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        match *request {
            Request::Voucher { channel, paid, session } => {
                self.voucher(channel, paid, session, now, aux)
            }
            Request::Held { held, session, tip, confirmed } => {
                self.held_voucher(held, &HeldAt { session, tip, confirmed, now }, aux)
            }
            Request::Settlement { settlement, index } => self.settlement(settlement, index, aux),
            Request::HoldSettlement { settlement } => self.hold_settlement(settlement, aux),
            Request::HoldSpend { channel, spend } => self.hold_spend(channel, spend, aux),
            Request::PayeeSpend { channel, spend } => self.payee_spend(channel, spend, aux),
            Request::Refund { refund } => self.refund(refund, aux),
            Request::Close { spend } => self.joint(spend, false, aux),
            Request::TopUp { spend } => self.joint(spend, true, aux),
            Request::Attest { kind, bytes } => Ok(self.attest(kind, bytes, aux)),
        }
    }

    fn open_session(
        &mut self,
        peer: PeerId,
        session: SessionId,
        budget: Msat,
    ) -> Result<(), SignerError> {
        self.purse.as_mut().ok_or(SignerError::RecordMissing)?.open_session(peer, session, budget)
    }

    fn end_session(&mut self, peer: PeerId, session: SessionId) {
        if let Some(purse) = &mut self.purse {
            purse.end_session(peer, session);
        }
    }

    fn reserve(
        &mut self,
        now: UtcSeconds,
        ahead: Option<Ahead>,
    ) -> Result<Option<Reservation>, SignerError> {
        self.check_clock(now)?;
        Ok(self.purse.as_mut().and_then(|purse| purse.reserve(now, ahead)))
    }

    fn apply(&mut self, committed: Committed) -> Result<(), SignerError> {
        let purse = self.purse.as_mut().ok_or(SignerError::RecordMissing)?;
        let record = committed.record();
        purse.apply(record)?;
        // The windows may have turned with it.
        self.clock = self.clock.max(record.clock());
        Ok(())
    }
}
