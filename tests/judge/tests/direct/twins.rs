//! The simulated chain and Core side by side under random transactions: the same verdict on each,
//! the same chain and the same mempool after it.
//!
//! Method: differential testing. Every coin is spent by `OP_TRUE`, so that scripts never fail; what
//! varies is versions, fees, sizes, locks, dust, conflicts and families. One seed is one story;
//! `MILLSTREAM_TWINS=FIRST..END` runs others than the committed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bitcoin::absolute::LockTime;
use bitcoin::{Sequence, Transaction, Txid};
use millstream::chain::regtest::{self, Regtest};
use millstream::sim::scenario::{Arena, Verdict};
use millstream::units::{Blocks, Height};
use millstream_judge::Court;

use crate::coins::{Coin, anybody, padded, spend, spend_coinbase, to, versioned};

/// Seeds of the committed run; long enough that each class below is met many times.
const SEEDS: Range<u64> = 0..12;
/// Steps of one story.
const STEPS: u32 = 150;
/// What each first coin is worth.
const COIN_SAT: u64 = 1_000_000;

#[test]
fn simulated_chain_and_core_agree_on_random_transactions() {
    let mut met = BTreeMap::new();
    for seed in seeds() {
        let mut story = Story::new(seed);
        for step in 0..STEPS {
            story.step = step;
            story.go_on(&mut met);
        }
    }
    println!("twins: {met:?}");
    if std::env::var_os("MILLSTREAM_TWINS").is_none() {
        for class in [
            "accepted",
            "MinRelayFee",
            "Dust",
            "Truc",
            "InsufficientReplacement",
            "NotFinal",
            "MissingInputs",
            "mined",
            "reorganised",
            "connected",
            "package accepted",
        ] {
            assert!(met.contains_key(class), "no {class} in {met:?}");
        }
    }
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("MILLSTREAM_TWINS") else { return SEEDS };
    let (first, end) = text.split_once("..").expect("FIRST..END");
    first.parse().unwrap()..end.parse().unwrap()
}

