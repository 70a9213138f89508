//! Blocks that were found and are not buried: who worked for each, until the chain has decided.
//!
//! ```text
//!   Found ---> pending: the weights of its moment ---> Buried: shared, owed
//!                                                '---> Lost: nothing is owed
//! ```
//!
//! # What is stored
//!
//! | bytes | field of the record under 0x06, 0x05, the block's id; numbers big-endian |
//! | --- | --- |
//! | 36 | the outpoint in its coinbase |
//! | 4 + 4 | height, and how deep it is to be |
//! | 8 + 4 | reward, and what the pool keeps in millionths |
//! | 1 + 16 | 0 and zeros if a round is shared; 1 and the work otherwise |
//! | 4 | how many workers follow |
//!
//! They follow under 0x06, 0x06, the id, and a number of 2 bytes from 0 on: 1,024 workers in each,
//! the rest in the last, by key, 32 bytes and 16 of work.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::scheme::{FoundBlock, Reach};
use super::{LedgerError, ROOM, WorkerKey};
use crate::store::{Batch, Key, Store, envelope};
use crate::units::{Blocks, Height, Msat, Ppm, Work};
use crate::wire::Reader;

const VERSION: u8 = 1;
/// 1,024: 49,152 bytes, within the longest value of a store.
const PART: usize = 1_024;

/// A block, and how much each worker counts in it, by key; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) block: FoundBlock,
    pub(super) weights: Vec<(WorkerKey, Work)>,
}

impl Pending {
    /// The prefix of every block's record, for a scan.
    pub(super) const PREFIX: [u8; 2] = [ROOM, 0x05];
    /// The prefix of every record of workers, for a scan.
    pub(super) const PARTS: [u8; 2] = [ROOM, 0x06];
    /// 128: all blocks of the time in which a coinbase cannot be spent, should a pool find each.
    pub(super) const MAX: usize = 128;

    /// How many records it takes.
    pub(super) fn writes(&self) -> usize {
        self.weights.len().div_ceil(PART).saturating_add(1)
    }

    pub(super) fn stage(&self, batch: &mut Batch) -> Result<(), LedgerError> {
        let id = &self.block.id;
        let key = Key::from_parts(&[&Self::PREFIX, id])?;
        batch.put(key, &envelope::seal(&key, VERSION, &self.head()))?;
        for (number, workers) in (0_u16..).zip(self.weights.chunks(PART)) {
            let key = Key::from_parts(&[&Self::PARTS, id, &number.to_be_bytes()])?;
            let works = workers.iter().map(|(_, work)| work.hashes().to_be_bytes());
            let body: Vec<u8> = workers
                .iter()
                .zip(works)
                .flat_map(|((worker, _), work)| worker.as_bytes().iter().copied().chain(work))
                .collect();
            batch.put(key, &envelope::seal(&key, VERSION, &body))?;
        }
        Ok(())
    }

    /// Deletes what [`Self::stage`] has written.
    pub(super) fn unstage(&self, batch: &mut Batch) -> Result<(), LedgerError> {
        let id = &self.block.id;
        batch.delete(Key::from_parts(&[&Self::PREFIX, id])?)?;
        for (number, _) in (0_u16..).zip(self.weights.chunks(PART)) {
            batch.delete(Key::from_parts(&[&Self::PARTS, id, &number.to_be_bytes()])?)?;
        }
        Ok(())
    }

    fn head(&self) -> Vec<u8> {
        let FoundBlock { id: _, coinbase, height, depth, reward, fee, reach } = self.block;
        let (kind, work) = match reach {
            Reach::Round => (0, Work::ZERO),
            Reach::Last(work) => (1, work),
        };
        let mut head = Vec::with_capacity(77);
        head.extend_from_slice(coinbase.txid.as_byte_array());
        head.extend_from_slice(&coinbase.vout.to_be_bytes());
        head.extend_from_slice(&height.to_u32().to_be_bytes());
        head.extend_from_slice(&depth.to_u32().to_be_bytes());
        head.extend_from_slice(&reward.to_msat().to_be_bytes());
        head.extend_from_slice(&fee.to_ppm().to_be_bytes());
        head.push(kind);
        head.extend_from_slice(&work.hashes().to_be_bytes());
        let workers = u32::try_from(self.weights.len()).unwrap_or(u32::MAX);
        head.extend_from_slice(&workers.to_be_bytes());
        head
    }

