//! Bitcoin Core's own consensus and mempool policy in process: the judge of every transaction that
//! millstream makes.
//!
//! ```text
//!   tests/scenarios.rs --> Court (arena.rs)
//!                            |
//!   tests/direct ---------> Core (node.rs) --> ffi.rs == C ABI ==> shim/judge.cpp
//!                            |                                       |
//!        blocks: millstream::chain::regtest          libbitcoinkernel.a (Core 31.99, with
//!                                                    its mempool)
//! ```
//!
//! [`Core`] is a regtest node without network, wallet or RPC. It tells Core's verdict in Core's own
//! words ([`Reject::reason`]). The scenarios that both this judge and the simulated chain of the
//! crate must pass are data in `millstream::sim::scenario`; `tests/scenarios.rs` runs them here.
//!
//! A workspace of its own, for three reasons: it needs system packages that the crate does not
//! (Debian: `cmake g++ libboost-dev`); its features must not unify with those of the root, since
//! `bitcoinconsensus` exports the same symbols as the kernel; and building Core costs minutes, so
//! that it is done in one profile only. Run it from its own folder (`cd tests/judge && cargo test`),
//! where `.cargo/config.toml` tells `CMake` how to compile Core.

mod arena;
mod ffi;
mod node;

pub use arena::{Court, Heard};
pub use node::{Core, Reject};
