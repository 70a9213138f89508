//! What the signer keeps of one channel, and the policy of its outpoint.

use alloc::vec::Vec;

use bitcoin::{OutPoint, TxOut};

use super::{Exposure, Past, PeerId, SignerError};
use crate::keys::ChannelKey;
use crate::tx::hold::{Held, Hold};
use crate::tx::{Channel, JointSpend};
use crate::units::{Height, HoldId, KeyIndex, Msat};

/// A registered channel with its cached key pair.
pub(super) struct Entry {
    pub(super) channel: Channel,
    pub(super) key: ChannelKey,
    pub(super) side: Side,
}

impl Entry {
    /// Whether a request means this channel in every value: its script (which commits to both keys
    /// and the delay), capacity and change. The caller found it by its outpoint.
    pub(super) fn check_same(&self, channel: &Channel) -> Result<(), SignerError> {
        let ours = &self.channel;
        let same = ours.capacity() == channel.capacity()
            && ours.output().script() == channel.output().script()
            && ours.change() == channel.change();
        if same { Ok(()) } else { Err(SignerError::OtherChannel { outpoint: ours.outpoint() }) }
    }

    pub(super) fn payer(&self) -> Result<&Payer, SignerError> {
        match &self.side {
            Side::Payer(payer) => Ok(payer),
            Side::Payee(_) => Err(SignerError::OtherRole { outpoint: self.channel.outpoint() }),
        }
    }

    pub(super) fn payer_mut(&mut self) -> Result<&mut Payer, SignerError> {
        match &mut self.side {
            Side::Payer(payer) => Ok(payer),
            Side::Payee(_) => Err(SignerError::OtherRole { outpoint: self.channel.outpoint() }),
        }
    }

    pub(super) fn payee_mut(&mut self) -> Result<&mut Payee, SignerError> {
        match &mut self.side {
            Side::Payee(payee) => Ok(payee),
            Side::Payer(_) => Err(SignerError::OtherRole { outpoint: self.channel.outpoint() }),
        }
    }

    /// S3: whether `self` keeps vouchers from being signed on `other`.
    pub(super) fn stands_before(&self, other: &Self, payer: &Payer) -> bool {
        let Side::Payer(own) = &self.side else { return false };
        let related = own.root == payer.root;
        if related || self.channel.output().script() != other.channel.output().script() {
            return false;
        }
        match own.life {
            Life::Vouched => true,
            // Perhaps it is the one that was paid on; not if `other` was shown to be.
            Life::Unknown => payer.life == Life::Fresh,
            Life::Fresh => false,
        }
    }
}

/// The signer's part in a channel; everything but the key pair, so that it outlives that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    Payer(Payer),
    Payee(Payee),
}

/// What was signed on a payer's outpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payer {
    pub(super) index: KeyIndex,
    pub(super) peer: PeerId,
    /// The first outpoint of the line that it descends in; itself without a predecessor.
    pub(super) root: OutPoint,
    pub(super) life: Life,
    /// P6: nothing below it is signed again. S1: the largest `paid` that was signed.
    pub(super) signed: Msat,
    /// S5: the largest `paid` that the budgets were charged for. Above `signed` on a descendant
    /// whose carried balance was charged on its predecessor.
    pub(super) exposure: Msat,
    /// S5: what the vouchers with holds can cost.
    pub(super) held: Exposure,
    /// The tip that the newest voucher with holds was signed under.
    pub(super) height: Height,
    /// S8: the holds of the newest voucher, and the highest id ever signed.
    open: Vec<Hold>,
    last_hold: Option<HoldId>,
    /// S3 was looked up already.
    pub(super) cleared: bool,
}

/// What is known of an outpoint's past vouchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Nothing, since a restart.
    Unknown,
    /// There are none.
    Fresh,
    /// There are some, `signed` being the largest.
    Vouched,
}

impl Payer {
    pub(super) fn new(
        index: KeyIndex,
        peer: PeerId,
        past: Past,
        outpoint: OutPoint,
        root: OutPoint,
    ) -> Self {
        let (life, exposure) = match past {
            Past::New | Past::Follows { .. } => (Life::Fresh, Msat::ZERO),
            Past::Descends { carried, .. } => (Life::Fresh, carried),
            Past::Unknown { .. } => (Life::Unknown, Msat::ZERO),
        };
        let root = if matches!(past, Past::New) { outpoint } else { root };
        Self {
            index,
            peer,
            root,
            life,
            signed: Msat::ZERO,
            exposure,
            held: Exposure::NONE,
            height: Height::MIN,
            open: Vec::new(),
            last_hold: None,
            cleared: false,
        }
    }

    /// S2: whether the outpoint's past is known.
    pub(super) fn check_known(&self, outpoint: OutPoint) -> Result<(), SignerError> {
        match self.life {
            Life::Unknown => Err(SignerError::MustResume { outpoint }),
            Life::Fresh | Life::Vouched => Ok(()),
        }
    }

