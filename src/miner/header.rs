//! The 80 bytes that are hashed.

use crate::sha256::{Engine, State, last_block};
use crate::units::{Target, TargetError};

use super::MinerError;

/// A block header, its numbers as numbers and its hashes in wire order.
///
/// Bitcoin's layout, all numbers little-endian:
///
/// | bytes | what |
/// | --- | --- |
/// | 0..4 | version |
/// | 4..36 | hash of the previous block |
/// | 36..68 | root of the block's transactions |
/// | 68..72 | time, seconds UTC |
/// | 72..76 | target in compact form |
/// | 76..80 | nonce |
///
/// ```
/// use millstream::miner::Header;
/// use millstream::sha256::Engine;
///
/// let header = Header { bits: 0x207f_ffff, ..Header::default() };
/// assert_eq!(Header::parse(&header.to_bytes())?, header);
/// let target = header.target()?;
/// assert!(!target.is_met_by(&[0xff; 32]) && target.is_met_by(&[0; 32]));
/// assert_ne!(header.hash(Engine::best()), [0; 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Header {
    /// The version with its rolled bits.
    pub version: u32,
    /// Hash of the previous block, as double SHA-256 gives it.
    pub previous: [u8; 32],
    /// Merkle root of the transactions, as double SHA-256 gives it.
    pub merkle_root: [u8; 32],
    /// Seconds since 1970-01-01 00:00 UTC.
    pub time: u32,
    /// The network's target in compact form (`nBits`).
    pub bits: u32,
    /// What is searched.
    pub nonce: u32,
}

impl Header {
    /// Bytes of a header.
    pub const BYTES: usize = 80;

    /// Reads a header that must be all of `bytes`.
    ///
    /// Any 80 bytes are a header; whether its target is one, [`Self::target`] says.
    ///
    /// # Errors
    /// [`MinerError::HeaderLength`] if there are not 80 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, MinerError> {
        match <&[u8; Self::BYTES]>::try_from(bytes) {
            Ok(bytes) => Ok(Self::from_bytes(bytes)),
            Err(_) => Err(MinerError::HeaderLength { got: bytes.len() }),
        }
    }

    /// Reads the 80 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut header = Self::default();
        let (version, rest) = halves(bytes);
        let (previous, rest) = halves(rest);
        let (root, rest) = halves(rest);
        let (time, rest) = halves(rest);
        let (bits, rest) = halves(rest);
        let (nonce, _) = halves(rest);
        header.version = u32::from_le_bytes(version);
        header.previous = previous;
        header.merkle_root = root;
        header.time = u32::from_le_bytes(time);
        header.bits = u32::from_le_bytes(bits);
        header.nonce = u32::from_le_bytes(nonce);
        header
    }

    /// The 80 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut rest = bytes.as_mut_slice();
        let fields: [&[u8]; 6] = [
            &self.version.to_le_bytes(),
            &self.previous,
            &self.merkle_root,
            &self.time.to_le_bytes(),
            &self.bits.to_le_bytes(),
            &self.nonce.to_le_bytes(),
        ];
        for field in fields {
            let Some((place, after)) = rest.split_at_mut_checked(field.len()) else { break };
            place.copy_from_slice(field);
            rest = after;
        }
        bytes
    }

    /// The block hash: double SHA-256, in wire order (its last byte counts most).
    #[must_use]
    pub fn hash(&self, engine: Engine) -> [u8; 32] {
        let bytes = self.to_bytes();
        let (blocks, rest) = bytes.as_chunks::<64>();
        let mut state = State::INITIAL;
        engine.absorb_one(&mut state, blocks);
        // 16 bytes, and then 32, leave room for the padding.
        engine.absorb_one(&mut state, last_block(80, rest).as_slice());
        let first = state.to_bytes();
        let mut state = State::INITIAL;
        engine.absorb_one(&mut state, last_block(32, &first).as_slice());
        state.to_bytes()
    }

    /// The target that makes a hash a block, from [`Self::bits`].
    ///
    /// # Errors
    /// What [`Target::from_compact`] refuses.
    pub fn target(&self) -> Result<Target, TargetError> {
        Target::from_compact(self.bits)
    }

    /// The part that the midstate of a search holds: the first 64 bytes.
    pub(super) fn first_block(&self) -> [u8; 64] {
        self.to_bytes().first_chunk().copied().unwrap_or([0; 64])
    }

    /// Bytes 64 to 75 as SHA-256 reads them: what no nonce changes of the second block.
    pub(super) fn tail(&self) -> [u32; 3] {
        let root = self.merkle_root.last_chunk().copied().unwrap_or_default();
        [u32::from_be_bytes(root), self.time.swap_bytes(), self.bits.swap_bytes()]
    }
}

/// The first `N` bytes and what is behind them; the callers' lengths add up.
fn halves<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    match bytes.split_first_chunk::<N>() {
        Some((chunk, rest)) => (*chunk, rest),
        None => ([0; N], &[]),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::{deserialize, serialize};
    use bitcoin::hashes::Hash;
    use bitcoin::hex::FromHex;
    use proptest::prelude::*;

    use super::*;

    /// Headers of mainnet with their heights and hashes. Source: the chain itself.
    const MAINNET: [(&str, &str); 3] = [
        (
            "010000000000000000000000000000000000000000000000000000000000000000000000\
             3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49\
             ffff001d1dac2b7c",
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        ),
        (
            "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000\
             982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649\
             ffff001d01e36299",
            "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
        ),
        (
            "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000\
             e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74d\
             f2b9441a42a14695",
            "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
        ),
    ];

    #[test]
    fn header_of_mainnet_has_its_hash_and_meets_its_target() {
        for (text, hash) in MAINNET {
            let header = Header::parse(&Vec::from_hex(text).unwrap()).unwrap();
            let mut found = header.hash(Engine::best());
            assert!(header.target().unwrap().is_met_by(&found));
            found.reverse();
            assert_eq!(found.to_vec(), Vec::from_hex(hash).unwrap());
        }
    }

    #[test]
    fn header_of_any_other_length_is_refused() {
        for got in [0, 79, 81] {
            assert_eq!(Header::parse(&vec![0; got]), Err(MinerError::HeaderLength { got }));
        }
    }

    proptest! {
        #[test]
        fn header_is_read_and_hashed_as_bitcoin_does(
            bytes: [u8; 32], more: [u8; 32], end: [u8; 16],
        ) {
            let text: [u8; 80] = [&bytes[..], &more, &end].concat().try_into().unwrap();
            let (ours, theirs) = (Header::from_bytes(&text), deserialize(&text).unwrap());
            let theirs: bitcoin::block::Header = theirs;
            prop_assert_eq!(ours.to_bytes(), text);
            prop_assert_eq!(serialize(&theirs), text);
            prop_assert_eq!(ours.hash(Engine::best()), theirs.block_hash().to_byte_array());
            let version = theirs.version.to_consensus().to_le_bytes();
            prop_assert_eq!(ours.version.to_le_bytes(), version);
            prop_assert_eq!(ours.previous, theirs.prev_blockhash.to_byte_array());
            prop_assert_eq!(ours.merkle_root, theirs.merkle_root.to_byte_array());
            prop_assert_eq!((ours.time, ours.nonce), (theirs.time, theirs.nonce));
            prop_assert_eq!(ours.bits, theirs.bits.to_consensus());
        }
    }
}
