//! The proof that the core needs no operating system.
//!
//! A static library without the standard library, with a panic handler of its own and, for `alloc`,
//! a global allocator of its own. Whatever pulls in `std` brings a second panic handler, and the
//! build fails; whatever needs an allocator without `alloc` fails too. It calls into the rooms, so
//! that their code is generated and not only read.
#![no_std]

use core::panic::PanicInfo;

use millstream::units::{Msat, Price, Quantity};

/// The only panic handler there may be.
#[panic_handler]
fn stop(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

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

#[cfg(feature = "alloc")]
mod with_alloc {
    extern crate alloc;

    use alloc::vec::Vec;
    use core::alloc::{GlobalAlloc, Layout};
    use core::ptr::null_mut;

    use millstream::wire::{FrameReader, Message, write_frame};

    /// The only allocator there may be. It has nothing to give: this library is linked, never run.
    struct Nothing;

    // SAFETY: an allocator may always return null, and then has nothing to take back.
    unsafe impl GlobalAlloc for Nothing {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            null_mut()
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static NOTHING: Nothing = Nothing;

    /// Reads frames and answers each with itself: bytes written, or `usize::MAX`.
    ///
    /// # Safety
    /// `bytes` points to `length` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn millstream_echo(bytes: *const u8, length: usize) -> usize {
        // SAFETY: the caller's promise.
        let mut input = unsafe { core::slice::from_raw_parts(bytes, length) };
        let (mut reader, mut out) = (FrameReader::new(), Vec::new());
        loop {
            match reader.read(&mut input).map(|message| message.map(Message::decode)) {
                Ok(Some(Ok(Some(message)))) if write_frame(&message, &mut out).is_ok() => {}
                Ok(Some(Ok(None))) => {}
                Ok(None) => return out.len(),
                _ => return usize::MAX,
            }
        }
    }
}
