//! A receipt: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::receipt_verify(data));
