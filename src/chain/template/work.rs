//! A plan as work: jobs for the desks of workers, for a search of our own, and the way back from a
//! share to the block.

use bitcoin::Block;
use bitcoin::hashes::Hash;

use crate::chain::template::{BlockPlan, Solution, TemplateError};
use crate::miner::job::Root;
use crate::miner::{self, MinerError};
use crate::shares::{Coinbase, Head, JobError, PoolJob, Share, Space};
use crate::units::{Seconds, UtcSeconds};

impl BlockPlan {
    /// The job for every worker whose [`Space`] has the size of the layout's first extranonce.
    ///
    /// `roll_max`: how far a header's time may be above the template's; two hours at most, beyond
    /// which [`BlockPlan::solve`] takes no block.
    ///
    /// # Errors
    /// [`JobError`] if the template or the layout leaves the limits of a job.
    pub fn job(&self, roll_max: Seconds) -> Result<PoolJob, JobError> {
        let (space_size, extranonce_size) = self.sizes;
        let coinbase = Coinbase {
            prefix: &self.prefix,
            suffix: &self.suffix,
            space_size: byte("bytes of a space", space_size)?,
            extranonce_size: byte("bytes of an extranonce", extranonce_size)?,
            branches: &self.branches,
        };
        PoolJob::with_coinbase(self.head(roll_max), &coinbase)
    }

    /// The job of one worker whose merkle root is fixed: what a standard channel of Stratum V2 has.
    ///
    /// `extranonce`: another one for each such job in a space, so that no header comes twice; it
    /// goes into the [`Share`] that [`BlockPlan::block`] makes a block of.
    ///
    /// # Errors
    /// [`JobError`] if the template leaves the limits of a job; [`JobError::SpaceMisfit`];
    /// [`JobError::TooMany`] if the extranonce does not fit.
    pub fn fixed_job(
        &self,
        space: &Space,
        extranonce: u64,
        roll_max: Seconds,
    ) -> Result<PoolJob, JobError> {
        PoolJob::header_only(self.head(roll_max), self.fixed_root(space, extranonce)?)
    }

    /// The merkle root of [`BlockPlan::fixed_job`].
    ///
    /// # Errors
    /// [`JobError::SpaceMisfit`], [`JobError::TooMany`].
    pub fn fixed_root(&self, space: &Space, extranonce: u64) -> Result<[u8; 32], JobError> {
        let (room, most) = self.sizes;
        let got = space.as_slice().len();
        if got != room {
            let (got, room) = (byte("bytes of a space", got)?, byte("bytes of a space", room)?);
            return Err(JobError::SpaceMisfit { got, room });
        }
        let number = self.extranonce2(extranonce);
        let what = "bytes of an extranonce";
        let number = number.ok_or(JobError::TooMany { what, got: 8, most })?;
        Ok(self.merkle_root(space.as_slice(), &number))
    }

    /// What a search of our own walks, in `space`.
    ///
    /// # Errors
    /// [`MinerError::ExtranonceSize`], [`MinerError::Branches`].
    pub fn search_root<'a>(&'a self, space: &'a Space) -> Result<Root<'a>, MinerError> {
        let (_, size) = self.sizes;
        let size = u8::try_from(size).map_err(|_| MinerError::ExtranonceSize { got: u8::MAX })?;
        let (prefix, suffix) = (&self.prefix, &self.suffix);
        let at = space.as_slice();
        Ok(Root::Coinbase(miner::Coinbase::new(prefix, at, size, suffix, &self.branches)?))
    }

    /// The block of a share that meets the network's target, found in `space`.
    ///
    /// # Errors
    /// As [`BlockPlan::solve`].
    pub fn block(&self, space: &Space, share: &Share) -> Result<Block, TemplateError> {
        let (_, want) = self.sizes;
        let extranonce2 = self.extranonce2(share.extranonce);
        let extranonce2 = extranonce2.ok_or(TemplateError::ExtranonceSize { got: 8, want })?;
        self.solve(&Solution {
            extranonce1: space.as_slice().to_vec(),
            extranonce2,
            version: share.version,
            time: share.time,
            nonce: share.nonce,
        })
    }

    /// What all headers of its jobs have in common; `roll_max` as in [`BlockPlan::job`].
    pub fn head(&self, roll_max: Seconds) -> Head {
        let template = &self.template;
        Head {
            version: template.version,
            version_mask: template.version_mask,
            previous: template.previous.to_byte_array(),
            bits: template.bits.to_consensus(),
            min_time: header_time(template.min_time),
            start: header_time(template.current_time),
            roll_max,
        }
    }

    /// A number as the miner's part of the extranonce, if it fits.
    fn extranonce2(&self, number: u64) -> Option<Vec<u8>> {
        let (_, size) = self.sizes;
        let bytes = number.to_be_bytes();
        let unused = bytes.len().saturating_sub(size);
        let (above, below) = bytes.split_at(unused);
        let fits = above.iter().all(|byte| *byte == 0);
        // A wider gap begins with zeros.
        let zeros = vec![0; size.saturating_sub(below.len())];
        fits.then(|| [zeros.as_slice(), below].concat())
    }
}

/// A time as headers have it; one beyond them is refused with the job's window.
fn header_time(time: UtcSeconds) -> u32 {
    u32::try_from(time.to_u64()).unwrap_or(u32::MAX)
}

fn byte(what: &'static str, got: usize) -> Result<u8, JobError> {
    let most = usize::from(u8::MAX);
    u8::try_from(got).map_err(|_| JobError::TooMany { what, got, most })
}
