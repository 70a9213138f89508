//! From the store to a running node: every record becomes its machine again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

use super::session::SessionSlot;
use super::{Config, LinkId, Node, NodeError, PayeeSlot, PayerSlot};
use crate::keys::Context;
use crate::ledger::{Ledger, Limits};
use crate::monitor::Watch;
use crate::signer::{KeyName, Role, Signer};
use crate::store::{Key, Store};
use crate::stream::payee::PayeeRecord;
use crate::stream::payer::PayerRecord;
use crate::stream::{Payee, Payer};
use crate::tx::Delay;
use crate::units::KeyIndex;

/// The store's room byte of sessions, see `session`.
const SESSIONS: [u8; 1] = [0x05];
/// The room byte of the node's own records, and the kind: a channel's backup, under its first
/// outpoint.
const BACKUPS: [u8; 2] = [0x01, 0x02];

impl<S: Signer> Node<S> {
    /// A node with everything that the store holds.
    ///
    /// Afterwards tell it the tip and the status of each [`Node::watched`] outpoint, then connect.
    /// A payer's channel takes payments again once its payee has presented its best voucher.
    ///
    /// # Errors
    /// [`NodeError::Stream`], [`NodeError::Meter`] or [`NodeError::Store`] for the first record
    /// that cannot be read (unknown version, rot); the store is not touched.
    pub fn load(
        config: Config,
        context: Context,
        signer: S,
        store: &dyn Store,
    ) -> Result<Self, NodeError> {
        let mut node = Self::new(config, context, signer);
        let mut scripts = BTreeMap::new();
        for (key, bytes) in records(store, &PayeeRecord::PREFIX)? {
            node.load_payee(PayeeRecord::decode(&key, &bytes)?, &mut scripts)?;
        }
        let mut scripts = BTreeMap::new();
        for (key, bytes) in records(store, &PayerRecord::PREFIX)? {
            node.load_payer(PayerRecord::decode(&key, &bytes)?, &mut scripts)?;
        }
        node.load_work(Ledger::load(Limits::default(), store)?);
        for (key, bytes) in records(store, &super::work::PREFIX)? {
            node.load_line(&key, &bytes)?;
        }
        for (key, bytes) in records(store, &super::lineage::PREFIX)? {
            node.load_parent(&key, &bytes)?;
        }
        for (key, bytes) in records(store, &super::batch::PREFIX)? {
            node.load_lanes(&key, &bytes)?;
        }
        for (key, bytes) in records(store, &super::hold::PREFIX)? {
            node.load_items(&key, &bytes)?;
        }
        for (key, bytes) in records(store, &Watch::PREFIX)? {
            node.load_watch(&key, &bytes)?;
        }
        node.watch_holds()?;
        for (key, bytes) in records(store, &super::rebroadcast::PREFIX)? {
            node.load_unconfirmed(&key, &bytes)?;
        }
        for (key, bytes) in records(store, &SESSIONS)? {
            let (session, slot) = SessionSlot::decode(&key, &bytes)?;
            node.keep_session(session, slot);
        }
        Ok(node)
    }

    /// The prefix of every backup in the store: what a payer keeps of each channel that it funded,
    /// sealed under its seed, also after the channel was closed.
    pub const BACKUPS: [u8; 2] = BACKUPS;

    /// The store key of the backup of the channel that was funded at `outpoint`.
    ///
    /// # Errors
    /// None: 38 bytes are a key.
    pub fn backup_key(outpoint: OutPoint) -> Result<Key, NodeError> {
        let vout = outpoint.vout.to_be_bytes();
        Ok(Key::from_parts(&[&BACKUPS, outpoint.txid.as_ref(), &vout])?)
    }

    /// All sessions, each with the connection to its other end while there is one.
    pub fn sessions(&self) -> impl Iterator<Item = (&crate::meter::Session, Option<LinkId>)> {
        self.sessions.values().map(|slot| {
            let link = slot.link().filter(|link| self.links.contains_key(link));
            (slot.meter(), link)
        })
    }

    /// `scripts`: a channel of each script that is loaded, by what makes it; successors share it.
    fn load_payee(
        &mut self,
        record: PayeeRecord,
        scripts: &mut BTreeMap<(XOnlyPublicKey, Delay), OutPoint>,
    ) -> Result<(), NodeError> {
        let terms = self.config.terms.as_ref().ok_or(NodeError::NotAPayee)?;
        let first = *scripts.entry((record.payer(), record.delay())).or_insert(record.outpoint());
        let machine = match self.payees.get(&first) {
            Some(slot) => slot.machine.beside(&self.context, record)?,
            None => Payee::load(&self.context, terms.base, record)?,
        };
        let stated = machine.phase().stated();
        self.signer.register(machine.channel(), Role::Payee { stated })?;
        self.payees.insert(machine.outpoint(), PayeeSlot::new(machine, None));
        Ok(())
    }

    fn load_payer(
        &mut self,
        record: PayerRecord,
        scripts: &mut BTreeMap<(KeyIndex, XOnlyPublicKey, Delay), OutPoint>,
    ) -> Result<(), NodeError> {
        let of = (record.index(), record.base(), record.delay());
        let first = *scripts.entry(of).or_insert(record.outpoint());
        let machine = if let Some(slot) = self.payers.get(&first) {
            slot.machine.beside(record)?
        } else {
            let key = self.signer.public(KeyName::Payer(record.index()))?;
            Payer::load(&self.context, key, record)?
        };
        let outpoint = machine.outpoint();
        let alias = self.new_alias(outpoint);
        self.payers.insert(outpoint, PayerSlot::new(machine, alias));
        Ok(())
    }
}

fn records(store: &dyn Store, prefix: &[u8]) -> Result<Vec<(Key, Vec<u8>)>, NodeError> {
    let mut found = Vec::new();
    store.scan(prefix, &mut |key, value| {
        found.push((*key, value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
