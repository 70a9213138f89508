//! Unit tests of `chain::regtest`: one behaviour each, named for it.

use bitcoin::{ScriptBuf, TxOut};

use super::*;
use crate::chain::template::tests::mined;
use crate::chain::template::{BlockPlan, Layout, Template, TemplateTx};
use crate::chain::{ChainError, ChainSource, Coins, Payment};
use crate::units::{Blocks, Sat};

fn blocks(count: u32) -> Blocks {
    Blocks::new(count).unwrap()
}

fn rate(sat_per_kvb: u64) -> FeeRate {
    FeeRate::new(sat_per_kvb).unwrap()
}

fn script(byte: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x51, 0x20][..], &[byte; 32]].concat())
}

/// A chain of 110 blocks and payments of its miner, each at its rate.
fn chain_with_payments(rates: &[u64]) -> (Regtest, Vec<Transaction>) {
    let mut chain = Regtest::new().unwrap();
    chain.mine(blocks(110));
    let mut miner = miner_coins().unwrap();
    let mut cursor = Cursor::default();
    while let Some(event) = chain.next_event(&mut cursor) {
        miner.apply(&event).unwrap();
    }
    let pay = |sat_per_kvb: &u64| {
        let amount = Sat::new(50_000).unwrap();
        let mut psbt = miner.fund(&Payment::new(script(7), amount, rate(*sat_per_kvb))).unwrap();
        miner.sign(&mut psbt).unwrap();
        psbt.extract_tx_unchecked_fee_rate()
    };
    let txs = rates.iter().map(pay).collect();
    (chain, txs)
}

fn heights(chain: &Regtest, cursor: &mut Cursor) -> Vec<(char, u32)> {
    std::iter::from_fn(|| chain.next_event(cursor))
        .map(|event| match event {
            ChainEvent::BlockConnected { tip, .. } => ('+', tip.height.to_u32()),
            ChainEvent::BlockDisconnected { block, .. } => ('-', block.height.to_u32()),
            ChainEvent::TxSeen { .. } => ('~', 0),
        })
        .collect()
}

#[test]
fn same_calls_give_the_same_chain() {
    let run = || {
        let (mut chain, txs) = chain_with_payments(&[1_000, 2_000]);
        for tx in &txs {
            chain.submit(tx).unwrap();
        }
        chain.mine(blocks(2));
        chain.reorg(blocks(1), &[vec![], vec![]]).unwrap();
        chain.tip()
    };
    assert_eq!(run(), run());
}

#[test]
fn events_of_a_reorganisation_come_newest_block_first() {
    let (mut chain, txs) = chain_with_payments(&[1_000]);
    let mut cursor = chain.cursor();
    chain.submit(&txs[0]).unwrap();
    chain.mine(blocks(2));
    chain.reorg(blocks(2), &[vec![], vec![], vec![]]).unwrap();
    let seen = heights(&chain, &mut cursor);
    let expected = [
        ('~', 0),
        ('+', 111),
        ('+', 112),
        ('-', 112),
        ('-', 111),
        ('+', 111),
        ('+', 112),
        ('+', 113),
    ];
    assert_eq!(seen, expected);
    assert_eq!(chain.next_event(&mut cursor), None);
}

#[test]
fn refused_branch_leaves_chain_mempool_and_events_as_they_were() {
    let (mut chain, txs) = chain_with_payments(&[1_000, 1_000]);
    chain.submit(&txs[0]).unwrap();
    chain.mine(blocks(1));
    chain.submit(&txs[1]).unwrap();
    let (tip, cursor) = (chain.tip(), chain.cursor());
    let mut broken = txs[0].clone();
    broken.output.push(TxOut::NULL);
    for (depth, branch, reason) in [
        (1, vec![vec![], vec![broken]], Reason::Malformed),
        (1, vec![vec![]], Reason::BadBlock),
        (1, vec![vec![txs[0].clone()], vec![txs[0].clone()]], Reason::MissingInputs),
        (112, vec![vec![]; 113], Reason::BadBlock),
    ] {
        assert_eq!(chain.reorg(blocks(depth), &branch), Err(reason));
    }
    assert_eq!((chain.tip(), chain.cursor()), (tip, cursor));
    assert!(chain.in_mempool(txs[1].compute_txid()));
}

