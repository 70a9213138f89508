//! Payment channels for machines.
//!
//! A car pays a charger per watt-second, a fridge buys power by the tariff of the minute, and each
//! seller is paid as it delivers, on Bitcoin, with no custodian, no token and no server in between.
//! A channel is one-way: the payer signs a cumulative voucher, the payee keeps the best one and
//! settles it on the chain in time. One signature, one verification and one message a payment.
//!
//! # The contract
//!
//! The core (rooms of rank 0-5) is pure: no clock, socket, disk or randomness inside. Time, chain
//! events, messages and entropy come in as arguments. A driver does two things with a
//! [`node::Node`]:
//!
//! 1. [`handle`](node::Node::handle) inputs, any number of times. A refused input changes nothing,
//!    and its error says by `blame()` whether it is ours, the peer's or the world's
//!    ([`units::Blame`]).
//! 2. [`flush`](node::Node::flush): commit what must be durable, then broadcast, then send, then
//!    tell. The types make any other order impossible: the only way to an [`node::Outbox`] is the
//!    commit.
//!
//! Below the node each machine has the same shape: a method that decides takes `&self` and returns
//! a step with the next record, and `apply` is the only mutation, live and on reload alike.
//!
//! # The rooms, in reading order
//!
//! A room imports only from rooms of a lower rank.
//!
//! | rank | room | what it is |
//! | --- | --- | --- |
//! | 0 | [`units`] | amounts, rates, heights, times, prices, work, ids; exact, with a checked range |
//! | 1 | [`keys`] | one 32-byte seed, and every key that grows from it |
//! | 2 | [`tx`] | the format on the chain: scripts, vouchers, settlements, refunds, weights |
//! | 3 | [`signer`] | the one place that holds secrets, and says no |
//! | 4 | [`stream`] | the channel: payer and payee, from [`stream::Terms`] to the refund |
//! | 2 | [`meter`] | tariffs, sessions, and the window of mutual risk |
//! | 2 | [`batch`] | many payments under one root, lanes, receipts |
//! | 2 | [`shares`] | proof of work that workers claim, checked and counted once |
//! | 2 | [`ledger`] | what accepted work is worth, to whom it is owed, what was paid |
//! | 1 | [`wire`] | the messages as bytes |
//! | 1 | [`store`] | records by key, in atomic commits |
//! | 0 | [`sha256`] | the hash, on as many lanes as the processor has |
//! | 1 | [`miner`] | the search for proof of work: jobs, shares found, budgets |
//! | 1 | [`merkle`] | one root for a million payments, and a proof of each |
//! | 4 | [`hub`] | conditional payments forwarded from channel to channel |
//! | 4 | [`swap`] | money of one chain for money of another, both or neither |
//! | 4 | [`monitor`] | what one side does on the chain about its holds |
//! | 5 | [`node`] | many peers, channels and sessions behind one input and one drain |
//! | 5 | `stratum` | Stratum V1 without I/O: what miners and pools speak |
//! | 6 | `chain` | where chain events come from, and the coins that fund and pay fees |
//! | 6 | `db` | the store on real databases |
//! | 7 | `rt` | the driver over TCP |
//! | 7 | `sim` | worlds of machines on a simulated chain, with faults |
//!
//! `ARCHITECTURE.md` has the picture, the way of one payment through the files, and the line that
//! keeps each promise of `SECURITY.md`.
//!
//! # A payment, without any I/O
//!
//! ```
//! # use bitcoin::hashes::Hash;
//! # use bitcoin::{BlockHash, Network, OutPoint};
//! # use millstream::keys::{Context, Entropy, Seed};
//! # use millstream::signer::budget::Policy;
//! # use millstream::signer::{KeyName, MemorySigner, Past, PeerId, Signer};
//! # use millstream::store::MemoryStore;
//! # use millstream::stream::payer::{Ending, Opening};
//! # use millstream::stream::{Payee, Payer, Terms, View};
//! # use millstream::tx::seen::{OutputStatus, Tip};
//! # use millstream::tx::{ChangeScript, Delay};
//! # use millstream::units::{Height, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds};
//! # let (network, aux) = (Network::Regtest, Entropy::new([7; 32]));
//! # let (index, session) = (KeyIndex::new(0)?, SessionId::new(1)?);
//! # let outpoint = OutPoint::null();
//! # let (now, funded_at) = (UtcSeconds::new(1_800_000_000)?, Height::new(101)?);
//! # let tip = Tip { height: Height::new(110)?, hash: BlockHash::all_zeros(), time: now };
//! # let view = View { tip, now, tip_age_max: Seconds::new(7_200)? };
//! # let limit = Msat::new(1_000_000)?;
//! # let policy = Policy { hour: limit, day: limit, peer: limit, slice: Msat::new(100_000)? };
//! # let mut signer = MemorySigner::new(Seed::new([1; 32]), network, policy, None, &aux)?;
//! # signer.release_day_budget_without_record(now)?;
//! # let mut budget_store = MemoryStore::default();
//! // The payee prints its terms; the payer makes a channel of them, without asking anybody.
//! let context = Context::new();
//! let base = Seed::new([2; 32]).base_key(&context, network)?.public();
//! let terms = Terms::new(network, base)?;
//! let (delay, capacity) = (Delay::new(1_008)?, Sat::new(50_000)?);
//! let key = signer.public(KeyName::Payer(index))?;
//! let opening =
//!     Opening::new(&context, &terms, index, key, delay, capacity, ChangeScript::Own, &view)?;
//! let (record, _backup, request) = opening.funded(outpoint);
//! let mut payer = Payer::load(&context, key, record)?;
//! payer.register(&mut signer, Past::New)?;
//! # signer.open_session(PeerId::new(base), session, limit)?;
//! # if let Some(next) = signer.reserve(now, None)? {
//! #     signer.apply(next.commit(&mut budget_store)?)?;
//! # }
//!
//! // Ten blocks later the payee is shown the channel, and looks it up in its own chain.
//! # let script = opening.script().clone();
//! # let confirmed = Some(funded_at);
//! let status = OutputStatus { value: capacity, script, confirmed, truc: true, spent: None };
//! let mut payee = Payee::open(&context, &terms, &request, Some(&status), &view)?;
//!
//! // One payment: one signature, one verification. Each side stores its record, then goes on.
//! let (total, keep) = (Msat::new(1_500)?, Ending::KeepsChange);
//! let paid = payer.pay(&mut signer, total, keep, session, &view, &aux)?;
//! payer.apply(paid.record())?;
//! let accepted = payee.accept(&context, paid.voucher(), &view)?;
//! payee.apply(accepted.record())?;
//! assert_eq!(payee.paid(), total);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Features
//!
//! They add, and never change what is there.
//!
//! | feature | brings |
//! | --- | --- |
//! | none | [`units`], [`sha256`] and [`miner`], on `core` without an allocator |
//! | `alloc` | the whole core, [`keys`] to [`node`], without an operating system |
//! | `std` (default) | `chain`, and of `db` the seed file |
//! | `stratum` | Stratum V1 without I/O; `rt` and `sim` bring it |
//! | `rt` | the tokio driver over TCP |
//! | `redb`, `sqlite` | durable stores |
//! | `sim` | the simulated world; `consensus` checks its scripts by Bitcoin Core's interpreter |
//! | `bdk` | on-chain coins by `bdk_wallet` |
//! | `serde` | [`units`] as data |
//! | `sv2` | pool and miner over Stratum V2, by its reference crates |
//! | `rpc` | block templates from a node over JSON-RPC |
//! | `cli` | the `millstream` command |
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Three rooms alone: the other rooms, which this page links, are not there.
#![cfg_attr(not(feature = "alloc"), allow(rustdoc::broken_intra_doc_links))]
// P5: no input, whatever it is, can make the library panic: these are errors outside its tests.
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

