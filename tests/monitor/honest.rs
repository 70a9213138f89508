//! What a side that keeps its word has to do on the chain: in time, at a rate that blocks take, and
//! again after a reorg.

use bitcoin::{OutPoint, Transaction};
use millstream::chain::regtest::Regtest;
use millstream::monitor::{Fate, News, Side};
use millstream::tx::payee_script;

use crate::support::{
    Cut, DELAY, DEPTH, FEE, K, MARGIN, Pair, blocks, id, preimage, rate, sat, till,
};

const EXPIRY: u32 = 200;
/// The last good block of a settlement: k and the margin before the expiry.
const SETTLE_BY: u32 = EXPIRY - 12 - MARGIN;
/// The policy's own.
const LEAD: u32 = 6;

fn open() -> Pair {
    Pair::open(Regtest::new().unwrap())
}

/// One hold of 50,000 beside 20,000 that are paid.
fn held() -> Pair {
    let mut pair = open();
    pair.pay(20_000_000);
    pair.offer(1, 50_000, EXPIRY);
    pair
}

/// Passes blocks until the tip is at `height`.
fn until(pair: &mut Pair, height: u32) {
    pair.pass(height - pair.world.tip());
}

/// The block that spends the channel, and what does.
fn settled(pair: &Pair) -> Option<(u32, Transaction)> {
    let spend = pair.world.chain.output(pair.channel().outpoint()).unwrap().spent?;
    Some((spend.confirmed?.to_u32(), spend.tx))
}

fn fate(pair: &Pair, side: Side) -> Fate {
    let watcher = if side == Side::Payer { &pair.of_payer } else { &pair.of_payee };
    watcher.monitor.record().holds()[0].fate
}

/// In which block the hold was claimed.
fn claimed(pair: &Pair) -> Option<u32> {
    match fate(pair, Side::Payer) {
        Fate::Claimed { at, .. } => at.map(millstream::units::Height::to_u32),
        _ => None,
    }
}

fn timed_out(pair: &Pair) -> Option<u32> {
    match fate(pair, Side::Payer) {
        Fate::TimedOut { at, .. } => at.map(millstream::units::Height::to_u32),
        _ => None,
    }
}

fn assert_over(pair: &Pair) {
    assert!(pair.of_payer.monitor.record().is_over(), "{:?}", pair.of_payer.monitor.record());
    assert!(pair.of_payee.monitor.record().is_over(), "{:?}", pair.of_payee.monitor.record());
}

/// What a side has: in its till, and of the payee also what the settlement paid to its key.
fn earned(pair: &Pair, side: Side) -> u64 {
    let mut scripts = vec![till(side)];
    if side == Side::Payee {
        scripts.push(payee_script(&pair.context, pair.channel().output().payee()).unwrap());
    }
    let outputs = scripts.iter().flat_map(|script| pair.world.chain.outputs_of(script));
    let unspent = outputs.filter(|(_, status)| status.spent.is_none());
    unspent.map(|(_, status)| status.value.to_sat()).sum()
}

#[test]
fn payee_settles_before_its_last_good_block_claims_and_the_payer_learns_the_preimage() {
    let mut pair = held();
    pair.fulfil(1, 1);
    until(&mut pair, SETTLE_BY - LEAD - 1);
    assert_eq!(pair.of_payee.sent, 0, "it waits for the fold as long as it can");
    pair.pass(2);
    let (height, _) = settled(&pair).unwrap();
    assert_eq!(height, SETTLE_BY - LEAD + 1);
    until(&mut pair, height + u32::from(K) - 2);
    assert_eq!(pair.of_payee.sent, 1, "a claim that mempools do not take is not sent");
    pair.pass(1);
    assert!(matches!(fate(&pair, Side::Payer), Fate::Claimed { at: None, .. }), "it is seen");
    assert_eq!(pair.of_payer.revealed().into_iter().collect::<Vec<_>>(), [1], "before a block");
    pair.pass(1);
    assert_eq!(claimed(&pair), Some(height + u32::from(K)));
    pair.pass(DEPTH - 2);
    assert!(!pair.of_payer.monitor.record().is_over(), "it is not buried");
    pair.pass(1);
    assert_over(&pair);
    assert_eq!(pair.of_payer.claimed(), [(1, false)]);
    assert_eq!((pair.of_payee.refused, pair.of_payer.sent), (0, 0));
    assert_eq!(
        earned(&pair, Side::Payee),
        20_000 - FEE + 50_000 - 155,
        "the chain's own rate was enough"
    );
}

