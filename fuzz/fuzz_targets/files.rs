//! The seed file and the simulated chain's file of a disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::files(data));
