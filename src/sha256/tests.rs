//! Every kernel beside the portable one, and the portable one beside `bitcoin_hashes` and NIST.

use core::num::NonZeroUsize;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use proptest::prelude::*;

use super::*;

/// More than two groups of the widest kernel, so that every partial group occurs.
const LANES_MAX: usize = 40;

/// The engines of this machine; prints the ones that are missing.
fn engines() -> Vec<Engine> {
    let (found, missing): (Vec<_>, Vec<_>) =
        Kernel::ALL.into_iter().partition(|kernel| kernel.available());
    println!("kernels here: {found:?}; not available, so not tested: {missing:?}");
    found.into_iter().filter_map(Engine::of).collect()
}

/// Bytes that differ from place to place, the same in every run.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn blocks(count: usize, seed: u64) -> Vec<[u8; 64]> {
    bytes(count * 64, seed).as_chunks::<64>().0.to_vec()
}

fn start(lane: usize) -> State {
    let lane = u32::try_from(lane).unwrap();
    State(State::INITIAL.0.map(|word| word.rotate_left(lane) ^ lane.wrapping_mul(0x9e37_79b9)))
}

/// A whole plain hash through the door.
fn hash(engine: Engine, message: &[u8]) -> [u8; 32] {
    let (full, rest) = message.as_chunks::<64>();
    let mut state = State::INITIAL;
    engine.absorb_one(&mut state, full);
    let tail = Tail::new(message.len() as u64, rest);
    engine.absorb_one(&mut state, tail.blocks());
    state.to_bytes()
}

#[test]
fn absorb_is_the_portable_kernel_lane_by_lane_for_every_count_of_lanes() {
    let mut compared = 0;
    for engine in engines() {
        for each in 1..=3 {
            for lanes in 0..=LANES_MAX {
                let messages = blocks(lanes * each, (lanes * 4 + each) as u64);
                let mut states: Vec<_> = (0..lanes).map(start).collect();
                engine.absorb(&mut states, &messages, NonZeroUsize::new(each).unwrap());
                for (lane, state) in states.iter().enumerate() {
                    let mut want = start(lane);
                    for block in &messages[lane * each..(lane + 1) * each] {
                        want = want.compressed(block);
                    }
                    assert_eq!(*state, want, "{:?} lane {lane} of {lanes}", engine.kernel());
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} lanes compared");
    assert!(compared > 0);
}

/// A kernel that mixed up lanes, words or bytes would show it on a block with one bit set.
#[test]
fn absorb_of_single_bits_is_the_portable_kernel() {
    for engine in engines() {
        for lane in 0..16 {
            for bit in (0..512).step_by(5) {
                let mut messages = [[0; 64]; 16];
                messages[lane][bit / 8] = 1 << (bit % 8);
                let mut states = [State::INITIAL; 16];
                engine.absorb(&mut states, &messages, NonZeroUsize::MIN);
                let zero = State::INITIAL.compressed(&[0; 64]);
                for (at, state) in states.into_iter().enumerate() {
                    let want =
                        if at == lane { State::INITIAL.compressed(&messages[at]) } else { zero };
                    assert_eq!(state, want, "{:?} bit {bit} of {lane}", engine.kernel());
                }
            }
        }
    }
}

#[test]
fn absorb_one_is_the_portable_kernel_for_any_count_of_blocks() {
    for engine in engines() {
        for count in 0..9 {
            let message = blocks(count, count as u64 + 77);
            let mut state = start(3);
            engine.absorb_one(&mut state, &message);
            let want = message.iter().fold(start(3), State::compressed);
            assert_eq!(state, want, "{:?}", engine.kernel());
        }
    }
}

/// The padding on both sides of each of its limits: 55 and 56, 63 and 64, 119 and 120.
#[test]
fn hash_of_every_length_is_the_one_of_bitcoin_hashes() {
    for engine in engines() {
        for length in 0..=260 {
            let message = bytes(length, 5);
            let want = sha256::Hash::hash(&message).to_byte_array();
            assert_eq!(hash(engine, &message), want, "{:?} length {length}", engine.kernel());
        }
    }
}

#[test]
fn last_block_of_55_bytes_is_one_and_of_56_none() {
    assert!(last_block(55, &[1; 55]).is_some());
    assert!(last_block(56, &[1; 56]).is_none());
    assert!(last_block(64, &[1; 64]).is_none());
    assert!(last_block(65, &[1; 65]).is_none());
    assert_eq!(Tail::new(55, &[1; 55]).blocks().len(), 1);
    assert_eq!(Tail::new(56, &[1; 56]).blocks().len(), 2);
    assert_eq!(Tail::new(63, &[1; 63]).blocks().len(), 2);
}

#[test]
fn tag_is_the_state_after_the_double_hash_of_its_name() {
    for length in [0, 1, 17, 55, 56, 63, 64, 65, 119, 120, 128, 200] {
        let name = "x".repeat(length);
        let half = sha256::Hash::hash(name.as_bytes());
        let mut engine = sha256::Hash::engine();
        engine.input(half.as_byte_array());
        engine.input(half.as_byte_array());
        let message = bytes(length, 9);
        assert_eq!(Tag::new(&name).state().to_bytes(), engine.midstate().to_byte_array());
        engine.input(&message);
        let want = sha256::Hash::from_engine(engine).to_byte_array();
        for ours in engines() {
            assert_eq!(ours.tagged(&Tag::new(&name), &message), want, "{length}");
        }
    }
}

#[test]
fn tag_in_a_constant_is_the_tag_at_run_time() {
    const TAG: Tag = Tag::new("millstream/test");
    let name = std::hint::black_box("millstream/test");
    assert_eq!(TAG, Tag::new(name));
}

#[test]
fn best_engine_is_the_last_available_kernel() {
    let want = Kernel::ALL.into_iter().rfind(|kernel| kernel.available());
    assert_eq!(Some(Engine::best().kernel()), want);
    assert!(Kernel::Portable.available());
    for engine in engines() {
        assert_eq!(Engine::of(engine.kernel()), Some(engine));
        assert!(engine.kernel().lanes() >= 1 && !engine.kernel().name().is_empty());
    }
}

proptest! {
    #[test]
    fn absorb_of_random_lanes_is_the_portable_kernel(
        lanes in proptest::collection::vec(
            (any::<[u32; 8]>(), any::<[u8; 32]>(), any::<[u8; 32]>()), 0..40),
    ) {
        let messages: Vec<[u8; 64]> = lanes
            .iter()
            .map(|(_, low, high)| [*low, *high].as_flattened().try_into().unwrap())
            .collect();
        let want: Vec<State> = lanes
            .iter()
            .zip(&messages)
            .map(|((words, ..), block)| State::from_words(*words).compressed(block))
            .collect();
        for engine in Kernel::ALL.into_iter().filter_map(Engine::of) {
            let mut states: Vec<State> =
                lanes.iter().map(|(words, ..)| State::from_words(*words)).collect();
            engine.absorb(&mut states, &messages, NonZeroUsize::MIN);
            prop_assert_eq!(&states, &want, "{:?}", engine.kernel());
        }
    }
}