#[test]
fn hold_that_nobody_claims_is_timed_out_one_block_after_its_expiry() {
    let mut pair = held();
    let (settlement, _) = pair.settlement_of(&pair.vouchers[0].clone());
    pair.world.chain.submit(&settlement).unwrap();
    until(&mut pair, EXPIRY - 1);
    assert_eq!(pair.of_payer.sent, 0);
    pair.pass(2);
    assert_eq!((timed_out(&pair), pair.of_payer.refused), (Some(EXPIRY + 1), 0));
    pair.pass(DEPTH);
    assert_over(&pair);
    assert_eq!(earned(&pair, Side::Payer), 50_000 - 138);
    let lost = |news: &News| matches!(news, News::TimedOut { lost: true, .. });
    assert!(!pair.of_payee.news.iter().any(lost), "the payee knew no preimage");
}

#[test]
fn preimage_from_elsewhere_is_used_before_and_after_the_settlement_is_in_a_block() {
    let mut pair = held();
    pair.of_payee.known.push(preimage(1));
    until(&mut pair, SETTLE_BY - LEAD + 1);
    assert!(settled(&pair).is_some(), "known in time, it is settled for");
    // And where the settlement is there already, until the expiry.
    let mut pair = held();
    let (settlement, _) = pair.settlement_of(&pair.vouchers[0].clone());
    pair.world.chain.submit(&settlement).unwrap();
    until(&mut pair, EXPIRY - 2);
    pair.of_payee.known.push(preimage(1));
    pair.look();
    pair.pass(1);
    assert_eq!(claimed(&pair), Some(EXPIRY - 1));
}

#[test]
fn preimage_that_comes_too_late_for_a_settlement_settles_nothing() {
    let mut pair = held();
    // Settled in the next block and claimed k later it would be one block after the expiry.
    until(&mut pair, EXPIRY - u32::from(K));
    pair.of_payee.known.push(preimage(1));
    pair.look();
    assert_eq!(pair.of_payee.sent, 0);
    let mut pair = held();
    until(&mut pair, EXPIRY - u32::from(K) - 1);
    pair.of_payee.known.push(preimage(1));
    pair.look();
    assert_eq!(pair.of_payee.sent, 1, "one block earlier it is tried");
    pair.pass(u32::from(K) + 1);
    assert_eq!(claimed(&pair), Some(EXPIRY));
}

#[test]
fn released_hold_is_neither_settled_for_nor_claimed_and_the_balance_still_comes_home() {
    let mut pair = held();
    let record = pair.payee.release(id(1)).unwrap();
    pair.payee.apply(&record).unwrap();
    pair.follow();
    pair.of_payee.known.push(preimage(1));
    let last_call = 111 + u32::from(DELAY) - MARGIN;
    until(&mut pair, last_call - LEAD - 1);
    assert_eq!(pair.of_payee.sent, 0);
    pair.pass(2);
    let (height, tx) = settled(&pair).unwrap();
    assert_eq!(height, last_call - LEAD + 1);
    assert!(tx.output.iter().any(|output| output.value.to_sat() == 20_000 - FEE));
    // Published after the expiry, it is timed out at once, long before a claim could come.
    pair.pass(2);
    assert_eq!((timed_out(&pair), pair.of_payee.sent), (Some(height + 1), 1));
    pair.pass(DEPTH);
    assert_over(&pair);
}

