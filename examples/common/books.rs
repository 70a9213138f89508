//! The books: where every satoshi of a channel went on the chain, read from the chain alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::{OutPoint, ScriptBuf, Transaction, Txid};
use millstream::chain::regtest::Shared;
use millstream::sim::world::World;
use serde::Serialize;

/// Whose an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A channel's script: the money is still in a channel.
    Channel,
    /// The seller's.
    Payee,
    /// The buyer's own wallet.
    #[allow(dead_code, reason = "the fleet's cars keep their channels")]
    Payer,
    /// A hold's: whoever is in time takes it.
    #[allow(dead_code, reason = "one example holds")]
    Hold,
}

/// How a channel was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Pays the channels' money into them.
    Funding,
    /// The payee's, with the payers' vouchers.
    Settlement,
    /// Signed by both.
    Close,
    /// The payer's, after the deadline.
    Refund,
    /// The payee's, of a hold with its preimage.
    Claim,
    /// The payer's, of a hold after its expiry.
    Timeout,
}

impl Kind {
    /// The signatures that it takes for each channel, beside the payer's voucher; the wallet's of a
    /// funding is not counted.
    #[allow(dead_code, reason = "one example counts them")]
    pub(crate) const fn signatures(self) -> u64 {
        match self {
            Self::Funding => 0,
            Self::Settlement | Self::Refund | Self::Claim | Self::Timeout => 1,
            Self::Close => 2,
        }
    }
}

/// Transactions of one kind.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Kept {
    /// How many.
    pub(crate) transactions: u64,
    /// Their virtual bytes.
    pub(crate) vbytes: u64,
    /// The channels that they spend (or, of a funding, open).
    pub(crate) channels: u64,
    /// What they pay to miners, sat.
    pub(crate) fees_sat: u64,
}

/// Where the money went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    /// What the channels were funded with, sat.
    pub(crate) funded: u64,
    /// What is still in channels, sat.
    pub(crate) open: u64,
    /// What the sellers got, sat.
    pub(crate) to_payee: u64,
    /// What the buyers got back, sat.
    pub(crate) to_payer: u64,
    /// What went anywhere else, sat: must be nothing.
    pub(crate) foreign: u64,
    /// The transactions by kind.
    pub(crate) kinds: BTreeMap<Kind, Kept>,
}

impl Books {
    /// The books of channels, each with its script, whose payees keep their money at `tills`.
    #[allow(dead_code, reason = "not every example has many channels")]
    pub(crate) fn of(
        world: &World,
        channels: impl Iterator<Item = (OutPoint, ScriptBuf)>,
        tills: impl IntoIterator<Item = ScriptBuf>,
    ) -> Self {
        let (fundings, scripts): (Vec<_>, Vec<_>) = channels.unzip();
        let channels = scripts.into_iter().map(|script| (script, Owner::Channel));
        let tills = tills.into_iter().map(|till| (till, Owner::Payee));
        Self::read(world.chain(), &fundings, &channels.chain(tills).collect())
    }

    /// Follows the channels funded at `fundings` to their ends. `owners` says whose a script is.
    pub(crate) fn read(
        chain: &Shared,
        fundings: &[OutPoint],
        owners: &BTreeMap<ScriptBuf, Owner>,
    ) -> Self {
        let mut books = Self::default();
        let channel = |outpoint: &OutPoint| (*outpoint, Owner::Channel);
        let mut queue: VecDeque<(OutPoint, Owner)> = fundings.iter().map(channel).collect();
        let mut seen: BTreeSet<Txid> = BTreeSet::new();
        let mut values = books.read_fundings(chain, fundings);
        while let Some((outpoint, of)) = queue.pop_front() {
            let Some(status) = chain.with(|chain| chain.output(outpoint)) else { continue };
            let value = status.value.to_sat();
            let Some(spend) = status.spent else {
                books.open += value;
                continue;
            };
            let (kind, txid) = (kind_of(&spend.tx, outpoint, of), spend.tx.compute_txid());
            books.kinds.entry(kind).or_default().channels += 1;
            if !seen.insert(txid) {
                continue;
            }
            books.enter(kind, &spend.tx, fee(chain, &values, &spend.tx));
            for (vout, output) in (0..).zip(&spend.tx.output) {
                let value = output.value.to_sat();
                values.insert(OutPoint { txid, vout }, value);
                match owners.get(&output.script_pubkey) {
                    Some(of @ (Owner::Channel | Owner::Hold)) => {
                        queue.push_back((OutPoint { txid, vout }, *of));
                    }
                    Some(Owner::Payee) => books.to_payee += value,
                    Some(Owner::Payer) => books.to_payer += value,
                    None => books.foreign += value,
                }
            }
        }
        books
    }

