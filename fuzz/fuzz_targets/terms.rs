//! Terms of a payee: bytes and text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::terms(data));
