//! What is settled, at which fee rate, and with which coins: the node's plan, each group tried once
//! a block.
//!
//! ```text
//!   the till's coins ---.                      no coin: Command::Settle
//!   rates of the last day: forecast ---> Node::plan ---> group <
//!                                           ^          a coin: draft, sign, Command::SettleDrafted
//!                                           '-- not confirmed: planned again at the next block
//! ```

use std::collections::BTreeMap;

use bitcoin::{Amount, Network, OutPoint, ScriptBuf, TxOut, Witness};
use millstream::chain::{ChainSource, Coins, MemoryCoins, unsigned_psbt};
use millstream::keys::{Context, Seed};
use millstream::node::plan::{Forecast, Group, Policy};
use millstream::node::{Command, Node, NodeError};
use millstream::rt::Driver;
use millstream::signer::MemorySigner;
use millstream::tx::{FeeInput, Settlement, TxError};
use millstream::units::{Blocks, FeeRate, Height, KeyIndex};

use crate::failure::Failure;

/// Blocks before the last call at which a channel is settled.
pub(crate) const LEAD: u32 = 6;
/// Blocks of a day: what the rates of one say of the next.
const DAY: u32 = 144;

/// What the chain says of settling now.
#[derive(Debug)]
pub(crate) struct Seen {
    tip: Height,
    pub(crate) rate: FeeRate,
    coins: Vec<FeeInput>,
    forecast: Option<Forecast>,
}

/// What a settlement costs, if it is to be in time.
pub(crate) fn rate(chain: &dyn ChainSource) -> Result<FeeRate, Failure> {
    Ok(chain.fee_rate(Blocks::new(LEAD)?)?)
}

/// Settles a payee's channels: `serve` and `mine` ask it every second.
pub(crate) struct Settling {
    till: Till,
    rates: Rates,
    tried: Tried,
}

impl Settling {
    pub(crate) fn new(seed: &Seed, network: Network) -> Result<Self, Failure> {
        let till = Till::new(seed, network)?;
        Ok(Self { till, rates: Rates::default(), tried: Tried::default() })
    }

    /// Where all settlements pay to.
    pub(crate) fn script(&self) -> &ScriptBuf {
        self.till.script()
    }

    /// Looks at the chain.
    pub(crate) fn look(&mut self, chain: &dyn ChainSource) -> Result<Seen, Failure> {
        let (tip, rate) = (chain.tip()?.height, rate(chain)?);
        self.rates.note(tip, rate)?;
        let (coins, forecast) = (self.till.coins(chain)?, self.rates.forecast()?);
        Ok(Seen { tip, rate, coins, forecast })
    }

    /// Settles what the node's plan says must not wait any longer, many channels at once; what is
    /// in no block after a while is sent again at a higher rate. Lines of what was done.
    pub(crate) async fn settle(
        &mut self,
        driver: &Driver<MemorySigner>,
        seen: Seen,
    ) -> Result<Vec<String>, Failure> {
        let (tip, till) = (seen.tip, self.script().clone());
        let due = match driver.look(move |node| due(node, &till, seen)).await? {
            Ok(due) => due,
            // Before the first tip there is nothing to plan.
            Err(NodeError::NoTip) => return Ok(Vec::new()),
            Err(error) => return Ok(vec![format!("no settlement planned: {error}")]),
        };
        let mut lines = Vec::new();
        for due in due {
            let (outpoints, rate) = (due.group.outpoints.clone(), due.group.rate);
            if !self.tried.begin(tip, &outpoints) {
                continue;
            }
            let done = driver.command(self.till.command(due)?).await;
            lines.extend(outpoints.iter().map(|outpoint| match &done {
                Ok(()) => format!("settling {outpoint} at {rate}"),
                Err(error) => format!("not settled: {outpoint}: {error}"),
            }));
        }
        Ok(lines)
    }
}

