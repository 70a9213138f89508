//! A device that mines the first block again, a slice at a time, over a power cut.

use core::num::NonZeroU32;

use millstream::miner::governor::{Governor, Grant, Limits, Micros};
use millstream::miner::job::{Parts, Root, TimeRoll};
use millstream::miner::kernel::Compact;
use millstream::miner::search::Checkpoint;
use millstream::miner::{Job, Search};
use millstream::units::{JobId, Ppm, Target, UtcSeconds};

/// The root of the first block, in wire order.
const ROOT: [u8; 32] = [
    0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f, 0x61,
    0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e, 0x5e, 0x4a,
];

/// The nonce that is found, at most 2^16 from `before` its own; 0 if none is.
#[unsafe(no_mangle)]
pub extern "C" fn millstream_mines(before: u32) -> u32 {
    found(before).unwrap_or(0)
}

fn found(before: u32) -> Option<u32> {
    let job = Job::new(Parts {
        id: JobId::MIN,
        version: 1,
        version_mask: 0,
        previous: [0; 32],
        root: Root::Fixed(ROOT),
        bits: 0x1d00_ffff,
        time: 1_231_006_505,
        roll: TimeRoll::Free(0),
        nonce_first: 2_083_236_893_u32.checked_sub(before)?,
        nonce_last: u32::MAX,
        target: Target::DIFFICULTY_ONE,
        expires: UtcSeconds::MAX,
    });
    let job = job.ok()?;
    let limits = Limits {
        duty: Ppm::new(100_000).ok()?,
        slice: Micros::new(1_000),
        hashes_max: NonZeroU32::new(256)?,
        heat: None,
        energy: None,
    };
    let (mut governor, mut now) = (Governor::new(limits).ok()?, Micros::new(0));
    let (mut search, mut nonce) = (Search::new(), None);
    search.take(&job).ok()?;
    for _ in 0..1 << 16 {
        match governor.grant(now, None) {
            Grant::Hash(hashes) => {
                let mut keep = |found: millstream::miner::Found| nonce = Some(found.nonce);
                let step =
                    search.step(&job, UtcSeconds::MIN, hashes.get(), &mut Compact, &mut keep);
                now = Micros::new(now.to_u64().checked_add(step.hashes.into())?);
                governor.worked(now, step.hashes);
                // The power goes; what is left is 16 bytes.
                let stored = search.checkpoint()?.to_bytes();
                search = Search::resume(Checkpoint::from_bytes(stored));
                search.take(&job).ok()?;
            }
            Grant::Rest { pause, .. } => {
                now = Micros::new(now.to_u64().checked_add(pause.to_u64())?)
            }
            _ => return None,
        }
        if nonce.is_some() {
            return nonce;
        }
    }
    None
}
