//! Chance by seed, the same in every release and on every machine; or by the bytes of a fuzzer.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A source of choices: bytes as long as there are any, then a seed.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    rng: ChaCha8Rng,
    /// What a fuzzer chose, last byte first.
    bytes: Vec<u8>,
}

impl Dice {
    /// `part` tells apart the streams of one seed.
    pub(super) fn new(seed: u64, part: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(part);
        Self { rng, bytes: Vec::new() }
    }

    /// Each choice takes the fewest bytes that can name all of its outcomes, so that a byte that a
    /// fuzzer changes is one choice changed.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let mut dice = Self::new(0, 0);
        dice.bytes = bytes.iter().rev().copied().collect();
        dice
    }

    /// Whether no byte of a fuzzer is left.
    pub(super) const fn is_spent(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A number below `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        if self.bytes.is_empty() {
            return self.rng.next_u64().checked_rem(end).unwrap_or(0);
        }
        let (mut drawn, mut most) = (0_u64, 0_u64);
        while most < end.saturating_sub(1)
            && let Some(byte) = self.bytes.pop()
        {
            drawn = drawn.wrapping_shl(8) | u64::from(byte);
            most = most.wrapping_shl(8) | 0xff;
        }
        drawn.checked_rem(end).unwrap_or(0)
    }

    /// A number of `from ..= to`.
    pub(super) fn within(&mut self, from: u64, to: u64) -> u64 {
        let width = to.saturating_sub(from).saturating_add(1);
        from.saturating_add(self.below(width))
    }

    /// True in `per_mille` of a thousand cases.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice_of_bytes_takes_as_few_as_name_its_outcomes() {
        let mut dice = Dice::of_bytes(&[7, 1, 2, 9, 0, 0, 1, 0]);
        assert_eq!(dice.below(1), 0);
        assert_eq!(dice.below(256), 7);
        assert_eq!(dice.below(257), 0x0102 % 257);
        assert_eq!(dice.below(4), 1);
        assert_eq!(dice.below(1 << 24), 1);
        assert!(!dice.is_spent());
        assert_eq!(dice.below(2), 0);
        assert!(dice.is_spent());
        // What is not chosen is drawn, the same each time.
        assert_eq!(dice.below(u64::MAX), Dice::of_bytes(&[]).below(u64::MAX));
    }
}