/// Both chains, and the coins that the story knows of, spent or not.
struct Story {
    seed: u64,
    step: u32,
    random: u64,
    court: Court,
    chain: Regtest,
    coins: Vec<Coin>,
    shown: Vec<Transaction>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut story = Self {
            seed,
            step: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            court: Court::new(),
            chain: Regtest::unchecked_scripts(),
            coins: Vec::new(),
            shown: Vec::new(),
        };
        story.both("mine", |arena| arena.mine(Blocks::new(110).unwrap()));
        let coinbase = regtest::coinbase(Height::new(1).unwrap());
        let first = spend_coinbase(&coinbase, vec![to(COIN_SAT, &anybody()); 40]);
        story.both("first coins", |arena| arena.connect(std::slice::from_ref(&first)));
        story.learn(&first, Verdict::Accept);
        story
    }

    fn go_on(&mut self, met: &mut BTreeMap<String, u32>) {
        let mut count = |what: String| *met.entry(what).or_insert(0) += 1;
        match self.below(100) {
            0..62 => {
                let tx = self.transaction();
                let verdict = self.both(&describe(&tx), |arena| arena.submit(&tx));
                self.learn(&tx, verdict);
                count(class(verdict, "accepted"));
            }
            62..80 => {
                let package = self.package();
                let what = format!("{} + {}", describe(&package[0]), describe(&package[1]));
                let verdict = self.both(&what, |arena| arena.submit_package(&package));
                for tx in &package {
                    self.learn(tx, verdict);
                }
                count(class(verdict, "package accepted"));
            }
            80..85 => {
                let tx = self.transaction();
                let one = std::slice::from_ref(&tx);
                let verdict = self.both(&describe(&tx), |arena| arena.connect(one));
                self.learn(&tx, verdict);
                if verdict == Verdict::Accept {
                    self.forget_spent(one);
                }
                count(class(verdict, "connected"));
            }
            85..96 => {
                // Our miner chooses, and Core must agree: it also leaves what pays nearly nothing.
                Arena::mine(&mut self.chain, Blocks::new(1).unwrap());
                let tip = Arena::tip(&self.chain);
                let txs = self.chain.block(tip.height).unwrap().txdata[1..].to_vec();
                assert_eq!(self.court.connect(&txs), Verdict::Accept);
                self.compare("mine");
                self.forget_spent(&txs);
                count("mined".to_owned());
            }
            _ => {
                let depth = 1 + u32::try_from(self.below(2)).unwrap();
                let branch = vec![Vec::new(); usize::try_from(depth).unwrap() + 1];
                let what = format!("reorganisation of {depth}");
                self.both(&what, |arena| arena.reorg(Blocks::new(depth).unwrap(), &branch));
                count("reorganised".to_owned());
            }
        }
    }

    /// Puts one question to both and insists on one answer.
    fn both(&mut self, what: &str, mut ask: impl FnMut(&mut dyn Arena) -> Verdict) -> Verdict {
        let core = ask(&mut self.court);
        let ours = ask(&mut self.chain);
        let words = self.court.heard().last().map(|heard| heard.words.clone());
        let place = format!("seed {}, step {}: {what}", self.seed, self.step);
        assert_eq!(core, ours, "Core left, ours right; {place}; Core said {words:?}");
        self.compare(what);
        core
    }

    /// The same tip, and the same mempool.
    fn compare(&self, what: &str) {
        let core: BTreeSet<Txid> = self.court.core().mempool().into_iter().collect();
        let differ: BTreeSet<Txid> = self.mempool().symmetric_difference(&core).copied().collect();
        let place = format!("seed {}, step {}: {what}", self.seed, self.step);
        assert_eq!(self.court.tip(), Arena::tip(&self.chain), "{place}");
        for tx in self.shown.iter().filter(|tx| differ.contains(&tx.compute_txid())) {
            let whose = if core.contains(&tx.compute_txid()) { "Core's" } else { "our" };
            println!("only in {whose} mempool: {}", describe(tx));
        }
        assert!(differ.is_empty(), "mempools differ; {place}");
    }

    /// Two transactions, mostly the second a child of the first.
    fn package(&mut self) -> [Transaction; 2] {
        let parent = self.transaction();
        let child = match self.below(8) {
            0 => self.transaction(),
            _ => self.transaction_of(&[Coin::of(&parent, 0, &anybody())]),
        };
        if self.one_in(12, 1) == 1 { [child, parent] } else { [parent, child] }
    }

    /// A random transaction: mostly sensible, wrong in one way or another now and then.
    fn transaction(&mut self) -> Transaction {
        let mut inputs: Vec<Coin> = Vec::new();
        for _ in 0..=self.one_in(4, 1) {
            let coin = self.coin();
            if inputs.iter().all(|other| other.outpoint != coin.outpoint) {
                inputs.push(coin);
            }
        }
        self.transaction_of(&inputs)
    }

    fn transaction_of(&mut self, inputs: &[Coin]) -> Transaction {
        let total: u64 = inputs.iter().map(|coin| coin.value).sum();
        let inputs: Vec<&Coin> = inputs.iter().collect();
        let version = [1, 2, 2, 2, 3, 3, 3, 3][self.pick(8)];
        let mut outputs = vec![to(0, &anybody())];
        if self.one_in(4, 1) == 1 {
            outputs.push(to(20_000 + self.below(1_000), &anybody()));
        }
        if self.one_in(10, 1) == 1 {
            outputs.push(to([0, 329, 330][self.pick(3)], &anybody()));
        }
        let mut tx = versioned(spend(&inputs, outputs), version);
        if self.one_in(6, 1) == 1 {
            let vbytes = [999, 1_000, 1_001, 2_000, 9_999, 10_000, 10_001][self.pick(7)];
            tx = padded(tx, vbytes);
        }
        if self.one_in(8, 1) == 1 {
            tx.input[0].sequence = Sequence::from_height(u16::try_from(self.below(4)).unwrap());
        }
        if self.one_in(10, 1) == 1 {
            let height = self.court.tip().height.to_u32() + u32::try_from(self.below(3)).unwrap();
            tx.lock_time = LockTime::from_height(height - 1).unwrap();
        }
        let least = u64::try_from(tx.vsize()).unwrap().div_ceil(10);
        let fees = [0, least - 1, least, least * 2, least * 3, least * 10, 500, 1_000, 2_000];
        let fee = fees[self.pick(fees.len())] + self.one_in(3, 20);
        let others: u64 = tx.output.iter().skip(1).map(|output| output.value.to_sat()).sum();
        let rest = total.saturating_sub(others + fee);
        tx.output[0].value = bitcoin::Amount::from_sat(rest);
        tx
    }

    /// A coin, more often one of the latest.
    fn coin(&mut self) -> Coin {
        let count = self.coins.len();
        let recent = count.min(12);
        let index = match self.below(3) {
            0 => count - 1 - self.pick(recent),
            _ => self.pick(count),
        };
        self.coins[index].clone()
    }

    /// Keeps the outputs of `tx` as coins; seldom those of a refused one.
    fn learn(&mut self, tx: &Transaction, verdict: Verdict) {
        self.shown.push(tx.clone());
        if verdict != Verdict::Accept && self.below(12) != 0 {
            return;
        }
        for (index, output) in (0..).zip(&tx.output) {
            if output.script_pubkey.is_p2wsh() {
                self.coins.push(Coin::of(tx, index, &anybody()));
            }
        }
    }

    /// Drops what mined transactions spent, but for a coin now and then.
    fn forget_spent(&mut self, txs: &[Transaction]) {
        for input in txs.iter().flat_map(|tx| &tx.input) {
            if self.below(16) != 0 {
                self.coins.retain(|coin| coin.outpoint != input.previous_output);
            }
        }
    }

    fn mempool(&self) -> BTreeSet<Txid> {
        self.chain.mempool().map(Transaction::compute_txid).collect()
    }

    /// 0 mostly; once in `chance` a number from 1 to `most`.
    fn one_in(&mut self, chance: u64, most: u64) -> u64 {
        if self.below(chance) == 0 { 1 + self.below(most) } else { 0 }
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(u64::try_from(count).unwrap())).unwrap()
    }

    /// Splitmix64: the same stream in every release.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn class(verdict: Verdict, accepted: &str) -> String {
    match verdict {
        Verdict::Accept => accepted.to_owned(),
        Verdict::Refuse(reason) => format!("{reason:?}"),
    }
}

fn describe(tx: &Transaction) -> String {
    let inputs: Vec<String> = tx
        .input
        .iter()
        .map(|input| format!("{:.8}:{}", input.previous_output.txid, input.previous_output.vout))
        .collect();
    format!(
        "{:.8} v{} {} vB, lock {}, sequence {:#x}, {inputs:?} to {:?}",
        tx.compute_txid(),
        tx.version,
        tx.vsize(),
        tx.lock_time,
        tx.input[0].sequence.0,
        tx.output.iter().map(|output| output.value.to_sat()).collect::<Vec<_>>(),
    )
}
