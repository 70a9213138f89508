//! Lines of miners and of pools against both sides of a Stratum session.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::stratum_lines(data));
