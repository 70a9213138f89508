//! The image that does nothing: what the board itself costs, which the miner's budget leaves out.
//!
//! It reports as the miner does, so that the parts for that are counted here.
#![no_std]
#![no_main]

use board::Stopwatch;

board::image!(main);

fn main() -> u32 {
    let watch = Stopwatch::start();
    board::report("instructions", watch.instructions());
    board::report_bytes("hash", &[]);
    0
}
