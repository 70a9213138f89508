//! One lap: what all of its nonces share, and the hashing of a part of them.

use super::place::{GROUP, Place};
use crate::miner::kernel::Backend;
use crate::miner::{Found, Job};
use crate::sha256::State;

/// What all nonces of a lap share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lap {
    /// Of each version of a group; of a version alone the first.
    midstates: [State; GROUP],
    versions: [u32; GROUP],
    tail: [u32; 3],
    time: u32,
}

impl Lap {
    /// Prepares the lap of a place; nothing if its extranonce is none of the job's.
    pub(super) fn new(job: &Job<'_>, place: &Place, by: &mut impl Backend) -> Option<Self> {
        let mut absorb = |state: &mut State, block: &[u8; 64]| {
            let mut words = [0; 16];
            for (word, four) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                *word = u32::from_be_bytes(*four);
            }
            *state = by.absorb(*state, &words);
        };
        let root = job.root_by(place.extranonce.into(), &mut absorb)?;
        let time = place.header_time(job);
        let mut header = job.header(root, 0, time, 0);
        let (mut midstates, mut versions) = ([State::INITIAL; GROUP], [0; GROUP]);
        let each = midstates.iter_mut().zip(&mut versions);
        for ((midstate, version), number) in each.zip(place.versions()) {
            header.version = job.version(number);
            *version = header.version;
            absorb(midstate, &header.first_block());
        }
        Some(Self { midstates, versions, tail: header.tail(), time })
    }

    /// The header's time.
    pub(super) const fn time(&self) -> u32 {
        self.time
    }

    /// Hashes at most `left` headers from the place on, 1 or more; returns how many, at least one.
    pub(super) fn scan(
        &self,
        job: &Job<'_>,
        place: &Place,
        left: u32,
        by: &mut impl Backend,
        found: &mut impl FnMut(Found),
    ) -> u32 {
        let Self { midstates, versions, tail, time } = self;
        let (target, left_of_lap) = (&job.parts().target, place.nonces_left(job));
        let first = job.parts().nonce_first.wrapping_add(place.nonce);
        let (id, extranonce) = (job.parts().id, u64::from(place.extranonce));
        let mut hit = |version, nonce, hash| {
            found(Found { job: id, extranonce, version, time: *time, nonce, hash });
        };
        if !place.is_in_group() {
            let ([midstate, ..], [version, ..]) = (midstates, versions);
            let count = left.min(left_of_lap);
            let mut hit = |nonce, hash| hit(*version, nonce, hash);
            by.scan(midstate, tail, first, count, target, &mut hit);
            return count;
        }
        let whole = place.whole_nonces(left).min(left_of_lap);
        if whole > 0 {
            let mut hit = |within: usize, nonce, hash| {
                // Always there: the kernel has as many midstates.
                if let Some(version) = versions.get(within) {
                    hit(*version, nonce, hash);
                }
            };
            by.scan_versions(midstates, tail, first, whole, target, &mut hit);
            return Place::headers(whole);
        }
        // What is left of a nonce, of which the budget before had only a part; or a part of one.
        let (mut done, behind) = (0_u32, usize::from(place.within()));
        for (midstate, version) in midstates.iter().zip(versions).skip(behind) {
            if done < left {
                let mut hit = |nonce, hash| hit(*version, nonce, hash);
                by.scan(midstate, tail, first, 1, target, &mut hit);
                done = done.saturating_add(1);
            }
        }
        done
    }
}
