//! The durable record of the budgets, and the proof that one is durable.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::super::{PeerId, SignerError};
use super::window::{Slice, Window};
use super::{PEERS_MAX, SESSIONS_MAX};
use crate::store::{Batch, Durability, Key, Store, StoreError, envelope};
use crate::units::{Msat, SessionId, UtcSeconds};

/// `store`'s byte of this room, and the only record that it has.
const KEY: [u8; 2] = [0x02, 0x01];
/// The format that is written and read.
const VERSION: u8 = 1;

/// What is reserved of every budget: the whole durable state of a signer.
///
/// Version 1, in `store`'s envelope under the key `02 01`; numbers are little-endian:
///
/// | bytes | field |
/// | --- | --- |
/// | 8 | serial number of the reservation |
/// | 8 | the clock when it was made, UTC seconds |
/// | 24 | hour: its index, msat reserved of it, msat reserved of the next |
/// | 24 | day: the same |
/// | 2 + 2 | how many peers, how many sessions |
/// | 56 each | peer in ascending order: base key (32), its day as above |
/// | 56 each | session in ascending order: base key (32), id, msat budget, msat reserved |
///
/// 68 bytes, and 112 more for one session with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetRecord {
    pub(super) serial: u64,
    pub(super) clock: UtcSeconds,
    pub(super) hour: WindowEntry,
    pub(super) day: WindowEntry,
    pub(super) peers: BTreeMap<PeerId, WindowEntry>,
    pub(super) sessions: BTreeMap<(PeerId, SessionId), SessionEntry>,
}

/// One window's part of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowEntry {
    pub(super) index: u64,
    pub(super) reserved: Msat,
    pub(super) next: Msat,
}

impl WindowEntry {
    pub(super) const fn spent(self) -> Window {
        Window {
            index: self.index,
            current: Slice::spent(self.reserved),
            next: Slice::spent(self.next),
        }
    }
}

/// One session's part of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionEntry {
    pub(super) limit: Msat,
    pub(super) reserved: Msat,
}

impl BudgetRecord {
    /// The record that `store` holds, or `None` if it holds none: then the day counts as used.
    ///
    /// # Errors
    /// [`SignerError::Store`] for a store that fails, a record that rotted, or one of an unknown
    /// version; [`SignerError::BadRecord`].
    pub fn load(store: &dyn Store) -> Result<Option<Self>, SignerError> {
        let key = Key::new(&KEY)?;
        let Some(record) = store.get(&key)? else { return Ok(None) };
        Self::decode(envelope::open(&key, VERSION, &record)?).map(Some)
    }

    /// Encodes the body; the envelope with version and checksum comes around it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &[self.serial, self.clock.to_u64()]);
        put_window(&mut out, &self.hour);
        put_window(&mut out, &self.day);
        // Both lists are bounded by 512 where they are made and where they are read.
        for count in [self.peers.len(), self.sessions.len()] {
            out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
        }
        for (peer, window) in &self.peers {
            out.extend_from_slice(peer.as_bytes());
            put_window(&mut out, window);
        }
        for ((peer, session), entry) in &self.sessions {
            out.extend_from_slice(peer.as_bytes());
            let numbers = [session.to_u64(), entry.limit.to_msat(), entry.reserved.to_msat()];
            put(&mut out, &numbers);
        }
        out
    }

    /// Decodes a body; nothing may follow it.
    ///
    /// # Errors
    /// [`SignerError::BadRecord`] with the field's name.
    pub fn decode(body: &[u8]) -> Result<Self, SignerError> {
        let mut reader = Reader(body);
        let serial = reader.number("serial")?;
        let clock = UtcSeconds::new(reader.number("clock")?);
        let clock = clock.map_err(|_| SignerError::BadRecord { field: "clock" })?;
        let (hour, day) = (reader.window("hour")?, reader.window("day")?);
        let peer_count = reader.count("peer count", PEERS_MAX)?;
        let session_count = reader.count("session count", SESSIONS_MAX)?;
        let mut peers = BTreeMap::new();
        for _ in 0..peer_count {
            let peer = PeerId::from_bytes(reader.array("peer")?);
            // Ascending, so that one state has one encoding.
            if peers.last_key_value().is_some_and(|(last, _)| *last >= peer) {
                return Err(SignerError::BadRecord { field: "order of peers" });
            }
            peers.insert(peer, reader.window("peer's day")?);
        }
        let mut sessions = BTreeMap::new();
        for _ in 0..session_count {
            let peer = PeerId::from_bytes(reader.array("session's peer")?);
            let id = SessionId::new(reader.number("session")?);
            let id = (peer, id.map_err(|_| SignerError::BadRecord { field: "session" })?);
            if sessions.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(SignerError::BadRecord { field: "order of sessions" });
            }
            if !peers.contains_key(&peer) {
                return Err(SignerError::BadRecord { field: "session's peer" });
            }
            let limit = reader.msat("session's budget")?;
            sessions.insert(id, SessionEntry { limit, reserved: reader.msat("reserved")? });
        }
        if !reader.0.is_empty() {
            return Err(SignerError::BadRecord { field: "length" });
        }
        Ok(Self { serial, clock, hour, day, peers, sessions })
    }

    /// The latest time at which the signer is known to have lived.
    pub const fn clock(&self) -> UtcSeconds {
        self.clock
    }
}

