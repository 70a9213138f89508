//! Transactions that must reach the chain: durable before they are sent, and sent again at every
//! tip until they are final, restarts included.
//!
//! A settlement that a spike of fees drops from mempools, or a funding whose broadcast a power cut
//! swallowed, would else be remembered by nobody.

use alloc::vec::Vec;

use bitcoin::{Amount, OutPoint, Transaction, Txid, consensus};

use super::{Node, NodeError, PayerSlot};
use crate::signer::Signer;
use crate::store::{Key, envelope};
use crate::stream::{Payee, SpendKind};
use crate::tx::JointSpend;
use crate::units::Sat;

/// The store's room byte of the node's own records, and which of them these are.
pub(super) const PREFIX: [u8; 2] = [0x01, 0x03];
/// The format that this release writes and reads.
const VERSION: u8 = 1;
/// Weight units of a close with two P2TR outputs: 205 vB.
const CLOSE_WEIGHT: u64 = 817;

impl<S: Signer> Node<S> {
    /// Stores a signed transaction, and sends it now and at every tip until it is final.
    ///
    /// A newer transaction does not replace an older one here: whichever confirms ends both.
    pub(super) fn send_to_chain(&mut self, tx: Transaction) -> Result<(), NodeError> {
        self.keep_for_chain(&tx)?;
        self.effects.broadcast(Vec::from([tx]));
        Ok(())
    }

    /// The same, but the first time it is sent by the caller: in a package, for instance.
    pub(super) fn keep_for_chain(&mut self, tx: &Transaction) -> Result<(), NodeError> {
        let txid = tx.compute_txid();
        let key = key(txid)?;
        let bytes = envelope::seal(&key, VERSION, &consensus::serialize(tx));
        self.effects.put(key, &bytes)?;
        self.unconfirmed.insert(txid, tx.clone());
        Ok(())
    }

    /// The closes of the payee's channel that were signed before `spend`, which must pay at least
    /// the relay floor, and as much more than the dearest of them: a mempool replaces one for less
    /// as little as it takes one for nothing.
    ///
    /// # Errors
    /// [`NodeError::CloseFee`], unless it is one of them once more.
    pub(super) fn earlier_closes(
        &self,
        payee: &Payee,
        spend: &JointSpend,
    ) -> Result<Vec<Txid>, NodeError> {
        let (channel, txid) = (payee.channel(), spend.transaction().compute_txid());
        let earlier = self.unconfirmed.iter().filter(|(_, tx)| {
            matches!(SpendKind::of(channel, tx), Some(SpendKind::Joint { top_up: None, .. }))
        });
        let (mut txids, mut dearest) = (Vec::new(), Sat::ZERO);
        for (txid, tx) in earlier {
            // A close has one input.
            let paid_out = tx.output.iter().map(|output| output.value).sum::<Amount>();
            let fee = channel.capacity().to_sat().saturating_sub(paid_out.to_sat());
            dearest = dearest.max(Sat::new(fee).unwrap_or(Sat::MAX));
            txids.push(*txid);
        }
        let step = self.config.relay_floor.ceil_fee(CLOSE_WEIGHT).unwrap_or(Sat::MAX);
        let (got, want) = (spend.fee()?, dearest.saturating_add(step));
        if got < want && !txids.contains(&txid) {
            return Err(NodeError::CloseFee { got, want });
        }
        Ok(txids)
    }

    /// At a new tip: what is final is forgotten, the rest is sent again.
    pub(super) fn broadcast_again(&mut self) -> Result<(), NodeError> {
        let done: Vec<Txid> = self
            .unconfirmed
            .iter()
            .filter(|(txid, tx)| !self.is_awaited(**txid, tx))
            .map(|(txid, _)| *txid)
            .collect();
        for txid in done {
            self.end_broadcast(txid)?;
        }
        for tx in self.unconfirmed.values() {
            self.effects.broadcast(Vec::from([tx.clone()]));
        }
        Ok(())
    }

    pub(super) fn end_broadcast(&mut self, txid: Txid) -> Result<(), NodeError> {
        if self.unconfirmed.remove(&txid).is_some() {
            self.effects.delete(key(txid)?)?;
        }
        Ok(())
    }

    /// Whether a channel still waits for it: one that it spends and whose end is not buried, or a
    /// payer's that it makes.
    fn is_awaited(&self, txid: Txid, tx: &Transaction) -> bool {
        self.spends_ours(tx) || self.made_by(txid).next().is_some()
    }

    fn spends_ours(&self, tx: &Transaction) -> bool {
        tx.input.iter().any(|input| {
            let outpoint = input.previous_output;
            self.payees.contains_key(&outpoint) || self.payers.contains_key(&outpoint)
        })
    }

    fn made_by(&self, txid: Txid) -> impl Iterator<Item = &PayerSlot> {
        let first = OutPoint { txid, vout: 0 };
        let last = OutPoint { txid, vout: u32::MAX };
        self.payers.range(first..=last).map(|(_, slot)| slot)
    }

    /// P3: a funding is sent again until it is buried. A reorg that takes it out of its block may
    /// leave it in no mempool, and nobody else has it. Asked after a look at the output, because
    /// what is known of it at a new tip is of the tip before.
    pub(super) fn rest_funding(&mut self, outpoint: OutPoint) -> Result<(), NodeError> {
        let (Some(tip), txid) = (self.tip, outpoint.txid) else { return Ok(()) };
        // What ends a channel is sent until that end is buried, whatever it makes besides.
        if self.unconfirmed.get(&txid).is_none_or(|tx| self.spends_ours(tx)) {
            return Ok(());
        }
        let buried = self.made_by(txid).all(|slot| slot.machine.is_deep(tip.height));
        if buried { self.end_broadcast(txid) } else { Ok(()) }
    }

    pub(super) fn load_unconfirmed(&mut self, key: &Key, bytes: &[u8]) -> Result<(), NodeError> {
        let body = envelope::open(key, VERSION, bytes)?;
        let broken = |what| NodeError::BrokenRecord { key: *key, what };
        // Our own record, checked by its checksum: its length bounds what decoding allocates. Bytes
        // behind the transaction are refused.
        let tx: Transaction = consensus::deserialize(body).map_err(|_| broken("transaction"))?;
        let txid = tx.compute_txid();
        if self::key(txid)? != *key {
            return Err(broken("transaction id"));
        }
        self.unconfirmed.insert(txid, tx);
        Ok(())
    }
}

fn key(txid: Txid) -> Result<Key, NodeError> {
    Ok(Key::from_parts(&[&PREFIX, txid.as_ref()])?)
}
