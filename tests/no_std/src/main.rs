//! The proof that the core needs no operating system: a program that is built, linked and run
//! without the standard library.
//!
//! It has a panic handler of its own and, for `alloc`, a global allocator of its own. Whatever pulls
//! in `std` brings second ones, and the build fails; whatever needs an allocator without `alloc`
//! does not link. Without a feature it prices a quantity and finds the nonce of the first block:
//! `mining.rs`. With `alloc` two nodes open a channel from terms, pay and are paid, and come back
//! from their stores: `machines.rs`; a batch is counted: `batches.rs`. Only the C library is linked beside it, for the start of the process and for
//! libsecp256k1's copying of memory.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use millstream::sha256::{Engine, Tag};
use millstream::units::{Msat, Price, Quantity};

#[cfg(feature = "alloc")]
mod arena;
#[cfg(feature = "alloc")]
mod batches;
#[cfg(feature = "alloc")]
mod machines;
mod mining;

#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

/// The only panic handler there may be.
#[panic_handler]
fn stop(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it takes nothing and does not come back.
    unsafe { abort() }
}

/// What the precompiled `core` and `alloc` name and an aborting program never calls.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() {}

/// What a meter without an allocator does: prices a quantity; `u64::MAX` if it cannot.
#[unsafe(no_mangle)]
pub extern "C" fn millstream_price(msat: u64, per: u64, quantity: u64) -> u64 {
    let price = Msat::new(msat).and_then(|msat| Price::new(msat, per));
    let owed = price.and_then(|price| {
        let quantity = Quantity::new(quantity)?;
        Ok(price.ceil_msat(quantity)?)
    });
    owed.map_or(u64::MAX, Msat::to_msat)
}

/// The first four bytes of a tagged hash, as a number.
#[unsafe(no_mangle)]
pub extern "C" fn millstream_tagged() -> u32 {
    const CHALLENGE: Tag = Tag::new("BIP0340/challenge");
    let [a, b, c, d, ..] = Engine::best().tagged(&CHALLENGE, b"");
    u32::from_be_bytes([a, b, c, d])
}

/// 0 if everything came out right; else the number of what did not.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    // 1.25 msat a watt-second, 150 kW for a second; and a part of a millisatoshi is rounded up.
    if millstream_price(5, 4, 150_000) != 187_500 || millstream_price(5, 4, 1) != 2 {
        return 1;
    }
    if millstream_tagged() != 0xc216_d352 {
        return 3;
    }
    if mining::millstream_mines(300) != 2_083_236_893 {
        return 5;
    }
    #[cfg(feature = "alloc")]
    if machines::millstream_pays(60) != 60 * 18_750 {
        return 2;
    }
    #[cfg(feature = "alloc")]
    if batches::millstream_batches(1_000) != 500_500 {
        return 4;
    }
    0
}
