//! The ledger against a plain sum, its refusals, and power cuts at every commit.

use alloc::collections::BTreeMap;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};
use proptest::prelude::*;

use super::*;
use crate::store::{Batch, Durability, Key, MemoryStore};
use crate::units::{Ppm, Work};

mod blocks;
mod cuts;
mod pending;
mod room;
mod window;

fn msat(value: u64) -> Msat {
    Msat::new(value).unwrap()
}

fn worker(number: u8) -> WorkerKey {
    WorkerKey::new([number; 32])
}

fn channel(number: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([number; 32]), 1)
}

/// A price of `parts` x 2^-16 msat a hash: small numbers with something behind the point.
fn credit(work: u128, parts: u128) -> Credit {
    let price = HashPrice::from_q96(parts << 80).unwrap();
    Credit::priced(Work::new(work), price).unwrap()
}

fn ledger() -> Ledger {
    Ledger::new(Limits { unpaid_max: msat(1_000_000), workers_max: 4 }).unwrap()
}

fn take(ledger: &mut Ledger, store: &mut MemoryStore, input: Input) -> Result<(), LedgerError> {
    let before = ledger.clone();
    let result = ledger.decide(&input).and_then(|step| step.commit(store));
    match result {
        Ok(staged) => ledger.apply(&staged),
        Err(error) => {
            assert_eq!(ledger.accounts, before.accounts, "a refusal leaves nothing behind");
            Err(error)
        }
    }
}

/// Inputs in turn, each of which must be taken.
fn after(inputs: &[Input]) -> (Ledger, MemoryStore) {
    let (mut ledger, mut store) = (ledger(), MemoryStore::default());
    for input in inputs {
        take(&mut ledger, &mut store, *input).unwrap();
        ledger.holds_together().unwrap();
    }
    (ledger, store)
}

fn bind(number: u8, at: u8, paid: u64) -> Input {
    Input::Bind { worker: worker(number), channel: channel(at), paid: msat(paid) }
}

fn paid(number: u8, at: u8, paid: u64) -> Input {
    Input::Paid { worker: worker(number), channel: channel(at), paid: msat(paid) }
}

fn unbind(number: u8, at: u8, paid: u64) -> Input {
    Input::Unbind { worker: worker(number), channel: channel(at), paid: msat(paid) }
}

fn earn(number: u8, work: u128) -> Input {
    // A millisatoshi a hash.
    Input::Credit { worker: worker(number), credit: credit(work, 1 << 16) }
}

#[test]
fn account_that_moves_counts_what_the_chain_says_and_is_owed_the_rest_again() {
    let (mut ledger, mut store) = after(&[bind(1, 1, 5), earn(1, 100), paid(1, 1, 105)]);
    let moved = |before, at: Option<u8>, base, paid| Input::Moved {
        worker: worker(1),
        before: msat(before),
        channel: at.map(channel),
        base: msat(base),
        paid: msat(paid),
    };
    // A settlement of 85 went to the chain: 20 are due again where the channel goes on.
    take(&mut ledger, &mut store, moved(80, Some(2), 3, 3)).unwrap();
    let account = *ledger.account(worker(1)).unwrap();
    assert_eq!((account.paid(), account.pay_to()), (msat(80), Some((channel(2), msat(23)))));
    take(&mut ledger, &mut store, paid(1, 2, 23)).unwrap();
    // A better one takes its place: nothing is due, and more than is owed was paid.
    take(&mut ledger, &mut store, moved(100, Some(3), 7, 9)).unwrap();
    let account = *ledger.account(worker(1)).unwrap();
    assert_eq!((account.ahead(), account.due()), (msat(2), Msat::ZERO));
    take(&mut ledger, &mut store, moved(90, None, 0, 0)).unwrap();
    assert_eq!(ledger.account(worker(1)).unwrap().channel(), None);
    assert_eq!(ledger.due(worker(1)), msat(10));
    ledger.holds_together().unwrap();
    let refused = [moved(0, Some(3), 8, 7), moved(Msat::MAX.to_msat(), Some(3), 0, 1)];
    for input in refused {
        assert!(matches!(ledger.decide(&input), Err(LedgerError::Overflow(_))), "{input:?}");
    }
}

