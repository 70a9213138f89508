//! Terms: what a payee publishes, and what a payer needs to open a channel without asking.

use alloc::string::String;
use alloc::vec::Vec;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use bitcoin::Network;
use bitcoin::secp256k1::XOnlyPublicKey;

use super::bytes::{Reader, Writer, network_from};
use crate::keys::{network_byte, tagged_hash};
use crate::tx::{Delay, TxError};
use crate::units::{Blame, Blocks, Msat, Sat, UtcSeconds};

/// The text form's human-readable part.
const HRP: &str = "mill";
/// The tag of [`Terms::hash`].
const TAG: &[u8] = b"millstream/terms";
/// The only version there is.
const VERSION: u8 = 1;
/// Deeper than any business needs, and far below the shortest useful delay.
const DEPTH_MAX: u16 = 1_000;

/// What a payee offers to every payer: printed as a QR code, or sent by a beacon.
///
/// | bytes | field, numbers big-endian |
/// | --- | --- |
/// | 1 + 1 | version 1, network (0 mainnet, 1 testnet, 2 signet, 3 regtest, 4 testnet4) |
/// | 32 | payee's base key, x-only |
/// | 2 + 2 | smallest and largest delay, blocks |
/// | 8 + 8 | smallest and largest capacity, sat |
/// | 2 + 2 | confirmation depth, settle margin, blocks |
/// | 8 | zero-conf limit, sat |
/// | 2 + 4 + 4 + 1 | holds: k in blocks, agreed fee in sat, dust in sat, count |
/// | 32 | tariff hash |
/// | 8 + 8 | credit, prepay, msat |
/// | 8 | expiry, seconds UTC |
///
/// 133 bytes. The text form is Bech32m (BIP350) with the prefix `mill`: 224 characters, which in
/// capitals fit a QR code of version 9.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// The chain that the channel lives on.
    pub network: Network,
    /// The payee's base key.
    pub base: XOnlyPublicKey,
    /// The refund delays that the payee accepts, smallest and largest.
    pub delay: (Delay, Delay),
    /// The capacities that the payee accepts, smallest and largest.
    pub capacity: (Sat, Sat),
    /// How deep an output must be buried before its vouchers count; also when a spend is final.
    pub confirmation_depth: Blocks,
    /// How many blocks before the deadline a settlement must be confirmed.
    pub settle_margin: Blocks,
    /// What the payee accepts on an output that is not that deep yet.
    pub zero_conf_limit: Sat,
    /// Rules for conditional payments.
    pub holds: HoldRules,
    /// Which tariff the payee sells by; zeros if it has none.
    pub tariff: [u8; 32],
    /// How much unpaid service the payee gives.
    pub credit: Msat,
    /// How much the payer may be ahead.
    pub prepay: Msat,
    /// Until when the offer stands.
    pub expiry: UtcSeconds,
}

/// A payee's rules for conditional payments (holds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldRules {
    /// The claim's relative lock in blocks, 2 ..= 65,535; 0 if the payee takes no holds.
    pub k: u16,
    /// The fee of a whole settlement with holds, agreed in advance.
    pub fee: Sat,
    /// The smallest hold.
    pub dust: Sat,
    /// The most holds open at once.
    pub count: u8,
}

impl HoldRules {
    /// A payee that takes no holds.
    pub const NONE: Self = Self { k: 0, fee: Sat::ZERO, dust: Sat::ZERO, count: 0 };

    /// Either no holds at all, or some with a lock of two blocks or more; fee and dust are four
    /// bytes in the encoding.
    fn check(self) -> Result<(), TermsError> {
        let Self { k, fee, dust, count } = self;
        let fits = |sat: Sat| u32::try_from(sat.to_sat()).is_ok();
        let kept = (count == 0 && k == 0) || (count > 0 && k >= 2);
        if kept && fits(fee) && fits(dust) {
            Ok(())
        } else {
            Err(TermsError::Holds { count, k, fee, dust })
        }
    }
}

