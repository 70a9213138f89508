//! Receipts: one item shown to a third party, under the payee's signature.
//!
//! ```text
//!  item --leaf--> path --> root --+
//!                                 +--> digest <-- signature of the payee's base key
//!         channel, paid, tariff --+
//! ```
//!
//! The payee signs one [`Statement`] a batch; every item of the batch has a receipt under it. Who
//! has a receipt and the payee's key can check, from the bytes alone, that exactly this item was
//! paid, once, in exactly this channel. The path checks sums, so the total counts the item once.
//!
//! Made by the payee, whose `signer` signs the statement; read by `millstream verify-receipt`.

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, XOnlyPublicKey};
use bitcoin::{OutPoint, Txid};

use super::item::{Item, LeafSize};
use super::varint::{put, take, take_array, take_bytes};
use super::{Batch, BatchError, Channel, Claim, leaf};
use crate::keys::{Context, tagged_hash};
use crate::merkle::{Child, MerkleError, Proof, Root, Shape};
use crate::units::{Blame, Msat};

/// The tag of a statement's digest.
const TAG: &[u8] = b"millstream/receipt";
/// The only version.
const VERSION: u8 = 1;
/// Bit of the place's parity.
const PARITY: u8 = 0x80;

/// What the payee signs of a batch, once for all of its items.
///
/// The digest is the tagged SHA-256, tag `millstream/receipt`, of 108 bytes: outpoint (32 + 4),
/// paid (8), root (32), tariff hash (32), numbers big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The channel.
    pub outpoint: OutPoint,
    /// What the channel had paid with this batch.
    pub paid: Msat,
    /// The root over its items.
    pub root: [u8; 32],
    /// The tariff under which it was sold; zeros for none.
    pub tariff: [u8; 32],
}

impl Statement {
    /// The statement of a batch that `channel` took with `claim`.
    pub fn new(channel: &impl Channel, claim: &Claim, tariff: [u8; 32]) -> Self {
        let Claim { paid, root, .. } = *claim;
        Self { outpoint: channel.outpoint(), paid, root, tariff }
    }

    /// What the payee attests: 108 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let OutPoint { txid, vout } = self.outpoint;
        let parts: [&[u8]; 5] = [
            txid.as_byte_array(),
            &vout.to_be_bytes(),
            &self.paid.to_msat().to_be_bytes(),
            &self.root,
            &self.tariff,
        ];
        parts.concat()
    }

    /// What is signed.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        tagged_hash(TAG, &[&self.encode()])
    }

    /// Checks that `signature` is by `payee`. Costs one BIP340 verification.
    ///
    /// # Errors
    /// [`ReceiptError::BadSignature`].
    pub fn verify(
        &self,
        context: &Context,
        payee: XOnlyPublicKey,
        signature: &Signature,
    ) -> Result<(), ReceiptError> {
        let message = Message::from_digest(self.digest());
        let checked = context.secp().verify_schnorr(signature, &message, &payee);
        checked.map_err(|_| ReceiptError::BadSignature { payee })
    }
}

/// A receipt of one item: its form stands and its path leads to its root. That the payee signed it
/// is checked by [`Self::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    statement: Statement,
    payee: XOnlyPublicKey,
    signature: Signature,
    total: Msat,
    proof: Proof,
    leaf: Vec<u8>,
    place: u8,
    item: Item,
    amount: Msat,
}

/// What a receipt proves, after its signature was checked against a known payee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the receipt is for what stands in it"]
#[non_exhaustive]
pub struct Proven {
    /// The channel, what it had paid, and by which tariff.
    pub statement: Statement,
    /// Whose signature it is.
    pub payee: XOnlyPublicKey,
    /// The item.
    pub item: Item,
    /// What it cost.
    pub amount: Msat,
    /// How many items were paid with it, and what all cost.
    pub items: u32,
    /// What these cost together.
    pub total: Msat,
}

/// Why bytes are no receipt, or not the one that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The bytes are not in the one form of a receipt.
    #[error("not a receipt: {0}")]
    Form(BatchError),
    /// The path of the item does not stand, or does not lead to the root.
    #[error("the item is not under the root: {0}")]
    Path(MerkleError),
    /// The receipt's total is not the one that the path leads to.
    #[error("the items cost {got}, the receipt says {stated}")]
    TotalDiffers {
        /// What the path makes.
        got: Msat,
        /// What the receipt says.
        stated: Msat,
    },
    /// The path leads to another root than the receipt's.
    #[error("the item does not lead to the receipt's root")]
    RootDiffers,
    /// The batch of more than was paid.
    #[error("a batch of {total} in a channel that had paid {paid}")]
    AbovePaid {
        /// The batch.
        total: Msat,
        /// The channel.
        paid: Msat,
    },
    /// Another payee's receipt.
    #[error("signed by {got}, not by {want}")]
    OtherPayee {
        /// The receipt's.
        got: XOnlyPublicKey,
        /// The one that is known.
        want: XOnlyPublicKey,
    },
    /// Not the payee's signature over channel, paid, root and tariff.
    #[error("the signature is not {payee}'s over this channel, amount, root and tariff")]
    BadSignature {
        /// Whose it should be.
        payee: XOnlyPublicKey,
    },
}

