//! The parts that need no chain: paces, replacements, names of outputs, records that follow.

use alloc::vec;
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Network, TxIn, TxOut, Weight};

use super::pace::{Pressure, Rival, fee};
use super::*;
use crate::keys::Seed;
use crate::tx::Delay;
use crate::tx::hold::{ClaimDelay, Hold};
use crate::tx::seen::Spend;
use crate::units::{KeyIndex, Msat};

fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

fn at(height: u32) -> Height {
    Height::new(height).unwrap()
}

fn subject(side: Side) -> Subject {
    let (context, network) = (Context::new(), Network::Regtest);
    Subject {
        side,
        payer: Seed::new([1; 32]).payer_key(&context, network, KeyIndex::MIN).unwrap().public(),
        base: Seed::new([2; 32]).base_key(&context, network).unwrap().public(),
        delay: Delay::new(144).unwrap(),
        outpoint: OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 },
        capacity: sat(100_000),
        depth: Blocks::new(3).unwrap(),
        margin: Blocks::new(10).unwrap(),
        fee: sat(300),
    }
}

fn monitor(side: Side) -> Monitor {
    Monitor::load(&Context::new(), Watch::new(subject(side))).unwrap()
}

fn held(id: u64, amount: u64, secret: u8, standing: Standing) -> Watched {
    let hold = Hold {
        id: HoldId::new(id).unwrap(),
        amount: sat(amount),
        hash: Preimage::new([secret; 32]).hash(),
        expiry: at(200),
        delay: ClaimDelay::new(12).unwrap(),
    };
    Watched::new(hold, standing, None)
}

fn following(monitor: &mut Monitor, holds: &[Watched]) {
    let record = monitor.follow(None, holds).unwrap();
    monitor.apply(&record).unwrap();
}

/// A transaction that spends the channel and pays these holds, or others of their scripts.
fn settlement(monitor: &Monitor, outputs: &[Watched]) -> Transaction {
    let context = Context::new();
    let output = |held: &Watched| TxOut {
        value: Amount::from_sat(held.hold.amount.to_sat()),
        script_pubkey: held
            .hold
            .output(&context, monitor.channel.output())
            .unwrap()
            .script()
            .clone(),
    };
    Transaction {
        version: Version(3),
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: monitor.outpoint(), ..TxIn::default() }],
        output: outputs.iter().map(output).collect(),
    }
}

fn status(monitor: &Monitor, spend: Option<(&Transaction, u32)>) -> OutputStatus {
    let output = monitor.channel.to_txout();
    OutputStatus {
        value: monitor.channel.capacity(),
        script: output.script_pubkey,
        confirmed: Some(at(100)),
        truc: true,
        spent: spend.map(|(tx, height)| Spend { tx: tx.clone(), confirmed: Some(at(height)) }),
    }
}

fn look(monitor: &Monitor, status: OutputStatus, tip: u32) -> Result<Step, MonitorError> {
    let outputs = [(monitor.outpoint(), status)];
    let sight = Sight {
        tip: at(tip),
        outputs: &outputs,
        preimages: &[],
        rate: FeeRate::new(1_000).unwrap(),
        coins: &[],
    };
    monitor.decide(&Context::new(), &sight, &Policy::new(ScriptBuf::new()))
}

/// The ids of the holds whose outputs were found, by the number of their output.
fn found(monitor: &Monitor, outputs: &[Watched]) -> Vec<Option<u64>> {
    let tx = settlement(monitor, outputs);
    let step = look(monitor, status(monitor, Some((&tx, 150))), 150).unwrap();
    let of = |vout| {
        let holds = step.record.holds().iter();
        let mut here = holds.filter(|held| held.fate == Fate::Published { vout });
        here.next().map(|held| held.hold.id.to_u64())
    };
    (0..u32::try_from(outputs.len()).unwrap()).map(of).collect()
}

#[test]
fn rate_rises_by_a_half_for_each_block_that_is_missing_to_the_lead() {
    let (policy, chain) = (Policy::new(ScriptBuf::new()), FeeRate::new(1_000).unwrap());
    let rate = |tip| Pressure::of(at(tip), at(100), &policy).rate(chain, &policy).to_sat_per_kvb();
    let rates: Vec<u64> = (93..101).map(rate).collect();
    assert_eq!(rates, [1_000, 1_000, 1_500, 2_250, 3_375, 5_062, 7_593, 11_389]);
    let most = Policy { rate_max: FeeRate::new(2_000).unwrap(), ..policy.clone() };
    let pressure = Pressure::of(at(100), at(100), &most);
    assert_eq!(pressure.rate(chain, &most).to_sat_per_kvb(), 2_000);
    let floor = Pressure::of(at(1), at(100), &policy).rate(FeeRate::new(1).unwrap(), &policy);
    assert_eq!(floor, policy.relay_floor, "less is not relayed");
}

