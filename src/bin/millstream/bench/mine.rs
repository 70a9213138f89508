//! Nonces searched on one core, beside two compressions of `sha2` a nonce after a midstate.
//!
//! ```text
//!   first blocks of Bitcoin, each with its nonce in the middle of a lap
//!      |-> scan of a kernel             hits counted: one a lap, with the block's hash
//!      '-> sha2::compress256, twice     the same
//! ```
//!
//! The target is the blocks' own, of difficulty 1. The laps are the same in every run, and no other
//! hash of them meets it.

use std::error::Error;

use millstream::miner::kernel::{Kernel, Kind};
use millstream::sha256::State;
use millstream::units::Target;
use sha2::digest::generic_array::GenericArray;

use super::Args;
use super::batch::check_count;
use super::clock::{Clock, Plan, compare};
use super::row::{Goal, Row};

/// What this file gives.
pub(crate) const NAMES: &[&str] =
    &["mine_ratio_avx2", "mine_ratio_shani", "mine_ratio_avx512", "mine_ratio_shared"];

/// Nonces of a lap.
const LAP: u32 = 1 << 14;
/// Versions that are searched together.
const VERSIONS: u32 = 4;
/// What ours is measured against.
const PEER: &str = "sha2 compress256 twice after a midstate, MH/s";

/// Blocks 0, 1 and 170: the bytes of the header.
const MINED: [&str; 3] = [
    concat!(
        "010000000000000000000000000000000000000000000000000000000000000000000000",
        "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a",
        "29ab5f49ffff001d1dac2b7c",
    ),
    concat!(
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000",
        "982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e",
        "61bc6649ffff001d01e36299",
    ),
    concat!(
        "0100000055bd840a78798ad0da853f68974f3d183e2bd1db6a842c1feecf222a00000000",
        "ff104ccb05421ab93e63f8c3ce5c2c2e9dbb37de2764b3a3175c8166562cac7d",
        "51b96a49ffff001d283e9e70",
    ),
];

/// Measures each kernel that is here.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for (name, kind, goal) in [
        ("mine_ratio_avx2", Kind::Avx2, 1.3),
        ("mine_ratio_shani", Kind::ShaNi, 2.5),
        ("mine_ratio_avx512", Kind::Avx512, 2.6),
    ] {
        rows.push(match Kernel::of(kind) {
            Some(kernel) => alone(args, name, kernel)?.goal(Goal::AtLeast(goal)),
            None => missing(name, kind),
        });
    }
    let (name, kind) = ("mine_ratio_shared", Kind::Avx512);
    rows.push(match Kernel::of(kind) {
        Some(kernel) => shared(args, name, kernel)?.goal(Goal::AtLeast(3.3)),
        None => missing(name, kind),
    });
    Ok(rows)
}

fn missing(name: &'static str, kind: Kind) -> Row {
    Row::missing(name, "x", &format!("this processor has no {}", kind.name()))
}

/// One version of a header.
fn alone(args: &Args, name: &'static str, kernel: Kernel) -> Result<Row, Box<dyn Error>> {
    let blocks = blocks()?;
    let mut ours = Laps::new(&blocks);
    measure(args, name, kernel, 1, || {
        ours.lap(|block, hit| {
            let Block { midstate, tail, first, target, .. } = block;
            kernel.scan(midstate, tail, *first, LAP, target, &mut |nonce, hash| hit(nonce, hash));
        })
    })
}

/// Several versions, of which one is the block's.
fn shared(args: &Args, name: &'static str, kernel: Kernel) -> Result<Row, Box<dyn Error>> {
    let blocks = blocks()?;
    let mut ours = Laps::new(&blocks);
    measure(args, name, kernel, VERSIONS, || {
        ours.lap(|block, hit| {
            let Block { midstate, tail, first, target, .. } = block;
            let mut versions = [*midstate; 4];
            for (at, version) in (1_u8..).zip(versions.iter_mut().skip(1)) {
                *version = State::INITIAL.compressed(&[at; 64]);
            }
            kernel.scan_versions(&versions, tail, *first, LAP, target, &mut |_, nonce, hash| {
                hit(nonce, hash);
            });
        })
    })
}

