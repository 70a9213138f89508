//! Stored records against any bytes: reading never panics, and what is read is written the same.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network};

use crate::keys::{Context, Entropy, Seed};
use crate::monitor::Watch;
use crate::node::{Input, Node, NodeError, Now};
use crate::signer::MemorySigner;
use crate::signer::budget::BudgetRecord;
use crate::sim::world::Machine;
use crate::store::{Batch, Durability, Key, MemoryStore, Store, envelope};
use crate::stream::payee::PayeeRecord;
use crate::stream::payer::PayerRecord;
use crate::stream::{StreamError, Terms};
use crate::tx::TxError;
use crate::tx::seen::Tip;
use crate::units::{Height, UtcSeconds};

/// The format that all records have so far.
const VERSION: u8 = 1;
/// The time at which a session was taken, before its meter's record.
const TAKEN: usize = 8;

/// Reads `data`, a key and a body, as the record that belongs under that key: bare, and sealed.
///
/// | key | bytes of the key | record | read by |
/// | --- | --- | --- | --- |
/// | `01 02` | 38 | backup | [`Backup`](crate::stream::Backup), target `backup` |
/// | `01 03` | 34 | transaction to be sent again | [`Node::load`] |
/// | `01 04` | 39 | the outpoint that another descends from | [`Node::load`] |
/// | `02 01` | 2 | budgets | [`BudgetRecord`] |
/// | `03` | 37 | a payer's channel | [`PayerRecord`], [`Node::load`] |
/// | `04` | 37 | a payee's channel | [`PayeeRecord`], [`Node::load`] |
/// | `08` | 38 | a monitor's outpoint | [`Watch`] |
/// | `05` | 9 | session | [`Node::load`]; its meter and tariff also in target `meter` |
///
/// # Panics
/// If a record is read from bytes that it is not written as, or a node that was loaded from it
/// breaks its invariants.
pub fn records(data: &[u8]) {
    let (key, body) = data.split_at(data.len().min(key_bytes(data)));
    let Ok(key) = Key::new(key) else { return };
    // Behind a right checksum, where a fuzzer would not come by itself.
    let sealed = envelope::seal(&key, VERSION, body);
    for bytes in [sealed.as_slice(), body] {
        channels(&key, bytes);
        if let Ok(opened) = envelope::open(&key, VERSION, bytes) {
            assert_eq!(envelope::seal(&key, VERSION, opened), bytes);
        }
    }
    if let Ok(record) = BudgetRecord::decode(body) {
        assert_eq!(record.encode(), body, "{record:?}");
    }
    let mut store = MemoryStore::default();
    let mut batch = Batch::default();
    let put = batch.put(key, &sealed);
    if put.is_ok() && store.commit(&batch, Durability::Barrier).is_ok() {
        node(&key, body, &mut store);
    }
}

/// How many bytes of the front are the key: as long as its kind's are.
const fn key_bytes(data: &[u8]) -> usize {
    match data {
        [0x01, 0x03 | 0x08, ..] | [0x06, 0x01, ..] => 34,
        [0x01, 0x04 | 0x06, ..] => 39,
        [0x02, ..] => 2,
        [0x05, ..] => 9,
        [0x08, ..] => 38,
        _ => 37,
    }
}

fn channels(key: &Key, bytes: &[u8]) {
    if let Ok(record) = PayeeRecord::decode(key, bytes) {
        assert_eq!(record.encode().ok().as_deref(), Some(bytes), "{record:?}");
    }
    if let Ok(record) = Watch::decode(key, bytes) {
        assert_eq!(record.encode().ok().as_deref(), Some(bytes), "{record:?}");
    }
    if let Ok(record) = PayerRecord::decode(key, bytes) {
        let again = record.encode().ok();
        let again = again.and_then(|again| PayerRecord::decode(key, &again).ok());
        assert_eq!(again, Some(record));
    }
}

/// Starts the machine whose only record this is, shows it a tip and lets it store what it has to.
fn node(key: &Key, body: &[u8], store: &mut MemoryStore) {
    let Some((machine, signer)) = machine(key, store) else { return };
    let Ok(mut node) = Node::load(machine.config, Context::new(), signer, store) else { return };
    check(&node);
    for (session, _) in node.sessions() {
        let (record, tariff) = (session.record().encode(), session.tariff().encode());
        let written = body.get(TAKEN..).is_some_and(|body| body.starts_with(&record));
        assert!(written && body.ends_with(&tariff), "{session:?}");
    }
    let (Ok(height), Ok(time)) = (Height::new(1_000), UtcSeconds::new(1_700_000_000)) else {
        return;
    };
    let now = Now { time, aux: Entropy::new([0; 32]) };
    let told = node.handle(&now, Input::Tip(Tip { height, hash: BlockHash::all_zeros(), time }));
    let flushed = node.flush(&now, store);
    assert!(told.is_err() || flushed.is_ok(), "what a tip leads to cannot be stored");
    check(&node);
}

/// A voucher is not verified again when it is loaded: the checksum speaks for it, and one that was
/// forged behind it is refused when it is to settle.
fn check(node: &Node<MemorySigner>) {
    let checked = node.check_invariants();
    let forged =
        matches!(checked, Err(NodeError::Stream(StreamError::Tx(TxError::BadSignature { .. }))));
    assert!(forged || checked == Ok(()), "{checked:?}");
}

/// The payee for a payee's channel, else the payer, with the budgets of the store.
fn machine(key: &Key, store: &MemoryStore) -> Option<(Machine, MemorySigner)> {
    let machine = match key.as_bytes() {
        [0x04, ..] => {
            let base = Seed::new([2; 32]).base_key(&Context::new(), Network::Regtest).ok()?;
            Machine::payee("payee", [2; 32], Terms::new(Network::Regtest, base.public()).ok()?)
        }
        [0x01 | 0x02 | 0x03 | 0x05, ..] => Machine::payer("payer", [1; 32]),
        _ => return None,
    };
    let budgets = BudgetRecord::load(store).ok()?;
    let (network, aux) = (machine.config.network, Entropy::new([0; 32]));
    let signer =
        MemorySigner::new(machine.seed(), network, machine.policy, budgets.as_ref(), &aux).ok()?;
    Some((machine, signer))
}
