//! The tokio driver over TCP.