#[test]
fn released_hold_is_not_claimed_though_its_output_and_its_preimage_are_there() {
    let mut pair = held();
    let (settlement, _) = pair.settlement_of(&pair.vouchers[0].clone());
    let record = pair.payee.release(id(1)).unwrap();
    pair.payee.apply(&record).unwrap();
    pair.follow();
    pair.of_payee.known.push(preimage(1));
    pair.world.chain.submit(&settlement).unwrap();
    until(&mut pair, EXPIRY + 1);
    assert_eq!((timed_out(&pair), pair.of_payee.sent), (Some(EXPIRY + 1), 0));
    let lost = |news: &News| matches!(news, News::TimedOut { lost: true, .. });
    assert!(!pair.of_payee.news.iter().any(lost), "what was released is not lost");
}

/// The first hold of a fresh channel: its settlement pays the payee nothing.
fn fresh() -> Pair {
    let mut pair = open();
    pair.offer(1, 50_000, EXPIRY);
    pair.fulfil(1, 1);
    pair
}

#[test]
fn settlement_that_no_block_takes_is_raised_by_a_child_that_pays_what_is_missing() {
    let mut pair = held();
    pair.fulfil(1, 1);
    // A coin that would do it too is kept.
    pair.coin(4_000);
    // Blocks take 7 sat a virtual byte, and nobody knew.
    pair.world.chain.set_mining_rate(rate(7_000));
    until(&mut pair, SETTLE_BY - LEAD);
    assert_eq!((pair.of_payee.sent, pair.of_payee.bumps), (1, 0));
    until(&mut pair, SETTLE_BY);
    let (height, tx) = settled(&pair).unwrap();
    assert!(height <= SETTLE_BY && tx.input.len() == 1, "{height}, {tx:?}");
    let own = tx.output.iter().position(|output| output.value.to_sat() == 20_000 - FEE);
    let own = OutPoint { txid: tx.compute_txid(), vout: own.unwrap().try_into().unwrap() };
    let child = pair.world.chain.output(own).unwrap().spent.unwrap();
    assert_eq!(child.confirmed.unwrap().to_u32(), height, "one package");
    let paid = 20_000 - FEE - child.tx.output[0].value.to_sat();
    // 359 vB at five halves more than one satoshi, less the agreed fee.
    assert_eq!(paid, 2_722 - FEE + 4);
    assert_eq!((pair.of_payee.refused, pair.of_payee.missing_fee), (0, None));
}

#[test]
fn settlement_that_is_not_even_relayed_is_sent_with_its_child() {
    let mut pair = held();
    pair.fulfil(1, 1);
    pair.world.rate = 5_000;
    pair.world.chain.set_min_relay(rate(3_000));
    pair.world.chain.set_mining_rate(rate(5_000));
    until(&mut pair, SETTLE_BY - LEAD);
    assert_eq!((pair.of_payee.sent, pair.of_payee.bumps, pair.of_payee.refused), (1, 1, 0));
    pair.pass(1);
    assert_eq!(settled(&pair).unwrap().0, SETTLE_BY - LEAD + 1);
    // 359 vB at 5 sat, all that is paid for.
    pair.pass(u32::from(K));
    assert_eq!(earned(&pair, Side::Payee), 20_000 - 5 * 359 + 50_000 - 5 * 155);
}

#[test]
fn settlement_without_payee_output_is_raised_by_the_smallest_coin_that_is_enough() {
    let mut pair = fresh();
    for value in [400, 1_500, 4_000, 60_000] {
        pair.coin(value);
    }
    pair.world.chain.set_mining_rate(rate(7_000));
    until(&mut pair, SETTLE_BY - LEAD);
    assert_eq!((pair.of_payee.sent, pair.of_payee.missing_fee), (1, None));
    until(&mut pair, SETTLE_BY);
    let (height, tx) = settled(&pair).unwrap();
    assert!(height <= SETTLE_BY, "{height}");
    let added: Vec<_> = tx.input.iter().skip(1).map(|input| input.previous_output).collect();
    let used = pair.world.coins.iter().find(|coin| added == [coin.outpoint()]).unwrap();
    // 263 vB with the coin: 1,500 and the agreed 500 are 7.6 a virtual byte.
    assert_eq!(used.output().value.to_sat(), 1_500);
    assert_eq!((pair.of_payee.refused, pair.of_payee.bumps), (0, 0), "no raise was for nothing");
}