/// Where the money of all settlements goes: one key of the seed, so that the seed alone finds it
/// again, whoever the payers were. What has arrived there can pay for what follows.
struct Till {
    coins: MemoryCoins,
}

impl Till {
    fn new(seed: &Seed, network: Network) -> Result<Self, Failure> {
        let context = Context::new();
        let key = seed.coin_key(&context, network, KeyIndex::MIN)?;
        Ok(Self { coins: MemoryCoins::new(context, &key)? })
    }

    fn script(&self) -> &ScriptBuf {
        self.coins.script()
    }

    /// The confirmed coins that no block spends; pending settlements may.
    fn coins(&self, chain: &dyn ChainSource) -> Result<Vec<FeeInput>, Failure> {
        let mut coins = Vec::new();
        for (outpoint, status) in chain.outputs_of(self.script())? {
            let spent = status.spent.is_some_and(|spend| spend.confirmed.is_some());
            if status.confirmed.is_some() && !spent {
                let value = Amount::from_sat(status.value.to_sat());
                let output = TxOut { value, script_pubkey: status.script };
                coins.push(FeeInput::new(outpoint, output)?);
            }
        }
        Ok(coins)
    }

    /// What the coins of a settlement are signed with, in order.
    fn witnesses(&mut self, settlement: &Settlement) -> Result<Vec<Witness>, Failure> {
        let mut psbt = unsigned_psbt(settlement.transaction(), settlement.spent())?;
        self.coins.sign(&mut psbt)?;
        let coins = psbt.inputs.into_iter().skip(settlement.parts().len());
        Ok(coins.map(|input| input.final_script_witness.unwrap_or_default()).collect())
    }

    /// What makes the node settle so.
    fn command(&mut self, due: Due) -> Result<Command, Failure> {
        let Due { group, drafted } = due;
        Ok(match drafted {
            None => Command::Settle {
                outpoints: group.outpoints,
                script: self.script().clone(),
                rate: group.rate,
            },
            Some(settlement) => {
                let witnesses = self.witnesses(&settlement)?;
                Command::SettleDrafted { settlement: Box::new(settlement), witnesses }
            }
        })
    }
}

/// The rates of the last day, as far as this process has seen them.
#[derive(Debug, Default)]
struct Rates {
    seen: BTreeMap<Height, FeeRate>,
}

impl Rates {
    fn note(&mut self, tip: Height, rate: FeeRate) -> Result<(), Failure> {
        let day = Blocks::new(DAY).map_err(TxError::from)?;
        self.seen.insert(tip, rate);
        self.seen.retain(|height, _| *height <= tip && tip.saturating_since(*height) < day);
        Ok(())
    }

    /// The cheapest tenth of the last day is expected again a day later, if a whole day was seen
    /// and that tenth was clearly cheaper than its middle: else no waiting pays, and no hurry.
    fn forecast(&self) -> Result<Option<Forecast>, Failure> {
        let mut rates: Vec<_> = self.seen.values().copied().collect();
        rates.sort_unstable();
        let (Some(cheap), Some(middle)) = (rates.get(rates.len() / 10), rates.get(rates.len() / 2))
        else {
            return Ok(None);
        };
        let clearly = cheap.to_sat_per_kvb() * 4 <= middle.to_sat_per_kvb() * 3;
        if rates.len() < DAY as usize || !clearly {
            return Ok(None);
        }
        let day = Blocks::new(DAY).map_err(TxError::from)?;
        let first = self.seen.iter().find(|(_, rate)| *rate <= cheap);
        Ok(first.map(|(at, _)| Forecast { from: at.saturating_after(day), rate: *cheap }))
    }
}

/// One settlement that the plan asks for; drafted already, if a coin pays its fee.
#[derive(Debug)]
struct Due {
    group: Group,
    drafted: Option<Settlement>,
}

