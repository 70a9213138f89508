//! The coinbases that are one worker's own.

use super::JobError;

/// The pool's part of the extranonce: bytes that stand in every coinbase of one desk, and of no
/// other.
///
/// Because the desk writes its own space into the header that it checks, a share of another worker
/// is just a bad hash. Whoever gives spaces out numbers them and never gives one out twice.
///
/// ```
/// use millstream::shares::Space;
///
/// assert_eq!(Space::numbered(258, 4)?.as_slice(), [0, 0, 1, 2]);
/// # Ok::<(), millstream::shares::JobError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Space {
    bytes: [u8; Self::SIZE_MAX],
    size: u8,
}

impl Space {
    /// 16 bytes: Stratum V1 servers give 4 to 8, and random ones need no counter at 16.
    pub const SIZE_MAX: usize = 16;

    /// These bytes, at most [`Self::SIZE_MAX`]. None at all are right only where each worker's jobs
    /// have a root of their own.
    ///
    /// # Errors
    /// [`JobError::TooMany`].
    pub fn new(space: &[u8]) -> Result<Self, JobError> {
        let too_many =
            JobError::TooMany { what: "bytes of a space", got: space.len(), most: Self::SIZE_MAX };
        let mut bytes = [0; Self::SIZE_MAX];
        bytes.get_mut(..space.len()).ok_or(too_many)?.copy_from_slice(space);
        Ok(Self { bytes, size: u8::try_from(space.len()).map_err(|_| too_many)? })
    }

    /// Space number `number` of those that have `size` bytes, big-endian.
    ///
    /// # Errors
    /// [`JobError::TooMany`] if the number or the size does not fit.
    pub fn numbered(number: u64, size: u8) -> Result<Self, JobError> {
        let size = usize::from(size);
        let number = u128::from(number).to_be_bytes();
        let at = Self::SIZE_MAX.checked_sub(size);
        match at.map(|at| number.split_at(at)) {
            Some((above, space)) if above.iter().all(|byte| *byte == 0) => Self::new(space),
            _ => Err(JobError::TooMany {
                what: "bytes of a space's number",
                got: size,
                most: Self::SIZE_MAX,
            }),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or_default()
    }

    /// How many.
    pub(super) const fn size(&self) -> u8 {
        self.size
    }
}
