//! Records of work for pay: accounts, the log, blocks, and which channels pay.

use millstream::ledger::scheme::{FoundBlock, Reach};
use millstream::ledger::{Account, Totals};
use millstream::store::{Key, StoreError, envelope};
use serde_json::{Value, json};

use super::{hex, outpoint};
use crate::failure::Failure;

/// The format of all of them.
const VERSION: u8 = 1;
/// A worker's key, and its work.
const SHARE: usize = 32 + 16;
/// An outpoint and two amounts.
const PLACE: usize = 36 + 8 + 8;

/// A record of the ledger; `None` for a kind that it does not know.
pub(super) fn ledger(key: &Key, bytes: &[u8]) -> Result<Option<Value>, Failure> {
    Ok(Some(match key.as_bytes() {
        [_, 0x01, ..] => account(&Account::decode(key, bytes)?),
        [_, 0x02] => totals(&Totals::decode(key, bytes)?),
        [_, 0x03] => decided(envelope::open(key, VERSION, bytes)?)?,
        [_, 0x04, at @ ..] => logged(at, envelope::open(key, VERSION, bytes)?)?,
        [_, 0x05, ..] => block(&FoundBlock::decode(key, bytes)?),
        [_, 0x06, at @ ..] => workers(at, envelope::open(key, VERSION, bytes)?)?,
        _ => return Ok(None),
    }))
}

/// `node::work`, "What is stored": the budget, then the places, oldest first.
pub(super) fn line(worker: &[u8], body: &[u8]) -> Result<Value, Failure> {
    let damaged = StoreError::Damaged { what: "the line of a worker" };
    let (session, rest) = body.split_first_chunk::<8>().ok_or(damaged)?;
    let (budget, rest) = rest.split_first_chunk::<8>().ok_or(damaged)?;
    let (count, places) = rest.split_first().ok_or(damaged)?;
    let is_whole = places.len() == usize::from(*count) * PLACE && *count > 0;
    if worker.len() != 32 || !is_whole {
        return Err(damaged.into());
    }
    let before = places.len() - PLACE;
    Ok(json!({
        "record": "work line",
        "worker": hex(worker),
        "session": u64::from_be_bytes(*session),
        "budget_msat": u64::from_be_bytes(*budget),
        "channel": places.get(before..).and_then(outpoint),
        "before": places.get(..before).map(|before| {
            before.chunks_exact(PLACE).map(outpoint).collect::<Vec<_>>()
        }),
    }))
}

fn account(account: &Account) -> Value {
    json!({
        "record": "account",
        "worker": account.worker().to_string(),
        "owed": account.owed().to_string(),
        "paid_msat": account.paid().to_msat(),
        "due_msat": account.due().to_msat(),
        "channel": account.channel().map(|channel| channel.to_string()),
        "shares": account.shares(),
        "work": account.work().hashes().to_string(),
    })
}

fn totals(totals: &Totals) -> Value {
    json!({
        "record": "ledger",
        "credited": totals.credited().to_string(),
        "fee": totals.fee().to_string(),
        "gone_msat": totals.gone().to_msat(),
    })
}

fn decided(body: &[u8]) -> Result<Value, Failure> {
    let (ids, rest) = body.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(StoreError::Damaged { what: "the blocks that were decided" }.into());
    }
    let ids: Vec<_> = ids.iter().map(block_id).collect();
    Ok(json!({ "record": "blocks decided", "ids": ids }))
}

fn logged(at: &[u8], body: &[u8]) -> Result<Value, Failure> {
    let damaged = StoreError::Damaged { what: "work that was logged" };
    let (bucket, worker) = at.split_first_chunk::<8>().ok_or(damaged)?;
    let work: [u8; 16] = body.try_into().map_err(|_| damaged)?;
    if worker.len() != 32 {
        return Err(damaged.into());
    }
    Ok(json!({
        "record": "logged work",
        "bucket": u64::from_be_bytes(*bucket),
        "worker": hex(worker),
        "work": u128::from_be_bytes(work).to_string(),
    }))
}

fn block(block: &FoundBlock) -> Value {
    let over = match block.reach {
        Reach::Round => None,
        Reach::Last(work) => Some(work.hashes().to_string()),
        // The enum may grow.
        _ => Some(String::new()),
    };
    json!({
        "record": "block",
        "id": block_id(&block.id),
        "coinbase": block.coinbase.to_string(),
        "height": block.height.to_u32(),
        "depth": block.depth.to_u32(),
        "reward_msat": block.reward.to_msat(),
        "fee_ppm": block.fee.to_ppm(),
        "over_work": over,
    })
}

fn workers(at: &[u8], body: &[u8]) -> Result<Value, Failure> {
    let damaged = StoreError::Damaged { what: "the workers of a block" };
    let (id, part) = at.split_first_chunk::<32>().ok_or(damaged)?;
    let part: [u8; 2] = part.try_into().map_err(|_| damaged)?;
    if body.is_empty() || !body.len().is_multiple_of(SHARE) {
        return Err(damaged.into());
    }
    Ok(json!({
        "record": "block's workers",
        "id": block_id(id),
        "part": u16::from_be_bytes(part),
        "workers": body.len() / SHARE,
    }))
}

/// As blocks are named everywhere: the last byte first.
fn block_id(id: &[u8; 32]) -> String {
    let mut id = *id;
    id.reverse();
    hex(&id)
}