#[test]
fn settlement_without_a_coin_is_sent_as_it_is_and_says_what_it_lacks() {
    let mut pair = fresh();
    // A coin that is worth more than what is at stake is not burnt for it.
    pair.coin(50_000);
    pair.coin(1_500);
    let small = pair.world.coins.pop().unwrap();
    pair.world.rate = 5_000;
    until(&mut pair, SETTLE_BY - LEAD);
    // 205 vB at 5 sat, less the agreed fee.
    assert_eq!(pair.of_payee.missing_fee, Some(sat(5 * 205 - FEE)));
    assert_eq!(pair.of_payee.sent, 1, "better than nothing");
    pair.look();
    assert_eq!(pair.of_payee.sent, 1);
    pair.world.coins.push(small);
    pair.look();
    assert_eq!((pair.of_payee.sent, pair.of_payee.missing_fee), (2, None));
    pair.world.chain.set_mining_rate(rate(5_000));
    pair.pass(1);
    assert!(settled(&pair).is_some());
}

#[test]
fn hold_that_is_not_worth_its_claim_is_not_settled_for_and_waits_for_the_last_call() {
    let mut pair = open();
    pair.pay(20_000_000);
    pair.offer(1, 3_000, EXPIRY);
    pair.fulfil(1, 1);
    // 156 vB cost more than it brings.
    pair.world.rate = 20_000;
    until(&mut pair, EXPIRY);
    assert_eq!((pair.of_payee.sent, pair.of_payee.unworthy), (0, 1));
    pair.world.rate = 1_000;
    until(&mut pair, 111 + u32::from(DELAY) - MARGIN - LEAD + 1);
    assert!(settled(&pair).is_some(), "the balance is settled for");
}

#[test]
fn claim_is_raised_against_its_expiry_and_comes_in_time() {
    let mut pair = held();
    pair.fulfil(1, 1);
    until(&mut pair, SETTLE_BY);
    let (height, _) = settled(&pair).unwrap();
    pair.world.chain.set_mining_rate(rate(7_000));
    until(&mut pair, height + u32::from(K) + 1);
    assert_eq!(pair.of_payee.sent, 2, "the rate of the chain is waited for");
    until(&mut pair, EXPIRY);
    let claimed = claimed(&pair).unwrap();
    assert!(claimed <= EXPIRY, "{claimed}");
    assert_eq!((pair.of_payee.refused, pair.of_payer.sent), (0, 0));
}

#[test]
fn settlement_published_late_is_timed_out_before_its_claim_can_come_whatever_blocks_take() {
    let mut pair = held();
    let (settlement, _) = pair.settlement_of(&pair.vouchers[0].clone());
    until(&mut pair, EXPIRY - 9);
    pair.world.chain.submit(&settlement).unwrap();
    pair.pass(1);
    let height = EXPIRY - 8;
    pair.world.chain.set_mining_rate(rate(7_000));
    // The payee claims as soon as it can, at any price.
    pair.of_payee.known.push(preimage(1));
    until(&mut pair, height + u32::from(K) - 1);
    assert_eq!(timed_out(&pair), Some(height + u32::from(K) - 1));
    assert_eq!(pair.of_payer.refused, 0);
}

/// The settlement is in a block early, and blocks take `mining`, though wallets are told 1,000.
fn published(mining: u64) -> Pair {
    let mut pair = held();
    let (settlement, _) = pair.settlement_of(&pair.vouchers[0].clone());
    pair.world.chain.submit(&settlement).unwrap();
    pair.pass(1);
    pair.world.chain.set_mining_rate(rate(mining));
    pair
}

/// What H2 and X2 count on: a claim that comes late all the same leaves time for the next one.
#[test]
fn timeout_of_a_settlement_in_time_confirms_within_the_reaction_at_a_rate_nobody_knew() {
    let mut pair = published(7_000);
    until(&mut pair, EXPIRY + 1);
    assert_eq!((pair.of_payer.sent, timed_out(&pair)), (2, None), "it presses from there on");
    until(&mut pair, EXPIRY + LEAD);
    assert_eq!((timed_out(&pair), pair.of_payer.refused), (Some(EXPIRY + LEAD), 0));
}

