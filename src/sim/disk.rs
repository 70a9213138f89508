//! A disk under the real database: it records every write, loses what was not synced, tears,
//! reorders, rots and fills up.
//!
//! ```text
//!   redb --> StorageBackend --> Disk --> operations since the start: write, set length, sync
//!                                 |
//!                                 `- cuts(16): after each operation, torn at every 16 bytes,
//!                                    and with unsynced writes lost or landing alone --> Image
//!   Image --> Disk::from(image) --> redb opens it, repairs it, and must show a whole commit
//! ```
//!
//! Used by the crash tests of the store and by the simulated world, where the database that runs in
//! the field is the one that is torn.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit in which an image is shared between its copies; not the unit in which it tears.
const PAGE: usize = 4096;

/// The bytes of a disk at one moment. Copies share their pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Pages that were ever written; every other byte is zero.
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
    len: u64,
}

impl Image {
    /// The length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Flips the bits of `mask` in the byte at `offset`; false beyond the end.
    pub fn rot(&mut self, offset: u64, mask: u8) -> bool {
        let mut byte = [0];
        if self.read(offset, &mut byte).is_err() {
            return false;
        }
        self.write(offset, &byte.map(|byte| byte ^ mask));
        true
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = u64::try_from(out.len()).ok().and_then(|len| offset.checked_add(len));
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        let mut rest = out;
        for (page, from) in spans(offset) {
            let n = rest.len().min(PAGE.saturating_sub(from));
            let (part, later) = rest.split_at_mut(n);
            if let Some(bytes) = self.pages.get(&page).and_then(|page| page.get(from..)) {
                part.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            }
            if later.is_empty() {
                break;
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes beyond the end extend the image, as a file does.
    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut rest = data;
        for (page, from) in spans(offset) {
            let (part, later) = rest.split_at(rest.len().min(PAGE.saturating_sub(from)));
            let bytes = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            let to = Arc::make_mut(bytes).iter_mut().skip(from);
            to.zip(part).for_each(|(to, from)| *to = *from);
            if later.is_empty() {
                break;
            }
            rest = later;
        }
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.len = self.len.max(offset.saturating_add(len));
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let zeros = usize::try_from(self.len.saturating_sub(len)).unwrap_or(usize::MAX);
            // What was cut off reads as zero when the disk grows again.
            let (page, from) = split(len);
            if let Some(bytes) = self.pages.get_mut(&page) {
                Arc::make_mut(bytes).iter_mut().skip(from).take(zeros).for_each(|byte| *byte = 0);
            }
            let beyond = if from == 0 { page } else { page.saturating_add(1) };
            self.pages.split_off(&beyond);
        }
        self.len = len;
    }

    /// Applies the first `bytes` of an operation; a changed length or a sync has no parts.
    fn apply(&mut self, operation: &Operation, bytes: usize) {
        match operation {
            Operation::Write { offset, data } => {
                let data = data.get(..bytes).unwrap_or(data);
                if !data.is_empty() {
                    self.write(*offset, data);
                }
            }
            Operation::SetLen(len) => self.set_len(*len),
            Operation::Sync => {}
        }
    }
}

fn split(offset: u64) -> (u64, usize) {
    let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
    let (at, from) = (offset.checked_div(page), offset.checked_rem(page));
    (at.unwrap_or(0), from.and_then(|from| usize::try_from(from).ok()).unwrap_or(0))
}

/// The pages from `offset` on, each with the byte to start at.
fn spans(offset: u64) -> impl Iterator<Item = (u64, usize)> {
    let (first, from) = split(offset);
    std::iter::once((first, from)).chain((first.saturating_add(1)..).map(|page| (page, 0)))
}

#[derive(Debug, Clone)]
enum Operation {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
    Sync,
}

/// How a power cut left the operations that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// All of them landed, in order, up to the last operation.
    Between,
    /// As [`Cut::Between`], and of the next operation only so many bytes.
    Torn(usize),
    /// All but the one so far back landed; 0 is the last.
    Lost(usize),
    /// Only the one so far back landed; 0 is the last.
    Alone(usize),
}

#[derive(Debug, Default)]
struct State {
    start: Image,
    synced: Image,
    live: Image,
    operations: Vec<Operation>,
    bytes_max: Option<u64>,
    cut_at: Option<usize>,
}

