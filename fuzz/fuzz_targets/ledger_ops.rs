//! A ledger under any inputs and power cuts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::ledger_ops(data));
