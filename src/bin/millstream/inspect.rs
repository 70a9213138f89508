//! `inspect`: every record of a store, for people or as JSON Lines, without writing to it.

mod work;

use std::ops::ControlFlow;
use std::path::PathBuf;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction, Txid, consensus};
use millstream::batch::lanes::Lanes;
use millstream::hub::{Forward, Upstream};
use millstream::meter::{self, Tariff};
use millstream::monitor::{Fate, Side, Watch};
use millstream::node::Node;
use millstream::signer::MemorySigner;
use millstream::signer::budget::BudgetRecord;
use millstream::store::{Key, Store, StoreError, envelope};
use millstream::stream::payee::PayeeRecord;
use millstream::stream::payer::PayerRecord;
use millstream::units::ItemId;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::machine;

/// Which store, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The machine's folder; its store must not be open in a running process
    #[arg(long)]
    dir: PathBuf,
    /// One JSON object a record and line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let store = machine::reader(&args.dir)?;
    let mut records = Vec::new();
    store.scan(&[], &mut |key, bytes| {
        records.push((*key, bytes.to_vec()));
        ControlFlow::Continue(())
    })?;
    let mut unreadable = Vec::new();
    for (key, bytes) in &records {
        let shown = match show(key, bytes, &store) {
            Ok(shown) => shown,
            Err(error) => {
                let shown = json!({
                    "record": "unreadable", "key": hex(key.as_bytes()), "bytes": bytes.len(),
                    "error": error.to_string(),
                });
                unreadable.push(error);
                shown
            }
        };
        println!("{}", if args.json { shown.to_string() } else { line(&shown) });
    }
    let count = unreadable.len();
    match unreadable.into_iter().next() {
        Some(first) => Err(Failure::Records { count, first: Box::new(first) }),
        None => Ok(()),
    }
}

/// `name value  name value ..`, the kind of the record first.
fn line(shown: &Value) -> String {
    let Some(fields) = shown.as_object() else { return shown.to_string() };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rest = fields.iter().filter(|(name, _)| *name != "record");
    let kind = fields.get("record").map(word).unwrap_or_default();
    rest.fold(kind, |line, (name, value)| format!("{line}  {name} {}", word(value)))
}

/// The store's table of rooms (`store`, "Keys") says whose record it is.
fn show(key: &Key, bytes: &[u8], store: &dyn Store) -> Result<Value, Failure> {
    let backups = Node::<MemorySigner>::BACKUPS;
    let mut shown = match key.as_bytes() {
        [0x03, ..] => payer(&PayerRecord::decode(key, bytes)?),
        [0x04, ..] => payee(&PayeeRecord::decode(key, bytes)?),
        [0x05, ..] => session(key, bytes)?,
        [0x06, ..] => work::ledger(key, bytes)?.unwrap_or_else(|| unknown(key)),
        [0x07, ..] => forward(&Forward::decode(key, bytes)?),
        [0x08, ..] => watch(&Watch::decode(key, bytes)?),
        [0x02, ..] => match BudgetRecord::load(store)? {
            Some(record) => json!({ "record": "budget", "clock": record.clock().to_u64() }),
            None => unknown(key),
        },
        at if at.starts_with(&backups) => {
            let outpoint = outpoint(at.get(backups.len()..).unwrap_or_default());
            json!({
                "record": "backup", "funded_at": outpoint,
                "version": bytes.first(), "text": crate::coin::to_text(bytes),
            })
        }
        [0x01, 0x03, ..] => {
            let tx: Transaction = consensus::deserialize(envelope::open(key, 1, bytes)?)
                .map_err(|_| StoreError::Damaged { what: "a transaction to be sent again" })?;
            json!({ "record": "unconfirmed", "transaction": tx.compute_txid().to_string() })
        }
        [0x01, 0x04, side @ (0 | 1), at @ ..] => json!({
            "record": "lineage", "side": if *side == 0 { "payee" } else { "payer" },
            "channel": outpoint(at), "descends_from": outpoint(envelope::open(key, 1, bytes)?),
        }),
        [0x01, 0x06, side @ (0 | 1), at @ ..] => {
            lanes(*side, outpoint(at).as_deref(), envelope::open(key, 1, bytes)?)?
        }
        [0x01, 0x07, at @ ..] => json!({
            "record": "hold's items", "channel": outpoint(at),
            "hold": at.get(36..44).map(number), "part": at.get(44..46).map(number),
            "items_bytes": envelope::open(key, 1, bytes)?.len(),
        }),
        [0x01, 0x08, worker @ ..] => work::line(worker, envelope::open(key, 1, bytes)?)?,
        _ => unknown(key),
    };
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("bytes".into(), bytes.len().into());
    }
    Ok(shown)
}

fn unknown(key: &Key) -> Value {
    json!({ "record": "unknown", "key": hex(key.as_bytes()) })
}

/// Of up to eight bytes, big-endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn payer(record: &PayerRecord) -> Value {
    json!({
        "record": "payer",
        "channel": record.outpoint().to_string(),
        "capacity_sat": record.capacity().to_sat(),
        "start_msat": record.start().to_msat(),
        "signed_at_least_msat": record.signed().to_msat(),
        "phase": record.phase().name(),
        "payee_base": record.base().to_string(),
        "key_index": record.index().to_u32(),
    })
}

