//! Receipts of shares: a pool's word of what it counted, which a worker can check.
//!
//! ```text
//!  share, work --leaf--> path --> root, count --+
//!                                               +--> digest <-- signature of the pool
//!     worker, channel, window, owed from, to ---+
//! ```
//!
//! A pool closes the window of a worker from time to time, builds the tree over its shares
//! ([`ShareWindow`]), and signs one [`Statement`]. A device that keeps no share, only sums, checks
//! that the statement says what it counted itself ([`Statement::check`]), and that it goes on where
//! the one before ended ([`Statement::follows`]). Who keeps a share has a [`ShareReceipt`] that
//! proves it to anybody: that it is in the window, once, with its work.
//!
//! The sum of a leaf is by how many whole millisatoshis the share raised what is owed; the sum of
//! the tree is by how many the window did.
//!
//! Made by the pool, whose `signer` signs the statement; checked by the worker.
//!
//! ```
//! use bitcoin::OutPoint;
//! use millstream::ledger::receipt::{Opening, ShareWindow};
//! use millstream::ledger::{Credit, Exact, HashPrice, WorkerKey};
//! use millstream::units::{Msat, Work, WorkBits};
//!
//! let (worker, channel) = (WorkerKey::new([7; 32]), OutPoint::null());
//! let opening = Opening { worker, channel, window: 1, owed: Exact::ZERO };
//! let price = HashPrice::per_bits(Msat::new(1)?, WorkBits::new(21)?)?;
//! let share = Credit::priced(Work::new(1 << 20), price)?;
//!
//! let mut window = ShareWindow::new(opening);
//! window.push(b"a share as it was submitted", &share)?;
//! window.push(b"and another one", &share)?;
//! let statement = window.seal()?;
//!
//! // The device: two shares, each half a millisatoshi.
//! statement.check(&share.plus(&share)?)?;
//! assert_eq!(statement.to, Exact::from(Msat::new(1)?));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod error;
mod proof;

use alloc::vec::Vec;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, XOnlyPublicKey};

pub use error::ShareReceiptError;
pub use proof::{ShareProof, ShareReceipt};

use super::{Credit, Exact, WorkerKey};
use crate::keys::{Context, tagged_hash};
use crate::merkle::{Builder, MerkleError, Shape};
use crate::units::{Msat, Work};

/// The tag of a statement's digest.
const TAG: &[u8] = b"millstream/shares";

/// What the pool signs of a window of shares, once for all of them.
///
/// | bytes | what, numbers big-endian |
/// | --- | --- |
/// | 32 | worker |
/// | 32 + 4 | channel, zeros and all ones while there is none |
/// | 8 | window |
/// | 32 | root |
/// | 4 | shares |
/// | 16 | work |
/// | 20 | owed before: msat, 2^-96 parts |
/// | 20 | owed with it |
///
/// The digest is the tagged SHA-256 of them, tag `millstream/shares`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// Who did the work.
    pub worker: WorkerKey,
    /// The channel that pays it; null while there is none.
    pub channel: OutPoint,
    /// The window's number: one more than that of the one before.
    pub window: u64,
    /// The root over its shares.
    pub root: [u8; 32],
    /// How many they are.
    pub shares: u32,
    /// The work of all.
    pub work: Work,
    /// What was owed before it, over the account's life.
    pub from: Exact,
    /// What is owed with it.
    pub to: Exact,
}

impl Statement {
    /// Length of the bytes.
    pub const LENGTH: usize = 168;