impl ReceiptError {
    /// Whoever shows the receipt.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Form(_)
            | Self::Path(_)
            | Self::TotalDiffers { .. }
            | Self::RootDiffers
            | Self::AbovePaid { .. }
            | Self::OtherPayee { .. }
            | Self::BadSignature { .. } => Blame::Peer,
        }
    }
}

impl Receipt {
    /// The receipt of the item at place `at` of `batch`, whose `statement` has `signature` by
    /// `payee`. Builds the tree again: O(items) of time, O(log items) of memory.
    ///
    /// # Errors
    /// [`ReceiptError::Form`] if there is no such item, [`ReceiptError::RootDiffers`] if the
    /// statement is of another batch. The signature is not checked.
    pub fn new(
        batch: &Batch<'_>,
        at: u32,
        statement: Statement,
        payee: XOnlyPublicKey,
        signature: Signature,
    ) -> Result<Self, ReceiptError> {
        let shown = batch.prove(at).map_err(ReceiptError::Form)?;
        let (root, leaf, place, proof) = (shown.root, shown.leaf, shown.place, shown.proof);
        Self::checked(statement, payee, signature, root.total, proof, leaf, place)
    }

    /// The canonical bytes, version 1. Numbers are LEB128 in their shortest form but for the output
    /// index, which is big-endian.
    ///
    /// | bytes | what |
    /// | --- | --- |
    /// | 1 | version, 1 |
    /// | 32 + 4 | channel: txid in outpoint order, output index |
    /// | LEB128 | paid, msat |
    /// | 32 | root |
    /// | 32 | tariff hash, zeros for none |
    /// | 32 | payee's base key, x-only |
    /// | 64 | signature |
    /// | LEB128 | items of the batch |
    /// | 1 | items a leaf |
    /// | LEB128 | total of the batch, msat |
    /// | LEB128 | leaf, from 0 |
    /// | 1 | place of the item in its leaf, from 0; the highest bit is the parity of the others |
    /// | LEB128, that many | length of the leaf, leaf |
    /// | 32 + LEB128 each | siblings from the leaf up: hash, sum in msat |
    ///
    /// Everything but the place is bound by signature and root. Another place is a true receipt of
    /// another item of the leaf; the parity keeps one changed bit from making it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(VERSION);
        out.extend_from_slice(self.statement.outpoint.txid.as_byte_array());
        out.extend_from_slice(&self.statement.outpoint.vout.to_be_bytes());
        put(self.statement.paid.to_msat(), &mut out);
        out.extend_from_slice(&self.statement.root);
        out.extend_from_slice(&self.statement.tariff);
        out.extend_from_slice(&self.payee.serialize());
        out.extend_from_slice(&self.signature.serialize());
        let shape = self.proof.shape();
        put(u64::from(shape.items()), &mut out);
        out.push(shape.leaf_size());
        put(self.total.to_msat(), &mut out);
        put(u64::from(self.proof.index()), &mut out);
        out.push(with_parity(self.place));
        put(u64::try_from(self.leaf.len()).unwrap_or(u64::MAX), &mut out);
        out.extend_from_slice(&self.leaf);
        for step in self.proof.steps() {
            out.extend_from_slice(&step.hash);
            put(step.sum.to_msat(), &mut out);
        }
        out
    }

    /// Reads exactly one receipt, and checks all that needs no key: form, leaf, sums, path, root.
    ///
    /// # Errors
    /// [`ReceiptError`]. Memory is bounded by the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let mut from = bytes;
        let parts = Parts::take(&mut from).map_err(ReceiptError::Form)?;
        let steps = parts.shape.steps(parts.index);
        let mut path = Vec::new();
        for _ in 0..steps {
            path.push(take_step(&mut from).map_err(ReceiptError::Form)?);
        }
        if !from.is_empty() {
            return Err(ReceiptError::Form(BatchError::Trailing { bytes: from.len() }));
        }
        let proof = Proof::new(parts.shape, parts.index, path).map_err(ReceiptError::Path)?;
        let Parts { statement, payee, signature, total, leaf, place, .. } = parts;
        Self::checked(statement, payee, signature, total, proof, leaf.to_vec(), place)
    }

    /// Checks the signature against a payee that is known, by its Terms or otherwise.
    ///
    /// # Errors
    /// [`ReceiptError::OtherPayee`], [`ReceiptError::BadSignature`].
    pub fn verify(&self, context: &Context, payee: XOnlyPublicKey) -> Result<Proven, ReceiptError> {
        if self.payee != payee {
            return Err(ReceiptError::OtherPayee { got: self.payee, want: payee });
        }
        self.verify_signer_unknown(context)
    }

    /// Checks the signature against the key that stands in the receipt itself: it shows that the
    /// holder of [`Proven::payee`] signed, and nothing of who that is.
    ///
    /// # Errors
    /// [`ReceiptError::BadSignature`].
    pub fn verify_signer_unknown(&self, context: &Context) -> Result<Proven, ReceiptError> {
        self.statement.verify(context, self.payee, &self.signature)?;
        Ok(Proven {
            statement: self.statement,
            payee: self.payee,
            item: self.item,
            amount: self.amount,
            items: self.proof.shape().items(),
            total: self.total,
        })
    }

    /// All checks that need no key.
    fn checked(
        statement: Statement,
        payee: XOnlyPublicKey,
        signature: Signature,
        total: Msat,
        proof: Proof,
        leaf: Vec<u8>,
        place: u8,
    ) -> Result<Self, ReceiptError> {
        let form = ReceiptError::Form;
        let items = leaf::read(&leaf).map_err(form)?;
        let shape = proof.shape();
        let size = u32::from(shape.leaf_size());
        let before = proof.index().saturating_mul(size);
        let want = shape.items().saturating_sub(before).min(size);
        if usize::try_from(want).ok() != Some(items.len()) {
            return Err(form(BatchError::Range { what: "items of the leaf" }));
        }
        let shown = items.get(usize::from(place)).copied();
        let at = before.saturating_add(u32::from(place));
        let (item, amount) = shown.ok_or(form(BatchError::NoItem { at }))?;
        let mut amounts = items.iter().map(|(_, amount)| *amount);
        let sum = amounts.try_fold(Msat::ZERO, Msat::checked_add);
        let sum = sum.ok_or(form(BatchError::Range { what: "sum of the leaf" }))?;
        let Root { hash, total: got, .. } = proof.root(&leaf, sum).map_err(ReceiptError::Path)?;
        if got != total {
            return Err(ReceiptError::TotalDiffers { got, stated: total });
        }
        if hash != statement.root {
            return Err(ReceiptError::RootDiffers);
        }
        if total > statement.paid {
            return Err(ReceiptError::AbovePaid { total, paid: statement.paid });
        }
        Ok(Self { statement, payee, signature, total, proof, leaf, place, item, amount })
    }
}

