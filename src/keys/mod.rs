//! Keys: one 32-byte seed, and every key that grows from it.
//!
//! ```text
//! Seed --payer_key(network, index)--> ChannelKey     signs vouchers and refunds of one channel
//!      --base_key(network)---------> BaseKey         printed in the payee's Terms
//!                                       | for_payer(payer key)
//!                                       v
//!                                    ChannelKey      signs settlements of one channel
//!      --backup_key(network)-------> BackupKey       encrypts the backups of a payer's channels
//! ```
//!
//! Every secret is `H_tag(seed || network || index || n)` with the tagged hash of BIP340, the tag
//! naming the role: `millstream/key/payer`, `millstream/key/base`, `millstream/key/backup`,
//! `millstream/key/coin`. `network` is one byte (0 mainnet, 1 testnet, 2 signet, 3 regtest, 4
//! testnet4), `index` four bytes and `n` one byte, big-endian; `n` counts up from 0 past the values
//! that are no secret key (each has a chance of 2^-128). All derivation is hardened in BIP32's
//! sense: no public key reveals another.
//!
//! Secrets are wiped when dropped (secp256k1's own copies by `non_secure_erase`), and have neither
//! `Debug` nor `Clone`. Signing takes the auxiliary randomness as an argument; the nonce is
//! BIP340's, from key, message and that randomness, never a counter.
//!
//! Rank 1. `tx` takes public keys from here, `signer` holds the secrets.

mod derive;
mod pair;

use bitcoin::secp256k1::{All, Secp256k1};

pub(crate) use derive::network_byte;
pub use derive::{BackupKey, BaseKey, Seed, payee_key, tagged_hash};
pub use pair::ChannelKey;

use crate::units::Blame;

/// Why no key came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are not an x-only public key (BIP340): no point has this x coordinate.
    #[error("not an x-only public key")]
    NotAPoint,
    /// The bytes are not a secret key: zero, or not below the group's order.
    #[error("not a secret key")]
    NotASecret,
    /// A tweak led to the point at infinity; nobody can find such a pair of keys on purpose.
    #[error("key and tweak cancel out")]
    Cancelled,
}

impl KeyError {
    /// Public keys come from the peer, secrets are ours; what cancels out is chance.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NotAPoint => Blame::Peer,
            Self::NotASecret => Blame::Us,
            Self::Cancelled => Blame::World,
        }
    }
}

/// Auxiliary randomness of one signature or of a context, 32 bytes, made by the caller.
///
/// Fresh random bytes protect against side channels; all zeros are still safe (BIP340, "Default
/// Signing"), and make signatures repeatable in tests.
#[derive(Clone, Copy)]
pub struct Entropy([u8; 32]);

impl Entropy {
    /// Takes 32 bytes as they are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// The curve's tables and blinding, made once per process and shared by reference.
///
/// Randomise it once at start: doing so at every operation doubles the cost of a signature.
#[derive(Debug)]
pub struct Context {
    secp: Secp256k1<All>,
}

impl Context {
    /// A context without blinding yet.
    pub fn new() -> Self {
        Self { secp: Secp256k1::new() }
    }

    /// Blinds secret-key operations with `entropy`; results stay the same.
    pub fn randomize(&mut self, entropy: &Entropy) {
        self.secp.seeded_randomize(entropy.as_bytes());
    }

    /// The context of libsecp256k1 itself.
    pub const fn secp(&self) -> &Secp256k1<All> {
        &self.secp
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
