//! One share of a window, shown to anybody.

use alloc::vec::Vec;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::{OutPoint, Txid};

use super::{Exact, Leaf, ShareReceiptError, ShareWindow, Statement, WorkerKey};
use crate::keys::Context;
use crate::merkle::{Child, Proof, Shape};
use crate::units::{Msat, Work};
use crate::wire::Reader;

/// The only version.
const VERSION: u8 = 1;

/// The place of a share in its window, and its path to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareProof {
    pub(super) leaf: Leaf,
    pub(super) path: Proof,
}

impl ShareProof {
    /// The share, as it was submitted.
    #[must_use]
    pub fn share(&self) -> &[u8] {
        &self.leaf.share
    }

    /// The work that it was credited.
    pub const fn work(&self) -> Work {
        self.leaf.work
    }

    /// Its place in the window, from 0.
    pub const fn index(&self) -> u32 {
        self.path.index()
    }

    /// Checks that the share is in the window of `statement`, with its work: the one check of a
    /// proof. It costs two compressions a step. Who signed the statement is another question.
    ///
    /// # Errors
    /// [`ShareReceiptError::Path`], [`ShareReceiptError::Counted`],
    /// [`ShareReceiptError::TotalDiffers`], [`ShareReceiptError::RootDiffers`].
    pub fn check(&self, statement: &Statement) -> Result<(), ShareReceiptError> {
        let shape = self.path.shape();
        if (shape.items(), shape.leaf_size()) != (statement.shares, 1) {
            let (got, want) = (shape.items(), statement.shares);
            return Err(ShareReceiptError::Counted { got, want });
        }
        let root = self.path.root(&self.leaf.message(), self.leaf.msat);
        let root = root.map_err(ShareReceiptError::Path)?;
        if Some(root.total) != statement.total() {
            return Err(ShareReceiptError::TotalDiffers { got: root.total });
        }
        if root.hash != statement.root || self.leaf.work > statement.work {
            return Err(ShareReceiptError::RootDiffers);
        }
        Ok(())
    }
}

/// A receipt of one share: its form stands, and it is under its statement's root. That the pool
/// signed it is checked by [`Self::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareReceipt {
    statement: Statement,
    signature: Signature,
    proof: ShareProof,
}

impl ShareReceipt {
    /// The receipt of a share under a statement that has the pool's `signature`.
    ///
    /// # Errors
    /// As [`ShareProof::check`]. The signature is not checked.
    pub fn new(
        statement: Statement,
        signature: Signature,
        proof: ShareProof,
    ) -> Result<Self, ShareReceiptError> {
        proof.check(&statement)?;
        Ok(Self { statement, signature, proof })
    }

    /// Checks the signature against a pool that is known. What holds then: the pool counted this
    /// share, once, for this worker and channel, in this window, with this work.
    ///
    /// # Errors
    /// [`ShareReceiptError::BadSignature`].
    pub fn verify(
        &self,
        context: &Context,
        pool: XOnlyPublicKey,
    ) -> Result<&Statement, ShareReceiptError> {
        self.statement.verify(context, pool, &self.signature)?;
        Ok(&self.statement)
    }

    /// What was proved.
    pub const fn proof(&self) -> &ShareProof {
        &self.proof
    }

    /// The canonical bytes.
    ///
    /// | bytes | what, numbers big-endian |
    /// | --- | --- |
    /// | 1 | version, 1 |
    /// | 168 | statement |
    /// | 64 | signature |
    /// | 4 | place of the share |
    /// | 16 + 8 | its work, and what it adds in msat |
    /// | 1, that many | length of the share, share |
    /// | 32 + 8 each | siblings from the leaf up: hash, sum in msat |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Leaf { work, share, msat } = &self.proof.leaf;
        let mut out = Vec::from([VERSION]);
        out.extend_from_slice(&self.statement.encode());
        out.extend_from_slice(&self.signature.serialize());
        out.extend_from_slice(&self.proof.path.index().to_be_bytes());
        out.extend_from_slice(&work.hashes().to_be_bytes());
        out.extend_from_slice(&msat.to_msat().to_be_bytes());
        // At most 32.
        out.push(u8::try_from(share.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(share);
        for step in self.proof.path.steps() {
            out.extend_from_slice(&step.hash);
            out.extend_from_slice(&step.sum.to_msat().to_be_bytes());
        }
        out
    }

    /// Reads exactly one receipt, and checks all that needs no key.
    ///
    /// # Errors
    /// [`ShareReceiptError`]. Memory is bounded by the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShareReceiptError> {
        let mut r = Reader::new(bytes);
        let read = Self::read(&mut r);
        let at = bytes.len().saturating_sub(r.rest().len());
        let parts = read.filter(|_| r.rest().is_empty()).ok_or(ShareReceiptError::Form { at })?;
        let (statement, signature, proof) = parts;
        Self::new(statement, signature, proof)
    }

    fn read(r: &mut Reader<'_>) -> Option<(Statement, Signature, ShareProof)> {
        if r.u8().ok()? != VERSION {
            return None;
        }
        let statement = read_statement(r)?;
        let signature: [u8; 64] = r.array().ok()?;
        let signature = Signature::from_slice(&signature).ok()?;
        let shape = Shape::new(statement.shares, 1).ok()?;
        let index = r.u32().ok()?;
        let work = work(r)?;
        let msat = msat(r)?;
        let length = usize::from(r.u8().ok()?);
        if length == 0 || length > ShareWindow::SHARE_BYTES_MAX {
            return None;
        }
        let share = r.take(length).ok()?.to_vec();
        let mut steps = Vec::new();
        if index >= shape.leaves() {
            return None;
        }
        for _ in 0..shape.steps(index) {
            steps.push(Child { hash: r.array().ok()?, sum: self::msat(r)? });
        }
        let path = Proof::new(shape, index, steps).ok()?;
        Some((statement, signature, ShareProof { leaf: Leaf { work, share, msat }, path }))
    }
}

fn read_statement(r: &mut Reader<'_>) -> Option<Statement> {
    let worker = WorkerKey::new(r.array().ok()?);
    let txid = Txid::from_byte_array(r.array().ok()?);
    let channel = OutPoint { txid, vout: r.u32().ok()? };
    let window = r.u64().ok()?;
    let root = r.array().ok()?;
    let shares = r.u32().ok()?;
    let work = work(r)?;
    let from = Exact::from_bytes(&r.array().ok()?).ok()?;
    let to = Exact::from_bytes(&r.array().ok()?).ok()?;
    Some(Statement { worker, channel, window, root, shares, work, from, to })
}

fn work(r: &mut Reader<'_>) -> Option<Work> {
    Some(Work::new(u128::from_be_bytes(r.array().ok()?)))
}

fn msat(r: &mut Reader<'_>) -> Option<Msat> {
    Msat::new(r.u64().ok()?).ok()
}
