//! What spends first what a monitor would spend, with coins that the monitor knows nothing of; and
//! a settlement for which neither a child nor coins are enough.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use millstream::chain::regtest::Regtest;
use millstream::monitor::{Fate, Side};

use crate::support::{FEE, K, MARGIN, Pair, preimage, rate, sat, till};

const EXPIRY: u32 = 200;
const LEAD: u32 = 6;
/// When a settlement for it is sent first.
const DUE: u32 = EXPIRY - 12 - MARGIN - LEAD;

/// One hold of 50,000 beside `paid` sat, on a chain that checks no signature.
fn held(paid: u64) -> Pair {
    let mut pair = Pair::open(Regtest::unchecked_scripts());
    if paid > 0 {
        pair.pay(paid * 1_000);
    }
    pair.offer(1, 50_000, EXPIRY);
    pair
}

fn until(pair: &mut Pair, height: u32) {
    pair.pass(height - pair.world.tip());
}

/// Spends `outpoint` of `value` with a coin of 40,000 that no monitor is told of, and pays `fee`.
fn spend_with_a_coin(
    pair: &mut Pair,
    (outpoint, value): (OutPoint, u64),
    sequence: Sequence,
    witness: Witness,
    fee: u64,
) -> Transaction {
    pair.coin(40_000);
    let coin = pair.world.coins.pop().unwrap().outpoint();
    let input = |previous_output, sequence, witness| TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence,
        witness,
    };
    let rbf = Sequence::ENABLE_RBF_NO_LOCKTIME;
    let tx = Transaction {
        version: Version(3),
        lock_time: LockTime::ZERO,
        input: vec![
            input(outpoint, sequence, witness),
            input(coin, rbf, Witness::from_slice(&[[1; 64]])),
        ],
        output: vec![TxOut {
            value: Amount::from_sat(value + 40_000 - fee),
            script_pubkey: till(Side::Payee),
        }],
    };
    pair.world.chain.submit(&tx).unwrap();
    tx
}

fn timed_out(pair: &Pair) -> Option<u32> {
    match pair.of_payer.monitor.record().holds()[0].fate {
        Fate::TimedOut { at, .. } => at.map(millstream::units::Height::to_u32),
        _ => None,
    }
}

/// The block of the spend of the channel, and how many inputs it has.
fn settled(pair: &Pair) -> Option<(u32, usize)> {
    let spend = pair.world.chain.output(pair.channel().outpoint()).unwrap().spent?;
    Some((spend.confirmed?.to_u32(), spend.tx.input.len()))
}

#[test]
fn claim_with_a_coin_that_nobody_knows_is_outbid_by_all_that_the_hold_can_pay() {
    let mut pair = held(20_000);
    let (settlement, _) = pair.settlement_of(&pair.vouchers[0].clone());
    pair.world.chain.submit(&settlement).unwrap();
    pair.pass(1);
    let found = settlement.output.iter().position(|output| output.value.to_sat() == 50_000);
    let vout = u32::try_from(found.unwrap()).unwrap();
    let coin = OutPoint { txid: settlement.compute_txid(), vout };
    until(&mut pair, EXPIRY - 1);
    let script = pair.of_payer.monitor.record().holds()[0].hold;
    let output = script.output(&pair.context, pair.channel().output()).unwrap();
    let witness = Witness::from_slice(&[
        &[1; 64][..],
        preimage(1).as_bytes(),
        output.claim_script().as_bytes(),
        &output.claim_control(),
    ]);
    let sequence = Sequence::from_height(K);
    // About 14 sat a virtual byte, of which the hold's output seems to pay nothing.
    spend_with_a_coin(&mut pair, (coin, 50_000), sequence, witness, 3_000);
    pair.world.chain.set_mining_rate(rate(20_000));
    assert_eq!(pair.world.tip(), EXPIRY, "the coin was a block");
    // The payee has no other machine that would raise it.
    let mut look = |mined| {
        let Pair { context, world, payee, payer_signer, of_payer, .. } = &mut pair;
        world.mine(mined);
        assert!(of_payer.look(context, world, payer_signer, payee));
        of_payer.revealed().contains(&1)
    };
    assert!(look(0), "the claim is seen");
    assert!(look(1));
    assert!(look(1));
    assert_eq!(timed_out(&pair), Some(EXPIRY + 2), "in the block after it was pressed first");
    let earned = pair.world.chain.outputs_of(&till(Side::Payer));
    let left: u64 = earned.iter().map(|(_, status)| status.value.to_sat()).sum();
    assert!(left < 1_000, "{left}: what is late goes to the miner");
}

#[test]
fn spend_of_the_channel_with_a_coin_that_nobody_knows_is_outbid_by_what_is_at_stake() {
    let mut pair = held(0);
    pair.fulfil(1, 1);
    for value in [1_500, 4_000, 30_000] {
        pair.coin(value);
    }
    until(&mut pair, DUE - 2);
    let channel = (pair.channel().outpoint(), pair.channel().capacity().to_sat());
    let witness = Witness::from_slice(&[[1; 64], [2; 64], [3; 64]]);
    let rbf = Sequence::ENABLE_RBF_NO_LOCKTIME;
    spend_with_a_coin(&mut pair, channel, rbf, witness, 3_000);
    pair.world.chain.set_mining_rate(rate(50_000));
    until(&mut pair, DUE + 1);
    assert_eq!(settled(&pair), None, "at the chain's rate it is refused");
    assert!(pair.of_payee.refused > 0);
    assert!(pair.of_payee.missing_fee.is_some_and(|missing| missing > sat(10_000)));
    pair.pass(1);
    assert_eq!(settled(&pair), Some((DUE + 2, 4)), "with every coin");
}

#[test]
fn settlement_is_sent_with_a_child_that_pays_a_part_where_no_coin_pays_all() {
    let mut pair = held(20_000);
    pair.fulfil(1, 1);
    pair.coin(17_000);
    let coin = pair.world.coins.pop().unwrap();
    // Its child has 19,170 sat for 359 virtual bytes.
    pair.world.rate = 60_000;
    pair.world.chain.set_min_relay(rate(10_000));
    pair.world.chain.set_mining_rate(rate(50_000));
    until(&mut pair, DUE);
    assert_eq!((pair.of_payee.sent, pair.of_payee.bumps), (1, 0), "there is time for a coin");
    let mut with_coin = pair.copy();
    pair.pass(1);
    assert_eq!((pair.of_payee.sent, pair.of_payee.bumps), (2, 1));
    // 359 vB at half more than 60 sat, less the agreed fee and the child's.
    let paid = FEE + 20_000 - FEE - 330;
    assert_eq!(pair.of_payee.missing_fee, Some(sat(359 * 90 - paid)));
    pair.pass(1);
    assert_eq!(settled(&pair), Some((DUE + 2, 1)));
    // A coin that pays more by size than the child can goes before it.
    with_coin.world.coins.push(coin);
    with_coin.pass(1);
    assert_eq!((with_coin.of_payee.sent, with_coin.of_payee.bumps), (2, 0));
    with_coin.pass(1);
    assert_eq!(settled(&with_coin), Some((DUE + 2, 2)));
}
