//! Every kernel beside the hash of `bitcoin_hashes`, on real headers and on any.

use bitcoin::hashes::{Hash, sha256d};
use proptest::prelude::*;

use super::*;
use crate::units::WorkBits;

/// More than two groups of the widest kernel, so that every partial group occurs.
const COUNT_MAX: u32 = 40;

/// Blocks 0, 1, 170, 125,552 and 286,819 of Bitcoin: version, previous block and Merkle root as
/// explorers write them, time, bits, nonce, and the hash as explorers write it.
const MINED: [(u32, &str, &str, u32, u32, u32, &str); 5] = [
    (
        1,
        "0000000000000000000000000000000000000000000000000000000000000000",
        "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
        1_231_006_505,
        0x1d00_ffff,
        2_083_236_893,
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    ),
    (
        1,
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        "0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098",
        1_231_469_665,
        0x1d00_ffff,
        2_573_394_689,
        "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    ),
    (
        1,
        "000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55",
        "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff",
        1_231_731_025,
        0x1d00_ffff,
        1_889_418_792,
        "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee",
    ),
    (
        1,
        "00000000000008a3a41b85b8b29ad444def299fee21793cd8b9e567eab02cd81",
        "2b12fcf1b09288fcaff797d71e950e71ae42b91e8bdb2304758dfcffc2b620e3",
        1_305_998_791,
        0x1a44_b9f2,
        2_504_433_986,
        "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    ),
    (
        2,
        "000000000000000117c80378b8da0e33559b5997f2ad55e2f7d18ec1975b9717",
        "871714dcbae6c8193a2bb9b2a69fe1c0440399f38d94b3a0f1b447275a29978a",
        1_392_872_245,
        0x1901_5f53,
        856_192_328,
        "0000000000000000e067a478024addfecdc93628978aa52d91fabd4292982a50",
    ),
];

/// A header cut as the kernels take it.
#[derive(Debug, Clone, Copy)]
struct Cut {
    bytes: [u8; 80],
    midstate: State,
    tail: [u32; 3],
}

impl Cut {
    fn new(bytes: [u8; 80]) -> Self {
        let midstate = State::INITIAL.compressed(bytes.first_chunk().unwrap());
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        Self { bytes, midstate, tail: [word(64), word(68), word(72)] }
    }

    /// A header of bytes that differ from place to place.
    fn any(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self::new([0; 80].map(|_: u8| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        }))
    }

    fn hash(&self, nonce: u32) -> [u8; 32] {
        let mut bytes = self.bytes;
        bytes[76..].copy_from_slice(&nonce.to_le_bytes());
        sha256d::Hash::hash(&bytes).to_byte_array()
    }

    /// What the scan should tell.
    fn hits(&self, first: u32, count: u32, target: &Target) -> Vec<(u32, [u8; 32])> {
        (0..count)
            .map(|at| first.wrapping_add(at))
            .map(|nonce| (nonce, self.hash(nonce)))
            .filter(|(_, hash)| target.is_met_by(hash))
            .collect()
    }

    fn scan(
        &self,
        by: &mut impl Backend,
        first: u32,
        count: u32,
        target: &Target,
    ) -> Vec<(u32, [u8; 32])> {
        let mut hits = Vec::new();
        by.scan(&self.midstate, &self.tail, first, count, target, &mut |nonce, hash| {
            hits.push((nonce, hash));
        });
        hits
    }
}

/// A block of the table: header, target, nonce, hash.
fn mined() -> impl Iterator<Item = (Cut, Target, u32, [u8; 32])> {
    let reversed = |text: &str| {
        let mut bytes: [u8; 32] = hex::FromHex::from_hex(text).unwrap();
        bytes.reverse();
        bytes
    };
    MINED.into_iter().map(move |(version, previous, root, time, bits, nonce, hash)| {
        let mut bytes = Vec::from(version.to_le_bytes());
        bytes.extend(reversed(previous));
        bytes.extend(reversed(root));
        bytes.extend([time, bits, nonce].map(u32::to_le_bytes).as_flattened());
        let cut = Cut::new(bytes.try_into().unwrap());
        (cut, Target::from_compact(bits).unwrap(), nonce, reversed(hash))
    })
}

fn of_bits(bits: u8) -> Target {
    Target::of_work_bits(WorkBits::new(bits).unwrap())
}

/// The kernels of this machine; prints the ones that are missing.
fn kernels() -> Vec<Kernel> {
    let (found, missing): (Vec<_>, Vec<_>) =
        Kind::ALL.into_iter().partition(|kind| kind.available());
    println!("kernels here: {found:?}; not available, so not tested: {missing:?}");
    found.into_iter().filter_map(Kernel::of).collect()
}

#[test]
fn mined_block_has_its_known_hash_and_meets_its_bits() {
    for (cut, target, nonce, hash) in mined() {
        assert_eq!(cut.hash(nonce), hash);
        assert!(target.is_met_by(&hash));
    }
}

#[test]
fn scan_of_mined_block_finds_its_nonce_in_every_place_of_a_group() {
    for mut kernel in kernels() {
        for (cut, target, nonce, hash) in mined() {
            for before in 0..COUNT_MAX {
                let first = nonce.wrapping_sub(before);
                let found = cut.scan(&mut kernel, first, COUNT_MAX, &target);
                assert_eq!(found, [(nonce, hash)], "{} {before}", kernel.name());
            }
        }
    }
}

#[test]
fn scan_finds_a_nonce_that_is_the_last_and_not_one_that_comes_after() {
    for mut kernel in kernels() {
        for (cut, target, nonce, hash) in mined() {
            for count in 0..COUNT_MAX {
                let first = nonce.wrapping_sub(count);
                assert_eq!(cut.scan(&mut kernel, first, count, &target), []);
                let found = cut.scan(&mut kernel, first, count + 1, &target);
                assert_eq!(found, [(nonce, hash)], "{} {count}", kernel.name());
            }
        }
    }
}

/// Half of all nonces, a few, and every one: several lanes of a group hit.
#[test]
fn scan_with_easy_targets_finds_what_hashing_finds_for_every_count() {
    let mut found = 0;
    for mut kernel in kernels() {
        for bits in [0, 1, 2, 4, 7] {
            let target = of_bits(bits);
            for count in 0..=COUNT_MAX {
                let cut = Cut::any(u64::from(count) * 8 + u64::from(bits));
                let first = count.wrapping_mul(0x0101_3579);
                let want = cut.hits(first, count, &target);
                assert_eq!(cut.scan(&mut kernel, first, count, &target), want, "{kernel:?}");
                found += want.len();
            }
        }
    }
    println!("{found} hits compared");
    assert!(found > 0);
}

/// A device's share of difficulty 1/256: the comparison is of a number, not of a zero word.
#[test]
fn scan_below_difficulty_one_finds_what_hashing_finds() {
    let (cut, target) = (Cut::any(3), of_bits(12));
    let want = cut.hits(77, 40_000, &target);
    assert!(want.len() > 3 && want.iter().any(|(_, hash)| hash[28..] != [0; 4]));
    for mut kernel in kernels() {
        assert_eq!(cut.scan(&mut kernel, 77, 40_000, &target), want, "{}", kernel.name());
    }
}

#[test]
fn scan_goes_on_with_zero_after_the_largest_nonce() {
    let target = of_bits(1);
    for mut kernel in kernels() {
        for before in 0..COUNT_MAX {
            let cut = Cut::any(u64::from(before) + 999);
            let first = 0_u32.wrapping_sub(before);
            let want = cut.hits(first, COUNT_MAX, &target);
            assert_eq!(cut.scan(&mut kernel, first, COUNT_MAX, &target), want, "{kernel:?}");
        }
    }
}

/// The limit on both sides: the target that is the hash, and the next harder one.
#[test]
fn scan_takes_a_hash_that_is_the_target_and_not_one_above_it() {
    for mut kernel in kernels() {
        for seed in 0..20 {
            let cut = Cut::any(seed);
            let hash = cut.hash(5);
            let mut number = hash;
            number.reverse();
            let target = Target::from_be_bytes(&number).unwrap();
            let found = cut.scan(&mut kernel, 5, 1, &target);
            assert_eq!(found, [(5, hash)], "{}", kernel.name());
            for byte in number.iter_mut().rev() {
                let borrow;
                (*byte, borrow) = byte.overflowing_sub(1);
                if !borrow {
                    break;
                }
            }
            let target = Target::from_be_bytes(&number).unwrap();
            assert_eq!(cut.scan(&mut kernel, 5, 1, &target), [], "{}", kernel.name());
        }
    }
}

/// A kernel that proposed too much would be right, and slow.
#[test]
fn kernel_proposes_no_nonce_whose_highest_bits_miss() {
    for kernel in kernels() {
        let cut = Cut::any(11);
        let target = of_bits(3);
        let prepared = Prepared::new(&cut.midstate, &cut.tail, &target);
        let mut proposed = Vec::new();
        let span = Span { first: 500, count: 100 };
        let next = |span| kernel.next(&prepared, span);
        groups(span, kernel.kind().lanes(), next, |_, nonce| proposed.push(nonce));
        let want: Vec<u32> = cut.hits(500, 100, &target).into_iter().map(|(at, _)| at).collect();
        if kernel.kind() != Kind::Compact {
            assert_eq!(proposed, want, "{}", kernel.name());
        }
    }
}

#[test]
fn backend_of_bare_metal_finds_what_hashing_finds() {
    let (cut, target) = (Cut::any(8), of_bits(4));
    let want = cut.hits(0, 500, &target);
    assert!(!want.is_empty());
    assert_eq!(cut.scan(&mut Compact, 0, 500, &target), want);
    assert_eq!(cut.scan(&mut Portable, 0, 500, &target), want);
    assert_eq!(cut.scan(&mut Fast, 0, 500, &target), want);
}

#[test]
fn absorb_is_the_compression_of_sha256() {
    for seed in 0..50 {
        let bytes = Cut::any(seed).bytes;
        let block: [u8; 64] = *bytes.first_chunk().unwrap();
        let mut words = [0; 16];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        let want = Cut::any(seed + 1).midstate.compressed(&block);
        assert_eq!(Compact.absorb(Cut::any(seed + 1).midstate, &words), want);
        assert_eq!(Portable.absorb(Cut::any(seed + 1).midstate, &words), want);
        assert_eq!(Fast.absorb(Cut::any(seed + 1).midstate, &words), want);
        assert_eq!(Kernel::best().absorb(Cut::any(seed + 1).midstate, &words), want);
    }
}

#[test]
fn best_kernel_is_the_last_available_kind() {
    let want = Kind::ALL.into_iter().rfind(|kind| kind.available());
    assert_eq!(Some(Kernel::best().kind()), want);
    assert_eq!(Kernel::all().last(), Some(Kernel::best()));
    assert!(Kind::Compact.available() && Kind::Portable.available());
    for kernel in kernels() {
        assert_eq!(Kernel::of(kernel.kind()), Some(kernel));
        assert!(kernel.kind().lanes() >= 1 && !kernel.name().is_empty());
    }
}

/// By forcing: each kernel in turn is the best that there is.
#[test]
fn best_kernel_falls_back_to_the_next_that_is_there() {
    for (above, kind) in Kind::ALL.into_iter().enumerate() {
        let best = Kernel::best_of(|kind| {
            Kind::ALL[..=above].contains(&kind).then(|| Kernel::of(kind)).flatten()
        });
        let want = Kind::ALL[..=above].iter().rfind(|kind| kind.available());
        assert_eq!(Some(&best.kind()), want, "{kind:?}");
    }
    assert_eq!(Kernel::best_of(|_| None).kind(), Kind::Portable);
}

/// Versions share their words: hits must be those of each alone, none of another.
#[test]
fn scan_versions_finds_of_each_version_what_its_own_scan_finds() {
    let mut found = 0;
    for kernel in kernels() {
        for bits in [0, 1, 3, 7] {
            for count in [0, 1, 3, 7, 8, 9, 15, 16, 17, 33, 100] {
                let cut = Cut::any(count.into());
                let versions =
                    [2, 3, 4, 5].map(|seed| Cut { midstate: Cut::any(seed).midstate, ..cut });
                let first = 30_u32.wrapping_sub(count);
                let (mut hits, target) = ([const { Vec::new() }; 4], of_bits(bits));
                kernel.scan_versions(
                    &versions.map(|version| version.midstate),
                    &cut.tail,
                    first,
                    count,
                    &target,
                    &mut |version, nonce, hash| hits[version].push((nonce, hash)),
                );
                for (hits, version) in hits.iter().zip(&versions) {
                    let want = version.scan(&mut Compact, first, count, &target);
                    assert_eq!(*hits, want, "{} {count}", kernel.name());
                    found += want.len();
                }
            }
        }
    }
    println!("{found} hits compared");
    assert!(found > 0);
}

proptest! {
    #[test]
    fn scan_of_any_header_finds_what_hashing_finds(
        seed: u64, first: u32, count in 0_u32..60, target: [u8; 32],
    ) {
        let (cut, mut easy) = (Cut::any(seed), target);
        easy[0] |= 1;
        let target = Target::from_be_bytes(&easy).unwrap();
        let want = cut.hits(first, count, &target);
        for mut kernel in Kernel::all() {
            prop_assert_eq!(&cut.scan(&mut kernel, first, count, &target), &want, "{:?}", kernel);
        }
    }
}
