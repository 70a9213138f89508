//! The only allocator there may be: a bump of a fixed arena, as a small device has it. Nothing is
//! taken back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

/// 16 MB: more than a run takes.
const SIZE: usize = 1 << 24;

#[repr(align(4096))]
struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: each byte is handed out once, by one atomic step, and never read here.
unsafe impl Sync for Arena {}

// SAFETY: what is handed out is aligned, inside the arena, and nobody else's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut at = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            at = used.checked_next_multiple_of(layout.align())?;
            at.checked_add(layout.size()).filter(|end| *end <= SIZE)
        });
        match taken {
            // SAFETY: `at` is at most SIZE.
            Ok(_) if layout.align() <= 4096 => unsafe { self.bytes.get().cast::<u8>().add(at) },
            _ => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ARENA: Arena = Arena { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };
