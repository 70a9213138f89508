//! The signer: requests, policy and budgets.
