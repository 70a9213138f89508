//! Fixed layouts: numbers big-endian, one after the other, for terms, backups and records.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{Network, OutPoint, ScriptBuf, Txid};

use crate::store::{Key, StoreError};
use crate::tx::{ChangeScript, WalletScript};
use crate::units::{Height, Msat, Sat};

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn sat(&mut self, value: Sat) {
        self.u64(value.to_sat());
    }

    pub(super) fn msat(&mut self, value: Msat) {
        self.u64(value.to_msat());
    }

    pub(super) fn outpoint(&mut self, outpoint: OutPoint) {
        self.bytes(outpoint.txid.as_byte_array());
        self.u32(outpoint.vout);
    }

    /// A height, or 0xffffffff (which is no height) for none.
    pub(super) fn height(&mut self, height: Option<Height>) {
        self.u32(height.map_or(u32::MAX, Height::to_u32));
    }

    /// 0, or 1 and the amount.
    pub(super) fn optional_msat(&mut self, value: Option<Msat>) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            self.msat(value);
        }
    }

    /// One byte of length (0 for the channel's own script), then the script.
    pub(super) fn change(&mut self, change: &ChangeScript) {
        match change {
            ChangeScript::Own => self.u8(0),
            ChangeScript::Wallet(script) => {
                let bytes = script.as_script().as_bytes();
                // A wallet script is a witness program: 22 or 34 bytes.
                self.u8(u8::try_from(bytes.len()).unwrap_or(0));
                self.bytes(bytes);
            }
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off the front of a slice; `None` as soon as one is missing or out of range.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, length: bytes.len() }
    }

    /// How far reading has come.
    pub(super) const fn at(&self) -> usize {
        self.length.saturating_sub(self.left.len())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, left) = self.left.split_first_chunk::<N>()?;
        self.left = left;
        Some(taken)
    }

    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(length)?;
        self.left = left;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(super) fn sat(&mut self) -> Option<Sat> {
        Sat::new(self.u64()?).ok()
    }

    pub(super) fn msat(&mut self) -> Option<Msat> {
        Msat::new(self.u64()?).ok()
    }

    pub(super) fn key(&mut self) -> Option<XOnlyPublicKey> {
        XOnlyPublicKey::from_slice(self.array::<32>()?).ok()
    }

    pub(super) fn outpoint(&mut self) -> Option<OutPoint> {
        let txid = Txid::from_byte_array(*self.array::<32>()?);
        Some(OutPoint { txid, vout: self.u32()? })
    }

    #[expect(clippy::option_option, reason = "outside: is it there; inside: is it confirmed")]
    pub(super) fn height(&mut self) -> Option<Option<Height>> {
        match self.u32()? {
            u32::MAX => Some(None),
            height => Height::new(height).ok().map(Some),
        }
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    #[expect(clippy::option_option, reason = "outside: is it there; inside: is it stated")]
    pub(super) fn optional_msat(&mut self) -> Option<Option<Msat>> {
        if self.flag()? { self.msat().map(Some) } else { Some(None) }
    }

    pub(super) fn change(&mut self) -> Option<ChangeScript> {
        match self.u8()? {
            0 => Some(ChangeScript::Own),
            length => {
                let script = ScriptBuf::from(self.slice(usize::from(length))?.to_vec());
                WalletScript::parse(script).ok().map(ChangeScript::Wallet)
            }
        }
    }
}

/// The network of the byte that terms and backups state.
pub(super) const fn network_from(byte: u8) -> Option<Network> {
    match byte {
        0 => Some(Network::Bitcoin),
        1 => Some(Network::Testnet),
        2 => Some(Network::Signet),
        3 => Some(Network::Regtest),
        4 => Some(Network::Testnet4),
        _ => None,
    }
}

/// The store key of a channel: its room's byte and its outpoint.
pub(super) fn outpoint_key(room: u8, outpoint: OutPoint) -> Result<Key, StoreError> {
    let mut bytes = [room; 37];
    if let Some((_, rest)) = bytes.split_first_mut()
        && let Some((txid, vout)) = rest.split_first_chunk_mut::<32>()
    {
        *txid = outpoint.txid.to_byte_array();
        vout.copy_from_slice(&outpoint.vout.to_be_bytes());
    }
    Key::new(&bytes)
}
