//! The signer of a device with one channel to pay in.
//!
//! It keeps the two promises that such a device needs: nothing below what was signed is signed
//! again, and no session costs more than its budget. [`millstream::signer::MemorySigner`] keeps
//! them for thousands of channels, peers and days, which takes more flash than this whole image.

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::secp256k1::schnorr::Signature;
use millstream::keys::{ChannelKey, Context, Entropy, Seed};
use millstream::signer::budget::{Ahead, Budget, Committed, Reservation};
use millstream::signer::{Exposure, KeyName, Past, PeerId, Request, Role, Signer, SignerError};
use millstream::tx::hold::HeldChecked;
use millstream::tx::{Channel, VoucherChecked};
use millstream::units::{Msat, SessionId, UtcSeconds};

use crate::agreed::NETWORK;

/// What this signer does not do: holds, settlements, refunds, and reservations, which it needs none
/// of. A machine with the seed and the backup does them.
const NOT_HERE: SignerError = SignerError::RecordMissing;

/// Signs vouchers on one channel.
pub(crate) struct OneChannel<'a> {
    context: &'a Context,
    seed: Seed,
    paying: Option<Paying>,
    /// The session that is open, what it may cost, and what it has.
    session: Option<(SessionId, Msat, Msat)>,
    clock: UtcSeconds,
}

struct Paying {
    channel: Channel,
    key: ChannelKey,
    /// The largest amount that was signed; none while it is not known, after a restart.
    signed: Option<Msat>,
}

impl<'a> OneChannel<'a> {
    /// The signer of `seed`'s keys.
    pub(crate) const fn new(context: &'a Context, seed: Seed) -> Self {
        Self { context, seed, paying: None, session: None, clock: UtcSeconds::MIN }
    }

    fn paying(&mut self, outpoint: OutPoint) -> Result<&mut Paying, SignerError> {
        let paying = self.paying.as_mut().filter(|paying| paying.channel.outpoint() == outpoint);
        paying.ok_or(SignerError::UnknownChannel { outpoint })
    }
}

impl Signer for OneChannel<'_> {
    fn public(&self, name: KeyName) -> Result<XOnlyPublicKey, SignerError> {
        match name {
            KeyName::Payer(index) => {
                Ok(self.seed.payer_key(self.context, NETWORK, index)?.public())
            }
            _ => Ok(self.seed.base_key(self.context, NETWORK)?.public()),
        }
    }

    fn register(&mut self, channel: &Channel, role: Role) -> Result<(), SignerError> {
        let outpoint = channel.outpoint();
        let Role::Payer { index, past, .. } = role else {
            return Err(SignerError::OtherRole { outpoint });
        };
        if let Some(paying) = &self.paying {
            let same = paying.channel == *channel;
            return if same { Ok(()) } else { Err(SignerError::AlreadyRegistered { outpoint }) };
        }
        let key = self.seed.payer_key(self.context, NETWORK, index)?;
        if key.public() != channel.output().payer() {
            let (want, got) = (channel.output().payer(), key.public());
            return Err(SignerError::WrongKey { want, got });
        }
        let signed = matches!(past, Past::New).then_some(Msat::ZERO);
        self.paying = Some(Paying { channel: channel.clone(), key, signed });
        Ok(())
    }

    fn resume(&mut self, voucher: &VoucherChecked) -> Result<(), SignerError> {
        let paying = self.paying(voucher.outpoint())?;
        voucher.check_fits(&paying.channel)?;
        paying.signed = paying.signed.max(Some(voucher.voucher().paid));
        Ok(())
    }

    fn resume_held(&mut self, _: &HeldChecked) -> Result<(), SignerError> {
        Err(NOT_HERE)
    }

    fn resume_exposure(&mut self, outpoint: OutPoint, _: &Exposure) -> Result<(), SignerError> {
        self.paying(outpoint).map(|_| ())
    }

    fn forget(&mut self, outpoint: OutPoint) -> Result<(), SignerError> {
        self.paying(outpoint)?;
        self.paying = None;
        Ok(())
    }

    fn sign(
        &mut self,
        request: &Request<'_>,
        now: UtcSeconds,
        aux: &Entropy,
    ) -> Result<Signature, SignerError> {
        let Request::Voucher { channel, paid, session } = *request else {
            return Err(NOT_HERE);
        };
        if now < self.clock {
            return Err(SignerError::ClockBackwards { last: self.clock, now });
        }
        let (context, open) = (self.context, self.session);
        let outpoint = channel.outpoint();
        let paying = self.paying(outpoint)?;
        let signed = paying.signed.ok_or(SignerError::MustResume { outpoint })?;
        if paid < signed {
            return Err(SignerError::Backwards { signed, asked: paid });
        }
        if paying.channel != *channel {
            return Err(SignerError::OtherChannel { outpoint });
        }
        let Some((open, most, spent)) = open.filter(|(open, ..)| *open == session) else {
            return Err(SignerError::NoSuchSession { session });
        };
        let spent = spent.saturating_add(paid.saturating_sub(signed));
        if spent > most {
            let (budget, asked) = (Budget::Session, paid);
            return Err(SignerError::OverBudget { budget, limit: most, used: spent, asked });
        }
        let digest = channel.digest(paid)?;
        let signature = paying.key.sign(context, digest, aux);
        paying.signed = Some(paid);
        self.session = Some((open, most, spent));
        self.clock = now;
        Ok(signature)
    }

    fn open_session(
        &mut self,
        _: PeerId,
        session: SessionId,
        budget: Msat,
    ) -> Result<(), SignerError> {
        let spent = self.session.filter(|(open, ..)| *open == session);
        self.session = Some((session, budget, spent.map_or(Msat::ZERO, |(.., spent)| spent)));
        Ok(())
    }

    fn end_session(&mut self, _: PeerId, session: SessionId) {
        self.session = self.session.filter(|(open, ..)| *open != session);
    }

    fn reserve(
        &mut self,
        _: UtcSeconds,
        _: Option<Ahead>,
    ) -> Result<Option<Reservation>, SignerError> {
        Ok(None)
    }

    fn apply(&mut self, _: Committed) -> Result<(), SignerError> {
        Err(NOT_HERE)
    }
}
