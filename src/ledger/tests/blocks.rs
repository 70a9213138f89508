//! Blocks that are shared: sums, repeats, restarts, and what hopping brings.

use super::*;
use crate::ledger::scheme::{Market, Pplns, PriceTable, Proportional, Reach, Scheme, Tides};
use crate::store::fault::{Cut, FaultStore};
use crate::units::WorkBits;

const NO_FEE: Ppm = Ppm::MIN;

pub(super) fn log(number: u8, work: u128, reach: Reach) -> Input {
    let credit = Credit::unpriced(Work::new(work));
    Input::Log { worker: worker(number), credit, reach }
}

pub(super) fn block(id: u8, reward: u64, fee: u32, reach: Reach) -> Input {
    Input::Block { id: [id; 32], reward: msat(reward), fee: Ppm::new(fee).unwrap(), reach }
}

pub(super) fn last(work: u128) -> Reach {
    Reach::Last(Work::new(work))
}

pub(super) fn dues(ledger: &Ledger) -> alloc::vec::Vec<u64> {
    ledger.accounts().map(|account| account.due().to_msat()).collect()
}

/// The step without a store, for many of them.
fn apply(ledger: &mut Ledger, input: Input) {
    let staged = ledger.decide(&input).unwrap().stage(&mut Batch::default()).unwrap();
    ledger.apply(&staged).unwrap();
}

#[test]
fn block_is_shared_to_the_millisatoshi_and_once() {
    let reach = Reach::Round;
    let inputs = [log(1, 1, reach), log(2, 1, reach), log(3, 1, reach)];
    let (mut ledger, mut store) = after(&inputs);
    // The fee is a hundredth of 1,010, rounded down; 1,000 in thirds leaves one for the lowest key.
    take(&mut ledger, &mut store, block(9, 1_010, 10_000, reach)).unwrap();
    assert_eq!(dues(&ledger), [334, 333, 333]);
    assert_eq!(ledger.totals().fee(), Exact::from(msat(10)));
    ledger.holds_together().unwrap();
    let again = ledger.decide(&block(9, 1_010, 10_000, reach)).unwrap();
    assert!(again.is_empty());
    // The round is over, and nobody has worked since.
    let empty = take(&mut ledger, &mut store, block(8, 1_010, 0, reach));
    assert_eq!(empty, Err(LedgerError::NobodyWorked));
    let loaded = Ledger::load(ledger.limits(), &store).unwrap();
    assert!(loaded.decide(&block(9, 1_010, 10_000, reach)).unwrap().is_empty());
    assert_eq!((loaded.accounts, loaded.window), (ledger.accounts, ledger.window));
}

#[test]
fn block_pays_workers_whose_account_was_forgotten_or_is_at_its_limit() {
    let reach = last(1_000);
    let (mut ledger, mut store) = after(&[log(1, 10, reach), log(2, 10, reach)]);
    take(&mut ledger, &mut store, Input::Forget { worker: worker(1) }).unwrap();
    for id in 0..3 {
        take(&mut ledger, &mut store, block(id, 4_000_000, 0, reach)).unwrap();
    }
    assert_eq!(dues(&ledger), [6_000_000, 6_000_000]);
    ledger.holds_together().unwrap();
}

#[test]
fn block_is_remembered_while_sixty_three_others_come() {
    let reach = last(1_000);
    let (mut ledger, mut store) = after(&[log(1, 10, reach)]);
    for id in 0..64 {
        take(&mut ledger, &mut store, block(id, 1, 0, reach)).unwrap();
    }
    assert!(ledger.decide(&block(0, 1, 0, reach)).unwrap().is_empty());
    take(&mut ledger, &mut store, block(64, 1, 0, reach)).unwrap();
    assert!(!ledger.decide(&block(0, 1, 0, reach)).unwrap().is_empty());
    assert!(ledger.decide(&block(1, 1, 0, reach)).unwrap().is_empty());
}

#[test]
fn cut_around_a_block_shares_it_once() {
    let reach = last(500);
    let inputs = [log(1, 300, reach), log(2, 77, reach), log(1, 200, reach)];
    for at in 1..=4 {
        for side in [Cut::Before, Cut::After] {
            let mut store = FaultStore::default();
            store.cut_at(at, side);
            let mut ledger = ledger();
            for input in inputs.iter().copied().chain([block(1, 99_999, 20_000, reach)]) {
                let had = ledger.weights(Reach::Round);
                let staged = ledger.decide(&input).unwrap().commit(&mut store);
                if let Ok(staged) = staged {
                    ledger.apply(&staged).unwrap();
                    continue;
                }
                store.restart(0);
                ledger = Ledger::load(ledger.limits(), &store).unwrap();
                // Blocks are told again, and shares that are not in.
                let is_block = matches!(input, Input::Block { .. });
                if is_block || ledger.weights(Reach::Round) == had {
                    let staged = ledger.decide(&input).unwrap().commit(&mut store).unwrap();
                    ledger.apply(&staged).unwrap();
                }
            }
            ledger.holds_together().unwrap();
            assert_eq!(dues(&ledger).iter().sum::<u64>(), 98_000, "commit {at}, {side:?}");
        }
    }
}

#[test]
fn work_with_a_price_is_not_shared_a_second_time() {
    let priced = Input::Log { worker: worker(1), credit: credit(7, 7), reach: Reach::Round };
    assert_eq!(ledger().decide(&priced).unwrap_err(), LedgerError::Priced { worker: worker(1) });
}

