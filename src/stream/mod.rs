//! Stream channels: the payer and payee machines.