    /// S2, S1: whether `asked` may be stated on `outpoint` at all.
    pub(super) fn check_forward(&self, outpoint: OutPoint, asked: Msat) -> Result<(), SignerError> {
        self.check_known(outpoint)?;
        let signed = self.signed;
        if asked < signed { Err(SignerError::Backwards { signed, asked }) } else { Ok(()) }
    }

    /// S4: a joint spend states what vouchers were signed for. Its outputs give the payee no more
    /// than it states, because `tx` builds no other.
    pub(super) fn check_joint(&self, spend: &JointSpend) -> Result<(), SignerError> {
        let paid = spend.paid();
        self.check_forward(spend.channel().outpoint(), paid)?;
        let exposure = self.exposure;
        if paid > exposure {
            return Err(SignerError::AboveExposure { exposure, asked: paid });
        }
        Ok(())
    }

    /// S5: what this outpoint can cost while the tip is at `height`.
    pub(super) fn exposure_at(&self, height: Height) -> Msat {
        self.exposure.max(self.held.at(height))
    }

    /// S8: a hold that the newest voucher has is the same or has grown; any other is new.
    pub(super) fn check_ids(&self, held: &Held) -> Result<(), SignerError> {
        for (hold, _) in held.holds() {
            let known = self.open.iter().find(|open| open.id == hold.id);
            let kept = match known {
                Some(open) => open.may_grow_to(hold),
                None => self.last_hold.is_none_or(|last| hold.id > last),
            };
            if !kept {
                return Err(SignerError::HoldReused { id: hold.id });
            }
        }
        Ok(())
    }

    /// A voucher of the state `held` was signed, after which the exposure is `next`.
    pub(super) fn holds_signed(&mut self, held: &Held, next: Exposure, height: Height) {
        self.held = next;
        self.height = height;
        self.open = held.holds().iter().map(|(hold, _)| *hold).collect();
        self.last_hold = self.last_hold.max(self.open.last().map(|hold| hold.id));
    }

    /// A voucher of the state `held` was signed once, perhaps before others of this lifetime: what
    /// those have beside it stays, and what they ended does not come back.
    pub(super) fn holds_shown(&mut self, held: &Held, next: Exposure) {
        self.held = next;
        for (hold, _) in held.holds() {
            match self.open.iter_mut().find(|open| open.id == hold.id) {
                Some(open) => open.amount = open.amount.max(hold.amount),
                None if self.last_hold.is_none_or(|last| hold.id > last) => self.open.push(*hold),
                None => {}
            }
        }
        self.open.sort_unstable_by_key(|hold| hold.id);
        self.last_hold = self.last_hold.max(self.open.last().map(|hold| hold.id));
    }

    /// A voucher without holds was signed: those that were open are folded or given up.
    pub(super) fn holds_ended(&mut self) {
        self.open.clear();
    }

    /// A voucher of `paid` was signed, now or in an earlier life.
    pub(super) fn vouched(&mut self, paid: Msat) {
        self.life = Life::Vouched;
        self.signed = self.signed.max(paid);
        self.exposure = self.exposure.max(paid);
    }
}

/// S6: what a payee's signatures on an outpoint stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payee {
    pub(super) stated: Option<Msat>,
    /// The newest close or top-up at that `paid`.
    pub(super) joint: Option<Joint>,
}

impl Payee {
    /// A settlement may follow whatever was signed before, but never state less.
    pub(super) fn check_settlement(&self, asked: Msat) -> Result<(), SignerError> {
        match self.stated {
            Some(signed) if asked < signed => Err(SignerError::Backwards { signed, asked }),
            _ => Ok(()),
        }
    }

    /// A close or top-up after any payee's signature states the same; after one of its own kind it
    /// differs in the fee alone.
    pub(super) fn check_joint(&self, asked: Msat, joint: &Joint) -> Result<(), SignerError> {
        self.check_settlement(asked)?;
        let Some(stated) = self.stated else { return Ok(()) };
        let same_terms = self.joint.as_ref().is_none_or(|earlier| earlier.differs_in_fee(joint));
        if asked == stated && same_terms {
            Ok(())
        } else {
            Err(SignerError::MoreThanTheFee { stated, asked })
        }
    }

    pub(super) fn signed(&mut self, paid: Msat, joint: Option<Joint>) {
        if self.stated != Some(paid) {
            self.joint = None;
        }
        self.stated = Some(paid);
        if joint.is_some() {
            self.joint = joint;
        }
    }
}

/// The part of a close or top-up that a replacement must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joint {
    top_up: bool,
    outputs: usize,
    /// Of two outputs the last is the payee's, whose value is fixed; a sole one carries the fee.
    last: Option<TxOut>,
}

impl Joint {
    pub(super) fn of(spend: &JointSpend, top_up: bool) -> Self {
        let outputs = &spend.transaction().output;
        Self { top_up, outputs: outputs.len(), last: outputs.last().cloned() }
    }

    fn differs_in_fee(&self, later: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.last, &later.last) else { return false };
        let sole = self.outputs == 1 && later.outputs == 1;
        self.top_up == later.top_up
            && ours.script_pubkey == theirs.script_pubkey
            && (sole || ours.value == theirs.value)
    }
}