#[test]
fn shares_too_small_for_a_millisatoshi_are_paid_when_they_make_one() {
    let (mut ledger, mut store) = after(&[bind(1, 1, 0)]);
    let small = Input::Credit { worker: worker(1), credit: credit(1, 1) };
    for _ in 0..(1 << 16) - 1 {
        take(&mut ledger, &mut store, small).unwrap();
    }
    assert_eq!(ledger.due(worker(1)), Msat::ZERO);
    take(&mut ledger, &mut store, small).unwrap();
    assert_eq!(ledger.due(worker(1)), msat(1));
    assert_eq!(ledger.account(worker(1)).unwrap().shares(), 1 << 16);
}

#[test]
fn work_without_a_channel_is_kept_and_paid_by_the_first_one() {
    let (ledger, _) = after(&[earn(1, 70), bind(1, 9, 500)]);
    let account = ledger.account(worker(1)).unwrap();
    // What the channel had paid before is not the worker's share.
    assert_eq!(account.pay_to(), Some((channel(9), msat(570))));
    assert_eq!((account.due(), account.paid()), (msat(70), Msat::ZERO));
}

#[test]
fn payment_that_is_told_twice_counts_once() {
    let (ledger, _) = after(&[earn(1, 70), bind(1, 9, 500), paid(1, 9, 540), paid(1, 9, 540)]);
    assert_eq!(ledger.due(worker(1)), msat(30));
    let (ledger, _) =
        after(&[earn(1, 70), bind(1, 9, 500), paid(1, 9, 570), paid(1, 9, 540), bind(1, 9, 0)]);
    assert_eq!(ledger.due(worker(1)), Msat::ZERO);
    assert_eq!(ledger.account(worker(1)).unwrap().pay_to(), Some((channel(9), msat(570))));
}

#[test]
fn payment_above_what_is_owed_is_refused_unless_the_worker_shows_it() {
    let (mut ledger, mut store) = after(&[earn(1, 70), bind(1, 9, 500)]);
    let above = take(&mut ledger, &mut store, paid(1, 9, 571));
    assert_eq!(above, Err(LedgerError::AboveOwed { worker: worker(1), by: msat(1) }));
    let shown = Input::Shown { worker: worker(1), channel: channel(9), paid: msat(600) };
    take(&mut ledger, &mut store, shown).unwrap();
    let account = ledger.account(worker(1)).unwrap();
    assert_eq!((account.due(), account.ahead()), (Msat::ZERO, msat(30)));
    // New work first works off what was paid ahead.
    take(&mut ledger, &mut store, earn(1, 31)).unwrap();
    assert_eq!(ledger.account(worker(1)).unwrap().pay_to(), Some((channel(9), msat(601))));
}

#[test]
fn next_channel_is_bound_only_after_the_last_word_of_the_one_before() {
    let inputs = [earn(1, 100), bind(1, 1, 0), paid(1, 1, 60)];
    let (mut ledger, mut store) = after(&inputs);
    let early = take(&mut ledger, &mut store, bind(1, 2, 0));
    let refused =
        LedgerError::OtherChannel { worker: worker(1), got: channel(2), bound: channel(1) };
    assert_eq!(early, Err(refused));
    // The last voucher was newer than the ledger knew.
    take(&mut ledger, &mut store, unbind(1, 1, 75)).unwrap();
    take(&mut ledger, &mut store, bind(1, 2, 40)).unwrap();
    assert_eq!(ledger.account(worker(1)).unwrap().pay_to(), Some((channel(2), msat(65))));
    // A voucher of the first one comes too late to be one of the second.
    let late = take(&mut ledger, &mut store, paid(1, 1, 100));
    assert!(matches!(late, Err(LedgerError::OtherChannel { .. })));
}

#[test]
fn channel_that_comes_back_goes_on_where_it_stands() {
    let (ledger, _) = after(&[
        earn(1, 100),
        bind(1, 1, 0),
        paid(1, 1, 60),
        unbind(1, 1, 60),
        earn(1, 5),
        bind(1, 1, 200),
    ]);
    assert_eq!(ledger.account(worker(1)).unwrap().pay_to(), Some((channel(1), msat(245))));
}

#[test]
fn worker_at_its_limit_is_credited_no_more_until_it_is_paid() {
    let (mut ledger, mut store) = after(&[earn(1, 999_999), earn(1, 7), bind(1, 1, 0)]);
    let refused = take(&mut ledger, &mut store, earn(1, 1));
    let (due, max) = (msat(1_000_006), msat(1_000_000));
    assert_eq!(refused, Err(LedgerError::UnpaidLimit { worker: worker(1), due, max }));
    take(&mut ledger, &mut store, paid(1, 1, 7)).unwrap();
    take(&mut ledger, &mut store, earn(1, 1)).unwrap();
}

