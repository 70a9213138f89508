//! Virtual bytes of holds: transactions that the simulated chain takes and mines, then the longest
//! of their kind.

use std::error::Error;

use bitcoin::{OutPoint, ScriptBuf, Transaction};
use millstream::chain::regtest::{Cursor, Regtest, miner_coins};
use millstream::chain::{Coins, Payment};
use millstream::keys::{ChannelKey, Context, Entropy, Seed};
use millstream::tx::hold::{ClaimDelay, Held, Hold, HoldCoin, HoldSettlement, HoldSpend, Preimage};
use millstream::tx::{ChangeScript, Channel, Delay, FundingOutput, payee_script};
use millstream::units::{Blocks, FeeRate, Height, HoldId, KeyIndex, Msat, Sat};

use super::Args;
use super::row::{Goal, Row};
use super::stage::{NETWORK, vbytes};

/// What this file gives.
pub(crate) const NAMES: &[&str] =
    &["hold_settle_vbytes", "hold_claim_vbytes", "hold_timeout_vbytes"];

/// What the channel holds, what is paid and held in it, sat.
const CAPACITY: u64 = 100_000;
const PAID: u64 = 10_000;
const HELD: u64 = 20_000;
/// Fee of the settlement, sat, and of its spends, sat/kvB.
const FEE: u64 = 500;
const RATE: u64 = 2_000;
/// The first expiry that takes four bytes.
const EXPIRY: u32 = 8_388_608;

/// Both keys of a channel, and the secret of its hold.
struct Parties {
    context: Context,
    payer: ChannelKey,
    payee: ChannelKey,
    output: FundingOutput,
    preimage: Preimage,
}

/// A settlement with one hold, and both of its spends.
struct Spends {
    settlement: Transaction,
    coin: HoldCoin,
    claim: Transaction,
    timeout: Transaction,
}

/// All of them, after the chain has taken shorter ones.
pub(crate) fn rows(_: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let parties = Parties::new()?;
    let short = parties.on_the_chain()?;
    let expiry = Height::new(EXPIRY)?;
    let longest = parties.spends(OutPoint::null(), ClaimDelay::new(u16::MAX)?, expiry)?;
    let row = |name, longest: &Transaction, mined: &Transaction, goal| {
        let (size, short) = (vbytes(longest.weight())?, vbytes(mined.weight())?);
        // Only the numbers of blocks are longer.
        if !(0.0..=1.0).contains(&(size - short)) {
            return Err(format!("{name}: {size} vB beside {short} vB that were mined").into());
        }
        let note = format!("{size} exactly, with the longest delay and expiry; one hold");
        Ok::<_, Box<dyn Error>>(
            Row::new(name, size.ceil(), "vB").goal(Goal::AtMost(goal)).note(note),
        )
    };
    Ok(vec![
        row("hold_settle_vbytes", &longest.settlement, &short.settlement, 248.0)?,
        row("hold_claim_vbytes", &longest.claim, &short.claim, 156.0)?,
        row("hold_timeout_vbytes", &longest.timeout, &short.timeout, 138.0)?,
    ])
}

impl Parties {
    fn new() -> Result<Self, Box<dyn Error>> {
        let context = Context::new();
        let payer = Seed::new([1; 32]).payer_key(&context, NETWORK, KeyIndex::MIN)?;
        let base = Seed::new([2; 32]).base_key(&context, NETWORK)?;
        let payee = base.for_payer(&context, payer.public())?;
        let delay = Delay::new(1_500)?;
        let output = FundingOutput::new(&context, payer.public(), base.public(), delay)?;
        Ok(Self { context, payer, payee, output, preimage: Preimage::new([7; 32]) })
    }

    /// Claim and timeout, each of a settlement of its own, mined under Bitcoin Core's interpreter.
    fn on_the_chain(&self) -> Result<Spends, Box<dyn Error>> {
        let mut chain = Regtest::new()?;
        chain.mine(Blocks::new(110)?);
        let delay = ClaimDelay::new(2)?;
        let claimed = self.settled(&mut chain, delay, 1_000)?;
        if chain.submit(&claimed.claim).is_ok() {
            return Err("a claim was taken before its delay".into());
        }
        mine(&mut chain, 1, &claimed.claim, claimed.coin.outpoint())?;
        let timed_out = self.settled(&mut chain, delay, 130)?;
        if chain.submit(&timed_out.timeout).is_ok() {
            return Err("a timeout was taken before its expiry".into());
        }
        let left = 130 - chain.tip().height.to_u32();
        mine(&mut chain, left, &timed_out.timeout, timed_out.coin.outpoint())?;
        Ok(claimed)
    }

