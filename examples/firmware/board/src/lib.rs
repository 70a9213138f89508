//! What every image needs of its board: start, stack, counter of instructions, console, exit.
//!
//! ```text
//! reset -> stack painted, .data copied, .bss zeroed -> main() -> report of stack -> exit code
//! ```
//!
//! Two boards, both emulated: MPS2 AN386 (Cortex-M4F) and `virt` (RISC-V). Console, files and exit
//! go through semihosting, which costs no code of ours; numbers are printed without `core::fmt`,
//! which alone would be larger than a miner. [`image!`] names the function that an image runs.
#![no_std]

#[cfg(target_arch = "arm")]
mod arm;
#[cfg(feature = "heap")]
mod heap;
#[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
mod riscv;
mod semihosting;

#[cfg(target_arch = "arm")]
use arm as machine;
#[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
use riscv as machine;

use core::panic::PanicInfo;
use core::ptr::addr_of;

#[cfg(target_arch = "arm")]
pub use arm::serial;
#[cfg(feature = "heap")]
pub use heap::most_taken;
pub use semihosting::{argument, exit, load, print, save};

/// What unused stack is painted with.
const PAINT: u32 = 0xaaaa_aaaa;

unsafe extern "C" {
    static __stack_bottom: u32;
    static __stack_top: u32;
}

/// Counts the instructions that are executed from its start on.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(u32);

impl Stopwatch {
    /// Starts counting.
    pub fn start() -> Self {
        Self(machine::count())
    }

    /// Instructions since the start, fewer than 2^31; to the next one or two of them.
    pub fn instructions(self) -> u32 {
        machine::instructions(self.0, machine::count())
    }
}

/// Names the image's function: `fn() -> u32`, whose value is the exit code.
#[macro_export]
macro_rules! image {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn image_main() -> u32 {
            $main()
        }
    };
}

/// Prints `name: value`, which the script reads.
pub fn report(name: &str, value: u32) {
    print(name.as_bytes());
    print(b": ");
    let mut digits = [0; 10];
    let mut rest = value;
    let mut start = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start = place;
        if rest == 0 {
            break;
        }
    }
    print(digits.get(start..).unwrap_or_default());
    print(b"\n");
}

/// Prints bytes in hexadecimal.
pub fn report_bytes(name: &str, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    print(name.as_bytes());
    print(b": ");
    for byte in bytes {
        print(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    print(b"\n");
}

/// The most stack that was in use so far, in bytes.
pub fn stack_most() -> u32 {
    let (mut at, top) = (addr_of!(__stack_bottom), addr_of!(__stack_top));
    // SAFETY: both lie in RAM, and what is between them was painted word by word.
    unsafe {
        while at < top && at.read_volatile() == PAINT {
            at = at.add(1);
        }
    }
    (top as u32) - (at as u32)
}

/// Where `reset` goes on once there is a stack and memory.
#[unsafe(no_mangle)]
extern "C" fn run() -> ! {
    unsafe extern "C" {
        fn image_main() -> u32;
    }
    machine::start_counting();
    // SAFETY: `image!` defines it with this signature, and the linker found it.
    let code = unsafe { image_main() };
    report("stack", stack_most());
    exit(code)
}

/// What is left when the processor cannot go on: a panic, a stack that overflowed, a bad address.
#[unsafe(no_mangle)]
extern "C" fn fault() -> ! {
    print(b"fault\n");
    exit(101)
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    fault()
}
