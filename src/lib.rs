//! Payment channels for machines.
//!
//! A car pays a charger per watt-second, a fridge buys power by the tariff of the minute, and each
//! seller is paid as it delivers, on Bitcoin, with no custodian, no token and no server in between.
//!
//! The core (rooms of rank 0-5) is pure: no clock, socket, disk or randomness inside. Time, chain
//! events, messages and entropy come in as arguments; what must be stored, sent, broadcast and told
//! comes out as values, in that order. See `ARCHITECTURE.md` for the rooms and the way of a
//! payment.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod units;

#[cfg(feature = "alloc")]
pub mod keys;
#[cfg(feature = "alloc")]
pub mod store;
#[cfg(feature = "alloc")]
pub mod wire;

#[cfg(feature = "alloc")]
pub mod meter;
#[cfg(feature = "alloc")]
pub mod tx;

#[cfg(feature = "alloc")]
pub mod signer;

#[cfg(feature = "alloc")]
pub mod stream;

#[cfg(feature = "alloc")]
pub mod node;

#[cfg(feature = "std")]
pub mod chain;
#[cfg(feature = "std")]
pub mod db;

#[cfg(feature = "rt")]
pub mod rt;
#[cfg(feature = "sim")]
pub mod sim;