/// Why terms cannot be read, or contradict themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// The bytes or the text are too short, too long or hold a value out of range.
    #[error("terms are malformed at byte {at}")]
    Malformed {
        /// Where reading stopped.
        at: usize,
    },
    /// A version that this release does not know.
    #[error("terms of version {got}; this release reads version 1")]
    UnknownVersion {
        /// The version.
        got: u8,
    },
    /// The text is not Bech32m, or its prefix is another's.
    #[error("text is not Bech32m with the prefix mill")]
    NotText,
    /// A smallest value is above its largest.
    #[error("{what} starts at {from}, above its end {to}")]
    EmptyRange {
        /// Which range.
        what: &'static str,
        /// Its start.
        from: u64,
        /// Its end.
        to: u64,
    },
    /// The smallest delay leaves no time between confirmation and the settle margin.
    #[error("delay of {delay} is not above depth {depth} and settle margin {margin}")]
    DelayTooShort {
        /// The smallest delay in blocks.
        delay: u16,
        /// The confirmation depth.
        depth: Blocks,
        /// The settle margin.
        margin: Blocks,
    },
    /// A settlement must have time to be buried.
    #[error("settle margin of {margin} is not above the confirmation depth {depth}")]
    MarginTooShort {
        /// The settle margin.
        margin: Blocks,
        /// The confirmation depth.
        depth: Blocks,
    },
    /// Rules for holds that no hold could keep.
    #[error("holds of {count} with k of {k} blocks, fee of {fee} and dust of {dust}")]
    Holds {
        /// How many.
        count: u8,
        /// The claim's relative lock.
        k: u16,
        /// The agreed fee.
        fee: Sat,
        /// The smallest hold.
        dust: Sat,
    },
    /// A depth of zero would count outputs that nobody mined.
    #[error("confirmation depth of {got} is outside 1..={max}")]
    Depth {
        /// What was asked.
        got: Blocks,
        /// The largest.
        max: u16,
    },
}

impl TermsError {
    /// The payee's, who writes them: the peer as a payer reads them.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. }
            | Self::UnknownVersion { .. }
            | Self::NotText
            | Self::EmptyRange { .. }
            | Self::DelayTooShort { .. }
            | Self::MarginTooShort { .. }
            | Self::Holds { .. }
            | Self::Depth { .. } => Blame::Peer,
        }
    }
}

impl Terms {
    /// Terms of the payee with this base key, to be adjusted field by field.
    ///
    /// Delays of a day to four weeks (144 to 4,032 blocks), capacities of 10,000 sat to 0.1
    /// bitcoin, depth 6, settle margin 36 blocks, nothing on shallow outputs, no holds, no tariff,
    /// no credit, no prepayment, standing for ever.
    ///
    /// # Errors
    /// None: the values are in range.
    pub fn new(network: Network, base: XOnlyPublicKey) -> Result<Self, TxError> {
        Ok(Self {
            network,
            base,
            delay: (Delay::new(144)?, Delay::new(4_032)?),
            capacity: (Sat::new(10_000)?, Sat::new(10_000_000)?),
            confirmation_depth: Blocks::new(6)?,
            settle_margin: Blocks::new(36)?,
            zero_conf_limit: Sat::ZERO,
            holds: HoldRules::NONE,
            tariff: [0; 32],
            credit: Msat::ZERO,
            prepay: Msat::ZERO,
            expiry: UtcSeconds::MAX,
        })
    }

