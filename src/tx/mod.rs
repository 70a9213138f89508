//! Transactions of stream channels: scripts, vouchers, settlement, refund, close, top-up.

pub mod seen;
