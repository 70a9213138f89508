//! Keys: the seed, per-channel derivation, secrets.
