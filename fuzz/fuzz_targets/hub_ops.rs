//! A hub between hostile neighbours.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::hub_ops(data));
