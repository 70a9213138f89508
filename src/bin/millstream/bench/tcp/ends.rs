//! What both processes know without telling each other: seeds, terms, one funded channel.

use std::error::Error;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, OutPoint, Script, Transaction, TxIn, TxOut, absolute::LockTime,
    transaction::Version,
};
use millstream::chain::{ChainError, ChainSource};
use millstream::db::RedbStore;
use millstream::keys::{Context, Seed};
use millstream::node::{Config, Node};
use millstream::rt::{Options, Parts};
use millstream::signer::MemorySigner;
use millstream::stream::payer::Opening;
use millstream::stream::{Terms, View};
use millstream::tx::seen::{ChainEvent, OutputStatus, Tip};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{Blocks, FeeRate, Height, KeyIndex, Msat, Sat, Seconds, UtcSeconds};

use crate::bench::stage::{NETWORK, signer};

/// 1,000,000 bitcoin: no run empties it.
const CAPACITY: u64 = 100_000_000_000_000;
/// The seeds' bytes.
pub(super) const PAYER: u8 = 1;
pub(super) const PAYEE: u8 = 2;

/// The channel that both speak of.
pub(super) struct Funded {
    pub(super) opening: Opening,
    pub(super) funding: Transaction,
    pub(super) outpoint: OutPoint,
}

/// A chain that shows one output, confirmed and deep.
struct Shown {
    tip: Tip,
    outpoint: OutPoint,
    status: OutputStatus,
}

impl ChainSource for Shown {
    fn next_event(&mut self) -> Result<Option<ChainEvent>, ChainError> {
        Ok(None)
    }

    fn broadcast(&mut self, _package: &[Transaction]) -> Result<(), ChainError> {
        Ok(())
    }

    fn tip(&self) -> Result<Tip, ChainError> {
        Ok(self.tip)
    }

    fn fee_rate(&self, _target: Blocks) -> Result<FeeRate, ChainError> {
        FeeRate::new(1_000).map_err(|_| ChainError::Unavailable)
    }

    fn output(&self, outpoint: OutPoint) -> Result<Option<OutputStatus>, ChainError> {
        Ok((outpoint == self.outpoint).then(|| self.status.clone()))
    }

    fn outputs_of(&self, _script: &Script) -> Result<Vec<(OutPoint, OutputStatus)>, ChainError> {
        Ok(Vec::new())
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver's clock is the system's")]
fn utc() -> Result<UtcSeconds, Box<dyn Error>> {
    Ok(UtcSeconds::new(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

fn terms() -> Result<Terms, Box<dyn Error>> {
    let base = Seed::new([PAYEE; 32]).base_key(&Context::new(), NETWORK)?.public();
    let mut terms = Terms::new(NETWORK, base)?;
    terms.capacity.1 = Sat::new(CAPACITY)?;
    Ok(terms)
}

fn view() -> Result<View, Box<dyn Error>> {
    let now = utc()?;
    let hash = BlockHash::from_byte_array([9; 32]);
    let tip = Tip { height: Height::new(1_000)?, hash, time: now };
    Ok(View { tip, now, tip_age_max: Seconds::new(86_400)? })
}

/// The channel, the same in every process.
pub(super) fn funded() -> Result<Funded, Box<dyn Error>> {
    let context = Context::new();
    let index = KeyIndex::new(0)?;
    let key = Seed::new([PAYER; 32]).payer_key(&context, NETWORK, index)?.public();
    let (delay, own, capacity) = (Delay::new(1_500)?, ChangeScript::Own, Sat::new(CAPACITY)?);
    let opening = Opening::new(&context, &terms()?, index, key, delay, capacity, own, &view()?)?;
    let funding = Transaction {
        version: Version(3),
        lock_time: LockTime::ZERO,
        input: vec![TxIn::default()],
        output: vec![TxOut {
            value: Amount::from_sat(CAPACITY),
            script_pubkey: opening.script().clone(),
        }],
    };
    let outpoint = OutPoint { txid: funding.compute_txid(), vout: 0 };
    Ok(Funded { opening, funding, outpoint })
}

/// What one process drives; its store is a new database in `dir`.
pub(super) fn parts(
    seed: u8,
    funded: &Funded,
    dir: &Path,
) -> Result<Parts<MemorySigner>, Box<dyn Error>> {
    let store = RedbStore::open(&dir.join(format!("tcp{seed}.redb")))?;
    let config = Config {
        network: NETWORK,
        terms: Some(terms()?).filter(|_| seed == PAYEE),
        tip_age_max: Seconds::new(86_400)?,
        resend_after: Seconds::new(60)?,
        pay_step: Msat::ZERO,
        relay_floor: FeeRate::new(100)?,
    };
    let node = Node::load(config, Context::new(), signer(seed, utc()?)?, &store)?;
    let status = OutputStatus {
        value: Sat::new(CAPACITY)?,
        script: funded.opening.script().clone(),
        confirmed: Some(Height::new(900)?),
        truc: true,
        spent: None,
    };
    let chain = Shown { tip: view()?.tip, outpoint: funded.outpoint, status };
    Ok(Parts { node, store: Box::new(store), chain: Box::new(chain) })
}

/// On loopback, at any port if it `listens`.
pub(super) fn options(listens: bool) -> Options {
    let mut options = Options::new(NETWORK);
    options.listen = listens.then(|| ([127, 0, 0, 1], 0).into());
    options
}
