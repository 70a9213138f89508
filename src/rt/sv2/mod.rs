//! Stratum V2 over TCP and Noise: standard channels, a pool's end and a miner's.
//!
//! ```text
//!  miner <--TCP, Noise--> session: channels, each a Seat --Credit (bounded)--> whoever pays
//!                            ^
//!                   newest BlockPlan (watch)  <-- Sv2Server::publish
//!
//!  pool  <--TCP, Noise--> session --Sv2News (bounded)--> whoever searches
//!                            ^                                  |
//!                            +--------- submit (bounded) -------+
//! ```
//!
//! Encoding, frames, Noise and the messages are those of the reference crates; what they mean is
//! here, around the same desks as Stratum V1's. A standard channel is a worker whose jobs have a
//! merkle root each. Every job has an extranonce of its own (rule V3 of
//! [`shares`](crate::shares)), so that a job that is given again at another target has no header of
//! the one before.
//!
//! A share is answered after its [`Credit`] was taken. `new_shares_sum` counts in units of 2^32
//! hashes, the remainder carried: shares of small devices add up.
//!
//! # What a peer can cost
//!
//! A frame of 4 KiB, a greeting of 30 s, silence of 15 min, 256 frames a second over time, 64
//! refusals in a row and answers that are not read end a connection by name ([`Sv2Error`]) and
//! nothing else. A connection opens 64 channels, closed ones included. Frames that wait are 16,
//! then the peer is not read. Extended channels and custom work are refused: a proxy is not what
//! this is for.
//!
//! Rank 7, feature `sv2`. Used by whoever runs a pool for, or mines with, devices of Stratum V2.

mod channel;
mod client;
mod error;
mod link;
mod message;
mod server;
mod session;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Block;
use bitcoin::secp256k1::{Keypair, Secp256k1};
use zeroize::Zeroizing;

pub use client::{RefusedShare, Sv2Client, Sv2Job, Sv2News};
pub use error::Sv2Error;
pub use server::Sv2Server;

use crate::chain::template::{BlockPlan, TemplateError};
use crate::keys::Entropy;
use crate::shares::{Good, Policy, Share, Space};
use crate::stratum::WorkerName;
use crate::units::{Seconds, WorkBits};

/// How a server behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sv2Options {
    /// Where it takes connections; port 0 for any free one.
    pub listen: SocketAddr,
    /// Signs the certificates of its connections; miners know its public key.
    pub authority: Authority,
    /// How many miners there may be at once.
    pub connections_max: usize,
    /// How long a handshake and a greeting may take.
    pub greeting_max: Duration,
    /// How long a miner may say nothing.
    pub idle_max: Duration,
    /// How long an answer may not be read.
    pub stall_max: Duration,
    /// The work of a share: least, most, and at the beginning.
    pub work: (WorkBits, WorkBits, WorkBits),
    /// How often a channel should find a share.
    pub aim: Seconds,
    /// The limits of a desk.
    pub desk: Policy,
    /// Frames a second, and at once.
    pub frames: (u32, u32),
}

impl Sv2Options {
    /// 1,024 miners; a share each 10 s of 2^16 to 2^64 hashes, at first 2^32.
    pub fn new(listen: SocketAddr, authority: Authority) -> Self {
        let bits = |bits| WorkBits::new(bits).unwrap_or(WorkBits::MIN);
        let aim = Seconds::new(10).unwrap_or(Seconds::MIN);
        Self {
            listen,
            authority,
            connections_max: 1_024,
            greeting_max: Duration::from_secs(30),
            idle_max: Duration::from_secs(900),
            stall_max: Duration::from_secs(30),
            work: (bits(16), bits(64), bits(32)),
            aim,
            desk: Policy::for_aim(aim),
            frames: (256, 1_024),
        }
    }
}

/// A server's long-lived key. Shows its public part alone.
#[derive(Clone)]
pub struct Authority {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Authority {
    /// The key of 32 secret bytes; `None` if they are no key.
    pub fn new(secret: &[u8; 32]) -> Option<Self> {
        let pair = Keypair::from_seckey_slice(&Secp256k1::signing_only(), secret).ok()?;
        let public = pair.x_only_public_key().0.serialize();
        Some(Self { secret: Zeroizing::new(*secret), public })
    }

    /// What miners are told: the x-only public key.
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("public", &self.public).finish_non_exhaustive()
    }
}

/// A share that counts, in the order in which it was found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Credit {
    /// Whom it is paid to.
    pub worker: Arc<WorkerName>,
    /// The share and its worth.
    pub good: Good,
    /// What it was found for.
    plan: Arc<BlockPlan>,
    space: Space,
    extranonce: u64,
}

impl Credit {
    /// The block, if the share [is one](Good::is_block).
    ///
    /// # Errors
    /// [`TemplateError::HighHash`] if it is none.
    pub fn block(&self) -> Result<Block, TemplateError> {
        let share = Share { extranonce: self.extranonce, ..*self.good.share() };
        self.plan.block(&self.space, &share)
    }
}

/// Randomness of the operating system, as bytes.
fn random() -> Result<[u8; 32], Sv2Error> {
    let entropy: Entropy = super::clock::entropy().map_err(|_| Sv2Error::NoEntropy)?;
    Ok(*entropy.as_bytes())
}