#[test]
fn one_worker_too_many_is_refused_until_an_idle_one_is_forgotten() {
    let tiny = Input::Credit { worker: worker(4), credit: credit(1, 1) };
    let (mut ledger, mut store) = after(&[earn(1, 1), earn(2, 1), bind(3, 1, 0), tiny]);
    let full = take(&mut ledger, &mut store, earn(5, 1));
    assert_eq!(full, Err(LedgerError::TooManyWorkers { max: 4 }));
    assert_eq!(ledger.idle().collect::<alloc::vec::Vec<_>>(), [worker(4)]);
    let forget = |number| Input::Forget { worker: worker(number) };
    let owed = take(&mut ledger, &mut store, forget(1));
    let (due, ahead) = (msat(1), Msat::ZERO);
    assert_eq!(owed, Err(LedgerError::NotIdle { worker: worker(1), due, ahead }));
    assert!(matches!(take(&mut ledger, &mut store, forget(3)), Err(LedgerError::NotIdle { .. })));
    take(&mut ledger, &mut store, forget(4)).unwrap();
    assert_eq!(ledger.totals().fee(), credit(1, 1).value());
    take(&mut ledger, &mut store, earn(5, 1)).unwrap();
    ledger.holds_together().unwrap();
    let again = Ledger::load(ledger.limits(), &store).unwrap();
    assert_eq!((again.accounts, again.totals), (ledger.accounts, ledger.totals));
}

#[test]
fn forgotten_account_leaves_what_it_was_paid_in_the_sums() {
    let (mut ledger, mut store) = after(&[earn(1, 7), bind(1, 1, 0), paid(1, 1, 7)]);
    assert!(ledger.decide(&paid(1, 1, 7)).unwrap().is_empty());
    take(&mut ledger, &mut store, unbind(1, 1, 7)).unwrap();
    take(&mut ledger, &mut store, Input::Forget { worker: worker(1) }).unwrap();
    assert_eq!(ledger.totals().gone(), msat(7));
    ledger.holds_together().unwrap();
    assert_eq!(Ledger::load(ledger.limits(), &store).unwrap().totals, ledger.totals);
    // It begins anew, and is not paid for the same work again.
    take(&mut ledger, &mut store, earn(1, 2)).unwrap();
    assert_eq!(ledger.due(worker(1)), msat(2));
}

#[test]
fn step_of_an_older_ledger_is_refused() {
    let (mut ledger, mut store) = after(&[earn(1, 1)]);
    let old = ledger.decide(&earn(1, 1)).unwrap().commit(&mut store).unwrap();
    let new = ledger.decide(&earn(1, 2)).unwrap().commit(&mut store).unwrap();
    ledger.apply(&new).unwrap();
    assert_eq!(ledger.apply(&old), Err(LedgerError::OldStep { got: 1, want: 2 }));
}

#[test]
fn limits_of_the_ledger_are_its_own() {
    let limits = |workers_max| Limits { unpaid_max: Msat::ZERO, workers_max };
    assert!(Ledger::new(limits(Limits::WORKERS_MAX)).is_ok());
    for got in [0, Limits::WORKERS_MAX + 1] {
        let refused = LedgerError::Limits { got, max: Limits::WORKERS_MAX };
        assert_eq!(Ledger::new(limits(got)).unwrap_err(), refused);
    }
}

#[test]
fn account_of_version_one_is_frozen() {
    let (ledger, store) = after(&[earn(1, 70), bind(1, 9, 500), paid(1, 9, 540)]);
    let key = Account::key(worker(1)).unwrap();
    let bytes = store.get(&key).unwrap().unwrap();
    assert_eq!(bytes.len(), Account::LENGTH + crate::store::envelope::LEN);
    let mut body = [0; Account::LENGTH];
    body[7] = 70;
    body[35] = 1;
    body[51] = 70;
    body[52] = 1;
    body[53..85].fill(9);
    body[88] = 1;
    body[95..97].copy_from_slice(&500_u16.to_be_bytes());
    body[103..105].copy_from_slice(&540_u16.to_be_bytes());
    // `paid by channels before` stands at 20 and is zero.
    assert_eq!(bytes[5..], body[..]);
    assert_eq!(Account::decode(&key, &bytes).unwrap(), *ledger.account(worker(1)).unwrap());
}

