//! Derivation of every key from one seed, and of a payee's channel keys from its base key.

use bitcoin::Network;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::{Scalar, XOnlyPublicKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{ChannelKey, Context, KeyError};
use crate::units::KeyIndex;

const PAYER_TAG: &[u8] = b"millstream/key/payer";
const BASE_TAG: &[u8] = b"millstream/key/base";
const BACKUP_TAG: &[u8] = b"millstream/key/backup";
const COIN_TAG: &[u8] = b"millstream/key/coin";
/// STREAM.md's name for it: the tweak that makes a payee's key of a base key and a payer key.
const PAYEE_TAG: &[u8] = b"millstream/stream/payee";

/// The 32 secret bytes that a machine's keys grow from. Whoever has them has its money.
#[expect(missing_debug_implementations, reason = "holds a secret")]
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Takes the bytes; they must come from a good source of randomness.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The payer's key pair number `index`; every channel has its own.
    ///
    /// # Errors
    /// [`KeyError::NotASecret`] in 1 of 2^32768 seeds.
    pub fn payer_key(
        &self,
        context: &Context,
        network: Network,
        index: KeyIndex,
    ) -> Result<ChannelKey, KeyError> {
        self.pair(context, PAYER_TAG, network, index.to_u32())
    }

    /// The payee's base key, which its `Terms` print.
    ///
    /// # Errors
    /// [`KeyError::NotASecret`] in 1 of 2^32768 seeds.
    pub fn base_key(&self, context: &Context, network: Network) -> Result<BaseKey, KeyError> {
        Ok(BaseKey { pair: self.pair(context, BASE_TAG, network, 0)? })
    }

    /// A key for on-chain coins (fee inputs, change) of a machine without another wallet.
    ///
    /// # Errors
    /// [`KeyError::NotASecret`] in 1 of 2^32768 seeds.
    pub fn coin_key(
        &self,
        context: &Context,
        network: Network,
        index: KeyIndex,
    ) -> Result<ChannelKey, KeyError> {
        self.pair(context, COIN_TAG, network, index.to_u32())
    }

    /// The key that encrypts backups of this seed's channels.
    #[must_use]
    pub fn backup_key(&self, network: Network) -> BackupKey {
        BackupKey(self.secret(BACKUP_TAG, network, 0, 0))
    }

    fn pair(
        &self,
        context: &Context,
        tag: &[u8],
        network: Network,
        index: u32,
    ) -> Result<ChannelKey, KeyError> {
        for n in 0..=u8::MAX {
            let mut secret = self.secret(tag, network, index, n);
            let pair = ChannelKey::from_secret(context, &secret);
            secret.zeroize();
            if pair.is_ok() {
                return pair;
            }
        }
        Err(KeyError::NotASecret)
    }

    fn secret(&self, tag: &[u8], network: Network, index: u32, n: u8) -> [u8; 32] {
        tagged_hash(tag, &[&self.0, &[network_byte(network)], &index.to_be_bytes(), &[n]])
    }
}

/// A payee's base key pair: one printed code serves every payer.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct BaseKey {
    pair: ChannelKey,
}

impl BaseKey {
    /// The pair of a secret that was made elsewhere.
    ///
    /// # Errors
    /// [`KeyError::NotASecret`] for zero and for values not below the group's order.
    pub fn from_secret(context: &Context, secret: &[u8; 32]) -> Result<Self, KeyError> {
        ChannelKey::from_secret(context, secret).map(|pair| Self { pair })
    }

    /// The x-only public key that the payee publishes.
    pub const fn public(&self) -> XOnlyPublicKey {
        self.pair.public()
    }

    /// The pair itself, which signs receipts and statements (under tags of their own).
    pub const fn pair(&self) -> &ChannelKey {
        &self.pair
    }

    /// The payee's key pair for the channel of `payer`; its public key is [`payee_key`].
    ///
    /// # Errors
    /// [`KeyError::Cancelled`], which nobody can provoke.
    pub fn for_payer(
        &self,
        context: &Context,
        payer: XOnlyPublicKey,
    ) -> Result<ChannelKey, KeyError> {
        self.pair.tweaked(context, payee_tweak(self.public(), payer))
    }
}

/// Encrypts the backups of a payer's channels; wiped when dropped.
#[expect(missing_debug_implementations, reason = "holds a secret")]
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BackupKey([u8; 32]);

impl BackupKey {
    /// The secret bytes, for the cipher.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The payee's x-only key in the channel of `payer`: `base`, lifted to even Y, plus t times the
/// generator, t = tagged hash("millstream/stream/payee", base || payer).
///
/// Channels of one payee cannot be linked on chain, and nothing is asked of the payee.
///
/// # Errors
/// [`KeyError::Cancelled`], which nobody can provoke.
pub fn payee_key(
    context: &Context,
    base: XOnlyPublicKey,
    payer: XOnlyPublicKey,
) -> Result<XOnlyPublicKey, KeyError> {
    let tweak = Scalar::from_be_bytes(payee_tweak(base, payer)).map_err(|_| KeyError::Cancelled)?;
    base.add_tweak(context.secp(), &tweak).map(|(key, _)| key).map_err(|_| KeyError::Cancelled)
}

fn payee_tweak(base: XOnlyPublicKey, payer: XOnlyPublicKey) -> [u8; 32] {
    tagged_hash(PAYEE_TAG, &[&base.serialize(), &payer.serialize()])
}

/// BIP340's tagged hash of `parts` one after the other.
#[must_use]
pub fn tagged_hash(tag: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let tag = sha256::Hash::hash(tag);
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    for part in parts {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// Which network a key is for, as one byte. `bitcoin` may learn networks that this crate does not
/// know; they share regtest's byte, which guards no money.
pub(crate) const fn network_byte(network: Network) -> u8 {
    match network {
        Network::Bitcoin => 0,
        Network::Testnet => 1,
        Network::Signet => 2,
        Network::Testnet4 => 4,
        Network::Regtest => 3,
    }
}
