//! What a node answers, and what of it is believed.

use std::collections::BTreeMap;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{CompactTarget, Transaction};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::chain::Reason;
use crate::chain::template::coinbase::commitment_script;
use crate::chain::template::rpc::{LongPollId, Offer, RpcError, Submitted};
use crate::chain::template::{Template, TemplateTx, VERSION_ROLLING};
use crate::units::{Height, Sat, UtcSeconds};

/// What stands before a rule that whoever mines must know.
const DEMANDED: char = '!';

/// The envelope of every reply.
#[derive(Deserialize)]
struct Reply<T> {
    result: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
}

/// The fields of BIP22, BIP23 and BIP145 that a block is made of.
#[derive(Deserialize)]
struct Fields {
    version: i32,
    rules: Vec<String>,
    #[serde(default)]
    vbavailable: BTreeMap<String, u32>,
    #[serde(default)]
    vbrequired: u32,
    previousblockhash: String,
    transactions: Vec<TxFields>,
    coinbasevalue: u64,
    longpollid: Option<String>,
    mintime: u64,
    curtime: u64,
    bits: String,
    height: u32,
    default_witness_commitment: Option<String>,
}

#[derive(Deserialize)]
struct TxFields {
    data: String,
    txid: Option<String>,
    hash: Option<String>,
    fee: Option<u64>,
    sigops: Option<u32>,
}

/// Reads the reply to [`template_request`](super::template_request).
///
/// The version bits of deployments that are under way are not the miner's: the node signals.
///
/// # Errors
/// [`RpcError::Json`], [`RpcError::Refused`], [`RpcError::Field`], [`RpcError::UnknownRule`],
/// [`RpcError::WrongId`], [`RpcError::WrongCommitment`].
pub fn read_template(reply: &str) -> Result<Offer, RpcError> {
    let fields: Fields = result(reply)?.ok_or(RpcError::Field { field: "result" })?;
    check_rules(&fields.rules)?;
    let txs: Vec<TemplateTx> =
        fields.transactions.iter().enumerate().map(transaction).collect::<Result<_, _>>()?;
    let template = Template {
        version: fields.version.cast_unsigned(),
        version_mask: VERSION_ROLLING & !signalled(&fields),
        previous: parsed("previousblockhash", fields.previousblockhash.parse())?,
        bits: parsed("bits", CompactTarget::from_unprefixed_hex(&fields.bits))?,
        height: parsed("height", Height::new(fields.height))?,
        current_time: parsed("curtime", header_time(fields.curtime))?,
        min_time: parsed("mintime", header_time(fields.mintime))?,
        coinbase_value: parsed("coinbasevalue", Sat::new(fields.coinbasevalue))?,
        txs,
    };
    if template.current_time < template.min_time {
        return Err(RpcError::Field { field: "curtime" });
    }
    if let Some(said) = &fields.default_witness_commitment {
        let computed = commitment_script(&template.witness_commitment());
        if !said.eq_ignore_ascii_case(&computed.to_hex_string()) {
            return Err(RpcError::WrongCommitment);
        }
    }
    let long_poll = fields
        .longpollid
        .as_deref()
        .map(|name| LongPollId::new(name).ok_or(RpcError::Field { field: "longpollid" }));
    Ok(Offer { template, long_poll: long_poll.transpose()? })
}

/// Reads the reply to [`submit_request`](super::submit_request).
///
/// # Errors
/// [`RpcError::Json`], [`RpcError::Refused`].
pub fn read_submitted(reply: &str) -> Result<Submitted, RpcError> {
    let words: Option<String> = result(reply)?;
    Ok(match words.as_deref() {
        None => Submitted::Accepted,
        Some("duplicate") => Submitted::Duplicate,
        Some("inconclusive" | "duplicate-inconclusive") => Submitted::Inconclusive,
        Some(reason) => Submitted::Refused(Reason::from_core(reason)),
    })
}

/// The result in a reply; `None` where it is null.
fn result<T: DeserializeOwned>(reply: &str) -> Result<Option<T>, RpcError> {
    let reply: Reply<T> = serde_json::from_str(reply)?;
    match reply.error {
        Some(Refusal { code }) => Err(RpcError::Refused { code }),
        None => Ok(reply.result),
    }
}

/// Without the rule `segwit` the node would leave out what has a witness; any other rule that is
/// demanded would make our blocks invalid.
fn check_rules(rules: &[String]) -> Result<(), RpcError> {
    let mut demanded = rules.iter().filter_map(|rule| rule.strip_prefix(DEMANDED));
    if demanded.any(|rule| rule != "segwit") {
        return Err(RpcError::UnknownRule);
    }
    let segwit = rules.iter().any(|rule| rule.trim_start_matches(DEMANDED) == "segwit");
    if segwit { Ok(()) } else { Err(RpcError::Field { field: "rules" }) }
}

fn transaction((index, fields): (usize, &TxFields)) -> Result<TemplateTx, RpcError> {
    let tx: Transaction = parsed("transactions", deserialize_hex(&fields.data))?;
    let fee = fields.fee.map(Sat::new).transpose();
    let tx = TemplateTx::new(tx, parsed("fee", fee)?);
    let same = |said: &Option<String>, id: String| {
        said.as_ref().is_none_or(|said| said.eq_ignore_ascii_case(&id))
    };
    let tx = match fields.sigops {
        Some(cost) => tx.with_sigops(cost),
        None => tx,
    };
    let right =
        same(&fields.txid, tx.txid().to_string()) && same(&fields.hash, tx.wtxid().to_string());
    if right { Ok(tx) } else { Err(RpcError::WrongId { index }) }
}

/// The version bits that deployments use or that the node demands.
fn signalled(fields: &Fields) -> u32 {
    let bits = fields.vbavailable.values().filter_map(|bit| 1_u32.checked_shl(*bit));
    bits.fold(fields.vbrequired, |all, bit| all | bit)
}

/// A time that fits into a header.
fn header_time(seconds: u64) -> Result<UtcSeconds, ()> {
    u32::try_from(seconds).map_err(drop)?;
    UtcSeconds::new(seconds).map_err(drop)
}

fn parsed<T, E>(field: &'static str, value: Result<T, E>) -> Result<T, RpcError> {
    value.map_err(|_| RpcError::Field { field })
}
