//! Block headers, and stories of jobs in front of a search.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::miner_job(data));