#[test]
fn tides_shares_over_eight_difficulties_and_follows_them() {
    let tides = Tides { fee: NO_FEE };
    let market = |network| Market { reward: msat(1), network: Work::new(network) };
    let reach = |network| tides.reach(&market(network)).unwrap().unwrap();
    let mut ledger = ledger();
    for number in 0..200 {
        apply(&mut ledger, log(number % 3, 70, reach(1_000)));
    }
    let sum = |ledger: &Ledger, network| -> u128 {
        ledger.weights(reach(network)).values().map(|work| work.hashes()).sum()
    };
    assert_eq!(sum(&ledger, 1_000), 8_000);
    assert_eq!(sum(&ledger, 500), 4_000);
    // A network that grows reaches back to what is there; one that shrank let the rest go.
    assert!(sum(&ledger, 2_000) < 8_000 + 70 + 8_000 / 64);
    apply(&mut ledger, log(1, 70, reach(500)));
    assert!(sum(&ledger, 1_000) < 4_000 + 2 * (70 + 8_000 / 64));
    assert!(tides.reach(&market(u128::MAX / 8 + 1)).is_err());
}

/// A share's pay on average over every way that blocks can fall on the `horizon` shares from it on,
/// where one share in three is a block. In units of 3^-`horizon`.
fn expected(before: &Ledger, scheme: &dyn Scheme, horizon: u32, mine: u8) -> u128 {
    let market = Market { reward: msat(720_720), network: Work::new(3) };
    let reach = scheme.reach(&market).unwrap().unwrap();
    let mut sum = 0;
    for future in 0..1_u32 << horizon {
        let mut ledger = before.clone();
        let mut weight = 1_u128;
        for share in 0..horizon {
            apply(&mut ledger, log(if share == 0 { mine } else { 0 }, 1, reach));
            if future >> share & 1 == 1 {
                let id = u8::try_from(share).unwrap() + 100;
                apply(&mut ledger, block(id, 720_720, 0, reach));
            } else {
                weight *= 2;
            }
        }
        sum += weight * u128::from(ledger.due(worker(mine)).to_msat());
    }
    sum
}

/// A pool whose last block was `age` shares ago, and that was busy long before.
fn pool_of_age(age: u8, reach: Reach) -> Ledger {
    let mut ledger = ledger();
    (0..12).for_each(|_| apply(&mut ledger, log(0, 1, reach)));
    apply(&mut ledger, block(1, 720_720, 0, reach));
    (0..age).for_each(|_| apply(&mut ledger, log(0, 1, reach)));
    ledger
}

/// Exact, over all futures: nothing is drawn at random.
#[test]
fn hopping_into_a_young_round_earns_nothing_more_under_pplns() {
    let scheme = Pplns { window: Work::new(6), fee: NO_FEE };
    // What a share is worth: the reward by the network's work, as under a price per share.
    let worth = 720_720 / 3 * 3_u128.pow(6);
    for age in 0..5 {
        let pool = pool_of_age(age, last(6));
        assert_eq!(expected(&pool, &scheme, 6, 7), worth, "age {age}");
    }
}

#[test]
fn hopping_earns_more_under_proportional_which_says_so() {
    let scheme = Proportional { fee: NO_FEE };
    let by_age = |age| expected(&pool_of_age(age, Reach::Round), &scheme, 8, 7);
    let worth = 720_720 / 3 * 3_u128.pow(8);
    let (young, old) = (by_age(0), by_age(4));
    assert!(young > worth && worth > old, "{young} > {worth} > {old}");
}

#[test]
fn table_prices_shares_by_their_size() {
    let bits = |bits| WorkBits::new(bits).unwrap();
    let market = Market { reward: Msat::ZERO, network: Work::new(1) };
    let table = PriceTable::new(&[(bits(8), msat(1)), (bits(10), msat(8))]).unwrap();
    let price = |work| table.price(&market, Work::new(work));
    let small = HashPrice::per_bits(msat(1), bits(8)).unwrap();
    let large = HashPrice::per_bits(msat(2), bits(8)).unwrap();
    assert_eq!(price(255), Err(LedgerError::NoPrice { share: Work::new(255) }));
    assert_eq!((price(256), price(1_023)), (Ok(Some(small)), Ok(Some(small))));
    assert_eq!(price(1_024), Ok(Some(large)));
    let refused = |rows: &[_]| PriceTable::new(rows).is_err();
    assert!(refused(&[]));
    assert!(refused(&[(bits(8), msat(1)), (bits(8), msat(2))]));
    let rows: alloc::vec::Vec<_> = (0..17).map(|b| (bits(b), msat(1))).collect();
    assert!(refused(&rows) && !refused(&rows[..16]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is logged and found, under any reach, nothing is lost and nothing made.
    #[test]
    fn rewards_are_shared_whole(
        steps in proptest::collection::vec((0_u8..4, 1_u128..1 << 90, any::<bool>()), 1..60),
        window in 1_u128..1 << 92,
        fee in 0_u32..=1_000_000,
    ) {
        let (mut ledger, mut store) = (ledger(), MemoryStore::default());
        let mut rewards = 0;
        for (number, (who, work, found)) in steps.into_iter().enumerate() {
            let reach = if window & 1 == 0 { Reach::Round } else { last(window) };
            take(&mut ledger, &mut store, log(who, work, reach)).unwrap();
            if found {
                let reward = 312_500_000_007;
                let found = block(u8::try_from(number).unwrap(), reward, fee, reach);
                take(&mut ledger, &mut store, found).unwrap();
                rewards += reward;
            }
            ledger.holds_together().unwrap();
        }
        let fee = ledger.totals().fee().floor_msat().to_msat();
        prop_assert_eq!(dues(&ledger).iter().sum::<u64>() + fee, rewards);
        let again = Ledger::load(ledger.limits(), &store).unwrap();
        prop_assert_eq!(again.window, ledger.window);
        prop_assert_eq!(again.accounts, ledger.accounts);
    }
}
