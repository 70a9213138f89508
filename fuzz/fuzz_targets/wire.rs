//! Bytes of a peer: messages, TLV streams, numbers, frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream::sim::fuzz::wire(data));