    /// What the pool attests.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let parts: [&[u8]; 9] = [
            self.worker.as_bytes(),
            self.channel.txid.as_byte_array(),
            &self.channel.vout.to_be_bytes(),
            &self.window.to_be_bytes(),
            &self.root,
            &self.shares.to_be_bytes(),
            &self.work.hashes().to_be_bytes(),
            &self.from.to_bytes(),
            &self.to.to_bytes(),
        ];
        parts.concat()
    }

    /// What is signed.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        tagged_hash(TAG, &[&self.encode()])
    }

    /// Checks that `signature` is by `pool`. Costs one BIP340 verification.
    ///
    /// # Errors
    /// [`ShareReceiptError::BadSignature`].
    pub fn verify(
        &self,
        context: &Context,
        pool: XOnlyPublicKey,
        signature: &Signature,
    ) -> Result<(), ShareReceiptError> {
        let message = Message::from_digest(self.digest());
        let checked = context.secp().verify_schnorr(signature, &message, &pool);
        checked.map_err(|_| ShareReceiptError::BadSignature { pool })
    }

    /// Checks that it counts exactly what the worker counted itself: shares that were accepted, the
    /// work of their targets, and that at the prices of their jobs.
    ///
    /// # Errors
    /// [`ShareReceiptError::Shares`], [`ShareReceiptError::Work`], [`ShareReceiptError::Value`].
    pub fn check(&self, own: &Credit) -> Result<(), ShareReceiptError> {
        let shares = u64::from(self.shares);
        if shares != own.shares() {
            return Err(ShareReceiptError::Shares { got: shares, want: own.shares() });
        }
        if self.work != own.work() {
            return Err(ShareReceiptError::Work { got: self.work, want: own.work() });
        }
        match self.to.checked_sub(self.from) {
            Some(value) if value == own.value() => Ok(()),
            _ => Err(ShareReceiptError::Value { from: self.from, to: self.to, want: own.value() }),
        }
    }

    /// Checks that nothing is missing between `before` and this one: the next window of the same
    /// worker, which begins with no less than the other ended with. Blocks that were shared in
    /// between may have raised it.
    ///
    /// # Errors
    /// [`ShareReceiptError::NotNext`].
    pub fn follows(&self, before: &Self) -> Result<(), ShareReceiptError> {
        let is_next = before.window.checked_add(1) == Some(self.window);
        if is_next && self.worker == before.worker && self.from >= before.to {
            return Ok(());
        }
        Err(ShareReceiptError::NotNext { got: self.window, before: before.window })
    }

    /// What the tree's sum must be.
    fn total(&self) -> Option<Msat> {
        self.to.floor_msat().checked_sub(self.from.floor_msat())
    }
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Whose shares.
    pub worker: WorkerKey,
    /// The channel that pays them; null while there is none.
    pub channel: OutPoint,
    /// The window's number.
    pub window: u64,
    /// What is owed before its first share.
    pub owed: Exact,
}

/// The shares of one worker's window, in the order in which they were credited.
///
/// Memory grows with the logarithm of their number. A refused share leaves it as it was.
#[derive(Debug, Clone)]
pub struct ShareWindow {
    opening: Opening,
    sum: Credit,
    tree: Builder,
    /// The share that is to be proved: its place, and what it is once it was pushed.
    proving: Option<(u32, Option<Leaf>)>,
}

/// A leaf of the tree: what is hashed is the work (16 bytes, big-endian) and the share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaf {
    work: Work,
    share: Vec<u8>,
    /// By how many whole millisatoshis it raises what is owed.
    msat: Msat,
}

impl Leaf {
    fn message(&self) -> Vec<u8> {
        [&self.work.hashes().to_be_bytes()[..], &self.share].concat()
    }
}

impl ShareWindow {
    /// 32: a share is 28 bytes, and the leaf of it one compression.
    pub const SHARE_BYTES_MAX: usize = 32;

