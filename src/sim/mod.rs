//! Simulation: scenarios, faults, oracles and fuzz bodies.

#[macro_use]
mod counting;
mod dice;
#[cfg(feature = "redb")]
pub mod disk;
pub mod fuzz;
pub mod hub;
pub mod pair;
pub mod scenario;
pub mod world;