    /// What sellers paid to miners: settlements are theirs, closes and refunds the buyers'.
    pub(crate) fn payee_fees(&self) -> u64 {
        self.kept(Kind::Settlement).fees_sat + self.kept(Kind::Claim).fees_sat
    }

    /// What buyers paid to miners, fundings aside.
    pub(crate) fn payer_fees(&self) -> u64 {
        let kinds = [Kind::Close, Kind::Refund, Kind::Timeout];
        kinds.into_iter().map(|kind| self.kept(kind).fees_sat).sum()
    }

    /// The transactions of one kind.
    pub(crate) fn kept(&self, kind: Kind) -> Kept {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// All that was funded is somewhere.
    pub(crate) fn balance(&self) -> bool {
        let found = self.open + self.to_payee + self.to_payer + self.payee_fees();
        self.foreign == 0 && found + self.payer_fees() == self.funded
    }

    /// Gives what each output of a funding is worth, sat.
    fn read_fundings(&mut self, chain: &Shared, fundings: &[OutPoint]) -> BTreeMap<OutPoint, u64> {
        let txids: BTreeSet<Txid> = fundings.iter().map(|outpoint| outpoint.txid).collect();
        let mut values = BTreeMap::new();
        for tx in transactions(chain, &txids) {
            let (fee, txid) = (fee(chain, &values, &tx), tx.compute_txid());
            self.enter(Kind::Funding, &tx, fee);
            let outputs = (0..).zip(&tx.output);
            values.extend(outputs.map(|(vout, o)| (OutPoint { txid, vout }, o.value.to_sat())));
        }
        for outpoint in fundings {
            self.funded += worth(chain, &values, outpoint);
            self.kinds.entry(Kind::Funding).or_default().channels += 1;
        }
        values
    }

    fn enter(&mut self, kind: Kind, tx: &Transaction, fee: u64) {
        let kept = self.kinds.entry(kind).or_default();
        kept.transactions += 1;
        kept.vbytes += tx.vsize() as u64;
        kept.fees_sat += fee;
    }
}

/// A refund shows one signature, a settlement the payer's with its sighash byte, a close without; a
/// claim shows a preimage.
fn kind_of(tx: &Transaction, outpoint: OutPoint, of: Owner) -> Kind {
    let input = tx.input.iter().find(|input| input.previous_output == outpoint);
    let witness = input.map(|input| input.witness.clone()).unwrap_or_default();
    match (of, witness.len(), witness.nth(1).map_or(0, <[u8]>::len)) {
        (Owner::Hold, 4, _) => Kind::Claim,
        (Owner::Hold, ..) => Kind::Timeout,
        (_, 4, 65) => Kind::Settlement,
        (_, 4, _) => Kind::Close,
        _ => Kind::Refund,
    }
}

/// What an output is worth, sat. The chain shows one only with a copy of all that spends it, so what
/// is known is not asked for.
fn worth(chain: &Shared, values: &BTreeMap<OutPoint, u64>, outpoint: &OutPoint) -> u64 {
    let known = values.get(outpoint).copied();
    let shown = || chain.with(|chain| chain.output(*outpoint));
    known.or_else(|| Some(shown()?.value.to_sat())).unwrap_or(0)
}

fn fee(chain: &Shared, values: &BTreeMap<OutPoint, u64>, tx: &Transaction) -> u64 {
    let spent = tx.input.iter().map(|input| worth(chain, values, &input.previous_output));
    let (spent, paid) = (spent.sum::<u64>(), tx.output.iter().map(|o| o.value.to_sat()).sum());
    spent.saturating_sub(paid)
}

/// The confirmed transactions of these ids.
fn transactions(chain: &Shared, txids: &BTreeSet<Txid>) -> Vec<Transaction> {
    chain.with(|chain| {
        let heights = 1..=chain.tip().height.to_u32();
        let blocks =
            heights.filter_map(|height| chain.block(millstream::units::Height::new(height).ok()?));
        blocks
            .flat_map(|block| &block.txdata)
            .filter(|tx| txids.contains(&tx.compute_txid()))
            .cloned()
            .collect()
    })
}
