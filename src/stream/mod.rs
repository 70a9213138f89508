//! Stream channels: one-way channels of cumulative vouchers, what machines use all day.
//!
//! ```text
//!  payer                                                      payee
//!  Opening::new(terms) -> fund -> funded()
//!    record, Backup durable, then broadcast
//!  Payer::open_request ------------ OpenRequest -----------> Payee::open (chain looked up)
//!  Payer::pay          ------------ Voucher ---------------> Payee::accept
//!                      <----------- acknowledged paid ------   record durable, then told
//!  Payer::resume       <----------- best voucher -----------  Payee::best
//!  Payer::notice  <== OutputStatus ==  chain  == OutputStatus ==> Payee::notice
//!                                                SettlementPlan -> Payee::promise -> broadcast
//!  Payer::propose_close ----------- CloseProposal ---------> Payee::answer_close
//!  Payer::propose_top_up ---------- TopUpProposal ---------> Payee::answer_top_up
//!  Payer::refund (after the deadline)
//! ```
//!
//! A machine is one channel outpoint. A rollover or a top-up ends it and gives the record of its
//! successor; the old machine stays, with its best voucher and deadline, until its spend is buried.
//! Each method that decides is pure and returns a step with the next record; `apply` is the only
//! mutation, live and on reload alike. Whoever drives a machine (`node`) commits the record before
//! anything of the step leaves.
//!
//! # Rules
//!
//! * S1. `paid` never exceeds the capacity, in any record, before it is written and after it is
//!   read.
//! * S2. A voucher counts only if its signature fits exactly this outpoint and template.
//! * S3. `paid` never falls at the payee; a stale voucher is answered with the best one.
//! * S4. What is not secured by depth, or lies above what a payee signature has stated, stays
//!   within the zero-conf limit.
//! * S5. Nothing is accepted at or after the last call (deadline less settle margin), nor while the
//!   chain stands still.
//! * S6. A payee signature that has left is never revoked: the least that one stated stays what the
//!   payee relies on until the outpoint's spend is buried.
//! * S8. A hold in the best voucher stays as it was, grows, is paid by a rise of `paid` by its full
//!   amount, or goes after the payee released it or its expiry has passed; ids rise and are never
//!   used again. New ones stand on deep outputs alone, between what the payee can still enforce and
//!   its last call.
//! * S9. The payer's record of a voucher with holds is durable before it leaves, and keeps every
//!   hold that an old voucher could still claim beyond what is paid.
//! * S7. The payer never signs less than it signed before; after a restart it signs nothing until
//!   the payee has presented its best voucher.
//!
//! | rule | kept in |
//! | --- | --- |
//! | S1 | `holds_together` of both records, asked by `apply` and by `decode`; `Channel::digest` |
//! | S2 | [`Payee::accept`], `payee/accept.rs`; [`Payer::resume`] for the payer's own signature |
//! | S3 | [`Payee::accept`]; `PayeeRecord::may_follow`, asked by [`Payee::apply`] |
//! | S4 | `Payee::check_secured`, `payee/accept.rs` |
//! | S5 | `Payee::check_last_call`, `payee/mod.rs`; [`View::live_height`]; [`Payer::pay`] |
//! | S6 | `Payee::promised`, `PayeeRecord::may_follow`; `Payee::notice_spend` for a lost record |
//! | S8 | [`Payee::accept_held`], `payee/held.rs`; [`Payer::offer`], `payer/held.rs` |
//! | S9 | [`payer::HoldStep`]; `PayerHolds::after`, `payer/holds.rs` |
//! | S7 | [`Payer::pay`], [`Payer::resume`]; `PayerRecord::may_follow`, asked by [`Payer::apply`] |
//!
//! A voucher may pay a batch of items ([`Payee::accept_batch`]); both machines are what `batch`
//! calls a channel.
//!
//! Rank 4. Used by `node`; imports `signer`, `tx`, `batch`, `store`, `keys`, `units`.

mod backup;
pub mod bundle;
mod bytes;
mod channel;
mod error;
mod hold;
mod joint;
pub mod payee;
pub mod payer;
mod record;
mod spend;
mod terms;
mod view;

pub use backup::{Backup, BackupError};
pub use channel::{OpenRequest, Rules, deadline};
pub use error::StreamError;
pub use hold::HoldVoucher;
pub use joint::{CloseProposal, TopUpProposal};
pub use payee::Payee;
pub use payer::Payer;
pub use spend::SpendKind;
pub use terms::{HoldRules, Terms, TermsError};
pub use view::View;

#[cfg(test)]
mod tests;
