//! The signer: the one place that holds secrets, and says no.
//!
//! ```text
//! stream, node --Request (template)--> Signer --+-- digest, by `tx`
//!                                               |-- policy of the channel: never backwards,
//!                                               |     never above capacity, one outpoint a script
//!                                               |-- policy of the purse: session, hour, day, peer
//!                                               '-- signature, by `keys`
//! driver <--Reservation-- reserve()      what may be spent next, durable before it is spent
//!        ---Committed---> apply()
//! ```
//!
//! A request is a template, never bare bytes: the signer computes the digest itself, so that what
//! the policy looked at is what the signature says. A refused request leaves the signer as it was.
//! [`MemorySigner`] keeps its secrets in memory; a hardware or remote signer stands behind the same
//! trait, which is object safe.
//!
//! # Policy of a payer's channel
//!
//! * S1. A voucher never states less than one signed before on its outpoint; stating the same again
//!   signs the identical digest.
//! * S2. After a restart nothing is known: a voucher is refused until the payee's best one was
//!   shown to [`Signer::resume`], which checks our own signature on it. Only a channel that was
//!   just funded may start without ([`Past::New`]), or one whose payee says that it holds nothing
//!   of it ([`Past::Follows`]).
//! * S3. Vouchers on one outpoint of a script only, and on outpoints that descend from it, until
//!   [`Signer::forget`] says that its spend is buried.
//! * S4. A close or top-up states a `paid` that vouchers were signed for already.
//! * S5. The exposure on an outpoint is the largest cost of any voucher ever signed there: what it
//!   pays, and the holds in it whose expiry has not passed ([`Exposure`]). What a voucher adds to
//!   it is what it spends of the budgets ([`budget`]). Replacing and re-signing cost nothing.
//! * S8. Holds are signed on confirmed outpoints only, and never on a channel whose change is a
//!   wallet's. A hold keeps its id, hash, expiry and delay, and may grow; ids are never used again.
//!   A released hold stays in the exposure until its expiry has passed.
//!
//! # Policy of a payee's channel
//!
//! * S6. A payee's signature can never be revoked: a later one never states less. A close or top-up
//!   after another states the same and differs in the fee alone; a settlement may always follow,
//!   because without it a close that the payer never broadcasts would cost the balance at the
//!   deadline.
//!
//! # Time
//!
//! * S7. `now` never runs backwards, not by a second, from one voucher or applied reservation to
//!   the next, nor below the clock in the record after a restart; [`budget`] says what a jump
//!   forward does. Settlements, refunds and joint spends spend no budget and must reach the chain
//!   in time: no clock stops them.
//!
//! Rank 3, `alloc` only. Used by `stream` (every signature of a channel) and by `node`
//! (registration, reservations).
//!
//! ```
//! # use bitcoin::{Network, OutPoint};
//! # use millstream::keys::{Context, Entropy, Seed};
//! # use millstream::signer::{KeyName, MemorySigner, Past, PeerId, Request, Role, Signer};
//! # use millstream::signer::budget::{BudgetRecord, Policy};
//! # use millstream::store::MemoryStore;
//! # use millstream::tx::{ChangeScript, Channel, Delay, FundingOutput};
//! # use millstream::units::{KeyIndex, Msat, Sat, SessionId, UtcSeconds};
//! # let (network, aux, index) = (Network::Regtest, Entropy::new([7; 32]), KeyIndex::new(0)?);
//! # let base = Seed::new([2; 32]).base_key(&Context::new(), network)?.public();
//! # let (now, session) = (UtcSeconds::new(1_800_000_000)?, SessionId::new(1)?);
//! let mut store = MemoryStore::default();
//! let policy = Policy {
//!     hour: Msat::new(1_000_000)?,
//!     day: Msat::new(4_000_000)?,
//!     peer: Msat::new(2_000_000)?,
//!     slice: Msat::new(100_000)?,
//! };
//! let record = BudgetRecord::load(&store)?;
//! let mut signer = MemorySigner::new(Seed::new([1; 32]), network, policy, record.as_ref(), &aux)?;
//! if record.is_none() {
//!     // A new machine: its owner says that nothing was spent today.
//!     signer.release_day_budget_without_record(now)?;
//! }
//!
//! let payer = signer.public(KeyName::Payer(index))?;
//! let output = FundingOutput::new(signer.context(), payer, base, Delay::new(144)?)?;
//! let outpoint = OutPoint::null();
//! let channel = Channel::new(outpoint, Sat::new(50_000)?, output, ChangeScript::Own)?;
//! let peer = PeerId::new(base);
//! signer.register(&channel, Role::Payer { index, peer, past: Past::New })?;
//! signer.open_session(peer, session, Msat::new(500_000)?)?;
//!
//! // The slice is durable before it is spent.
//! if let Some(next) = signer.reserve(now, None)? {
//!     let committed = next.commit(&mut store)?;
//!     signer.apply(committed)?;
//! }
//! let paid = Msat::new(1_500)?;
//! let signature = signer.sign(&Request::Voucher { channel: &channel, paid, session }, now, &aux)?;
//! let less = Request::Voucher { channel: &channel, paid: Msat::ZERO, session };
//! assert!(signer.sign(&less, now, &aux).is_err());
//! assert_eq!(signer.exposure(outpoint), Some(paid));
//! # let _ = signature;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

