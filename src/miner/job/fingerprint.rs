//! A number that names bytes, cheap on small processors.

/// FNV-1a of 64 bits, its result stirred once more so that every part of it can be used alone.
/// Source: Fowler, Noll, Vo; the finish is that of splitmix64 (Steele, Lea, Flood, 2014).
#[derive(Debug, Clone, Copy)]
pub(super) struct Mixer(u64);

impl Default for Mixer {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Mixer {
    /// Takes more bytes, and how many they are: the next part begins anew.
    pub(super) fn bytes(&mut self, part: &[u8]) {
        for byte in part.iter().chain(&part.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The number so far.
    pub(super) const fn finish(self) -> u64 {
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
