//! Simulation: scenarios, faults, oracles and fuzz bodies.

pub mod scenario;
