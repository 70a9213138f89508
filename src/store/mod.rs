//! The store: a trait of few functions, its conformance suite, and a memory store.
