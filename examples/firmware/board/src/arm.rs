//! The Cortex-M4F of MPS2 AN386: vectors, reset, the timer that counts instructions, the UART.

use core::arch::global_asm;

// The stack pointer is loaded by the processor. A fault starts with a fresh stack: the old one may
// be what overflowed.
global_asm!(
    ".section .vectors, \"a\"",
    ".word __stack_top",
    ".word reset + 1",
    ".rept 14",
    ".word on_fault + 1",
    ".endr",
    ".section .text.reset, \"ax\"",
    ".global reset",
    ".thumb_func",
    "reset:",
    // The floating-point registers may be used by any function that was told of them.
    "ldr r0, =0xe000ed88",
    "ldr r1, [r0]",
    "orr r1, r1, #0xf00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "ldr r0, =__stack_bottom",
    "ldr r1, =__stack_top",
    "ldr r2, =0xaaaaaaaa",
    "1: cmp r0, r1",
    "bhs 2f",
    "str r2, [r0], #4",
    "b 1b",
    "2: ldr r0, =__data_start",
    "ldr r1, =__data_end",
    "ldr r2, =__data_load",
    "3: cmp r0, r1",
    "bhs 4f",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "b 3b",
    "4: ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "5: cmp r0, r1",
    "bhs 6f",
    "str r2, [r0], #4",
    "b 5b",
    "6: bl run",
    ".thumb_func",
    "on_fault:",
    "ldr r0, =__stack_top",
    "mov sp, r0",
    "bl fault",
    ".ltorg",
);

/// CMSDK timer 0: a down-counter of 25 MHz.
const TIMER: *mut u32 = 0x4000_0000 as *mut u32;
/// CMSDK UART 0.
const UART: *mut u32 = 0x4000_4000 as *mut u32;

/// Starts the timer: it counts 40 ns ticks down from the largest number.
pub(crate) fn start_counting() {
    // SAFETY: registers of this board: reload, value, control.
    unsafe {
        TIMER.add(2).write_volatile(u32::MAX);
        TIMER.add(1).write_volatile(u32::MAX);
        TIMER.write_volatile(1);
    }
}

/// The timer's value.
pub(crate) fn count() -> u32 {
    // SAFETY: as above.
    unsafe { TIMER.add(1).read_volatile() }
}

/// An instruction takes 32 ns of a tick's 40 ns.
pub(crate) fn instructions(start: u32, end: u32) -> u32 {
    let ticks = start.wrapping_sub(end);
    ticks.wrapping_add(ticks / 4)
}

/// One call of the semihosting host.
pub(crate) fn call(operation: u32, argument: usize) -> u32 {
    let result;
    // SAFETY: the debugger reads and writes what the operation's block says, and nothing else.
    unsafe {
        core::arch::asm!("bkpt 0xab", inout("r0") operation => result, in("r1") argument);
    }
    result
}

/// The serial line: bytes, waited for.
pub mod serial {
    use super::UART;

    const TRANSMIT_FULL: u32 = 1;
    const RECEIVE_FULL: u32 = 2;

    /// Switches both directions on.
    pub fn open() {
        // SAFETY: registers of this board: the divider, of which the emulator asks 16, and control.
        unsafe {
            UART.add(4).write_volatile(16);
            UART.add(2).write_volatile(3);
        }
    }

    /// Waits for a byte.
    pub fn read() -> u8 {
        // SAFETY: as above: state and data.
        unsafe {
            while UART.add(1).read_volatile() & RECEIVE_FULL == 0 {}
            UART.read_volatile() as u8
        }
    }

    /// Sends bytes.
    pub fn write(bytes: &[u8]) {
        for byte in bytes {
            // SAFETY: as above.
            unsafe {
                while UART.add(1).read_volatile() & TRANSMIT_FULL != 0 {}
                UART.write_volatile(u32::from(*byte));
            }
        }
    }
}