/// The fields before the path.
struct Parts<'a> {
    statement: Statement,
    payee: XOnlyPublicKey,
    signature: Signature,
    shape: Shape,
    total: Msat,
    index: u32,
    place: u8,
    leaf: &'a [u8],
}

impl<'a> Parts<'a> {
    fn take(from: &mut &'a [u8]) -> Result<Self, BatchError> {
        let [version] = take_array(from)?;
        if version != VERSION {
            return Err(BatchError::UnknownVersion { got: version });
        }
        let txid = Txid::from_byte_array(take_array(from)?);
        let vout = u32::from_be_bytes(take_array(from)?);
        let paid = take_msat(from)?;
        let (root, tariff) = (take_array(from)?, take_array(from)?);
        let key: [u8; 32] = take_array(from)?;
        let payee = XOnlyPublicKey::from_slice(&key);
        let payee = payee.map_err(|_| BatchError::Range { what: "payee key" })?;
        let signature: [u8; 64] = take_array(from)?;
        let signature = Signature::from_slice(&signature);
        let signature = signature.map_err(|_| BatchError::Range { what: "signature" })?;
        let items = take_u32(from, "items")?;
        let [leaf_size] = take_array(from)?;
        let shape = Shape::new(items, LeafSize::new(leaf_size)?.to_u8())?;
        let total = take_msat(from)?;
        let index = take_u32(from, "leaf")?;
        if index >= shape.leaves() {
            return Err(BatchError::Range { what: "leaf" });
        }
        let [marked] = take_array(from)?;
        let place = marked & !PARITY;
        if with_parity(place) != marked {
            return Err(BatchError::NotMinimal { what: "place" });
        }
        let length = take(from)?;
        let leaf = take_bytes(from, length)?;
        let outpoint = OutPoint { txid, vout };
        let statement = Statement { outpoint, paid, root, tariff };
        Ok(Self { statement, payee, signature, shape, total, index, place, leaf })
    }
}

/// A place, 0..=63, with the parity of its bits above it.
const fn with_parity(place: u8) -> u8 {
    if place.count_ones() & 1 == 0 { place } else { place | PARITY }
}

fn take_step(from: &mut &[u8]) -> Result<Child, BatchError> {
    Ok(Child { hash: take_array(from)?, sum: take_msat(from)? })
}

fn take_msat(from: &mut &[u8]) -> Result<Msat, BatchError> {
    Msat::new(take(from)?).map_err(|_| BatchError::Range { what: "amount" })
}

fn take_u32(from: &mut &[u8], what: &'static str) -> Result<u32, BatchError> {
    u32::try_from(take(from)?).map_err(|_| BatchError::Range { what })
}