pub mod budget;
mod channel;
mod error;
mod exposure;
mod held;
mod memory;

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::secp256k1::schnorr::Signature;

pub use error::SignerError;
pub use exposure::Exposure;
pub use memory::{MemorySigner, Snapshot};

use crate::keys::Entropy;
use crate::tx::hold::{Held, HeldChecked, HoldSettlement, HoldSpend};
use crate::tx::{Channel, JointSpend, PayeeSpend, Refund, Settlement, VoucherChecked};
use crate::units::{Height, KeyIndex, Msat, SessionId, UtcSeconds};
use budget::{Ahead, Committed, Reservation};

/// What signs for one machine, as payer and as payee.
///
/// Every method but [`Self::reserve`] either does all that it says or refuses and changes nothing.
pub trait Signer {
    /// The x-only public key that `name` stands for.
    ///
    /// # Errors
    /// [`SignerError::Key`].
    fn public(&self, name: KeyName) -> Result<XOnlyPublicKey, SignerError>;

    /// Makes a channel known, so that it can be signed for: derives and caches its key pair.
    ///
    /// Registering a known channel with the same values again changes nothing. One that was
    /// forgotten goes on from where it was, whatever `role` says of its past.
    ///
    /// # Errors
    /// [`SignerError::WrongKey`] if the key is not in the channel's script,
    /// [`SignerError::TooManyChannels`], [`SignerError::AlreadyRegistered`] with other values;
    /// for a descendant [`SignerError::UnknownChannel`], [`SignerError::NotADescendant`],
    /// [`SignerError::AboveExposure`].
    fn register(&mut self, channel: &Channel, role: Role) -> Result<(), SignerError>;

    /// Takes up a payer's channel from the best voucher that the payee presented.
    ///
    /// The proof of our own signature is held against the registered channel, whatever it was made
    /// from. The floor only rises; an older voucher hurts nobody but the payee. Costs no budget:
    /// what it states was spent when it was signed.
    ///
    /// # Errors
    /// [`SignerError::UnknownChannel`], [`SignerError::OtherRole`], [`SignerError::Tx`] if the
    /// signature is of another channel.
    fn resume(&mut self, voucher: &VoucherChecked) -> Result<(), SignerError>;

    /// Takes up a payer's channel from the payee's best voucher where that one has open holds.
    ///
    /// The caller checked our own signature on it ([`Held::verify`]). As [`Self::resume`].
    ///
    /// # Errors
    /// [`SignerError::UnknownChannel`], [`SignerError::OtherChannel`], [`SignerError::OtherRole`].
    fn resume_held(&mut self, checked: &HeldChecked) -> Result<(), SignerError>;

    /// Takes over what the durable record of a payer's channel says of its holds: the exposure
    /// only rises.
    ///
    /// # Errors
    /// [`SignerError::UnknownChannel`], [`SignerError::OtherRole`].
    fn resume_exposure(
        &mut self,
        outpoint: OutPoint,
        exposure: &Exposure,
    ) -> Result<(), SignerError>;

    /// Forgets a channel, wiping its key pair. Call it when the outpoint's spend is buried, or when
    /// its funding can no longer confirm: then another outpoint of the script may be paid on.
    ///
    /// # Errors
    /// [`SignerError::UnknownChannel`].
    fn forget(&mut self, outpoint: OutPoint) -> Result<(), SignerError>;

    /// Signs what `request` asks for, or says why not.
    ///
    /// `now`: the caller's clock, never earlier than in a request signed before. `aux`: fresh
    /// random bytes (BIP340); zeros are safe too. Costs one digest, one signature and four
    /// look-ups.
    ///
    /// # Errors
    /// Every variant of [`SignerError`] is a refusal; the signer is as it was.
    fn sign(
        &mut self,
        request: &Request<'_>,
        now: UtcSeconds,
        aux: &Entropy,
    ) -> Result<Signature, SignerError>;

    /// Lets `session` with `peer` spend up to `budget` in its whole life, from the next reservation
    /// on. Opening an open one again with another budget changes that, never what was spent.
    ///
    /// # Errors
    /// [`SignerError::TooManySessions`], [`SignerError::TooManyPeers`],
    /// [`SignerError::RecordMissing`].
    fn open_session(
        &mut self,
        peer: PeerId,
        session: SessionId,
        budget: Msat,
    ) -> Result<(), SignerError>;

    /// Forgets a session that has ended; nothing more is spent in it.
    fn end_session(&mut self, peer: PeerId, session: SessionId);

    /// The next reservation, if a budget's open slice runs low at `now`, or if `ahead` exceeds it.
    ///
    /// Call it once a drain; it costs nothing while no slice is low. `ahead`: what the next payment
    /// needs, as [`SignerError::NeedsReservation`] said. Of several that were not applied only the
    /// newest can be. A signer with a memory of its own returns `None`.
    ///
    /// # Errors
    /// [`SignerError::ClockBackwards`].
    fn reserve(
        &mut self,
        now: UtcSeconds,
        ahead: Option<Ahead>,
    ) -> Result<Option<Reservation>, SignerError>;

