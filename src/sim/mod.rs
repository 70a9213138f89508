//! Simulation: scenarios, faults, oracles and fuzz bodies.
