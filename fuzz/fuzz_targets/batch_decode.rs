//! A batch: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::batch_decode(data));