fn payee(record: &PayeeRecord) -> Value {
    json!({
        "record": "payee",
        "channel": record.outpoint().to_string(),
        "capacity_sat": record.capacity().to_sat(),
        "start_msat": record.start().to_msat(),
        "paid_msat": record.paid().to_msat(),
        "phase": record.phase().name(),
        "stated_msat": record.phase().stated().map(millstream::units::Msat::to_msat),
    })
}

/// `node`, "batches": the session whose budget paid last, then the lanes.
fn lanes(side: u8, channel: Option<&str>, body: &[u8]) -> Result<Value, Failure> {
    let lanes = body.get(8..).and_then(|lanes| Lanes::decode(lanes).ok());
    let lanes = lanes.ok_or(StoreError::Damaged { what: "the lanes of a channel" })?;
    let open = lanes.iter().map(|(lane, state)| {
        json!({
            "lane": lane.to_u16(),
            "last_item": state.last.map(ItemId::to_u64),
            "total_msat": state.total.to_msat(),
            "limit_msat": state.limit.to_msat(),
        })
    });
    Ok(json!({
        "record": "lanes", "side": if side == 0 { "payee" } else { "payer" },
        "channel": channel, "lanes": open.collect::<Vec<_>>(),
    }))
}

fn watch(watch: &Watch) -> Value {
    let fate = |fate| match fate {
        Fate::Held => "held",
        Fate::Published { .. } => "published",
        Fate::Claimed { .. } => "claimed",
        Fate::TimedOut { .. } => "timed out",
    };
    let holds = watch.holds().iter().map(|held| {
        json!({
            "hold": held.hold.id.to_u64(),
            "amount_sat": held.hold.amount.to_sat(),
            "expiry": held.hold.expiry.to_u32(),
            "released": held.standing.is_released(),
            "preimage_known": held.preimage.is_some(),
            "fate": fate(held.fate),
        })
    });
    json!({
        "record": "monitor",
        "side": match watch.subject().side {
            Side::Payer => "payer",
            Side::Payee => "payee",
        },
        "channel": watch.subject().outpoint.to_string(),
        "over": watch.is_over(),
        "holds": holds.collect::<Vec<_>>(),
    })
}

fn forward(forward: &Forward) -> Value {
    let (incoming, onward) = (forward.incoming(), forward.onward());
    json!({
        "record": "forward",
        "from": incoming.channel.to_string(),
        "hold": incoming.id.to_u64(),
        "to": onward.channel.to_string(),
        "onward_hold": forward.outgoing().map(|hold| hold.id.to_u64()),
        "hash": forward.hash().to_string(),
        "due_msat": onward.load.due().to_msat(),
        "fee_msat": forward.fee().to_msat(),
        "stage": forward.stage().name(),
        "upstream": match forward.upstream() {
            Upstream::Held => "held",
            Upstream::Paid => "paid",
            Upstream::Past => "past",
        },
        "settle_by": forward.settle_by().to_u32(),
    })
}

/// `node`, "sessions": a time, the meter's record, the places, the tariff.
fn session(key: &Key, bytes: &[u8]) -> Result<Value, Failure> {
    /// When the buyer took it.
    const TAKEN: usize = 8;
    /// An outpoint and two amounts.
    const PLACE: usize = 36 + 8 + 8;
    let body = envelope::open(key, 1, bytes)?;
    let short = StoreError::Truncated { got: body.len(), min: TAKEN + meter::Record::LENGTH + 1 };
    let (record, rest) = body
        .split_at_checked(TAKEN)
        .and_then(|(_, rest)| rest.split_at_checked(meter::Record::LENGTH))
        .ok_or(short)?;
    let (places, rest) = rest.split_first().ok_or(short)?;
    let (places, tariff) = rest.split_at_checked(usize::from(*places) * PLACE).ok_or(short)?;
    let last = places.chunks_exact(PLACE).last().and_then(outpoint);
    let (record, tariff) = (meter::Record::decode(record)?, Tariff::parse(tariff)?);
    let role = match record.role() {
        meter::Role::Seller => "seller",
        meter::Role::Buyer { .. } => "buyer",
    };
    Ok(json!({
        "record": "session",
        "session": record.id().to_u64(),
        "role": role,
        "channel": last,
        "state": format!("{:?}", record.state()).to_lowercase(),
        "quantity": record.quantity().to_u64(),
        "owed_msat": record.owed().to_msat(),
        "paid_msat": record.paid().to_msat(),
        "tariff": hex(&tariff.hash().0),
    }))
}

/// 32 bytes of a transaction's id and 4 of an index, or nothing.
fn outpoint(bytes: &[u8]) -> Option<String> {
    let (txid, rest) = bytes.split_first_chunk::<32>()?;
    let vout = u32::from_be_bytes(*rest.first_chunk::<4>()?);
    let outpoint = OutPoint { txid: Txid::from_byte_array(*txid), vout };
    (outpoint != OutPoint::default()).then(|| outpoint.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bitcoin::hex::DisplayHex::to_lower_hex_string(bytes)
}
