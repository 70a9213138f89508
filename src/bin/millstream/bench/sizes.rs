//! Bytes of records and documents, and virtual bytes of transactions with their real signatures.

use std::error::Error;

use bitcoin::hashes::Hash;
use bitcoin::key::TweakedPublicKey;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{
    Amount, OutPoint, ScriptBuf, TapSighashType, Transaction, TxOut, Txid, Weight, Witness,
};
use millstream::keys::ChannelKey;
use millstream::signer::{Request, Signer};
use millstream::stream::payee::SettlementPlan;
use millstream::tx::{
    ChangeScript, Delay, FeeInput, JointSpend, Settlement, WalletScript, payee_script,
};
use millstream::units::{FeeRate, Height, Sat};

use super::Args;
use super::row::{Goal, Row};
use super::stage::{CAPACITY, NETWORK, STEP, Stage, figure, vbytes};

/// What this file gives.
pub(crate) const NAMES: &[&str] = &[
    "payer_record_bytes",
    "payee_record_bytes",
    "voucher_wire_bytes",
    "terms_bytes",
    "terms_text_chars",
    "backup_bytes",
    "funding_output_vbytes",
    "settle_vbytes",
    "settle_vbytes_3",
    "settle_vbytes_10",
    "settle_vbytes_per_channel_60",
    "refund_vbytes",
    "close_vbytes",
    "top_up_vbytes",
    "top_up_paying_out_vbytes",
];

/// What is paid before a settlement: more than it costs, msat.
const PAID: u64 = 5_000_000;
/// One satoshi a virtual byte.
const RATE: u64 = 1_000;

pub(crate) fn rows(_: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = records()?;
    rows.extend(documents()?);
    rows.extend(settlements()?);
    rows.push(refund()?);
    rows.extend(joint()?);
    Ok(rows)
}

/// After a million payments, by amount: a record knows `paid`, not how it came about. In 1,000
/// vouchers, with the longest change script that there is.
fn records() -> Result<Vec<Row>, Box<dyn Error>> {
    let change = ChangeScript::Wallet(WalletScript::parse(coin_script(&key()?))?);
    let mut stage = Stage::new(1, &change, Delay::new(u16::MAX)?)?;
    let first = stage.pay(0, STEP)?.record.len();
    let payer = |stage: &Stage| -> Result<usize, Box<dyn Error>> {
        let lane = stage.lanes.first().ok_or("no channel")?;
        Ok(lane.payer.record().encode()?.len())
    };
    let first_payer = payer(&stage)?;
    for _ in 0..1_000 {
        let record = stage.pay(0, 1_000 * STEP)?.record;
        assert_eq!((record.len(), payer(&stage)?), (first, first_payer), "a record grew");
    }
    stage.check(1_001)?;
    let paid = stage.lanes.first().map(|lane| lane.payee.paid().to_msat());
    assert_eq!(paid, Some(1_000_001 * STEP));
    let row = |name, bytes, most| -> Result<Row, Box<dyn Error>> {
        Ok(Row::new(name, figure(bytes)?, "B").goal(Goal::AtMost(most)))
    };
    Ok(vec![
        row("payer_record_bytes", first_payer, 256.0)?
            .note("after 1,000,001 payments by amount, and the same after the first one"),
        row("payee_record_bytes", first, 320.0)?,
        row("voucher_wire_bytes", stage.frame_bytes(), 112.0)?,
    ])
}

fn documents() -> Result<Vec<Row>, Box<dyn Error>> {
    let stage = Stage::own(1)?;
    let lane = stage.lanes.first().ok_or("no channel")?;
    let seed = &stage.payer_seed;
    let backup = lane.backup.seal(&seed.backup_key(NETWORK));
    assert_eq!(millstream::stream::Backup::open(&backup, seed, NETWORK)?, lane.backup);
    let funding = lane.payer.channel().to_txout();
    let weight = Weight::from_non_witness_data_size(u64::try_from(funding.size())?);
    Ok(vec![
        Row::new("terms_bytes", figure(stage.terms.encode().len())?, "B"),
        Row::new("terms_text_chars", figure(stage.terms.to_text().len())?, "chars"),
        Row::new("backup_bytes", figure(backup.len())?, "B").goal(Goal::AtMost(160.0)),
        Row::new("funding_output_vbytes", vbytes(weight)?, "vB").goal(Goal::Exactly(43.0)),
    ])
}

fn settlements() -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for (name, channels, coins) in [
        ("settle_vbytes", 1, 0_u8),
        ("settle_vbytes_3", 3, 0),
        ("settle_vbytes_10", 10, 0),
        ("settle_vbytes_per_channel_60", 60, 1),
    ] {
        let weight = settle(channels, coins)?.weight();
        let size = vbytes(weight)?;
        rows.push(match channels {
            1 => Row::new(name, size.ceil(), "vB")
                .goal(Goal::AtMost(205.0))
                .against("lightning, unilateral close with child and sweep, published", 581.0)
                .note(format!("{size} exactly; fee out of the payee's output")),
            60 => Row::new(name, size / f64::from(channels), "vB")
                .goal(Goal::AtMost(153.0))
                .note(format!("{size} in all, with one P2TR fee input")),
            _ => Row::new(name, size.ceil(), "vB")
                .note(format!("{:.1} a channel", size / f64::from(channels))),
        });
    }
    Ok(rows)
}

