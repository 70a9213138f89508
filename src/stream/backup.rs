//! The payer's one backup of a channel: what the seed alone cannot rebuild.

use alloc::vec::Vec;

use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{Network, OutPoint};
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};

use super::bytes::{Reader, Writer, network_from};
use crate::keys::{BackupKey, Context, Seed, network_byte, tagged_hash};
use crate::tx::{Delay, FundingOutput, TxError};
use crate::units::{Blame, KeyIndex};

/// The only version there is; the first byte, in clear.
const VERSION: u8 = 1;
/// The tag of the nonce, which is a hash of what is encrypted (so it needs no randomness, and two
/// backups share it only if they are equal).
const NONCE_TAG: &[u8] = b"millstream/backup/nonce";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Key index, base key, delay, hash of the terms, outpoint.
const PLAIN_BYTES: usize = 4 + 32 + 2 + 32 + 36;

/// What rebuilds a channel's refund leaf together with the seed. Durable before the funding is
/// broadcast, written once.
///
/// | bytes | field |
/// | --- | --- |
/// | 1 + 1 | version 1, network, in clear (and authenticated) |
/// | 12 | nonce: first bytes of tagged hash("millstream/backup/nonce", key || plain text) |
/// | 106 | encrypted: key index, base key, delay, hash of the terms, outpoint (a hint) |
/// | 16 | authentication tag of ChaCha20-Poly1305 (RFC 8439) under the seed's backup key |
///
/// 136 bytes; may be handed to anyone. The outpoint is only a hint: after a replaced funding
/// transaction or a rollover the coin is found by its script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The network that the channel's keys are for.
    pub network: Network,
    /// Which of the seed's payer keys.
    pub index: KeyIndex,
    /// The payee's base key.
    pub base: XOnlyPublicKey,
    /// The refund's delay.
    pub delay: Delay,
    /// The hash of the payee's terms.
    pub terms: [u8; 32],
    /// Where the coin was when the backup was made.
    pub outpoint: OutPoint,
}

/// Why a backup cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Too short, too long, or a value out of range behind a valid tag.
    #[error("backup of {got} bytes is malformed")]
    Malformed {
        /// Its length.
        got: usize,
    },
    /// A version that this release does not know.
    #[error("backup of version {got}; this release reads version 1")]
    UnknownVersion {
        /// The version.
        got: u8,
    },
    /// A backup of another network.
    #[error("backup of network {got}, not {want}")]
    WrongNetwork {
        /// The network that was asked for.
        want: Network,
        /// The backup's.
        got: Network,
    },
    /// Another seed's backup, or changed bytes.
    #[error("backup does not open: it is of another seed, or was changed")]
    NotAuthentic,
}

impl BackupError {
    /// Ours: a backup comes from where its owner kept it.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. }
            | Self::UnknownVersion { .. }
            | Self::WrongNetwork { .. }
            | Self::NotAuthentic => Blame::Us,
        }
    }
}

impl Backup {
    /// The length of an encrypted backup in bytes.
    pub const BYTES: usize = 2 + NONCE_BYTES + PLAIN_BYTES + TAG_BYTES;

    /// Encrypts under the seed's backup key.
    #[must_use]
    pub fn seal(&self, key: &BackupKey) -> Vec<u8> {
        let mut plain = Writer::default();
        plain.u32(self.index.to_u32());
        plain.bytes(&self.base.serialize());
        plain.u16(self.delay.to_u16());
        plain.bytes(&self.terms);
        plain.outpoint(self.outpoint);
        let mut body = plain.finish();

        let head = [VERSION, network_byte(self.network)];
        let hash = tagged_hash(NONCE_TAG, &[key.as_bytes(), &head, &body]);
        let nonce = hash.first_chunk::<NONCE_BYTES>().copied().unwrap_or_default();
        // Fails only for messages of 2^38 bytes; an empty tag would not open.
        let tag = cipher(key)
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), &head, &mut body)
            .unwrap_or_default();
        [&head[..], &nonce, &body, tag.as_slice()].concat()
    }

    /// Decrypts a backup of `seed` for `network`.
    ///
    /// # Errors
    /// Every [`BackupError`].
    pub fn open(bytes: &[u8], seed: &Seed, network: Network) -> Result<Self, BackupError> {
        let malformed = BackupError::Malformed { got: bytes.len() };
        let mut r = Reader::new(bytes);
        match r.u8().ok_or(malformed)? {
            VERSION => {}
            got => return Err(BackupError::UnknownVersion { got }),
        }
        let got = r.u8().and_then(network_from).ok_or(malformed)?;
        if got != network {
            return Err(BackupError::WrongNetwork { want: network, got });
        }
        let nonce = r.array::<NONCE_BYTES>().ok_or(malformed)?;
        let mut body = *r.array::<PLAIN_BYTES>().ok_or(malformed)?;
        let tag = r.array::<TAG_BYTES>().ok_or(malformed)?;
        if !r.is_empty() {
            return Err(malformed);
        }
        cipher(&seed.backup_key(network))
            .decrypt_in_place_detached(
                Nonce::from_slice(nonce),
                &[VERSION, network_byte(network)],
                &mut body,
                Tag::from_slice(tag),
            )
            .map_err(|_| BackupError::NotAuthentic)?;
        Self::read(&mut Reader::new(&body), network).ok_or(malformed)
    }

    fn read(r: &mut Reader<'_>, network: Network) -> Option<Self> {
        Some(Self {
            network,
            index: KeyIndex::new(r.u32()?).ok()?,
            base: r.key()?,
            delay: Delay::new(r.u16()?).ok()?,
            terms: *r.array::<32>()?,
            outpoint: r.outpoint()?,
        })
    }

    /// The channel's output, whose script finds the coin on the chain.
    ///
    /// # Errors
    /// [`TxError::Key`], which nobody can provoke.
    pub fn output(&self, context: &Context, seed: &Seed) -> Result<FundingOutput, TxError> {
        let payer = seed.payer_key(context, self.network, self.index)?;
        FundingOutput::new(context, payer.public(), self.base, self.delay)
    }
}

fn cipher(key: &BackupKey) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
}
