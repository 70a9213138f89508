//! Jobs, tips and shares of a worker's desk.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::share_verify(data));
