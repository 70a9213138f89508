//! The search for proof of work.

pub mod kernel;