#[test]
fn outputs_are_found_by_outpoint_and_script_with_their_spender() {
    let (mut chain, txs) = chain_with_payments(&[1_000]);
    let tx = &txs[0];
    let outpoint = OutPoint { txid: tx.compute_txid(), vout: 0 };
    let spent = tx.input[0].previous_output;
    assert_eq!(chain.output(outpoint), None);
    chain.submit(tx).unwrap();
    assert_eq!(chain.output(outpoint).unwrap().confirmed, None);
    assert_eq!(chain.output(spent).unwrap().spent.unwrap().confirmed, None);
    chain.mine(blocks(1));
    let at = Height::new(111).unwrap();
    let found = chain.outputs_of(&script(7));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.confirmed), (outpoint, Some(at)));
    let spend = chain.output(spent).unwrap().spent.unwrap();
    assert_eq!((spend.tx.compute_txid(), spend.confirmed), (outpoint.txid, Some(at)));
    chain.reorg(blocks(1), &[vec![], vec![]]).unwrap();
    assert_eq!(chain.output(outpoint).unwrap().confirmed, None);
}

#[test]
fn fee_spike_leaves_the_cheap_in_the_mempool() {
    let (mut chain, txs) = chain_with_payments(&[1_000, 30_000]);
    for tx in &txs {
        chain.submit(tx).unwrap();
    }
    chain.set_mining_rate(rate(20_000));
    chain.mine(blocks(3));
    assert!(chain.in_mempool(txs[0].compute_txid()));
    assert!(!chain.in_mempool(txs[1].compute_txid()));
    chain.set_mining_rate(rate(1_000));
    chain.mine(blocks(1));
    assert!(!chain.in_mempool(txs[0].compute_txid()));
}

#[test]
fn full_blocks_take_the_best_paying_first() {
    let (mut chain, txs) = chain_with_payments(&[1_000, 3_000, 2_000]);
    for tx in &txs {
        chain.submit(tx).unwrap();
    }
    chain.set_block_weight(txs[0].weight().to_wu() + 10);
    let waiting = |chain: &Regtest| {
        txs.iter().map(|tx| chain.in_mempool(tx.compute_txid())).collect::<Vec<_>>()
    };
    chain.mine(blocks(1));
    assert_eq!(waiting(&chain), [true, false, true]);
    chain.mine(blocks(1));
    assert_eq!(waiting(&chain), [true, false, false]);
}

#[test]
fn rising_relay_minimum_drops_what_pays_less() {
    let (mut chain, txs) = chain_with_payments(&[1_000, 30_000]);
    for tx in &txs {
        chain.submit(tx).unwrap();
    }
    chain.set_min_relay(rate(5_000));
    assert!(!chain.in_mempool(txs[0].compute_txid()));
    assert!(chain.in_mempool(txs[1].compute_txid()));
    assert_eq!(chain.submit(&txs[0]), Err(Reason::MinRelayFee));
    assert_eq!(chain.fee_rate(), rate(5_000));
}

#[test]
fn header_time_not_above_the_median_is_refused() {
    let mut chain = Regtest::new().unwrap();
    chain.mine(blocks(20));
    let tip = chain.tip();
    let five_below = UtcSeconds::new(tip.time.to_u64() - 5 * 600).unwrap();
    let above = UtcSeconds::new(tip.time.to_u64() - 5 * 600 + 1).unwrap();
    assert_eq!(chain.mine_at(five_below), Err(Reason::BadBlock));
    assert_eq!(chain.mine_at(above).unwrap().time, above);
}

#[test]
fn sources_keep_their_own_places_and_a_cut_off_one_catches_up() {
    let (chain, txs) = chain_with_payments(&[1_000]);
    let shared = chain.share();
    let (mut early, mut late) = (shared.source(), shared.source_from_now());
    assert!(matches!(early.next_event(), Ok(Some(ChainEvent::BlockConnected { .. }))));
    assert_eq!(late.next_event(), Ok(None));
    late.set_cut_off(true);
    assert_eq!(late.broadcast(&txs), Err(ChainError::Unavailable));
    assert_eq!(late.tip(), Err(ChainError::Unavailable));
    shared.with(|chain| chain.mine(blocks(1)));
    assert_eq!(late.next_event(), Err(ChainError::Unavailable));
    late.set_cut_off(false);
    assert!(matches!(late.next_event(), Ok(Some(ChainEvent::BlockConnected { .. }))));
    assert_eq!(late.tip(), early.tip());
}

