//! The heap: 2 KiB, one list of holes, and the most that was ever taken of it.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};

use linked_list_allocator::Heap;

/// 2,048: what an endpoint with one channel either way takes, and half as much again.
const SIZE: usize = 2_048;

struct Device(UnsafeCell<State>);

struct State {
    heap: Heap,
    is_ready: bool,
    most: usize,
}

static mut ARENA: [MaybeUninit<u8>; SIZE] = [MaybeUninit::uninit(); SIZE];

#[global_allocator]
static DEVICE: Device =
    Device(UnsafeCell::new(State { heap: Heap::empty(), is_ready: false, most: 0 }));

// SAFETY: one core, and no interrupt handler allocates.
unsafe impl Sync for Device {}

// SAFETY: the list gives each byte of the arena once, aligned as asked.
unsafe impl GlobalAlloc for Device {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: nobody else is inside, see `Sync`.
        let state = unsafe { &mut *self.0.get() };
        if !state.is_ready {
            // SAFETY: the arena is used for nothing else, and only once.
            unsafe { state.heap.init((&raw mut ARENA).cast(), SIZE) };
            state.is_ready = true;
        }
        let given = state.heap.allocate_first_fit(layout);
        state.most = state.most.max(state.heap.used());
        given.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(at) = NonNull::new(at) else { return };
        // SAFETY: as above; `at` came from `alloc` with this layout.
        unsafe { (*self.0.get()).heap.deallocate(at, layout) };
    }
}

/// The most bytes that were in use at once.
pub fn most_taken() -> u32 {
    // SAFETY: as above.
    unsafe { (*DEVICE.0.get()).most as u32 }
}
