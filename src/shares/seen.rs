//! The shares that were counted on one tip: open addressing in one flat allocation.
//!
//! A key is uniform and cannot be chosen without mining for it, so its own bits are the place in
//! the table: no second hash and no secret is needed against crowded slots.

use alloc::vec;
use alloc::vec::Vec;

/// 128 bits of a header's double hash, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u128);

impl Key {
    /// The low half, which a target leaves free: targets are at least 2^128.
    pub(super) const fn of(hash: &[u8; 32]) -> Self {
        // 32 bytes begin with 16.
        let Some(low) = hash.first_chunk::<16>() else { return Self(1) };
        match u128::from_le_bytes(*low) {
            // Stands for an empty slot; a share in 2^128 is taken for its neighbour.
            0 => Self(1),
            low => Self(low),
        }
    }

    /// A place in a table of `mask + 1` slots.
    #[expect(clippy::as_conversions, reason = "masked, and `From` is not const")]
    const fn home(self, mask: usize) -> usize {
        self.0 as usize & mask
    }
}

/// At most `limit` keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// A power of two of slots, at most three quarters of them taken; none before the first key.
    slots: Vec<u128>,
    held: u32,
    limit: u32,
}

impl Seen {
    /// Slots of the first allocation: 1 KiB.
    const SLOTS_MIN: usize = 64;

    pub(super) const fn new(limit: u32) -> Self {
        Self { slots: Vec::new(), held: 0, limit }
    }

    /// Counts a key. False, and nothing happens, if it is there or there is no room.
    #[inline]
    pub(super) fn insert(&mut self, key: Key) -> bool {
        if self.is_full() {
            return false;
        }
        if self.is_crowded() {
            self.grow();
        }
        let free = match self.find(key) {
            Some(at) => self.slots.get_mut(at).filter(|slot| **slot == 0),
            None => None,
        };
        let Some(slot) = free else { return false };
        *slot = key.0;
        self.held = self.held.saturating_add(1);
        true
    }

    /// Forgets all of them and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.held = 0;
    }

    #[inline]
    pub(super) fn holds(&self, key: Key) -> bool {
        self.find(key).and_then(|at| self.slots.get(at)).is_some_and(|slot| *slot == key.0)
    }

    pub(super) const fn is_full(&self) -> bool {
        self.held >= self.limit
    }

    pub(super) const fn held(&self) -> u32 {
        self.held
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether one key more would take more than three quarters of the slots.
    fn is_crowded(&self) -> bool {
        let slots = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        // Below 2^32 keys four times as many fit.
        let keys = u64::from(self.held).saturating_add(1);
        keys.saturating_mul(4) > slots.saturating_mul(3)
    }

    /// The slot of this key, or the free one where it would be; none in an empty table.
    #[inline]
    fn find(&self, key: Key) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = key.home(mask);
        loop {
            let slot = *self.slots.get(at)?;
            // A quarter of the slots is free, so that this ends.
            if slot == 0 || slot == key.0 {
                return Some(at);
            }
            at = at.wrapping_add(1) & mask;
        }
    }

    /// Twice the slots. Bounded by the limit: a table that is not crowded never grows.
    fn grow(&mut self) {
        let slots = self.slots.len().saturating_mul(2).max(Self::SLOTS_MIN);
        let old = core::mem::replace(&mut self.slots, vec![0; slots]);
        for key in old.into_iter().filter(|key| *key != 0) {
            if let Some(slot) = self.find(Key(key)).and_then(|at| self.slots.get_mut(at)) {
                *slot = key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> Key {
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&n.to_le_bytes());
        Key::of(&hash)
    }

    #[test]
    fn set_takes_each_key_once_up_to_its_limit() {
        let mut seen = Seen::new(1_000);
        // All at home in the last slot of every table: they wrap around it.
        for n in 1..=1_000_u128 {
            assert!(!seen.holds(key(n << 32 | 0xffff_ffff)), "{n}");
            assert!(seen.insert(key(n << 32 | 0xffff_ffff)), "{n}");
            assert!(!seen.insert(key(n << 32 | 0xffff_ffff)), "{n}");
        }
        assert!(seen.is_full());
        let full = seen.clone();
        assert!(!seen.insert(key(7)));
        assert_eq!(seen, full);
        assert!((1..=1_000).all(|n| seen.holds(key(n << 32 | 0xffff_ffff))));
        assert!(seen.slots.len() <= 2_048);
        seen.clear();
        assert_eq!(seen.held(), 0);
        assert!((1..=1_000).all(|n| !seen.holds(key(n << 32 | 0xffff_ffff))));
        assert!(seen.insert(key(7)));
    }

    #[test]
    fn set_of_one_key_tells_any_changed_bit_of_128() {
        let mut seen = Seen::new(1);
        assert!(!seen.holds(key(5)));
        assert!(seen.insert(key(5)));
        for bit in 0..128 {
            assert!(!seen.holds(key(5 ^ 1 << bit)), "{bit}");
        }
    }

    #[test]
    fn key_of_zero_is_counted_too() {
        let mut seen = Seen::new(2);
        assert!(!seen.holds(key(0)));
        assert!(seen.insert(key(0)));
        assert!(seen.holds(key(0)) && !seen.insert(key(0)));
    }
}