    /// All of a store, by id.
    pub(super) fn load(store: &dyn Store) -> Result<BTreeMap<[u8; 32], Self>, LedgerError> {
        let mut found = BTreeMap::new();
        each(store, &Self::PREFIX, &mut |key, bytes| {
            let (block, workers) = decode_block(key, bytes)?;
            found.insert(block.id, (Self { block, weights: Vec::new() }, workers));
            Ok(())
        })?;
        // By id, and of each in the order of their numbers.
        each(store, &Self::PARTS, &mut |key, bytes| {
            let part = decode_part(key, bytes)?;
            let broken = LedgerError::BrokenRecord { at: bytes.len() };
            let (pending, _) = found.get_mut(&part.id).ok_or(broken)?;
            let weights = &mut pending.weights;
            // A part that is missing, or out of order, is seen by the next one.
            if weights.len() != usize::from(part.number).saturating_mul(PART) {
                return Err(broken);
            }
            weights.extend(part.weights);
            Ok(())
        })?;
        let sound = |(pending, workers): (Self, u32)| {
            let is_whole = u32::try_from(pending.weights.len()) == Ok(workers);
            let broken = LedgerError::BrokenRecord { at: 0 };
            if is_whole && pending.holds_together() { Ok(pending) } else { Err(broken) }
        };
        found.into_iter().map(|(id, read)| Ok((id, sound(read)?))).collect()
    }

    /// Whether its workers rise, and their work is an amount of work, none of it nothing.
    pub(super) fn holds_together(&self) -> bool {
        let keys = self.weights.iter().map(|(worker, _)| worker);
        let rises = keys.clone().zip(keys.skip(1)).all(|(low, high)| low < high);
        let mut works = self.weights.iter().map(|(_, work)| *work);
        let counts = works.clone().all(|work| work > Work::ZERO);
        let sum = works.try_fold(Work::ZERO, Work::checked_add);
        !self.weights.is_empty() && rises && counts && sum.is_some()
    }
}

impl FoundBlock {
    /// The prefix of every record of a block that waits, for a scan.
    pub const PREFIX: [u8; 2] = Pending::PREFIX;

    /// Reads the record of a block that waits, without those who worked for it.
    ///
    /// # Errors
    /// [`LedgerError::Store`] for an unknown version or rot, [`LedgerError::BrokenRecord`].
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, LedgerError> {
        decode_block(key, bytes).map(|(block, _)| block)
    }
}

/// Some of those who worked for a block.
struct Part {
    id: [u8; 32],
    number: u16,
    weights: Vec<(WorkerKey, Work)>,
}

fn decode_part(key: &Key, bytes: &[u8]) -> Result<Part, LedgerError> {
    let body = envelope::open(key, VERSION, bytes)?;
    let broken = LedgerError::BrokenRecord { at: body.len() };
    let mut k = Reader::new(key.as_bytes());
    let of = k.take(2).and_then(|_| Ok((k.array::<32>()?, k.array::<2>()?)));
    let (id, number) = of.map_err(|_| broken)?;
    let (workers, rest) = body.as_chunks::<48>();
    if !rest.is_empty() || !k.rest().is_empty() || workers.is_empty() || workers.len() > PART {
        return Err(broken);
    }
    let weights = workers.iter().map(|bytes| {
        let mut r = Reader::new(bytes);
        let (worker, work) = (r.array::<32>()?, r.array::<16>()?);
        Ok((WorkerKey::new(worker), Work::new(u128::from_be_bytes(work))))
    });
    let weights: Result<_, crate::wire::WireError> = weights.collect();
    let (number, weights) = (u16::from_be_bytes(number), weights.map_err(|_| broken)?);
    Ok(Part { id, number, weights })
}

fn decode_block(key: &Key, bytes: &[u8]) -> Result<(FoundBlock, u32), LedgerError> {
    let body = envelope::open(key, VERSION, bytes)?;
    let mut r = Reader::new(body);
    let read = read_block(key, &mut r).filter(|_| r.rest().is_empty());
    let at = body.len().saturating_sub(r.rest().len());
    read.ok_or(LedgerError::BrokenRecord { at })
}

fn read_block(key: &Key, r: &mut Reader<'_>) -> Option<(FoundBlock, u32)> {
    let mut k = Reader::new(key.as_bytes());
    if k.array().ok()? != Pending::PREFIX {
        return None;
    }
    let id = k.array().ok()?;
    let txid = Txid::from_byte_array(r.array().ok()?);
    let coinbase = OutPoint { txid, vout: r.u32().ok()? };
    let height = Height::new(r.u32().ok()?).ok()?;
    let depth = Blocks::new(r.u32().ok()?).ok()?;
    let reward = Msat::new(r.u64().ok()?).ok()?;
    let fee = Ppm::new(r.u32().ok()?).ok()?;
    let reach = match (r.u8().ok()?, u128::from_be_bytes(r.array().ok()?)) {
        (0, 0) => Reach::Round,
        (1, work) => Reach::Last(Work::new(work)),
        _ => return None,
    };
    let workers = r.u32().ok()?;
    let block = FoundBlock { id, coinbase, height, depth, reward, fee, reach };
    k.rest().is_empty().then_some((block, workers))
}

/// Every record of a prefix, until one is refused.
pub(super) fn each<F>(store: &dyn Store, prefix: &[u8], read: &mut F) -> Result<(), LedgerError>
where
    F: FnMut(&Key, &[u8]) -> Result<(), LedgerError>,
{
    let mut broken = Ok(());
    store.scan(prefix, &mut |key, bytes| match read(key, bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            broken = Err(error);
            ControlFlow::Break(())
        }
    })?;
    broken
}
