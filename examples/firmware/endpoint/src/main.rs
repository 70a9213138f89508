//! A payer and a payee of stream channels on a microcontroller.
//!
//! The first boot finds an empty flash: it opens a channel and buys over it, then it takes
//! a channel and sells over it. The second boot finds its pages: it takes both up again. The other
//! end of the serial line is `../host`. Everything is measured: instructions of the steps, the most
//! heap and stack.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::ffi::CStr;

use board::{Stopwatch, serial};
use scene::agreed::{BOUGHT, SOLD};
use scene::{Bench, Done, End, Page, Pages, Port};

board::image!(main);

/// The device's secret. A product has its own, from its random numbers, where nothing reads it.
const SEED: [u8; 32] = [0xde; 32];

fn main() -> u32 {
    serial::open();
    let code = match trade() {
        Ok(()) => 0,
        Err(failed) => {
            board::print(failed.0.as_bytes());
            board::print(b"\n");
            1
        }
    };
    board::report("heap", board::most_taken());
    code
}

fn trade() -> Done<()> {
    let mut end = End::new(SEED, Uart, Flash, Instructions);
    let (bought, sold) = if end.has_traded() {
        (end.buy_again(BOUGHT)?, end.sell_again(SOLD)?)
    } else {
        (end.buy(BOUGHT)?, end.sell(SOLD)?)
    };
    board::report("bought", bought.to_msat() as u32);
    board::report("sold", sold.to_msat() as u32);
    Ok(())
}

struct Uart;

impl Port for Uart {
    fn read(&mut self) -> Option<u8> {
        Some(serial::read())
    }

    fn write(&mut self, bytes: &[u8]) {
        serial::write(bytes);
    }
}

/// Two pages of flash: files of the host.
struct Flash;

impl Flash {
    const fn file(page: Page) -> &'static CStr {
        match page {
            Page::Backup => c"backup.bin",
            Page::Payee => c"payee.bin",
        }
    }
}

impl Pages for Flash {
    fn read(&self, page: Page) -> Option<Vec<u8>> {
        board::load(Self::file(page), &mut [0; 256]).map(<[u8]>::to_vec)
    }

    fn write(&mut self, page: Page, record: &[u8]) -> bool {
        board::save(Self::file(page), record)
    }
}

struct Instructions;

impl Bench for Instructions {
    #[inline(never)]
    fn time<T>(&mut self, what: &'static str, act: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let done = act();
        let instructions = watch.instructions();
        board::report(what, instructions);
        done
    }
}
