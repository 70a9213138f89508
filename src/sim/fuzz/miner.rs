//! Headers, and stories of jobs in front of a search, from any bytes.

use std::collections::BTreeSet;

use crate::miner::job::{Parts, Root, TimeRoll};
use crate::miner::kernel::{Backend, Compact};
use crate::miner::search::Checkpoint;
use crate::miner::{Coinbase, Header, Job, Search};
use crate::sha256::{Engine, State};
use crate::units::{JobId, Target, UtcSeconds};

/// Events of a story at most: each may hash 255 headers.
const EVENTS_MAX: usize = 64;

/// Reads `data` as a header; then as a job with what happens to it.
///
/// | bytes of the story | what |
/// | --- | --- |
/// | 80 | a header: the template |
/// | 4 | version mask, little-endian |
/// | 1 | nonces behind the header's own |
/// | 1 | roll: bit 0 that it follows the clock, above it the seconds |
/// | 1 | bytes of the extranonce |
/// | 1 | a hash is a share if its highest byte is at most that |
/// | 2 each | event: kind, of which every second seven is by a kernel with groups; number |
///
/// # Panics
/// If a header has a second encoding or is hashed twice over jobs and restarts, or a share is none.
pub fn miner_job(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        assert_eq!(header.to_bytes().as_slice(), data, "{header:?} has a second encoding");
    }
    if let Some((Template { header, mask, options }, events)) = template(data) {
        story(&header, mask, options, events);
    }
}

/// What all jobs of a story are made of.
struct Template {
    header: Header,
    mask: u32,
    options: [u8; 4],
}

fn template(data: &[u8]) -> Option<(Template, &[u8])> {
    let (header, rest) = data.split_first_chunk::<{ Header::BYTES }>()?;
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let (options, events) = rest.split_first_chunk::<4>()?;
    let mask = u32::from_le_bytes(*mask);
    Some((Template { header: Header::from_bytes(header), mask, options: *options }, events))
}

fn story(header: &Header, mask: u32, [nonces, roll, size, share]: [u8; 4], events: &[u8]) {
    let (mut search, mut seen) = (Search::new(), BTreeSet::new());
    let (mut header, mut prefix, mut tip, mut now) = (*header, [0], 0_u8, header.time);
    let mut target = [u8::MAX; 32];
    target[0] = share;
    let Ok(target) = Target::from_be_bytes(&target) else { return };
    for event in events.chunks_exact(2).take(EVENTS_MAX) {
        let &[kind, number] = event else { return };
        match kind % 7 {
            0 => header.merkle_root[0] = number,
            1 => prefix = [number],
            2 => header.time = header.time.saturating_add(number.into()),
            3 => (tip, header.previous) = (tip.saturating_add(1), [tip; 32]),
            4 => now = now.saturating_add(number.into()),
            5 => now = now.saturating_sub(number.into()),
            _ => {
                if let Some(checkpoint) = search.checkpoint() {
                    search = Search::resume(Checkpoint::from_bytes(checkpoint.to_bytes()));
                }
            }
        }
        let seconds = u16::from(roll >> 1);
        let Ok(coinbase) = Coinbase::new(&prefix, b"", size, b"", &[]) else { return };
        let job = Job::new(Parts {
            id: JobId::MIN,
            version: header.version,
            version_mask: mask,
            previous: header.previous,
            root: if size == 0 {
                Root::Fixed(header.merkle_root)
            } else {
                Root::Coinbase(coinbase)
            },
            bits: header.bits,
            time: header.time,
            roll: if roll & 1 == 0 { TimeRoll::Free(seconds) } else { TimeRoll::Clock(seconds) },
            nonce_first: header.nonce,
            nonce_last: header.nonce.saturating_add(nonces.into()),
            target,
            expires: UtcSeconds::MAX,
        });
        let Ok(job) = job else { return };
        if search.take(&job).is_ok() {
            let by = Either { groups: kind / 7 % 2 == 1 };
            work(&mut search, &job, now, (number, by), &mut seen);
        }
    }
}

/// A kernel that wants versions one by one, or in groups.
struct Either {
    groups: bool,
}

impl Backend for Either {
    fn absorb(&mut self, state: State, block: &[u32; 16]) -> State {
        Compact.absorb(state, block)
    }

    fn shares_versions(&self) -> bool {
        self.groups
    }
}

fn work(
    search: &mut Search,
    job: &Job<'_>,
    now: u32,
    (hashes, mut by): (u8, Either),
    seen: &mut BTreeSet<[u8; 80]>,
) {
    let now = UtcSeconds::try_from(u64::from(now)).unwrap_or(UtcSeconds::MAX);
    let mut shares = 0_u32;
    let step = search.step(job, now, hashes.into(), &mut by, &mut |found| {
        let header = job.header_of(&found, Engine::best());
        let hash = header.map(|header| header.hash(Engine::best()));
        assert_eq!(hash, Some(found.hash), "{found:?} is another header");
        assert!(job.parts().target.is_met_by(&found.hash), "{found:?} is no share");
        assert!(header.is_some_and(|header| seen.insert(header.to_bytes())), "{found:?} again");
        shares = shares.saturating_add(1);
    });
    assert!(shares <= step.hashes && step.hashes <= hashes.into(), "{step:?}");
}
