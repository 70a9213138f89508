//! The messages of BOLT-1 itself: how two peers greet, warn, give up and keep a connection alive.
//!
//! Used by `rt` and `node` on every connection, before and beside the channels.

use alloc::vec::Vec;

use bitcoin::constants::ChainHash;

use super::field::{Field, codec};
use super::{Bytes, MESSAGE_MAX, Padding, PeerText, Reader, WireError};

/// 1,024: 8,192 feature bits; the specification has assigned fewer than 300.
pub const FEATURES_MAX: usize = 1_024;
/// 16: a machine serves one chain, or a few test chains.
pub const NETWORKS_MAX: usize = 16;
/// 65,499: what a frame leaves after type, channel id and length.
pub const TEXT_MAX: usize = MESSAGE_MAX - 36;
/// What a frame leaves for a ping's padding after type, wanted length and length.
const PING_PADDING_MAX: u16 = 65_529;
/// What a frame leaves for a pong's padding after type and length.
const PONG_PADDING_MAX: u16 = 65_531;

/// The first message of each side (type 16).
///
/// On the wire: length (2), global features, length (2), features; TLV 1: networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Init {
    /// The older feature field; combined with the other by OR.
    pub global_features: Bytes<FEATURES_MAX>,
    /// Feature bits, the lowest in the last byte.
    pub features: Bytes<FEATURES_MAX>,
    /// The chains that the sender serves; absent means that it does not say.
    pub networks: Option<Networks>,
}

impl Init {
    /// Whether the sender serves `chain`, or does not say.
    pub fn may_serve(&self, chain: ChainHash) -> bool {
        self.networks.as_ref().is_none_or(|networks| networks.as_slice().contains(&chain))
    }
}

codec! { Init = 16 { global_features, features } tlv { 1 => networks } }

/// Between 1 and [`NETWORKS_MAX`] chains, each named by the hash of its first block.
///
/// On the wire: 32 bytes each, to the end of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Vec<ChainHash>);

impl Networks {
    /// Checks the number of chains.
    pub fn new(chains: Vec<ChainHash>) -> Result<Self, WireError> {
        let (got, max) = (chains.len(), NETWORKS_MAX);
        if got > max {
            return Err(WireError::TooLong { what: "networks", got, max });
        }
        if chains.is_empty() {
            return Err(WireError::WrongLength { what: "networks", got });
        }
        Ok(Self(chains))
    }

    /// The chains.
    pub fn as_slice(&self) -> &[ChainHash] {
        &self.0
    }
}

impl Field for Networks {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|chain| chain.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        /// Bytes of one chain hash.
        const CHAIN: usize = 32;
        let bytes = from.take_rest();
        let (chains, rest) = bytes.as_chunks::<CHAIN>();
        if !rest.is_empty() {
            return Err(WireError::WrongLength { what: "networks", got: bytes.len() });
        }
        if chains.len() > NETWORKS_MAX {
            let got = chains.len();
            return Err(WireError::TooLong { what: "networks", got, max: NETWORKS_MAX });
        }
        Self::new(chains.iter().copied().map(ChainHash::from).collect())
    }
}

/// Something is wrong, and the connection goes on (type 1).
///
/// On the wire: channel id (32), length (2), text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerWarning {
    /// The channel that it is about; zeros: all of them.
    pub channel: [u8; 32],
    /// What is wrong, in the peer's words.
    pub text: PeerText,
}

codec! { PeerWarning = 1 { channel, text } }

/// Something is wrong, and the sender gives up (type 17).
///
/// On the wire: channel id (32), length (2), text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerError {
    /// The channel that it is about; zeros: all of them.
    pub channel: [u8; 32],
    /// What is wrong, in the peer's words.
    pub text: PeerText,
}

codec! { PeerError = 17 { channel, text } }

/// Are you there? (type 18)
///
/// On the wire: wanted (2), length (2), padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ping {
    /// Bytes of padding that the pong shall have; above 65,531 no pong is wanted.
    pub wanted: u16,
    /// Padding of the ping.
    pub padding: Padding<PING_PADDING_MAX>,
}

impl Ping {
    /// The answer, unless none is wanted.
    pub fn pong(&self) -> Option<Pong> {
        Padding::new(self.wanted).ok().map(|padding| Pong { padding })
    }
}

codec! { Ping = 18 { wanted, padding } }

/// I am (type 19).
///
/// On the wire: length (2), padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pong {
    /// Padding, as long as the ping asked for.
    pub padding: Padding<PONG_PADDING_MAX>,
}

codec! { Pong = 19 { padding } }