    /// A channel that is funded and settled with a hold until `expiry`.
    fn settled(
        &self,
        chain: &mut Regtest,
        delay: ClaimDelay,
        expiry: u32,
    ) -> Result<Spends, Box<dyn Error>> {
        let mut miner = miner_coins()?;
        let mut cursor = Cursor::default();
        while let Some(event) = chain.next_event(&mut cursor) {
            miner.apply(&event)?;
        }
        let script = self.output.script().clone();
        let payment = Payment::new(script.clone(), Sat::new(CAPACITY)?, FeeRate::new(RATE)?);
        let mut psbt = miner.fund(&payment)?;
        miner.sign(&mut psbt)?;
        let funding = psbt.extract_tx()?;
        let found = funding.output.iter().position(|output| output.script_pubkey == script);
        let vout = u32::try_from(found.ok_or("no funding")?)?;
        let outpoint = OutPoint { txid: funding.compute_txid(), vout };
        mine(chain, 0, &funding, OutPoint::null())?;
        let spends = self.spends(outpoint, delay, Height::new(expiry)?)?;
        mine(chain, 0, &spends.settlement, outpoint)?;
        Ok(spends)
    }

    /// The settlement of the channel at `outpoint`, and what follows it, all of it signed.
    fn spends(
        &self,
        outpoint: OutPoint,
        delay: ClaimDelay,
        expiry: Height,
    ) -> Result<Spends, Box<dyn Error>> {
        let (context, aux) = (&self.context, Entropy::new([3; 32]));
        let (capacity, output) = (Sat::new(CAPACITY)?, self.output.clone());
        let channel = Channel::new(outpoint, capacity, output, ChangeScript::Own)?;
        let (id, amount, hash) = (HoldId::new(1)?, Sat::new(HELD)?, self.preimage.hash());
        let hold = Hold { id, amount, hash, expiry, delay };
        let (paid, fee) = (Msat::new(PAID * 1_000)?, Sat::new(FEE)?);
        let held = Held::new(context, channel, paid, fee, vec![hold])?;
        let voucher = held.sign(context, &self.payer, &aux)?;
        let settlement = HoldSettlement::new(held.verify(context, &voucher)?, &[])?;
        let coin = settlement.coins()?.first().cloned().ok_or("no hold")?;
        let signature = self.payee.sign(context, settlement.digest()?, &aux);
        let settlement = settlement.finish(&signature, Vec::new())?;
        let (script, rate) = (self.wallet()?, FeeRate::new(RATE)?);
        let claim = HoldSpend::claim(coin.clone(), self.preimage, script.clone(), rate)?;
        let signature = self.payee.sign(context, claim.digest()?, &aux);
        let claim = claim.finish(&signature)?;
        if coin.preimage_in(&claim) != Some(self.preimage) {
            return Err("a claim without its preimage".into());
        }
        let timeout = HoldSpend::time_out(coin.clone(), script, rate)?;
        let signature = self.payer.sign(context, timeout.digest()?, &aux);
        Ok(Spends { settlement, coin, claim, timeout: timeout.finish(&signature)? })
    }

    /// Where the spends pay to: P2TR, as the payee's own output.
    fn wallet(&self) -> Result<ScriptBuf, Box<dyn Error>> {
        Ok(payee_script(&self.context, self.payee.public())?)
    }
}

/// Mines `before` blocks, then one with `tx`, which must spend `spent` unless that is null.
fn mine(
    chain: &mut Regtest,
    before: u32,
    tx: &Transaction,
    spent: OutPoint,
) -> Result<(), Box<dyn Error>> {
    for _ in 0..before {
        chain.mine(Blocks::new(1)?);
    }
    chain.submit(tx)?;
    chain.mine(Blocks::new(1)?);
    let spend = chain.output(spent).and_then(|status| status.spent);
    let mined = spend.is_some_and(|spend| spend.tx == *tx && spend.confirmed.is_some());
    if mined || spent.is_null() { Ok(()) } else { Err("a spend was not mined".into()) }
}
