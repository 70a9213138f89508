//! Simulation: scenarios, faults, oracles and fuzz bodies.

#[cfg(feature = "redb")]
pub mod disk;
pub mod fuzz;
pub mod pair;
pub mod scenario;
pub mod world;
