//! Which roots were hashed: never no for one that was.

/// A Bloom filter of 256 bits, four a name. Source: Bloom, 1970.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen([u32; 8]);

impl Seen {
    /// Every root may have been hashed: after a restart.
    pub(super) const ALL: Self = Self([u32::MAX; 8]);

    pub(super) fn insert(&mut self, name: u64) {
        for (word, bits) in self.0.iter_mut().zip(bits(name)) {
            *word |= bits;
        }
    }

    pub(super) fn may_have(&self, name: u64) -> bool {
        self.0.iter().zip(bits(name)).all(|(word, bits)| word & bits == bits)
    }
}

/// The four bits of a name, in their words.
fn bits(name: u64) -> [u32; 8] {
    let mut words = [0_u32; 8];
    let [a, b, c, d, ..] = name.to_le_bytes();
    for byte in [a, b, c, d] {
        if let Some(word) = words.get_mut(usize::from(byte >> 5)) {
            *word |= 1_u32.wrapping_shl(u32::from(byte & 31));
        }
    }
    words
}