/// A disk that is shared by its clones: one is given to the database, the other keeps the record.
///
/// ```
/// use millstream::db::RedbStore;
/// use millstream::sim::disk::Disk;
/// use millstream::store::{Batch, Durability, Key, Store};
///
/// let disk = Disk::default();
/// let mut store = RedbStore::on(disk.clone())?;
/// let mut batch = Batch::default();
/// batch.put(Key::new(b"k")?, b"v")?;
/// store.commit(&batch, Durability::Barrier)?;
/// // The power fails: of what the database does from here on nothing reaches the medium.
/// let left = disk.synced();
/// drop(store);
/// let store = RedbStore::on(Disk::from(left))?;
/// assert_eq!(store.get(&Key::new(b"k")?)?.as_deref(), Some(&b"v"[..]));
/// # Ok::<(), millstream::store::StoreError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl From<Image> for Disk {
    fn from(image: Image) -> Self {
        let state =
            State { start: image.clone(), synced: image.clone(), live: image, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Disk {
    /// The bytes as the database sees them now.
    pub fn image(&self) -> Image {
        self.state().live.clone()
    }

    /// The bytes as they were at the last sync: what a power cut now leaves at the least.
    pub fn synced(&self) -> Image {
        self.state().synced.clone()
    }

    /// The operations so far: writes, changes of the length, and syncs.
    pub fn operations(&self) -> usize {
        self.state().operations.len()
    }

    /// Refuses writes beyond `bytes_max`, as a full disk does.
    pub fn fill_at(&self, bytes_max: Option<u64>) {
        self.state().bytes_max = bytes_max;
    }

    /// Fails every operation from number `operation` on, counted from 0 since the start.
    pub fn cut_at(&self, operation: usize) {
        self.state().cut_at = Some(operation);
    }

    /// Shows every image that a power cut may have left, with the number of operations before it.
    ///
    /// After each operation from number `from` on: everything before it landed; of the operation
    /// itself the first `tear` bytes, twice as many, and so on; and, at the end of each stretch
    /// between two syncs, each write of the stretch lost, and each landed alone, because a disk
    /// may write in any order what was not synced.
    pub fn cuts(
        &self,
        from: usize,
        tear: usize,
        visitor: &mut dyn FnMut(usize, Cut, Image) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut synced, operations) = {
            let state = self.state();
            (state.start.clone(), state.operations.clone())
        };
        let mut landed = synced.clone();
        let mut stretch: Vec<&Operation> = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            let seen = at >= from;
            if seen && let Operation::Write { data, .. } = operation {
                for bytes in (tear..data.len()).step_by(tear.max(1)) {
                    let mut torn = landed.clone();
                    torn.apply(operation, bytes);
                    visitor(at, Cut::Torn(bytes), torn)?;
                }
            }
            if matches!(operation, Operation::Sync) {
                if seen {
                    reordered(at, &synced, &stretch, visitor)?;
                }
                stretch.clear();
                synced = landed.clone();
                continue;
            }
            landed.apply(operation, usize::MAX);
            stretch.push(operation);
            if seen {
                visitor(at.saturating_add(1), Cut::Between, landed.clone())?;
            }
        }
        ControlFlow::Continue(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.state();
        if state.cut_at.is_some_and(|cut| state.operations.len() >= cut) {
            return Err(io::Error::other("the power failed"));
        }
        let end = match &operation {
            Operation::Write { offset, data } => {
                offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
            Operation::SetLen(len) => *len,
            Operation::Sync => 0,
        };
        if state.bytes_max.is_some_and(|bytes_max| end > bytes_max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.live.apply(&operation, usize::MAX);
        if matches!(operation, Operation::Sync) {
            state.synced = state.live.clone();
        }
        state.operations.push(operation);
        Ok(())
    }
}

/// The stretch before the sync at `at`, with each write lost, and with each landed alone.
fn reordered(
    at: usize,
    synced: &Image,
    stretch: &[&Operation],
    visitor: &mut dyn FnMut(usize, Cut, Image) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for odd in 0..stretch.len() {
        for alone in [false, true] {
            let mut image = synced.clone();
            for (n, operation) in stretch.iter().rev().enumerate().rev() {
                // The length changes with the first write that needs it; it has no order of its
                // own.
                if (n == odd) == alone || matches!(operation, Operation::SetLen(_)) {
                    image.apply(operation, usize::MAX);
                }
            }
            visitor(at, if alone { Cut::Alone(odd) } else { Cut::Lost(odd) }, image)?;
        }
    }
    ControlFlow::Continue(())
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state().live.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(Operation::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.run(Operation::Write { offset, data: data.into() })
    }
}
