//! Simulation: scenarios, faults, oracles and fuzz bodies.

pub mod fuzz;
pub mod scenario;
