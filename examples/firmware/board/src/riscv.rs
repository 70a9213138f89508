//! The RV32IMC core of the board `virt`: reset, and the counter of retired instructions.

use core::arch::{asm, global_asm};

global_asm!(
    ".section .vectors, \"ax\"",
    ".global reset",
    "reset:",
    "la t0, 7f",
    "csrw mtvec, t0",
    "la sp, __stack_top",
    "la t0, __stack_bottom",
    "li t1, 0xaaaaaaaa",
    "1: bgeu t0, sp, 2f",
    "sw t1, 0(t0)",
    "addi t0, t0, 4",
    "j 1b",
    "2: la t0, __data_start",
    "la t1, __data_end",
    "la t2, __data_load",
    "3: bgeu t0, t1, 4f",
    "lw t3, 0(t2)",
    "sw t3, 0(t0)",
    "addi t0, t0, 4",
    "addi t2, t2, 4",
    "j 3b",
    "4: la t0, __bss_start",
    "la t1, __bss_end",
    "5: bgeu t0, t1, 6f",
    "sw zero, 0(t0)",
    "addi t0, t0, 4",
    "j 5b",
    "6: call run",
    ".balign 4",
    "7: la sp, __stack_top",
    "call fault",
);

/// Instructions are counted from reset on.
pub(crate) fn start_counting() {}

/// Instructions so far.
pub(crate) fn count() -> u32 {
    let now;
    // SAFETY: reads a counter.
    unsafe { asm!("csrr {}, minstret", out(reg) now, options(nomem, nostack)) };
    now
}

/// Each is one.
pub(crate) fn instructions(start: u32, end: u32) -> u32 {
    end.wrapping_sub(start)
}

/// One call of the semihosting host: a breakpoint between two instructions that do nothing.
pub(crate) fn call(operation: u32, argument: usize) -> u32 {
    let result;
    // SAFETY: the debugger reads and writes what the operation's block says, and nothing else.
    unsafe {
        asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inout("a0") operation => result,
            in("a1") argument,
        );
    }
    result
}
