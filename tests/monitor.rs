//! Monitors of both sides on the simulated chain, with its relay policy and its scripts.

#[path = "monitor/honest.rs"]
mod honest;
#[path = "monitor/model.rs"]
mod model;
#[path = "monitor/old_vouchers.rs"]
mod old_vouchers;
#[path = "monitor/rivals.rs"]
mod rivals;
#[path = "monitor/support.rs"]
mod support;
