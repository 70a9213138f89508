//! Vouchers of a peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::voucher(data));