    /// Opens the slices of a reservation that is durable now.
    ///
    /// # Errors
    /// [`SignerError::StaleReservation`] if a newer one was issued since.
    fn apply(&mut self, committed: Committed) -> Result<(), SignerError>;
}

/// Which public key of the signer is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyName {
    /// The payer's key of channels funded with this index.
    Payer(KeyIndex),
    /// The payee's base key, which its terms print.
    Base,
}

/// Who a payer pays: the payee's base key, serialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The peer that published `base`.
    #[must_use]
    pub fn new(base: XOnlyPublicKey) -> Self {
        Self(base.serialize())
    }

    /// The 32 bytes, for encoding.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// What the signer is in a channel, and what is known of its past signatures there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It pays.
    Payer {
        /// Which of the seed's payer keys the script holds.
        index: KeyIndex,
        /// Who is paid; its day's budget is spent.
        peer: PeerId,
        /// What may have been signed on the outpoint.
        past: Past,
    },
    /// It is paid.
    Payee {
        /// The largest `paid` that a payee's signature on this outpoint stated, from the channel's
        /// record; `None` if there never was one.
        stated: Option<Msat>,
    },
}

/// What may have been signed on a payer's outpoint before it was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing: it was just funded.
    New,
    /// Nothing: a rollover or top-up of the registered channel at `from` just made it.
    Descends {
        /// The outpoint that was spent.
        from: OutPoint,
        /// The part of that channel's exposure which moved here (the carried balance, or the
        /// rollover's `paid` mod 1000): it is not spent twice. More of it may move when a top-up
        /// is proposed again, and the channel at its outpoint is registered already.
        carried: Msat,
    },
    /// Nothing, by the payee's word; but it descends from a channel of which this signer, since its
    /// restart, may know nothing.
    Follows {
        /// The outpoint that was spent.
        from: OutPoint,
    },
    /// Anything, in an earlier life of this signer: [`Signer::resume`] comes first.
    Unknown {
        /// The outpoint that it descends from, if there is one and its spend is not buried.
        from: Option<OutPoint>,
    },
}

/// What is to be signed: always a template, of which the signer computes the digest.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Request<'a> {
    /// The payer's voucher.
    Voucher {
        /// The registered channel.
        channel: &'a Channel,
        /// The cumulative amount.
        paid: Msat,
        /// The session whose budget pays.
        session: SessionId,
    },
    /// The payer's voucher while holds are open.
    Held {
        /// The whole state, of the registered channel.
        held: &'a Held,
        /// The session whose budget pays, for what is held as for what is paid.
        session: SessionId,
        /// The tip's height: holds whose expiry is below it are at risk no more.
        tip: Height,
        /// The height at which the channel's output confirmed.
        confirmed: Option<Height>,
    },
    /// The payee's signature of a settlement with holds.
    HoldSettlement {
        /// The whole transaction.
        settlement: &'a HoldSettlement,
    },
    /// The payee's claim or the payer's timeout of one hold's output, in the role in which the
    /// channel is registered; resumed or not.
    HoldSpend {
        /// The registered channel whose settlement made the output.
        channel: &'a Channel,
        /// The transaction.
        spend: &'a HoldSpend,
    },
    /// The payee's spend of its own output of a settlement, in the channel's key: the child that
    /// raises its fee, or what brings the balance home.
    PayeeSpend {
        /// The registered channel that was settled.
        channel: &'a Channel,
        /// The transaction.
        spend: &'a PayeeSpend,
    },
    /// The payee's signature of one channel's input of a settlement.
    Settlement {
        /// The whole transaction.
        settlement: &'a Settlement,
        /// Which of its parts.
        index: usize,
    },
    /// The payer's refund after the delay; any registered outpoint, resumed or not.
    Refund {
        /// The transaction.
        refund: &'a Refund,
    },
    /// A cooperative close, in the role in which the channel is registered.
    Close {
        /// The transaction.
        spend: &'a JointSpend,
    },
    /// A top-up, in the role in which the channel is registered.
    TopUp {
        /// The transaction.
        spend: &'a JointSpend,
    },
    /// The payee's word, signed with its base key.
    Attest {
        /// What it is; decides the tag, so that one kind can never be taken for another.
        kind: Attest,
        /// Its encoding.
        bytes: &'a [u8],
    },
}

/// The kinds of statements that a payee signs with its base key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attest {
    /// A session's final statement; tag "millstream/statement".
    Statement,
    /// A receipt; tag "millstream/receipt".
    Receipt,
    /// What a pool counted of a worker's shares; tag "millstream/shares".
    Shares,
}

impl Attest {
    /// The tag of the kind's digest (BIP340's tagged hash over the encoding).
    pub const fn tag(self) -> &'static [u8] {
        match self {
            Self::Statement => b"millstream/statement",
            Self::Receipt => b"millstream/receipt",
            Self::Shares => b"millstream/shares",
        }
    }
}

#[cfg(test)]
mod tests;