#[test]
fn broadcast_repeats_without_fault_and_says_why_it_is_refused() {
    let (chain, txs) = chain_with_payments(&[1_000]);
    let shared = chain.share();
    let mut source = shared.source_from_now();
    assert_eq!(source.broadcast(&txs), Ok(()));
    assert_eq!(source.broadcast(&txs), Ok(()));
    let mut forged = txs[0].clone();
    forged.output[0].value -= bitcoin::Amount::from_sat(5_000);
    assert_eq!(source.broadcast(&[forged]), Err(ChainError::Refused(Reason::BadScript)));
    assert_eq!(source.broadcast(&[]), Err(ChainError::Refused(Reason::BadPackage)));
}

/// The block that a miner finds of `template`, all of it to one script.
fn found(template: Template) -> Block {
    let plan = BlockPlan::new(template, &Layout::new(script(9))).unwrap();
    mined(&plan, &[7; 4], &[8; 8])
}

#[test]
fn template_holds_the_best_paying_first_and_their_fees() {
    let (mut chain, txs) = chain_with_payments(&[1_000, 3_000, 2_000]);
    for tx in &txs {
        chain.submit(tx).unwrap();
    }
    let template = chain.block_template();
    let order: Vec<_> = template.txs.iter().map(TemplateTx::txid).collect();
    assert_eq!(order, [1, 2, 0].map(|at: usize| txs[at].compute_txid()));
    let fees: u64 = template.txs.iter().map(|tx| tx.fee().unwrap().to_sat()).sum();
    assert!(fees > 0);
    assert_eq!(template.coinbase_value.to_sat(), 5_000_000_000 + fees);
    assert_eq!(template.height, Height::new(111).unwrap());
    assert_eq!(template.previous, chain.tip().hash);
    // The median of the eleven blocks below is that of the sixth.
    let sixth = chain.block(Height::new(105).unwrap()).unwrap().header.time;
    assert_eq!(template.min_time.to_u64(), u64::from(sixth) + 1);
    assert_eq!(template.current_time.to_u64(), chain.tip().time.to_u64() + 600);
    chain.set_block_weight(txs[0].weight().to_wu() + 10);
    assert_eq!(chain.block_template().txs.len(), 1);
}

#[test]
fn block_found_outside_confirms_the_mempool_and_pays_its_finder_fees_too() {
    let (mut chain, txs) = chain_with_payments(&[1_000, 2_000]);
    for tx in &txs {
        chain.submit(tx).unwrap();
    }
    let mut cursor = chain.cursor();
    let template = chain.block_template();
    let block = found(template.clone());
    let tip = chain.connect_block(&block).unwrap();
    assert_eq!((tip, tip.hash), (chain.tip(), block.block_hash()));
    assert_eq!(heights(&chain, &mut cursor), [('+', 111)]);
    assert_eq!(chain.mempool().count(), 0);
    let paid = chain.outputs_of(&script(9));
    assert_eq!(paid.len(), 1);
    assert_eq!(paid[0].1.value, template.coinbase_value);
    // The same block again, and one that was found beside it, come late.
    assert_eq!(chain.connect_block(&block), Err(Reason::StaleBlock));
    let mut beside = template;
    beside.txs.clear();
    beside.coinbase_value = Sat::new(5_000_000_000).unwrap();
    assert_eq!(chain.connect_block(&found(beside)), Err(Reason::StaleBlock));
    assert_eq!(
        chain.connect_block(&found(chain.block_template())).map(|it| it.height),
        Height::new(112).map_err(|_| Reason::BadBlock)
    );
}

#[test]
fn block_whose_transaction_is_forged_leaves_chain_mempool_and_events_as_they_were() {
    let (mut chain, txs) = chain_with_payments(&[1_000]);
    chain.submit(&txs[0]).unwrap();
    let (tip, cursor) = (chain.tip(), chain.cursor());
    let mut template = chain.block_template();
    let mut forged = txs[0].clone();
    forged.output[0].value -= bitcoin::Amount::from_sat(1);
    template.txs = vec![TemplateTx::new(forged, None)];
    assert_eq!(chain.connect_block(&found(template)), Err(Reason::BadScript));
    let mut greedy = chain.block_template();
    greedy.coinbase_value = greedy.coinbase_value.checked_add(Sat::new(1).unwrap()).unwrap();
    assert_eq!(chain.connect_block(&found(greedy)), Err(Reason::Overspend));
    assert_eq!((chain.tip(), chain.cursor()), (tip, cursor));
    assert!(chain.in_mempool(txs[0].compute_txid()));
}
