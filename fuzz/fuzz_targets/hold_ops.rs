//! Conditional payments between a payer and a payee.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::hold_ops(data));
