//! The two chains: one block every ten minutes with cheap fees, and one every two and a half with
//! dearer ones; each with its own channel terms.

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction};
use millstream::chain::Coins;
use millstream::chain::Payment;
use millstream::chain::regtest::{Cursor, Regtest, miner_coins};
use millstream::keys::Context;
use millstream::stream::{HoldRules, Terms, View};
use millstream::swap::Pace;
use millstream::tx::Delay;
use millstream::tx::seen::{OutputStatus, Tip};
use millstream::units::{Blocks, FeeRate, Height, Sat, Seconds, UtcSeconds};

use crate::common::Error;
use crate::common::dice::Dice;

/// When the swap begins; the simulated chains' first blocks are of 2011.
pub(crate) const BEGIN: u64 = 1_900_000_000;
/// What each channel holds, sat.
pub(crate) const CAPACITY: u64 = 1_000_000;
/// What was paid in each channel before, sat.
pub(crate) const BEFORE: u64 = 20_000;

/// What differs between two chains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its name in the log.
    pub(crate) name: &'static str,
    /// Keys are of this network; the simulated chain itself does not care.
    pub(crate) network: Network,
    /// Seconds from block to block.
    pub(crate) spacing: u64,
    /// Sat per 1,000 vB.
    pub(crate) rate: u64,
    /// How deep a block stays.
    pub(crate) depth: u32,
    /// The claim's delay.
    pub(crate) k: u16,
    /// The settle margin.
    pub(crate) margin: u32,
    /// The agreed fee of a settlement with holds, sat.
    pub(crate) fee: u64,
    /// The refund's delay.
    pub(crate) delay: u16,
    /// How many blocks there are before the channel's funding.
    pub(crate) start: u32,
    /// What is swapped, sat.
    pub(crate) amount: u64,
}

/// Alice pays Bob on this one.
pub(crate) const FIRST: Kind = Kind {
    name: "first",
    network: Network::Regtest,
    spacing: 600,
    rate: 1_000,
    depth: 3,
    k: 12,
    margin: 8,
    fee: 500,
    delay: 500,
    start: 110,
    amount: 100_000,
};

/// Bob pays Alice on this one.
pub(crate) const SECOND: Kind = Kind {
    name: "second",
    network: Network::Signet,
    spacing: 150,
    rate: 3_000,
    depth: 4,
    k: 16,
    margin: 10,
    fee: 1_200,
    delay: 900,
    start: 230,
    amount: 300_000,
};

/// How fast blocks come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// By chance, around the average.
    Calm,
    /// The first chain at the fastest that the policy counts on, the second at the slowest.
    Worst,
}

impl Kind {
    /// What both parties count on of it.
    pub(crate) fn pace(&self) -> Result<Pace, Error> {
        Ok(Pace::new(Seconds::new(self.spacing)?, Blocks::new(self.depth)?))
    }

    /// The terms of a channel on it.
    pub(crate) fn terms(&self, base: bitcoin::XOnlyPublicKey) -> Result<Terms, Error> {
        let mut terms = Terms::new(self.network, base)?;
        terms.confirmation_depth = Blocks::new(self.depth)?;
        terms.settle_margin = Blocks::new(self.margin)?;
        let (fee, dust) = (Sat::new(self.fee)?, Sat::new(1_000)?);
        terms.holds = HoldRules { k: self.k, fee, dust, count: 8 };
        Ok(terms)
    }

    /// The refund's delay of every channel on it.
    pub(crate) fn refund(&self) -> Result<Delay, Error> {
        Ok(Delay::new(self.delay)?)
    }

    pub(crate) fn rate(&self) -> Result<FeeRate, Error> {
        Ok(FeeRate::new(self.rate)?)
    }
}

/// One simulated chain whose blocks come by the clock.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) kind: Kind,
    regtest: Regtest,
    /// When the next block comes.
    pub(crate) next: u64,
    dice: Dice,
    weather: Weather,
    /// The most blocks by which the clock may run ahead or behind in the worst weather.
    slack: u64,
}

impl Chain {
    /// A chain with mature coins, whose last block is at [`BEGIN`].
    pub(crate) fn new(kind: Kind) -> Result<Self, Error> {
        let mut regtest = Regtest::new()?;
        for number in (0..kind.start).rev() {
            mine_at(&mut regtest, BEGIN - u64::from(number) * kind.spacing)?;
        }
        let dice = Dice::new(0, kind.name);
        Ok(Self {
            kind,
            regtest,
            next: BEGIN + kind.spacing,
            dice,
            weather: Weather::Calm,
            slack: 0,
        })
    }