#[test]
fn rate_rises_on_for_each_block_that_is_past_the_last_and_not_for_ever() {
    let (policy, chain) = (Policy::new(ScriptBuf::new()), FeeRate::new(1_000).unwrap());
    let rate = |tip| Pressure::of(at(tip), at(100), &policy).rate(chain, &policy).to_sat_per_kvb();
    let rates: Vec<u64> = (100..107).map(rate).collect();
    assert_eq!(rates, [11_389, 17_083, 25_624, 38_436, 57_654, 86_481, 129_721]);
    assert_eq!(rate(107), 129_721, "twelve steps are all");
    assert_eq!(rate(1_000_000), 129_721);
}

#[test]
fn rival_whose_coins_nobody_knows_is_bid_the_most_against_and_never_taken_for_free() {
    let policy = Policy::new(ScriptBuf::new());
    let tx = settlement(&monitor(Side::Payee), &[held(1, 50_000, 1, Standing::Open)]);
    let (blind, weight) = (Rival::new(&tx, None), tx.weight());
    let pressure = |last: u32| Pressure::of(at(100), at(last), &policy);
    let (calm, pressed) = (pressure(200), pressure(100));
    assert_eq!(blind.least(weight, &policy), None);
    assert_eq!(blind.bid(weight, sat(40_000), pressed, &policy), sat(40_000));
    assert_eq!(blind.bid(weight, sat(40_000), calm, &policy), fee(policy.relay_floor, weight));
    assert!(blind.pays(FeeRate::MAX, calm) && !blind.pays(FeeRate::MIN, pressed));
    // A child of it pays for both, and what is with it is as unknown.
    let (known, rate) = (Rival::paying(sat(7), weight), FeeRate::new(1_000).unwrap());
    assert_eq!(blind.lacks(weight, rate), known.lacks(weight, rate).add(sat(7)).unwrap());
    assert!(!known.with(Some(blind)).is_known() && !blind.with(Some(known)).is_known());
}

#[test]
fn replacement_pays_more_in_all_and_more_by_size() {
    let policy = Policy::new(ScriptBuf::new());
    let mut tx = settlement(&monitor(Side::Payee), &[held(1, 50_000, 1, Standing::Open)]);
    tx.output.push(TxOut { value: Amount::from_sat(49_000), script_pubkey: ScriptBuf::new() });
    let (rival, weight) = (Rival::new(&tx, Some(sat(100_000))), tx.weight());
    let least = |weight| rival.least(weight, &policy).unwrap();
    // Of the same size: by the floor of 0.1 sat a virtual byte.
    assert_eq!(least(weight), sat(1_000).add(fee(policy.relay_floor, weight)).unwrap());
    // Twice the size: by the size.
    assert_eq!(least(Weight::from_wu(weight.to_wu() * 2)), sat(2_001));
    // Half the size: all that the other paid, and the floor.
    let half = Weight::from_wu(weight.to_wu() / 2);
    assert_eq!(least(half), sat(1_000).add(fee(policy.relay_floor, half)).unwrap());
    // What pays four fifths is left alone, and nothing less, as long as nothing presses; under
    // pressure only all of it.
    let pressure = |last: u32| Pressure::of(at(100), at(last), &policy);
    let (calm, pressed) = (pressure(200), pressure(100));
    let exact = 1_000 * 4_000 / weight.to_wu();
    let rate = |rate| FeeRate::new(rate).unwrap();
    assert!(rival.pays(rate(exact), pressed) && !rival.pays(rate(exact + 1), pressed));
    let most = 1_000 * 5_000 / weight.to_wu();
    assert!(rival.pays(rate(most), calm) && !rival.pays(rate(most + 1), calm));
}

#[test]
fn output_of_a_shared_script_is_that_of_the_hold_with_its_amount() {
    let mut monitor = monitor(Side::Payer);
    let (gone, now) = (held(1, 5_000, 1, Standing::GivenUp), held(2, 6_000, 1, Standing::Open));
    following(&mut monitor, &[gone, now]);
    assert_eq!(found(&monitor, &[gone]), [Some(1)]);
    assert_eq!(found(&monitor, &[now]), [Some(2)]);
    assert_eq!(found(&monitor, &[now, gone]), [Some(2), Some(1)], "whatever their order");
}

#[test]
fn output_that_could_be_of_either_hold_is_of_the_one_that_may_be_claimed() {
    let mut monitor = monitor(Side::Payer);
    let (gone, now) = (held(1, 5_000, 1, Standing::GivenUp), held(2, 5_000, 1, Standing::Open));
    following(&mut monitor, &[gone, now]);
    assert_eq!(found(&monitor, &[gone]), [Some(2)]);
    assert_eq!(found(&monitor, &[gone, now]), [Some(2), Some(1)]);
    // Before it grew it was smaller; larger than it ever was it is another's.
    assert_eq!(found(&monitor, &[held(9, 4_000, 1, Standing::Open)]), [Some(2)]);
    assert_eq!(found(&monitor, &[held(9, 5_001, 1, Standing::Open)]), [None]);
    assert_eq!(found(&monitor, &[held(9, 5_000, 3, Standing::Open)]), [None]);
}

