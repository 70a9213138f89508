//! A store that loses its power, its room and its bits on demand.
//!
//! ```text
//!   commit(Lazy) --> live, in the queue --+ cut: the first `kept` of the queue survive
//!   commit(Barrier) --> live, durable <---+ cut at the n-th commit: before it or after it
//! ```
//!
//! Used by the tests of every room that keeps a record, and by the simulator.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::{Batch, Durability, Key, MemoryStore, Store, StoreError};

/// On which side of a commit the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of the commit reached the medium.
    Before,
    /// The commit is durable, but its caller never learns it.
    After,
}

/// A memory store with faults: a power cut at the n-th commit, a full disk, a rotted record.
///
/// ```
/// use millstream::store::fault::{Cut, FaultStore};
/// use millstream::store::{Batch, Durability, Key, Store, StoreError};
///
/// let mut store = FaultStore::default();
/// let mut batch = Batch::default();
/// batch.put(Key::new(b"k")?, b"v")?;
/// store.commit(&batch, Durability::Lazy)?;
/// store.cut_at(2, Cut::Before);
/// let lost = Err(StoreError::PowerLost { commit: 2 });
/// assert_eq!(store.commit(&batch, Durability::Barrier), lost);
/// store.restart(0);
/// assert_eq!(store.get(&Key::new(b"k")?)?, None);
/// # Ok::<(), StoreError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultStore {
    live: MemoryStore,
    durable: MemoryStore,
    /// Lazy commits since the last barrier, oldest first.
    queue: VecDeque<Batch>,
    commits: u64,
    barriers: u64,
    cut: Option<(u64, Cut)>,
    lost: Option<u64>,
    bytes_max: Option<usize>,
}

impl FaultStore {
    /// Starts with the records of `store`, all of them durable.
    pub fn new(store: MemoryStore) -> Self {
        Self { live: store.clone(), durable: store, ..Self::default() }
    }

    /// Cuts the power at commit `commit`, counted from 1 over the whole life of this value.
    pub fn cut_at(&mut self, commit: u64, side: Cut) {
        self.cut = Some((commit, side));
    }

    /// Cuts the power now.
    pub fn cut(&mut self) {
        self.lost = Some(self.commits);
    }

    /// Opens the store again after a cut: the durable records, and the oldest `kept` of the lazy
    /// commits that happened to reach the medium.
    ///
    /// No further cut is planned.
    pub fn restart(&mut self, kept: usize) {
        for batch in self.queue.drain(..).take(kept) {
            self.durable.apply(&batch);
        }
        self.live = self.durable.clone();
        self.cut = None;
        self.lost = None;
    }

    /// Refuses commits after which keys and values would take more than `bytes_max`.
    pub fn fill_at(&mut self, bytes_max: Option<usize>) {
        self.bytes_max = bytes_max;
    }

    /// Flips the bits of `mask` in byte `at` of the record under `key`; false if there is none.
    pub fn rot(&mut self, key: &Key, at: usize, mask: u8) -> bool {
        let mut found = false;
        for store in [&mut self.live, &mut self.durable] {
            if let Some(byte) = store.value_mut(key).and_then(|value| value.get_mut(at)) {
                *byte ^= mask;
                found = true;
            }
        }
        found
    }

    /// The commits asked for so far, refused and lost ones included.
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// The barriers that returned.
    pub const fn barriers(&self) -> u64 {
        self.barriers
    }

    /// The lazy commits that a power cut now may lose.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// What a power cut now would leave behind at the least.
    pub const fn durable(&self) -> &MemoryStore {
        &self.durable
    }

    const fn powered(&self) -> Result<(), StoreError> {
        match self.lost {
            Some(commit) => Err(StoreError::PowerLost { commit }),
            None => Ok(()),
        }
    }

    fn apply(&mut self, batch: &Batch, durability: Durability) {
        self.live.apply(batch);
        self.queue.push_back(batch.clone());
        if durability == Durability::Barrier {
            for batch in self.queue.drain(..) {
                self.durable.apply(&batch);
            }
        }
    }
}

impl Store for FaultStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.powered()?;
        self.live.get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.powered()?;
        self.live.scan(prefix, visitor)
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.powered()?;
        self.commits = self.commits.saturating_add(1);
        if let Some((at, side)) = self.cut
            && at == self.commits
        {
            if side == Cut::After {
                self.apply(batch, Durability::Barrier);
            }
            self.lost = Some(at);
            return Err(StoreError::PowerLost { commit: at });
        }
        if let Some(bytes_max) = self.bytes_max {
            let mut after = self.live.clone();
            after.apply(batch);
            if after.bytes() > bytes_max {
                return Err(StoreError::Full);
            }
        }
        self.apply(batch, durability);
        if durability == Durability::Barrier {
            self.barriers = self.barriers.saturating_add(1);
        }
        Ok(())
    }
}
