//! What Core says to transactions and blocks made by hand: that the judge judges, and by which
//! rules; and whether our simulated chain says the same. The channels' own transactions come before
//! it in `scenarios`.

mod coins;
mod consensus;
mod court;
mod policy;
mod twins;
