//! Databases behind the store trait.