// What several own, for all rooms of the core. Without compare-and-swap, as on a Cortex-M0, there
// is no `alloc::sync`; there is one core then, and a count needs no atomic. The choice stands here
// alone: a room that forgot it would build everywhere else.
#[cfg(all(feature = "alloc", not(target_has_atomic = "ptr")))]
use alloc::rc::Rc as Arc;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
use alloc::sync::Arc;

pub mod miner;
pub mod sha256;
pub mod units;

#[cfg(feature = "alloc")]
pub mod keys;
#[cfg(feature = "alloc")]
pub mod merkle;
#[cfg(feature = "alloc")]
pub mod store;
#[cfg(feature = "alloc")]
pub mod wire;

#[cfg(feature = "alloc")]
pub mod batch;
#[cfg(feature = "alloc")]
pub mod ledger;
#[cfg(feature = "alloc")]
pub mod meter;
#[cfg(feature = "alloc")]
pub mod shares;
#[cfg(feature = "alloc")]
pub mod tx;

#[cfg(feature = "alloc")]
pub mod signer;

#[cfg(feature = "alloc")]
pub mod hub;
#[cfg(feature = "alloc")]
pub mod monitor;
#[cfg(feature = "alloc")]
pub mod stream;
#[cfg(feature = "alloc")]
pub mod swap;

#[cfg(feature = "alloc")]
pub mod node;

#[cfg(feature = "stratum")]
pub mod stratum;

#[cfg(feature = "std")]
pub mod chain;
#[cfg(feature = "std")]
pub mod db;

#[cfg(feature = "rt")]
pub mod rt;
#[cfg(feature = "sim")]
pub mod sim;
