//! The chain: sources, on-chain coins, and the simulated chain.