#[test]
fn hold_that_is_not_named_any_more_is_forgotten_unless_it_is_on_the_chain() {
    let mut monitor = monitor(Side::Payer);
    let (one, two) = (held(1, 5_000, 1, Standing::Open), held(2, 6_000, 2, Standing::Released));
    following(&mut monitor, &[one, two]);
    let mut other = monitor.clone();
    following(&mut other, &[one]);
    assert_eq!(other.record().holds(), [one]);
    let tx = settlement(&monitor, &[two]);
    let step = look(&monitor, status(&monitor, Some((&tx, 150))), 150).unwrap();
    monitor.apply(&step.record).unwrap();
    following(&mut monitor, &[one]);
    let standings: Vec<_> = monitor.record().holds().iter().map(|held| held.standing).collect();
    assert_eq!(standings, [Standing::Open, Standing::GivenUp]);
    assert_eq!(monitor.record().holds()[1].fate, Fate::Published { vout: 0 });
}

#[test]
fn preimage_that_was_seen_is_not_forgotten_by_a_later_step_or_an_old_one() {
    let mut monitor = monitor(Side::Payee);
    let hold = held(1, 5_000, 1, Standing::Open);
    following(&mut monitor, &[hold]);
    let before = monitor.record().clone();
    let known = Watched { preimage: Some(Preimage::new([1; 32])), ..hold };
    following(&mut monitor, &[known]);
    following(&mut monitor, &[hold]);
    assert_eq!(monitor.record().holds(), [known]);
    let (was, outpoint) = (monitor.clone(), monitor.outpoint());
    assert_eq!(monitor.apply(&before), Err(MonitorError::OldStep { outpoint }));
    assert_eq!(monitor, was);
}

#[test]
fn record_of_another_outpoint_or_of_broken_parts_is_refused() {
    let mut monitor = monitor(Side::Payee);
    let (one, two) = (held(1, 5_000, 1, Standing::Open), held(2, 6_000, 2, Standing::Open));
    following(&mut monitor, &[one, two]);
    let was = monitor.clone();
    let other = Watch::new(subject(Side::Payer));
    let broken = Err(MonitorError::BrokenRecord { at: 0 });
    assert_eq!(monitor.apply(&other), broken);
    let wrong = Watched { preimage: Some(Preimage::new([9; 32])), ..one };
    assert_eq!(monitor.follow(None, &[wrong, two]).map(|_| ()), broken);
    let many = |count: usize| -> Vec<Watched> {
        let ids = 1..=u64::try_from(count).unwrap();
        ids.map(|id| held(id, 1_000, 1, Standing::Open)).collect()
    };
    let max = Watch::HOLDS_MAX;
    assert!(monitor.follow(None, &many(max)).is_ok());
    let refused = monitor.follow(None, &many(max + 1)).map(|_| ());
    assert_eq!(refused, Err(MonitorError::TooMany { got: max + 1, max }));
    assert_eq!(monitor, was);
    let above = Voucher {
        paid: Msat::new(100_000_001).unwrap(),
        signature: bitcoin::secp256k1::schnorr::Signature::from_slice(&[1; 64]).unwrap(),
    };
    assert_eq!(monitor.follow(Some(above), &[one, two]).map(|_| ()), broken);
}

#[test]
fn look_that_shows_another_output_is_not_believed() {
    let monitor = monitor(Side::Payer);
    let refused = Err(MonitorError::OtherOutput { outpoint: monitor.outpoint() });
    let right = status(&monitor, None);
    assert!(look(&monitor, right.clone(), 110).is_ok());
    let value = OutputStatus { value: sat(99_999), ..right.clone() };
    assert_eq!(look(&monitor, value, 110), refused);
    let script = OutputStatus { script: ScriptBuf::new(), ..right };
    assert_eq!(look(&monitor, script, 110), refused);
}

#[test]
fn watch_without_holds_is_over_when_the_spend_is_buried() {
    let mut monitor = monitor(Side::Payer);
    let tx = settlement(&monitor, &[]);
    let step = look(&monitor, status(&monitor, Some((&tx, 150))), 151).unwrap();
    assert!(!step.record.is_over() && step.news.len() == 1);
    let step = look(&monitor, status(&monitor, Some((&tx, 150))), 152).unwrap();
    assert_eq!(step.news.last(), Some(&News::Over));
    monitor.apply(&step.record).unwrap();
    // Nothing can undo it, nor follow.
    let again = look(&monitor, status(&monitor, None), 153).unwrap();
    assert_eq!((again.record, again.news), (monitor.record().clone(), Vec::new()));
}
