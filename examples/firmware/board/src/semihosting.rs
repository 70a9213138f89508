//! Semihosting: the emulator's side door to the host's console, files and exit code.
//!
//! Source: "Semihosting for AArch32 and AArch64", ARM; the RISC-V one has the same operations.

use crate::machine::call;

const OPEN: u32 = 0x01;
const CLOSE: u32 = 0x02;
const WRITE0: u32 = 0x04;
const WRITE: u32 = 0x05;
const READ: u32 = 0x06;
const GET_CMDLINE: u32 = 0x15;
const EXIT_EXTENDED: u32 = 0x20;

/// "Application exit": the code follows.
const APPLICATION_EXIT: usize = 0x20026;
const READ_BINARY: usize = 1;
const WRITE_BINARY: usize = 5;
/// What a failed call returns.
const FAILED: u32 = u32::MAX;
/// Longest text that is printed in one call, and longest command line.
const LINE: usize = 64;

/// Prints text on the host's console.
pub fn print(text: &[u8]) {
    for part in text.chunks(LINE - 1) {
        let mut line = [0; LINE];
        for (to, from) in line.iter_mut().zip(part) {
            *to = *from;
        }
        call(WRITE0, line.as_ptr() as usize);
    }
}

/// The first word that the emulator was given for the program, as bytes.
pub fn argument(line: &mut [u8; LINE]) -> &[u8] {
    let mut block = [line.as_mut_ptr() as usize, LINE];
    if call(GET_CMDLINE, block.as_mut_ptr() as usize) == FAILED {
        return &[];
    }
    let length = line.iter().position(|byte| *byte == 0).unwrap_or(0);
    line.get(..length).unwrap_or_default()
}

/// Writes a file on the host: what a device would write to its flash.
pub fn save(name: &core::ffi::CStr, bytes: &[u8]) -> bool {
    with_file(name, WRITE_BINARY, |file| {
        let block = [file, bytes.as_ptr() as usize, bytes.len()];
        // Zero bytes were left out.
        call(WRITE, block.as_ptr() as usize) == 0
    })
    .unwrap_or(false)
}

/// Reads such a file; how many bytes it had, at most the length of `bytes`.
pub fn load<'b>(name: &core::ffi::CStr, bytes: &'b mut [u8]) -> Option<&'b [u8]> {
    let left = with_file(name, READ_BINARY, |file| {
        let block = [file, bytes.as_mut_ptr() as usize, bytes.len()];
        call(READ, block.as_ptr() as usize) as usize
    })?;
    let length = bytes.len().checked_sub(left)?;
    bytes.get(..length)
}

fn with_file<T>(name: &core::ffi::CStr, mode: usize, act: impl FnOnce(usize) -> T) -> Option<T> {
    let block = [name.as_ptr() as usize, mode, name.to_bytes().len()];
    let file = call(OPEN, block.as_ptr() as usize);
    if file == FAILED {
        return None;
    }
    let done = act(file as usize);
    let block = [file as usize];
    call(CLOSE, block.as_ptr() as usize);
    Some(done)
}

/// Ends the emulator with this exit code.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code as usize];
    loop {
        call(EXIT_EXTENDED, block.as_ptr() as usize);
    }
}