    /// The same chain in other hands of chance.
    pub(crate) fn reseed(&mut self, seed: u64, weather: Weather) {
        (self.dice, self.weather) = (Dice::new(seed, self.kind.name), weather);
        // In the worst weather the whole slack is used up at once, at the beginning.
        self.slack = 12 * self.kind.spacing;
    }

    /// Pays `value` to `script`; the output is first.
    pub(crate) fn fund(&mut self, script: ScriptBuf, value: u64) -> Result<OutPoint, Error> {
        let (mut coins, mut cursor) = (miner_coins()?, Cursor::default());
        while let Some(event) = self.regtest.next_event(&mut cursor) {
            coins.apply(&event)?;
        }
        let payment = Payment::new(script, Sat::new(value)?, self.kind.rate()?);
        let mut psbt = coins.fund(&payment)?;
        coins.sign(&mut psbt)?;
        let tx = psbt.extract_tx_unchecked_fee_rate();
        self.regtest.submit(&tx)?;
        Ok(OutPoint { txid: tx.compute_txid(), vout: 0 })
    }

    /// One block at its time.
    pub(crate) fn mine(&mut self) -> Result<(), Error> {
        let at = self.next;
        mine_at(&mut self.regtest, at)?;
        let spacing = self.kind.spacing;
        // Where chance is not asked, these are the paces that `Pace::new` counts on.
        let gap = match (self.weather, self.kind.name) {
            (Weather::Calm, _) => self.dice.between(spacing * 2 / 5, spacing * 8 / 5),
            (Weather::Worst, "first") => {
                let early = self.slack.min(spacing * 2 / 3 - 1);
                self.slack -= early;
                spacing * 2 / 3 - early
            }
            (Weather::Worst, _) => {
                let late = self.slack.min(spacing);
                self.slack -= late;
                (spacing * 3).div_ceil(2) + late
            }
        };
        self.next = at + gap;
        Ok(())
    }

    /// Replaces the last `depth` blocks by empty ones and one more; what was in them waits again.
    pub(crate) fn reorg(&mut self, depth: u32) -> Result<(), Error> {
        let branch = vec![Vec::new(); usize::try_from(depth)? + 1];
        self.regtest.reorg(Blocks::new(depth)?, &branch)?;
        Ok(())
    }

    /// Hands a transaction or a package to the mempool; whether it took it.
    pub(crate) fn send(&mut self, package: &[Transaction]) -> bool {
        match package {
            [one] => self.regtest.submit(one).is_ok(),
            all => self.regtest.submit_package(all).is_ok(),
        }
    }

    pub(crate) fn tip(&self) -> Tip {
        self.regtest.tip()
    }

    pub(crate) fn height(&self) -> Height {
        self.regtest.tip().height
    }

    pub(crate) fn output(&self, outpoint: OutPoint) -> Option<OutputStatus> {
        self.regtest.output(outpoint)
    }

    /// What is unspent of `script`, sat.
    pub(crate) fn unspent(&self, script: &ScriptBuf) -> u64 {
        let outputs = self.regtest.outputs_of(script);
        let unspent = outputs.iter().filter(|(_, status)| status.spent.is_none());
        unspent.map(|(_, status)| status.value.to_sat()).sum()
    }

    /// What a machine sees of it.
    pub(crate) fn view(&self, now: u64) -> Result<View, Error> {
        let now = UtcSeconds::new(now)?;
        Ok(View { tip: self.tip(), now, tip_age_max: Seconds::new(7_200)? })
    }
}

/// A block at `time`, or just after the one below where a branch was ahead of the clock.
fn mine_at(chain: &mut Regtest, time: u64) -> Result<(), Error> {
    if chain.mine_at(UtcSeconds::new(time)?).is_err() {
        chain.mine(Blocks::new(1)?);
    }
    Ok(())
}

/// Where a party's claims, timeouts and settlements pay on a chain.
pub(crate) fn till(context: &Context, kind: &Kind, seed: u8) -> Result<ScriptBuf, Error> {
    let seed = millstream::keys::Seed::new([seed; 32]);
    let key = seed.coin_key(context, kind.network, millstream::units::KeyIndex::MIN)?;
    Ok(ScriptBuf::new_p2tr(context.secp(), key.public(), None))
}
