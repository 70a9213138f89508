//! A small trade over a serial line, the same code at both of its ends.
//!
//! ```text
//!   device                                serial line                      host
//!   buy(BOUGHT): payer of a channel  ---- frames of `wire` ----  sell(BOUGHT): its payee
//!   sell(SOLD): payee of a channel   --------------------------  buy(SOLD): its payer
//!        power cut: nothing is left but the seed and the store
//!   buy_again(BOUGHT)                --------------------------  sell_again(BOUGHT)
//!   sell_again(SOLD)                 --------------------------  buy_again(SOLD)
//! ```
//!
//! An [`End`] brings a port, a store and a clock of its own kind; what a gateway would tell of the
//! chain is in [`agreed`].
#![no_std]

extern crate alloc;

pub mod agreed;
mod buyer;
mod line;
mod seller;
mod signer;

use alloc::vec::Vec;

pub use line::{Line, Port};
use millstream::keys::{Context, Seed};

/// What went wrong, in words.
#[derive(Debug, Clone, Copy)]
pub struct Failed(pub &'static str);

/// A value, or what went wrong.
pub type Done<T> = Result<T, Failed>;

/// Names what went wrong; the errors' own texts would cost more flash than a device has.
pub trait Or<T> {
    /// The value, or `what`.
    ///
    /// # Errors
    /// [`Failed`] with `what`.
    fn or_fail(self, what: &'static str) -> Done<T>;
}

impl<T, E> Or<T> for Result<T, E> {
    fn or_fail(self, what: &'static str) -> Done<T> {
        self.map_err(|_| Failed(what))
    }
}

impl<T> Or<T> for Option<T> {
    fn or_fail(self, what: &'static str) -> Done<T> {
        self.ok_or(Failed(what))
    }
}

/// Where an end keeps its two records through a power cut: each is written whole, or not at all.
pub trait Pages {
    /// What is on the page.
    fn read(&self, page: Page) -> Option<Vec<u8>>;
    /// Writes the page; returns when it is durable, and whether it is.
    fn write(&mut self, page: Page, record: &[u8]) -> bool;
}

/// The records of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// The sealed backup of the channel in which it pays.
    Backup,
    /// The record of the channel in which it is paid.
    Payee,
}

/// Measures what a step costs.
pub trait Bench {
    /// Does `act`, which is called `what` in the report.
    fn time<T>(&mut self, what: &'static str, act: impl FnOnce() -> T) -> T;
}

/// One end of the line.
pub struct End<P, S, B> {
    seed: [u8; 32],
    context: Context,
    line: Line<P>,
    store: S,
    bench: B,
}

impl<P: Port, S: Pages, B: Bench> End<P, S, B> {
    /// The end with the keys of `seed`, and what its store holds.
    pub fn new(seed: [u8; 32], port: P, store: S, bench: B) -> Self {
        Self { seed, context: Context::new(), line: Line::new(port), store, bench }
    }

    /// Whether it has traded before.
    pub fn has_traded(&self) -> bool {
        self.store.read(Page::Backup).is_some()
    }

    /// What is left after a power cut.
    pub fn into_store(self) -> S {
        self.store
    }

    fn seed(&self) -> Seed {
        Seed::new(self.seed)
    }

    fn keep(&mut self, page: Page, record: &[u8]) -> Done<()> {
        if self.store.write(page, record) { Ok(()) } else { Err(Failed("a page was not written")) }
    }
}

/// Does `act` in a frame of its own: what one step has on the stack is not kept through the next.
#[inline(never)]
fn apart<T>(act: impl FnOnce() -> T) -> T {
    act()
}