/// A record that must be durable before its slices are used.
///
/// Either [`Self::commit`], or [`Self::stage`] into the batch of a drain: both end in the only
/// value that [`super::super::Signer::apply`] takes. Dropping it is safe: the next one covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "payments stop when the open slices are used up"]
pub struct Reservation {
    record: BudgetRecord,
}

impl Reservation {
    pub(super) const fn new(record: BudgetRecord) -> Self {
        Self { record }
    }

    /// Makes it durable at once, in a commit of its own.
    ///
    /// # Errors
    /// [`StoreError`] as the store says; no slice opens.
    pub fn commit(self, store: &mut dyn Store) -> Result<Committed, StoreError> {
        let mut batch = Batch::default();
        let staged = self.stage(&mut batch)?;
        store.commit(&batch, Durability::Barrier)?;
        Ok(staged.after_barrier())
    }

    /// Adds it to a drain's batch.
    ///
    /// # Errors
    /// [`StoreError`] if the batch is full; it is as it was.
    pub fn stage(self, batch: &mut Batch) -> Result<Staged, StoreError> {
        let key = Key::new(&KEY)?;
        batch.put(key, &envelope::seal(&key, VERSION, &self.record.encode()))?;
        Ok(Staged { record: self.record })
    }

    /// The record.
    pub const fn record(&self) -> &BudgetRecord {
        &self.record
    }
}

/// A record that stands in a batch and is not durable yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "payments stop when the open slices are used up"]
pub struct Staged {
    record: BudgetRecord,
}

impl Staged {
    /// Says that the batch was committed with a barrier. P4: only the driver's answer to that
    /// commit may lead here; after a failed one drop this value.
    pub fn after_barrier(self) -> Committed {
        Committed { record: self.record }
    }
}

/// Proof that a reservation is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "its slices open when it is applied"]
pub struct Committed {
    record: BudgetRecord,
}

impl Committed {
    pub(in super::super) const fn record(&self) -> &BudgetRecord {
        &self.record
    }
}

/// Reads a body from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], SignerError> {
        let (head, rest) =
            self.0.split_first_chunk::<N>().ok_or(SignerError::BadRecord { field })?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self, field: &'static str) -> Result<u64, SignerError> {
        self.array(field).map(u64::from_le_bytes)
    }

    fn msat(&mut self, field: &'static str) -> Result<Msat, SignerError> {
        Msat::new(self.number(field)?).map_err(|_| SignerError::BadRecord { field })
    }

    fn window(&mut self, field: &'static str) -> Result<WindowEntry, SignerError> {
        Ok(WindowEntry {
            index: self.number(field)?,
            reserved: self.msat(field)?,
            next: self.msat(field)?,
        })
    }

    fn count(&mut self, field: &'static str, max: usize) -> Result<usize, SignerError> {
        let count = usize::from(u16::from_le_bytes(self.array(field)?));
        if count > max { Err(SignerError::BadRecord { field }) } else { Ok(count) }
    }
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_window(out: &mut Vec<u8>, window: &WindowEntry) {
    put(out, &[window.index, window.reserved.to_msat(), window.next.to_msat()]);
}
