//! Tariffs, statements and metered sessions of a peer or a disk.
#![no_main]

use millstream_fuzz::{Counting, heap_peak_of};

#[global_allocator]
static HEAP: Counting = Counting;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let peak = heap_peak_of(|| millstream::sim::fuzz::meter(data));
    // A band of one tier is 33 bytes here and about 100 in memory, its list grows by doubling, and
    // the body writes what it has read. A list that is allocated by its count alone is above this.
    assert!(peak <= 16 * data.len() + 1_024, "{peak} bytes for {} of input", data.len());
});