/// A signed settlement of `channels` best vouchers, to one P2TR output.
fn settle(channels: u32, coins: u8) -> Result<Transaction, Box<dyn Error>> {
    let mut stage = Stage::own(channels)?;
    for lane in 0..stage.lanes.len() {
        stage.pay(lane, PAID)?;
    }
    let first = stage.lanes.first().ok_or("no channel")?.payee.channel().output().payee();
    let script = payee_script(stage.context(), first)?;
    let payees = stage.lanes.iter().map(|lane| &lane.payee);
    let inputs = (0..coins).map(coin).collect::<Result<Vec<_>, _>>()?;
    let plan = SettlementPlan::new(stage.context(), payees)?;
    let settlement = plan.build(&inputs, script, FeeRate::new(RATE)?)?;
    let mut signatures = Vec::new();
    for index in 0..settlement.parts().len() {
        let request = Request::Settlement { settlement: &settlement, index };
        signatures.push(stage.payee_signer.sign(&request, stage.view.now, &stage.aux)?);
    }
    let witnesses = witnesses(&stage, &settlement, inputs.len())?;
    Ok(settlement.finish(&signatures, witnesses)?)
}

/// The fee inputs' signatures, by the key path.
fn witnesses(
    stage: &Stage,
    settlement: &Settlement,
    coins: usize,
) -> Result<Vec<Witness>, Box<dyn Error>> {
    let first = settlement.parts().len();
    let mut cache = SighashCache::new(settlement.transaction());
    let spent = Prevouts::All(settlement.spent());
    let mut witnesses = Vec::new();
    for index in first..first + coins {
        let digest =
            cache.taproot_key_spend_signature_hash(index, &spent, TapSighashType::Default)?;
        let signature = key()?.sign(stage.context(), digest.to_byte_array(), &stage.aux);
        witnesses.push(Witness::from_slice(&[signature.serialize()]));
    }
    Ok(witnesses)
}

/// The longest there is: a delay of three bytes, after its deadline.
fn refund() -> Result<Row, Box<dyn Error>> {
    let mut stage = Stage::new(1, &ChangeScript::Own, Delay::new(u16::MAX)?)?;
    stage.view.tip.height = Height::new(100_000)?;
    let lane = stage.lanes.first().ok_or("no channel")?;
    let (script, rate) = (coin_script(&key()?), FeeRate::new(RATE)?);
    let step = lane.payer.refund(&mut stage.payer_signer, script, rate, &stage.view, &stage.aux)?;
    let size = vbytes(step.transaction().weight())?;
    Ok(Row::new("refund_vbytes", size.ceil(), "vB")
        .goal(Goal::AtMost(138.0))
        .note(format!("{size} exactly, with the longest delay")))
}

/// What both sides sign together.
fn joint() -> Result<Vec<Row>, Box<dyn Error>> {
    let mut stage = Stage::own(1)?;
    stage.pay(0, PAID)?;
    let lane = stage.lanes.first().ok_or("no channel")?;
    let (channel, paid) = (lane.payer.channel().clone(), lane.payer.signed());
    let (script, fee) = (coin_script(&key()?), Sat::new(300)?);
    let close = JointSpend::close(channel.clone(), paid, script.clone(), script.clone(), fee)?;
    let capacity = Sat::new(CAPACITY + 10_000)?;
    let carries = JointSpend::top_up(channel.clone(), paid, &[coin(0)?], capacity, None)?;
    let pays = JointSpend::top_up(channel, paid, &[coin(0)?], capacity, Some(script))?;
    let row = |name, spend: JointSpend, coins: usize| -> Result<Row, Box<dyn Error>> {
        let digest = spend.digest()?;
        // Any key: what is counted is the signature's size.
        let signature = key()?.sign(stage.context(), digest, &stage.aux);
        let witness = Witness::from_slice(&[signature.serialize()]);
        let tx = spend.finish(&signature, &signature, vec![witness; coins])?;
        Ok(Row::new(name, vbytes(tx.weight())?.ceil(), "vB"))
    };
    Ok(vec![
        row("close_vbytes", close, 0)?,
        row("top_up_vbytes", carries, 1)?.note("carries the balance; one P2TR input"),
        row("top_up_paying_out_vbytes", pays, 1)?,
    ])
}

/// The key of every coin that pays fees.
fn key() -> Result<ChannelKey, Box<dyn Error>> {
    Ok(ChannelKey::from_secret(&millstream::keys::Context::new(), &[8; 32])?)
}

fn coin_script(key: &ChannelKey) -> ScriptBuf {
    ScriptBuf::new_p2tr_tweaked(TweakedPublicKey::dangerous_assume_tweaked(key.public()))
}

fn coin(number: u8) -> Result<FeeInput, Box<dyn Error>> {
    let outpoint = OutPoint { txid: Txid::from_byte_array([number; 32]), vout: 0 };
    let output = TxOut { value: Amount::from_sat(50_000), script_pubkey: coin_script(&key()?) };
    Ok(FeeInput::new(outpoint, output)?)
}