/// Sealed again after the change, so that it is the reader that refuses and not the checksum.
#[test]
fn record_that_could_not_have_been_written_is_refused() {
    let key = Account::key(worker(1)).unwrap();
    let sealed = |body: &[u8]| crate::store::envelope::seal(&key, 1, body);
    let none = Account::new(worker(1)).encode().unwrap()[5..].to_vec();
    assert!(Account::decode(&key, &sealed(&none)).is_ok());
    for at in 52..Account::LENGTH {
        let mut odd = none.clone();
        odd[at] = 2;
        assert!(Account::decode(&key, &sealed(&odd)).is_err(), "byte {at}");
    }
    for length in [0, Account::LENGTH - 1] {
        assert!(Account::decode(&key, &sealed(&none[..length])).is_err());
    }
    assert!(Account::decode(&key, &sealed(&[&none[..], &[0]].concat())).is_err());
    // Paid less than when it was bound.
    let (_, store) = after(&[bind(1, 9, 500)]);
    let mut body = store.get(&key).unwrap().unwrap()[5..].to_vec();
    body[104] -= 1;
    assert!(Account::decode(&key, &sealed(&body)).is_err());
    let foreign = Key::new(&[0x06, 0x02]).unwrap();
    assert!(Account::decode(&foreign, &crate::store::envelope::seal(&foreign, 1, &none)).is_err());
}

#[test]
fn store_without_one_of_its_accounts_is_refused() {
    let (ledger, mut store) = after(&[earn(1, 70), earn(2, 7)]);
    let mut batch = Batch::default();
    batch.delete(Account::key(worker(2)).unwrap()).unwrap();
    store.commit(&batch, Durability::Barrier).unwrap();
    let loaded = Ledger::load(ledger.limits(), &store);
    assert_eq!(loaded.unwrap_err(), LedgerError::Unbalanced);
}

#[test]
fn sums_above_all_money_are_refused() {
    let most = HashPrice::per_bits(msat(1 << 31), crate::units::WorkBits::new(0).unwrap()).unwrap();
    let limits = Limits { unpaid_max: Msat::MAX, workers_max: 4 };
    let mut ledger = Ledger::new(limits).unwrap();
    let mut store = MemoryStore::default();
    let credit = Credit::priced(Work::new(900_000_000), most).unwrap();
    take(&mut ledger, &mut store, Input::Credit { worker: worker(1), credit }).unwrap();
    // Each alone is an amount, both are not.
    let above = take(&mut ledger, &mut store, Input::Credit { worker: worker(2), credit });
    assert!(matches!(above, Err(LedgerError::Overflow(_))));
    assert!(Credit::priced(Work::new(u128::MAX), most).is_err());
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Earn { who: u8, work: u16, parts: u16 },
    Pay { who: u8, part: u8 },
    Move { who: u8, other: u16 },
    Forget { who: u8 },
    Restart,
}

/// What the ledger knows of the channel is the last of it.
fn last_word(who: u8, channel: OutPoint) -> Input {
    Input::Unbind { worker: worker(who), channel, paid: Msat::ZERO }
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0_u8..4;
    prop_oneof![
        4 => (who.clone(), any::<u16>(), 1..=u16::MAX)
            .prop_map(|(who, work, parts)| Op::Earn { who, work, parts }),
        3 => (who.clone(), 0..=u8::MAX).prop_map(|(who, part)| Op::Pay { who, part }),
        1 => (who.clone(), any::<u16>()).prop_map(|(who, other)| Op::Move { who, other }),
        1 => who.prop_map(|who| Op::Forget { who }),
        1 => Just(Op::Restart),
    ]
}

