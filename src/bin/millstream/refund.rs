//! `refund`: takes a channel's coin back after its deadline, from the seed and one backup.

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, ScriptBuf};
use millstream::chain::ChainSource;
use millstream::keys::Seed;
use millstream::node::{Command, Input};
use millstream::store::MemoryStore;
use millstream::units::{Blocks, FeeRate, Height};

use crate::coin::{CoinArgs, Coins, Found};
use crate::failure::Failure;
use crate::machine::{self, NetworkArgs};

/// Of what, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    coin: CoinArgs,
    /// Where the coin goes; else to the seed's own coin key
    #[arg(long)]
    to: Option<Address<NetworkUnchecked>>,
    /// The fee rate in sat/kvB; else what the chain says, at least 1000
    #[arg(long)]
    rate: Option<u64>,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let network = args.network.with_chain()?;
    let mut coins = args.coin.find(network)?;
    let script = args.script(&machine::seed(&args.coin.seed_file)?, network)?;
    let rate = match args.rate {
        Some(rate) => FeeRate::new(rate)?,
        None => coins.chain.fee_rate(Blocks::MIN)?.max(FeeRate::new(1_000)?),
    };
    // Every one by itself: what cannot be taken yet, or is not worth its fee, holds up no other.
    // The likeliest decides what the command comes to.
    let (coin, others) = (coins.coin.clone(), coins.others.clone());
    let done = args.refund(&mut coins, &coin, network, &script, rate);
    for other in &others {
        if let Err(failure) = args.refund(&mut coins, other, network, &script, rate) {
            eprintln!("{} stays: {failure}", other.outpoint);
        }
    }
    done
}

impl Args {
    fn refund(
        &self,
        coins: &mut Coins,
        found: &Found,
        network: Network,
        script: &ScriptBuf,
        rate: FeeRate,
    ) -> Result<(), Failure> {
        let Found { outpoint, status, .. } = found;
        let (outpoint, tip) = (*outpoint, coins.chain.tip()?);
        let deadline = deadline(status.confirmed, &coins.backup, outpoint)?;
        // It enters mempools one block before it can confirm.
        if tip.height.saturating_after(Blocks::new(1)?) < deadline {
            return Err(Failure::TooEarly { outpoint, deadline, tip: tip.height });
        }
        let record = coins.record(found, None)?;
        let mut store = MemoryStore::default();
        let seed = machine::seed(&self.coin.seed_file)?;
        let mut node = machine::node(seed, network, None, &store, true)?;
        let now = machine::now()?;
        node.handle(&now, Input::Tip(tip))?;
        node.handle(&now, Input::Do(Command::Adopt(Box::new(record))))?;
        let refund = Command::Refund { outpoint, script: script.clone(), rate };
        node.handle(&now, Input::Do(refund))?;
        for package in node.flush(&now, &mut store)?.broadcasts {
            coins.chain.broadcast(&package)?;
            for tx in &package {
                let value = tx.output.iter().map(|output| output.value.to_sat()).sum::<u64>();
                println!("refund {} of {outpoint}: {value} sat", tx.compute_txid());
            }
        }
        Ok(())
    }

    fn script(&self, seed: &Seed, network: Network) -> Result<ScriptBuf, Failure> {
        match &self.to {
            None => machine::coin_script(seed, network),
            Some(address) => address
                .clone()
                .require_network(network)
                .map(|address| address.script_pubkey())
                .map_err(|_| Failure::WrongAddress { network }),
        }
    }
}

fn deadline(
    confirmed: Option<Height>,
    backup: &millstream::stream::Backup,
    outpoint: bitcoin::OutPoint,
) -> Result<Height, Failure> {
    let confirmed = confirmed.ok_or(Failure::NotConfirmed { outpoint })?;
    Ok(confirmed.saturating_after(backup.delay.to_blocks()))
}