#[test]
fn timeout_that_is_past_its_reaction_presses_on_until_blocks_take_it() {
    // Eleven steps: 86 times what wallets are told.
    let mut pair = published(80_000);
    until(&mut pair, EXPIRY + LEAD + 5);
    assert_eq!(timed_out(&pair), None);
    pair.pass(1);
    assert_eq!((timed_out(&pair), pair.of_payer.refused), (Some(EXPIRY + LEAD + 6), 0));
}

#[test]
fn payer_that_was_away_for_long_asks_at_the_rate_of_the_chain_first() {
    let mut pair = published(1_000);
    let away = EXPIRY + 300 - pair.world.tip();
    pair.world.mine(away);
    pair.look();
    pair.pass(1);
    assert_eq!((timed_out(&pair), pair.of_payer.sent), (Some(EXPIRY + 301), 1));
    let Fate::TimedOut { by, .. } = fate(&pair, Side::Payer) else { panic!() };
    let back = pair.world.chain.output(OutPoint { txid: by, vout: 0 }).unwrap().value;
    assert!(back.to_sat() > 50_000 - 150, "a satoshi a virtual byte: {back}");
}

#[test]
fn rate_of_the_chain_that_rises_is_followed_before_anything_presses() {
    let mut pair = published(2_000);
    // It owes nothing upstream, and waits.
    pair.of_payer.reaction = Some(40);
    until(&mut pair, EXPIRY + 20);
    assert_eq!(pair.of_payer.sent, 1, "nothing presses");
    assert_eq!(timed_out(&pair), None);
    pair.world.rate = 500;
    pair.look();
    assert_eq!(pair.of_payer.sent, 1, "what pays more than the chain asks is left alone");
    // So is what nearly pays: a rate that stays is overtaken when time gets short.
    pair.world.rate = 1_200;
    pair.look();
    assert_eq!(pair.of_payer.sent, 1);
    let mut stays = pair.copy();
    stays.world.chain.set_mining_rate(rate(1_200));
    until(&mut stays, EXPIRY + 40);
    assert_eq!(timed_out(&stays), Some(EXPIRY + 40 - LEAD + 2));
    pair.world.rate = 2_000;
    pair.look();
    pair.pass(1);
    assert_eq!((timed_out(&pair), pair.of_payer.sent), (Some(EXPIRY + 21), 2));
}

/// The last `depth` blocks give way to empty ones, and one more.
fn reorg(pair: &mut Pair, depth: u32, first: &[Transaction]) {
    let mut branch = vec![Vec::new(); usize::try_from(depth).unwrap() + 1];
    branch[0] = first.to_vec();
    pair.world.chain.reorg(blocks(depth), &branch).unwrap();
    pair.look();
}

#[test]
fn reorg_of_claim_and_settlement_is_told_and_both_are_made_again() {
    let mut pair = held();
    pair.fulfil(1, 1);
    until(&mut pair, SETTLE_BY - LEAD + 1);
    let (height, _) = settled(&pair).unwrap();
    until(&mut pair, height + u32::from(K));
    assert_eq!(claimed(&pair), Some(height + u32::from(K)));
    // The claim alone first, on a copy.
    let mut shallow = pair.copy();
    reorg(&mut shallow, 2, &[]);
    assert_eq!(claimed(&shallow), None);
    shallow.pass(1);
    assert_eq!(claimed(&shallow), Some(height + u32::from(K) + 2), "it was in the mempool again");
    // The settlement too.
    let tip = pair.world.tip();
    reorg(&mut pair, tip - height + 1, &[]);
    assert_eq!(settled(&pair), None);
    assert!(matches!(pair.of_payer.news.last(), Some(News::Published { .. })), "as told last");
    let known = pair.of_payer.monitor.record().holds()[0].preimage;
    assert_eq!(known, Some(preimage(1)), "what was seen stays known");
    pair.pass(1);
    let (again, _) = settled(&pair).unwrap();
    until(&mut pair, again + u32::from(K));
    assert!(claimed(&pair).is_some());
    pair.pass(DEPTH);
    assert_over(&pair);
}

