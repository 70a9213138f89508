//! Jobs and coinbases: limits, fingerprints, and roots beside `bitcoin`.

use bitcoin::hashes::{Hash, sha256d};
use proptest::prelude::*;

use super::*;
use crate::units::WorkBits;

fn parts() -> Parts<'static> {
    Parts {
        id: JobId::MIN,
        version: 0x2000_4000,
        version_mask: 0x1fff_e000,
        previous: [7; 32],
        root: Root::Fixed([8; 32]),
        bits: 0x1d00_ffff,
        time: 1_800_000_000,
        roll: TimeRoll::Free(TimeRoll::MAX),
        nonce_first: 0,
        nonce_last: u32::MAX,
        target: Target::of_work_bits(WorkBits::MIN),
        expires: UtcSeconds::MAX,
    }
}

#[test]
fn job_at_its_limits_is_taken_and_beyond_refused() {
    assert!(Job::new(parts()).is_ok());
    let mask = 0x1fff_f000;
    let refused = Err(MinerError::VersionMask { mask });
    assert_eq!(Job::new(Parts { version_mask: mask, ..parts() }), refused);
    assert!(Job::new(Parts { nonce_first: 5, nonce_last: 5, ..parts() }).is_ok());
    let refused = Err(MinerError::Nonces { first: 5, last: 4 });
    assert_eq!(Job::new(Parts { nonce_first: 5, nonce_last: 4, ..parts() }), refused);
    for (time, roll, good) in [
        (5, 7_200, true),
        (5, 7_201, false),
        (u32::MAX - 11, 10, true),
        (u32::MAX - 10, 10, false),
        (u32::MAX, 0, false),
        (u32::MAX, 1, false),
    ] {
        let made = Job::new(Parts { time, roll: TimeRoll::Clock(roll), ..parts() });
        assert_eq!(made.is_ok(), good, "{time} {roll}");
        assert!(good || made == Err(MinerError::TimeRoll { time, roll }));
    }
}

#[test]
fn job_and_search_are_small() {
    assert!(size_of::<Job<'_>>() <= 256, "{}", size_of::<Job<'_>>());
    assert!(size_of::<crate::miner::Search>() <= 256, "{}", size_of::<crate::miner::Search>());
}

#[test]
fn versions_are_all_of_the_mask_and_begin_with_the_templates_own() {
    let job = Job::new(parts()).unwrap();
    assert_eq!(job.version(0), 0x2000_4000);
    let all: std::collections::BTreeSet<_> = (0..=u16::MAX).map(|at| job.version(at)).collect();
    assert_eq!(all.len(), 1 << 16);
    assert!(all.iter().all(|version| version & !0x1fff_e000 == 0x2000_0000));
}

#[test]
fn coinbase_beyond_its_limits_is_refused() {
    assert!(Coinbase::new(b"", b"", 8, b"", &[[0; 32]; 20]).is_ok());
    assert_eq!(Coinbase::new(b"", b"", 9, b"", &[]), Err(MinerError::ExtranonceSize { got: 9 }));
    let refused = Err(MinerError::Branches { got: 21 });
    assert_eq!(Coinbase::new(b"", b"", 8, b"", &[[0; 32]; 21]), refused);
}

#[test]
fn extranonce_that_does_not_fit_has_no_root() {
    for (size, max) in [(0, 0), (1, 255), (7, u64::MAX >> 8), (8, u64::MAX)] {
        let coinbase = Coinbase::new(b"a", b"b", size, b"c", &[]).unwrap();
        assert_eq!(coinbase.extranonce_max(), max);
        assert!(coinbase.root(Engine::best(), max).is_some());
        if let Some(above) = max.checked_add(1) {
            assert_eq!(coinbase.root(Engine::best(), above), None);
        }
    }
}

#[test]
fn coinbase_with_another_gap_is_another_space() {
    let root = |prefix, size, suffix| {
        let coinbase = Coinbase::new(prefix, b"", size, suffix, &[]).unwrap();
        Job::new(Parts { root: Root::Coinbase(coinbase), ..parts() }).unwrap().root()
    };
    let spaces = [
        root(b"ab", 4, b"c"),
        root(b"a", 4, b"bc"),
        root(b"ab", 5, b"c"),
        root(b"", 4, b"abc"),
        Job::new(parts()).unwrap().root(),
    ];
    let different: std::collections::BTreeSet<_> = spaces.iter().collect();
    assert_eq!(different.len(), spaces.len());
}

#[test]
fn job_of_other_terms_has_the_same_headers_and_of_other_fields_others() {
    let space = |parts| Job::new(parts).unwrap().space();
    let same = space(parts());
    let target = Target::DIFFICULTY_ONE;
    let roll = TimeRoll::Clock(1);
    let expires = UtcSeconds::MIN;
    assert_eq!(space(Parts { id: JobId::MAX, target, roll, expires, time: 5, ..parts() }), same);
    for other in [
        Parts { version: 1, ..parts() },
        Parts { version_mask: 0, ..parts() },
        Parts { previous: [0; 32], ..parts() },
        Parts { root: Root::Fixed([0; 32]), ..parts() },
        Parts { bits: 0, ..parts() },
        Parts { nonce_first: 1, ..parts() },
        Parts { nonce_last: 1, ..parts() },
    ] {
        assert_ne!(space(other), same, "{other:?}");
    }
}

proptest! {
    #[test]
    fn root_is_that_of_hashing_the_parts(
        prefix in prop::collection::vec(any::<u8>(), 0..150),
        extranonce1 in prop::collection::vec(any::<u8>(), 0..9),
        (size, extranonce) in (0_u8..=8, any::<u64>()),
        suffix in prop::collection::vec(any::<u8>(), 0..150),
        branches in prop::collection::vec(any::<[u8; 32]>(), 0..14),
    ) {
        let coinbase = Coinbase::new(&prefix, &extranonce1, size, &suffix, &branches).unwrap();
        let extranonce = extranonce & coinbase.extranonce_max();
        let number = extranonce.to_be_bytes();
        let written = [&prefix, &extranonce1, &number[8 - usize::from(size)..], &suffix].concat();
        let id = sha256d::Hash::hash(&written).to_byte_array();
        let root = branches.iter().fold(id, |node, branch| {
            sha256d::Hash::hash(&[node, *branch].concat()).to_byte_array()
        });
        prop_assert_eq!(coinbase.root(Engine::best(), extranonce), Some(root));
    }
}