    /// The canonical bytes, 133.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(VERSION);
        w.u8(network_byte(self.network));
        w.bytes(&self.base.serialize());
        w.u16(self.delay.0.to_u16());
        w.u16(self.delay.1.to_u16());
        w.u64(self.capacity.0.to_sat());
        w.u64(self.capacity.1.to_sat());
        w.u16(narrow(self.confirmation_depth));
        w.u16(narrow(self.settle_margin));
        w.u64(self.zero_conf_limit.to_sat());
        self.holds.write(&mut w);
        w.bytes(&self.tariff);
        w.u64(self.credit.to_msat());
        w.u64(self.prepay.to_msat());
        w.u64(self.expiry.to_u64());
        w.finish()
    }

    /// Reads the canonical bytes, and checks that the terms do not contradict themselves.
    ///
    /// # Errors
    /// Every [`TermsError`] but [`TermsError::NotText`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TermsError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&got) => return Err(TermsError::UnknownVersion { got }),
            None => return Err(TermsError::Malformed { at: 0 }),
        }
        let mut r = Reader::new(bytes);
        let terms = Self::read(&mut r).ok_or(TermsError::Malformed { at: r.at() })?;
        if !r.is_empty() {
            return Err(TermsError::Malformed { at: r.at() });
        }
        terms.check()?;
        Ok(terms)
    }

    fn read(r: &mut Reader<'_>) -> Option<Self> {
        r.u8()?;
        Some(Self {
            network: network_from(r.u8()?)?,
            base: XOnlyPublicKey::from_slice(r.array::<32>()?.as_slice()).ok()?,
            delay: (Delay::new(r.u16()?).ok()?, Delay::new(r.u16()?).ok()?),
            capacity: (Sat::new(r.u64()?).ok()?, Sat::new(r.u64()?).ok()?),
            confirmation_depth: Blocks::new(u32::from(r.u16()?)).ok()?,
            settle_margin: Blocks::new(u32::from(r.u16()?)).ok()?,
            zero_conf_limit: Sat::new(r.u64()?).ok()?,
            holds: HoldRules::read(r)?,
            tariff: *r.array::<32>()?,
            credit: Msat::new(r.u64()?).ok()?,
            prepay: Msat::new(r.u64()?).ok()?,
            expiry: UtcSeconds::new(r.u64()?).ok()?,
        })
    }

    /// Checks that the terms do not contradict themselves; the machines call it on opening.
    ///
    /// # Errors
    /// [`TermsError::EmptyRange`], [`TermsError::Depth`], [`TermsError::MarginTooShort`],
    /// [`TermsError::DelayTooShort`], [`TermsError::Holds`].
    pub fn check(&self) -> Result<(), TermsError> {
        let (from, to) = (self.delay.0.to_u16(), self.delay.1.to_u16());
        if from > to {
            return Err(TermsError::EmptyRange { what: "delay", from: from.into(), to: to.into() });
        }
        let (least, most) = (self.capacity.0.to_sat(), self.capacity.1.to_sat());
        if least > most {
            return Err(TermsError::EmptyRange { what: "capacity", from: least, to: most });
        }
        let (depth, margin) = (self.confirmation_depth, self.settle_margin);
        if depth.to_u32() == 0 || depth.to_u32() > u32::from(DEPTH_MAX) {
            return Err(TermsError::Depth { got: depth, max: DEPTH_MAX });
        }
        if margin <= depth {
            return Err(TermsError::MarginTooShort { margin, depth });
        }
        self.holds.check()?;
        if self.delay.0.to_blocks() <= depth.saturating_add(margin) {
            return Err(TermsError::DelayTooShort { delay: from, depth, margin });
        }
        Ok(())
    }

    /// The text form, in capitals so that a QR code packs it densely.
    #[must_use]
    pub fn to_text(&self) -> String {
        // 133 bytes are below Bech32m's limit of 1023 characters, so encoding cannot fail.
        bech32::encode_upper::<Bech32m>(Hrp::parse_unchecked(HRP), &self.encode())
            .unwrap_or_default()
    }

    /// Reads the text form, in capitals or not.
    ///
    /// # Errors
    /// As [`Self::parse`]; [`TermsError::NotText`].
    pub fn from_text(text: &str) -> Result<Self, TermsError> {
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| TermsError::NotText)?;
        if checked.hrp() != Hrp::parse_unchecked(HRP) {
            return Err(TermsError::NotText);
        }
        let terms = Self::parse(&checked.byte_iter().collect::<Vec<u8>>())?;
        // One text for one offer: the padding bit could be set.
        if terms.to_text().eq_ignore_ascii_case(text) {
            Ok(terms)
        } else {
            Err(TermsError::NotText)
        }
    }

    /// The hash that names these terms: tagged hash("millstream/terms", bytes).
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        tagged_hash(TAG, &[&self.encode()])
    }

    /// The height from which on new vouchers of an output confirmed at `confirmed` are refused.
    #[must_use]
    pub fn last_call(&self, confirmed: crate::units::Height, delay: Delay) -> crate::units::Height {
        confirmed.saturating_after(delay.to_blocks()).saturating_before(self.settle_margin)
    }
}

/// Depths and margins in terms are two bytes; larger ones say the largest.
fn narrow(blocks: Blocks) -> u16 {
    u16::try_from(blocks.to_u32()).unwrap_or(u16::MAX)
}