#[test]
fn reorg_to_another_voucher_is_followed() {
    let mut pair = held();
    pair.offer(2, 30_000, EXPIRY);
    pair.fulfil(1, 1);
    let (old, _) = pair.settlement_of(&pair.vouchers[0].clone());
    until(&mut pair, SETTLE_BY - LEAD + 1);
    let (height, newest) = settled(&pair).unwrap();
    assert_ne!(old.compute_txid(), newest.compute_txid());
    pair.pass(3);
    let depth = pair.world.tip() - height + 1;
    reorg(&mut pair, depth, std::slice::from_ref(&old));
    let (again, now) = settled(&pair).unwrap();
    assert_eq!(now.compute_txid(), old.compute_txid());
    let second = pair.of_payer.monitor.record().holds()[1].fate;
    assert_eq!(second, Fate::Held, "the other voucher has no second hold");
    until(&mut pair, again + u32::from(K));
    assert_eq!(claimed(&pair), Some(again + u32::from(K)));
    pair.pass(DEPTH);
    assert_over(&pair);
}

/// Two holds, of which the payee knows one.
fn told() -> Pair {
    let mut pair = held();
    pair.offer(2, 30_000, EXPIRY + 3);
    pair.fulfil(1, 1);
    pair
}

/// A life with a settlement, a claim, a timeout and a reorg of each.
fn story(pair: &mut Pair) {
    until(pair, SETTLE_BY - LEAD + 2);
    reorg(pair, 3, &[]);
    until(pair, EXPIRY - 4);
    reorg(pair, 2, &[]);
    until(pair, EXPIRY + 4);
    reorg(pair, 1, &[]);
    pair.pass(3 * DEPTH);
}

/// Each write of either side is cut, before and after it: what was not sent is sent later.
#[test]
fn power_cut_around_every_write_loses_neither_preimage_nor_money() {
    let start = told();
    let mut whole = start.copy();
    story(&mut whole);
    let want = [earned(&whole, Side::Payer), earned(&whole, Side::Payee)];
    let writes = [whole.of_payer.writes, whole.of_payee.writes];
    assert!(writes.iter().all(|writes| *writes > 10), "{writes:?}");
    let (first, mut cuts) = ([start.of_payer.writes, start.of_payee.writes], 0);
    for (number, side) in [Side::Payer, Side::Payee].into_iter().enumerate() {
        for write in first[number]..writes[number] {
            for cut in [Cut::BeforeWrite, Cut::AfterWrite] {
                let mut pair = start.copy();
                let watcher =
                    if side == Side::Payer { &mut pair.of_payer } else { &mut pair.of_payee };
                watcher.cut = Some((write, cut));
                story(&mut pair);
                assert_over(&pair);
                let known = pair.of_payer.monitor.record().holds()[0].preimage;
                assert_eq!(known, Some(preimage(1)), "{side:?} {write} {cut:?}");
                let got = [earned(&pair, Side::Payer), earned(&pair, Side::Payee)];
                // A block later or earlier the same pays more or less.
                for (got, want) in got.into_iter().zip(want) {
                    assert!(got.abs_diff(want) < 2_000, "{got} of {want}: {side:?} {write}");
                }
                cuts += 1;
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 30);
}

#[test]
fn record_is_read_back_as_it_was_and_not_with_a_bit_changed() {
    use millstream::monitor::Watch;
    let mut pair = told();
    story(&mut pair);
    for watcher in [&pair.of_payer, &pair.of_payee] {
        let record = watcher.monitor.record();
        let (key, bytes) = (record.key().unwrap(), record.encode().unwrap());
        assert_eq!(Watch::decode(&key, &bytes).unwrap(), *record);
        for bit in 0..bytes.len() * 8 {
            let mut rotten = bytes.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(Watch::decode(&key, &rotten).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Watch::decode(&key, &bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