/// The row of `lap`, which hashes `each` headers for each nonce of a lap.
fn measure(
    args: &Args,
    name: &'static str,
    kernel: Kernel,
    each: u32,
    mut lap: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Row, Box<dyn Error>> {
    let blocks = blocks()?;
    let mut theirs = Laps::new(&blocks);
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 16, operations: 2 };
    let cost = compare(plan, &mut lap, &mut || theirs.lap(by_sha2))?;
    let rate = |seconds: f64, each: u32| f64::from(LAP) * f64::from(each) / seconds / 1e6;
    let note = format!("{}, {:.1} MH/s, one core", kernel.name(), rate(cost.ours, each));
    let row = Row::new(name, f64::from(each) / cost.ratio, "x");
    Ok(row.against(PEER, rate(cost.bare, 1)).note(note))
}

/// A block of which everything but the nonce is known.
struct Block {
    midstate: State,
    tail: [u32; 3],
    target: Target,
    /// The nonce from which a lap has the block's in its middle.
    first: u32,
    nonce: u32,
}

fn blocks() -> Result<Vec<Block>, Box<dyn Error>> {
    let parse = |text: &&str| {
        let bytes: Vec<u8> = bitcoin::hex::FromHex::from_hex(text)?;
        let (first, rest) = bytes.split_first_chunk::<64>().ok_or("a header has 80 bytes")?;
        let [[w0, w1, w2, nonce]] = rest.as_chunks::<4>().0.as_chunks::<4>().0 else {
            return Err("a header has 80 bytes".into());
        };
        let nonce = u32::from_le_bytes(*nonce);
        Ok(Block {
            midstate: State::INITIAL.compressed(first),
            tail: [w0, w1, w2].map(|word| u32::from_be_bytes(*word)),
            target: Target::from_compact(u32::from_le_bytes(*w2))?,
            first: nonce.wrapping_sub(LAP / 2),
            nonce,
        })
    };
    MINED.iter().map(parse).collect()
}

/// The blocks in turn.
struct Laps<'a> {
    blocks: std::iter::Cycle<std::slice::Iter<'a, Block>>,
}

impl<'a> Laps<'a> {
    fn new(blocks: &'a [Block]) -> Self {
        Self { blocks: blocks.iter().cycle() }
    }

    /// Searches around the nonce of the next block, and nothing but this is to be found.
    fn lap(
        &mut self,
        scan: impl FnOnce(&Block, &mut dyn FnMut(u32, [u8; 32])),
    ) -> Result<(), Box<dyn Error>> {
        let block = self.blocks.next().ok_or("no blocks")?;
        let (mut hits, mut right) = (0, 0);
        scan(std::hint::black_box(block), &mut |nonce, hash| {
            hits += 1;
            right += u64::from(nonce == block.nonce && block.target.is_met_by(&hash));
        });
        check_count("hits", hits, 1)?;
        check_count("nonces of the block", right, 1)
    }
}

/// What a miner does with a crate's compression: the midstate is kept, the padding too.
fn by_sha2(block: &Block, hit: &mut dyn FnMut(u32, [u8; 32])) {
    let mut header = [0; 64];
    for (bytes, word) in header.as_chunks_mut::<4>().0.iter_mut().zip(block.tail) {
        *bytes = word.to_be_bytes();
    }
    header[16] = 0x80;
    header[62..].copy_from_slice(&640_u16.to_be_bytes());
    let mut padded = [0; 64];
    padded[32] = 0x80;
    padded[62..].copy_from_slice(&256_u16.to_be_bytes());
    let (mut header, mut padded) = (GenericArray::from(header), GenericArray::from(padded));
    for nonce in (0..LAP).map(|at| block.first.wrapping_add(at)) {
        header[12..16].copy_from_slice(&nonce.to_le_bytes());
        let mut state = block.midstate.words();
        sha2::compress256(&mut state, core::slice::from_ref(&header));
        for (bytes, word) in padded.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        let mut hash = State::INITIAL.words();
        sha2::compress256(&mut hash, core::slice::from_ref(&padded));
        if hash[7] == 0 {
            hit(nonce, State::from_words(hash).to_bytes());
        }
    }
}
