//! The payee's receipts of a batch that it has taken: one signature, and a receipt of each item.

use bitcoin::XOnlyPublicKey;
use bitcoin::secp256k1::schnorr::Signature;

use super::ReceivedBatch;
use crate::batch::receipt::{Receipt, ReceiptError, Statement};
use crate::batch::{Batch, Channel};
use crate::node::{Node, NodeError, Now};
use crate::signer::{Attest, Request, Signer};

/// The payee's signed word on one batch, of which each item has its receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    batch: ReceivedBatch,
    statement: Statement,
    payee: XOnlyPublicKey,
    signature: Signature,
}

impl Receipts {
    /// The receipt of the item at place `at`, from 0, in the order of [`ReceivedBatch::visit`].
    /// Builds the tree again: O(items).
    ///
    /// # Errors
    /// [`ReceiptError::Form`] if there is no such item.
    pub fn at(&self, at: u32) -> Result<Receipt, ReceiptError> {
        let batch = Batch::parse(self.batch.bytes()).map_err(ReceiptError::Form)?;
        Receipt::new(&batch, at, self.statement, self.payee, self.signature)
    }
}

impl<S: Signer> Node<S> {
    /// Payee: signs for a batch that this node has taken, which was sold by the tariff of this
    /// hash; zeros for none. One signature; nothing is stored.
    ///
    /// # Errors
    /// [`NodeError::NoChannel`] once the channel is forgotten; [`NodeError::Signer`].
    pub fn sign_receipts(
        &mut self,
        batch: ReceivedBatch,
        tariff: [u8; 32],
        now: &Now,
    ) -> Result<Receipts, NodeError> {
        let outpoint = batch.outpoint();
        let slot = self.payees.get(&outpoint).ok_or(NodeError::NoChannel { outpoint })?;
        let statement = Statement::new(&slot.machine, batch.claim(), tariff);
        let payee = slot.machine.payee();
        let request = Request::Attest { kind: Attest::Receipt, bytes: &statement.encode() };
        let signature = self.signer.sign(&request, now.time, &now.aux)?;
        Ok(Receipts { batch, statement, payee, signature })
    }
}