/// What must not wait any longer, at this rate or, where it presses, a higher one; and what settles
/// because now is cheap.
fn due(node: &Node<MemorySigner>, till: &ScriptBuf, seen: Seen) -> Result<Vec<Due>, NodeError> {
    let Seen { coins, rate, forecast, .. } = seen;
    let mut policy = Policy::new(till.clone());
    policy.lead = Blocks::new(LEAD).map_err(TxError::from)?;
    // A forecast reaches a day ahead: who is early by more than that cannot know what it misses.
    policy.early = Blocks::new(DAY).map_err(TxError::from)?;
    let plan = node.plan(rate, forecast, &coins, &policy)?;
    let due = plan.groups.into_iter().map(|group| {
        let coin = coins.iter().find(|coin| Some(coin.outpoint()) == group.coin);
        let draft = |coin: &FeeInput| {
            let coins = std::slice::from_ref(coin);
            node.draft_settlement(&group.outpoints, coins, till.clone(), group.rate)
        };
        let drafted = coin.map(draft).transpose()?;
        Ok(Due { group, drafted })
    });
    due.collect()
}

/// What was tried at which tip: the chain's word of it takes a moment, and a refusal stays one
/// until something changes.
#[derive(Debug, Default)]
struct Tried {
    at: BTreeMap<OutPoint, Height>,
}

impl Tried {
    /// Whether a group is to be tried at this tip; then it counts as tried.
    fn begin(&mut self, tip: Height, outpoints: &[OutPoint]) -> bool {
        self.at.retain(|_, at| *at == tip);
        let before = self.at.len();
        self.at.extend(outpoints.iter().map(|outpoint| (*outpoint, tip)));
        self.at.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn height(height: u32) -> Height {
        Height::new(height).unwrap()
    }

    fn rates(of: impl Fn(u32) -> u64, blocks: u32) -> Rates {
        let mut rates = Rates::default();
        for at in 0..blocks {
            rates.note(height(1_000 + at), FeeRate::new(of(at)).unwrap()).unwrap();
        }
        rates
    }

    #[test]
    fn group_is_tried_once_a_tip_and_again_with_another_channel() {
        let mut tried = Tried::default();
        let outpoints: Vec<_> = (0..2).map(|vout| OutPoint { vout, ..OutPoint::null() }).collect();
        assert!(tried.begin(height(100), &outpoints[..1]));
        assert!(!tried.begin(height(100), &outpoints[..1]));
        assert!(tried.begin(height(100), &outpoints));
        assert!(tried.begin(height(101), &outpoints));
        assert!(!tried.begin(height(101), &outpoints[1..]));
    }

    #[test]
    fn night_of_the_last_day_is_forecast_for_the_next_and_nothing_before_a_day_was_seen() {
        // Cheap from the 100th to the 119th block of each day.
        let of = |at: u32| if (100..120).contains(&(at % DAY)) { 500 } else { 2_000 };
        assert_eq!(rates(of, DAY - 1).forecast().unwrap(), None);
        let rate = FeeRate::new(500).unwrap();
        let forecast = |from| Some(Forecast { from: height(from), rate });
        assert_eq!(rates(of, DAY).forecast().unwrap(), forecast(1_100 + DAY));
        assert_eq!(rates(of, DAY + 100).forecast().unwrap(), forecast(1_100 + DAY));
        // In the night itself the first block that is left of the last one comes next.
        assert_eq!(rates(of, DAY + 110).forecast().unwrap(), forecast(1_110 + DAY));
    }

    #[test]
    fn day_without_a_clearly_cheap_time_has_no_forecast() {
        assert_eq!(rates(|_| 2_000, DAY).forecast().unwrap(), None);
        let nearly = |at: u32| if at < 20 { 1_501 } else { 2_000 };
        assert_eq!(rates(nearly, DAY).forecast().unwrap(), None);
        let clearly = |at: u32| if at < 20 { 1_500 } else { 2_000 };
        assert!(rates(clearly, DAY).forecast().unwrap().is_some());
    }
}