    /// An empty window.
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self { opening, sum: Credit::NONE, tree: Builder::default(), proving: None }
    }

    /// An empty window that keeps the path of its share `index`, from 0, for
    /// [`Self::into_proof`]. The shares are then pushed again.
    #[must_use]
    pub fn proving(opening: Opening, index: u32) -> Self {
        let (tree, proving) = (Builder::proving(index), Some((index, None)));
        Self { opening, sum: Credit::NONE, tree, proving }
    }

    /// Adds the next share: its bytes as `shares` encodes them, and its credit.
    ///
    /// # Errors
    /// [`ShareReceiptError::ShareBytes`], [`ShareReceiptError::NotOne`] for a credit of several,
    /// [`ShareReceiptError::Tree`] of more than 2^20, [`ShareReceiptError::Overflow`].
    pub fn push(&mut self, share: &[u8], credit: &Credit) -> Result<(), ShareReceiptError> {
        if share.is_empty() || share.len() > Self::SHARE_BYTES_MAX {
            return Err(ShareReceiptError::ShareBytes { got: share.len() });
        }
        if credit.shares() != 1 {
            return Err(ShareReceiptError::NotOne { got: credit.shares() });
        }
        let sum = self.sum.plus(credit)?;
        let before = self.opening.owed.plus(self.sum.value())?.floor_msat();
        let msat = self.opening.owed.plus(sum.value())?.floor_msat().sub(before)?;
        // On the stack: this is what a share costs.
        let mut message = [0; 16 + Self::SHARE_BYTES_MAX];
        let (work, rest) = message.split_at_mut(16);
        work.copy_from_slice(&credit.work().hashes().to_be_bytes());
        rest.iter_mut().zip(share).for_each(|(to, byte)| *to = *byte);
        let message = message.get(..share.len().saturating_add(16)).unwrap_or_default();
        let place = self.tree.leaves();
        self.tree.push(message, msat).map_err(ShareReceiptError::Tree)?;
        if let Some((index, leaf)) = &mut self.proving
            && *index == place
        {
            *leaf = Some(Leaf { work: credit.work(), share: share.to_vec(), msat });
        }
        self.sum = sum;
        Ok(())
    }

    /// What was pushed, together.
    #[must_use]
    pub const fn sum(&self) -> &Credit {
        &self.sum
    }

    /// Closes the window, and begins the next one where it ends.
    ///
    /// # Errors
    /// [`ShareReceiptError::Tree`] if it is empty.
    pub fn seal(&mut self) -> Result<Statement, ShareReceiptError> {
        let shape = self.shape()?;
        let to = self.opening.owed.plus(self.sum.value())?;
        let root = self.tree.take_root(shape).map_err(ShareReceiptError::Tree)?;
        let statement = self.statement(root.hash, shape, to);
        self.opening = Opening {
            owed: to,
            // A window a nanosecond takes centuries to get there.
            window: self.opening.window.saturating_add(1),
            ..self.opening
        };
        self.sum = Credit::NONE;
        Ok(statement)
    }

    /// The proof of the share that it was made for, and the statement that it is under: the one
    /// that was signed, if the same shares were pushed.
    ///
    /// # Errors
    /// [`ShareReceiptError::Tree`] if there is no such share, or it was not made to prove one.
    pub fn into_proof(mut self) -> Result<(Statement, ShareProof), ShareReceiptError> {
        let shape = self.shape()?;
        let to = self.opening.owed.plus(self.sum.value())?;
        let (root, path) = self.tree.take_proof(shape).map_err(ShareReceiptError::Tree)?;
        let statement = self.statement(root.hash, shape, to);
        let leaf = self.proving.and_then(|(_, leaf)| leaf);
        let leaf = leaf.ok_or(ShareReceiptError::Tree(MerkleError::NotProving))?;
        Ok((statement, ShareProof { leaf, path }))
    }

    fn shape(&self) -> Result<Shape, ShareReceiptError> {
        Shape::new(self.tree.leaves(), 1).map_err(ShareReceiptError::Tree)
    }

    fn statement(&self, root: [u8; 32], shape: Shape, to: Exact) -> Statement {
        let Opening { worker, channel, window, owed: from } = self.opening;
        let (shares, work) = (shape.items(), self.sum.work());
        Statement { worker, channel, window, root, shares, work, from, to }
    }
}

#[cfg(test)]
mod tests;