/// The model: what each worker earned in 2^-16 msat, and what it was paid, by plain addition.
#[derive(Debug, Default)]
struct Model {
    earned: BTreeMap<u8, u128>,
    received: BTreeMap<u8, u128>,
    fee: u128,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn ledger_is_a_plain_sum(ops in proptest::collection::vec(op(), 1..60)) {
        let (mut ledger, mut store) = (ledger(), MemoryStore::default());
        let mut model = Model::default();
        let mut next_channel = 0_u8;
        for op in ops {
            match op {
                Op::Earn { who, work, parts } => {
                    let input = Input::Credit {
                        worker: worker(who),
                        credit: credit(work.into(), parts.into()),
                    };
                    match take(&mut ledger, &mut store, input) {
                        Ok(()) => *model.earned.entry(who).or_default() +=
                            u128::from(work) * u128::from(parts),
                        Err(LedgerError::UnpaidLimit { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Op::Pay { who, part } => {
                    let Some((at, to)) = ledger.account(worker(who)).and_then(Account::pay_to)
                    else { continue };
                    // A channel may have less room than is due.
                    let due = ledger.due(worker(who)).to_msat();
                    let now = due * u64::from(part) / 255;
                    let paid = to.saturating_sub(msat(due - now));
                    let input = Input::Paid { worker: worker(who), channel: at, paid };
                    take(&mut ledger, &mut store, input).unwrap();
                    *model.received.entry(who).or_default() += u128::from(now);
                }
                Op::Move { who, other } => {
                    if let Some(at) = ledger.account(worker(who)).and_then(Account::channel) {
                        take(&mut ledger, &mut store, last_word(who, at)).unwrap();
                    }
                    next_channel = next_channel.wrapping_add(1);
                    let paid = msat(other.into());
                    let at = channel(next_channel);
                    let input = Input::Bind { worker: worker(who), channel: at, paid };
                    take(&mut ledger, &mut store, input).unwrap();
                }
                Op::Forget { who } => {
                    if let Some(at) = ledger.account(worker(who)).and_then(Account::channel) {
                        take(&mut ledger, &mut store, last_word(who, at)).unwrap();
                    }
                    let forget = Input::Forget { worker: worker(who) };
                    if take(&mut ledger, &mut store, forget).is_ok() {
                        let earned = model.earned.remove(&who).unwrap_or_default();
                        model.fee += earned & 0xffff;
                        let received = model.received.remove(&who).unwrap_or_default();
                        prop_assert_eq!(received, earned >> 16);
                    }
                }
                Op::Restart => ledger = Ledger::load(ledger.limits(), &store).unwrap(),
            }
            ledger.holds_together().unwrap();
            let mut whole = BTreeMap::new();
            for account in ledger.accounts() {
                let who = account.worker().as_bytes()[0];
                let earned = model.earned.get(&who).copied().unwrap_or_default();
                let received = model.received.get(&who).copied().unwrap_or_default();
                prop_assert_eq!(u128::from(account.due().to_msat()), (earned >> 16) - received);
                prop_assert_eq!(u128::from(account.paid().to_msat()), received);
                whole.insert(who, earned);
            }
            prop_assert!(model.earned.iter().all(|(who, sum)| whole.get(who) == Some(sum)));
            let fee = HashPrice::from_q96(1 << 80).unwrap();
            prop_assert_eq!(ledger.totals().fee(), Exact::of(Work::new(model.fee), fee).unwrap());
        }
    }

    /// Any order of the same shares, folded or not, leaves the same account.
    #[test]
    fn order_of_shares_is_of_no_consequence(
        shares in proptest::collection::vec((any::<u32>(), 1_u32..=u32::MAX), 1..30),
        cut in 0_usize..30,
    ) {
        let forward = shares.iter().map(|(work, parts)| credit((*work).into(), (*parts).into()));
        let (mut one, mut two) = (ledger(), ledger());
        (one.limits.unpaid_max, two.limits.unpaid_max) = (Msat::MAX, Msat::MAX);
        let mut store = MemoryStore::default();
        for credit in forward.clone() {
            take(&mut one, &mut store, Input::Credit { worker: worker(1), credit }).unwrap();
        }
        let cut = cut.min(shares.len());
        let backward = forward.rev().collect::<alloc::vec::Vec<_>>();
        for part in [&backward[..cut], &backward[cut..]] {
            let fold = |sum: Credit, credit: &Credit| sum.plus(credit).unwrap();
            let credit = part.iter().fold(Credit::NONE, fold);
            take(&mut two, &mut store, Input::Credit { worker: worker(1), credit }).unwrap();
        }
        prop_assert_eq!(one.accounts, two.accounts);
        prop_assert_eq!(one.totals, two.totals);
    }

    #[test]
    fn price_falls_with_the_fee(fee in 0_u32..1_000_000) {
        let (reward, network) = (msat(313_000_000_000), Work::new(1 << 79));
        let at = |ppm| HashPrice::pps(reward, Ppm::new(ppm).unwrap(), network);
        prop_assert!(at(fee).unwrap() > at(fee + 1).unwrap_or(HashPrice::from_q96(1).unwrap()));
    }
}
