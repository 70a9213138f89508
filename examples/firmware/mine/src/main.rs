//! The miner's core on a microcontroller: finds the first block again.
//!
//! It searches 4,096 nonces before and at the one that Bitcoin's first block has, for a hash of
//! difficulty 1, and has to find exactly that one. Which kernel does it is chosen by the package's
//! features.
#![no_std]
#![no_main]

use board::Stopwatch;
use millstream::miner::kernel::Backend;
#[cfg(feature = "compact")]
use millstream::miner::kernel::Compact as Kernel;
#[cfg(feature = "fast")]
use millstream::miner::kernel::Fast as Kernel;
#[cfg(not(any(feature = "compact", feature = "fast")))]
use millstream::miner::kernel::Portable as Kernel;
use millstream::sha256::State;
use millstream::units::Target;

board::image!(main);

/// The header of Bitcoin's first block without its nonce, as the words that SHA-256 reads: version
/// 1, no previous block, the root of its one transaction, 3 January 2009, difficulty 1.
const BLOCK: [u32; 16] = [
    0x0100_0000,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3ba3_edfd,
    0x7a7b_12b2,
    0x7ac7_2c3e,
    0x6776_8f61,
    0x7fc8_1bc3,
    0x888a_5132,
    0x3a9f_b8aa,
];
/// The rest of the root, the time and the bits.
const TAIL: [u32; 3] = [0x4b1e_5e4a, 0x29ab_5f49, 0xffff_001d];
/// The nonce that its miner found.
const NONCE: u32 = 2_083_236_893;
/// Many, as for any real target: so what is done once, for the job and for a hit, hardly counts.
const SEARCHED: u32 = 4096;

fn main() -> u32 {
    let midstate = Kernel.absorb(State::INITIAL, &BLOCK);
    let (mut found, mut at) = (0, 0);
    let first = NONCE - SEARCHED + 1;
    let mut count = |nonce, _| {
        found += 1;
        at = nonce;
    };
    let watch = Stopwatch::start();
    Kernel.scan(&midstate, &TAIL, first, SEARCHED, &Target::DIFFICULTY_ONE, &mut count);
    let instructions = watch.instructions();
    board::report("instructions", instructions / SEARCHED);
    board::report("nonce", at);
    u32::from(found != 1 || at != NONCE)
}
