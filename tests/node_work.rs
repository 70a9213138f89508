//! Work that is credited becomes vouchers: to the millisatoshi, once, whatever is lost between the
//! pool and its workers, and wherever their channels go on.

#[path = "node_work/pool.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod pool;

use std::cell::Cell;
use std::rc::Rc;

use bitcoin::ScriptBuf;
use bitcoin::key::Secp256k1;
use millstream::keys::{Context, tagged_hash};
use millstream::ledger::receipt::{Opening, ShareReceipt, ShareWindow, Statement};
use millstream::ledger::{Account, Credit, Exact, LedgerError, WorkerKey};
use millstream::node::plan::{Forecast, Policy};
use millstream::node::{Command, Event, NodeError, WakeReason, WorkPolicy};
use millstream::signer::{Attest, PeerId, Request, Signer};
use millstream::sim::world::{Clear, EndId, Fate, Weather, World, WorldError};
use millstream::stream::payer::Ending;
use millstream::tx::{ChangeScript, WalletScript};
use millstream::units::{FeeRate, Lane, Msat};
use millstream::wire::Message;
use pool::{CAPACITY, Stage, base, credit, msat, sat, secs, session, worth};
use proptest::prelude::*;

/// Loses every voucher while it is on.
#[derive(Debug)]
struct NoVouchers {
    on: Rc<Cell<bool>>,
    next: bool,
}

impl Weather for NoVouchers {
    fn fate(&mut self, _from: EndId, _bytes: usize) -> Fate {
        if self.next { Fate::Lost } else { Fate::Arrives }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.next = self.on.get() && matches!(message, Message::Voucher(_));
    }
}

fn lose_vouchers(stage: &mut Stage) -> Rc<Cell<bool>> {
    let on = Rc::new(Cell::new(true));
    stage.world.set_weather(Box::new(NoVouchers { on: Rc::clone(&on), next: false }));
    on
}

/// Nothing is open between the two, and both say the same.
fn assert_even(stage: &Stage, nth: usize) {
    assert_eq!(stage.due(nth), Msat::ZERO, "{:?}", stage.refusals());
    assert_eq!(stage.paid(nth), stage.owed(nth));
    assert_eq!(stage.held(nth), stage.signed(nth), "{:?}", stage.refusals());
}

fn refused(result: Result<(), WorldError>) -> NodeError {
    match result {
        Err(WorldError::Node(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn work_of_parts_of_a_millisatoshi_is_paid_when_it_makes_whole_ones() {
    let mut stage = Stage::bound(1);
    // A third of a millisatoshi and a bit, so that the third share makes one.
    for (share, paid) in (1..=9).zip([0, 0, 1, 1, 1, 2, 2, 2, 3]) {
        stage.credit(0, credit(1, 21_846));
        stage.settle_down();
        assert_eq!(stage.held(0), msat(paid), "{share}");
        assert_even(&stage, 0);
    }
    let account = stage.node().ledger().account(stage.workers[0].key).unwrap();
    assert_eq!((account.shares(), account.paid()), (9, msat(3)));
}

#[test]
fn credits_of_a_drain_are_paid_by_one_voucher_in_one_commit() {
    let mut stage = Stage::bound(3);
    stage.earn(0, 1);
    let store = |stage: &Stage| stage.world.end(stage.pool).unwrap().store().commits();
    let vouchers = |stage: &Stage| stage.world.sent()["Voucher"].messages;
    let (commits, sent) = (store(&stage), vouchers(&stage));
    for _ in 0..100 {
        for nth in 0..3 {
            stage.credit(nth, worth(7));
        }
    }
    stage.settle_down();
    assert_eq!(store(&stage) - commits, 1);
    assert_eq!(vouchers(&stage) - sent, 3);
    for nth in 0..3 {
        assert_eq!(stage.held(nth), msat(if nth == 0 { 701 } else { 700 }));
        assert_even(&stage, nth);
    }
    let paid = |event: &Event| matches!(event, Event::WorkPaid { paid, .. } if *paid == msat(700));
    assert_eq!(stage.events().iter().filter(|event| paid(event)).count(), 3);
}

#[test]
fn worker_without_a_channel_is_paid_at_once_when_one_is_bound() {
    let mut stage = Stage::open(1);
    stage.earn(0, 5_000);
    stage.world.reboot(stage.pool).unwrap();
    stage.reconnect(0);
    stage.earn(0, 700);
    assert_eq!((stage.due(0), stage.held(0)), (msat(5_700), Msat::ZERO));
    stage.bind(0).unwrap();
    stage.settle_down();
    assert_eq!(stage.held(0), msat(5_700));
    assert_even(&stage, 0);
}

#[test]
fn channel_of_another_payee_or_in_other_use_is_not_bound() {
    let mut stage = Stage::open(2);
    let outpoint = stage.workers[0].outpoint;
    let budget = msat(1_000);
    let bind = |worker| Command::BindWorker { worker, outpoint, session: session(), budget };
    let stranger = stage.workers[1].key;
    let error = refused(stage.world.command(stage.pool, bind(stranger)));
    assert_eq!(error, NodeError::OtherPayee { outpoint });
    // Paid by hand before: that was for something else.
    let peer = PeerId::new(base(stage.workers[0].seed));
    let signer = stage.world.end_mut(stage.pool).unwrap().node_mut().signer_mut();
    signer.open_session(peer, session(), budget).unwrap();
    let (more, ending) = (msat(900), Ending::KeepsChange);
    let pay = || Command::Pay { outpoint, more, session: session(), ending };
    stage.world.command(stage.pool, pay()).unwrap();
    stage.settle_down();
    stage.bind(0).unwrap();
    stage.earn(0, 50);
    assert_eq!((stage.held(0), stage.paid(0)), (msat(950), msat(50)));
    // And from now on it pays nothing else.
    let (lane, limit) = (Lane::new(1).unwrap(), msat(1_000));
    let lane = Command::OpenLane { outpoint, lane, limit, session: session() };
    for command in [pay(), lane] {
        let error = refused(stage.world.command(stage.pool, command));
        assert_eq!(error, NodeError::Taken { outpoint });
    }
    // Bound again it goes on as it was.
    stage.bind(0).unwrap();
    stage.earn(0, 25);
    assert_eq!((stage.held(0), stage.paid(0)), (msat(975), msat(75)));
    assert_even(&stage, 0);
}

#[test]
fn channel_with_lanes_is_not_bound() {
    let mut stage = Stage::open(1);
    let outpoint = stage.workers[0].outpoint;
    let (lane, limit) = (Lane::new(1).unwrap(), msat(1_000));
    let lane = Command::OpenLane { outpoint, lane, limit, session: session() };
    stage.world.command(stage.pool, lane).unwrap();
    stage.settle_down();
    assert_eq!(refused(stage.bind(0)), NodeError::Taken { outpoint });
}

#[test]
fn worker_is_not_paid_twice_after_a_reconnect_or_a_restart() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 1_000);
    for round in 0..6_u64 {
        let lossy = lose_vouchers(&mut stage);
        stage.credit(0, worth(10));
        stage.settle_down();
        assert_eq!(stage.held(0), msat(1_000 + 10 * round), "its voucher is lost");
        match round % 3 {
            0 => stage.part(0),
            1 => stage.world.reboot(stage.pool).unwrap(),
            _ => stage.world.reboot(stage.workers[0].end).unwrap(),
        }
        lossy.set(false);
        stage.reconnect(0);
        stage.reconnect(0);
        assert_eq!(stage.held(0), msat(1_010 + 10 * round), "{:?}", stage.refusals());
        assert_even(&stage, 0);
    }
}

#[test]
fn full_channel_keeps_what_is_owed_until_another_is_bound() {
    let mut stage = Stage::bound(1);
    let full = stage.workers[0].outpoint;
    let most = stage.node().payer(full).unwrap().channel().largest_with_change();
    stage.earn(0, most.to_msat() - 10);
    let _before = stage.events();
    stage.earn(0, 25);
    assert_eq!((stage.signed(0), stage.due(0)), (most, msat(15)));
    stage.earn(0, 5);
    let worker = stage.workers[0].key;
    let told: Vec<_> = stage
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::WorkUnpaid { .. }))
        .collect();
    // Once.
    let why = NodeError::NoRoom { outpoint: full, room: msat(10) };
    assert_eq!(told, [Event::WorkUnpaid { worker, due: msat(15), why }]);
    stage.fund(vec![(0, CAPACITY)], &ChangeScript::Own);
    stage.bind(0).unwrap();
    stage.settle_down();
    assert_eq!((stage.held(0), stage.paid(0)), (msat(20), msat(most.to_msat() + 20)));
    assert_even(&stage, 0);
    // What becomes of the old one changes nothing any more.
    let next = stage.workers[0].outpoint;
    stage.workers[0].outpoint = full;
    stage.settle(0, 1_000);
    stage.mine(4);
    stage.workers[0].outpoint = next;
    stage.earn(0, 1);
    assert_eq!((stage.held(0), stage.paid(0)), (msat(21), msat(most.to_msat() + 21)));
    assert_even(&stage, 0);
}

#[test]
fn other_channel_is_not_bound_before_everything_on_the_last_one_is_acknowledged() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 1_000);
    let first = stage.workers[0].outpoint;
    let lossy = lose_vouchers(&mut stage);
    stage.earn(0, 500);
    stage.fund(vec![(0, CAPACITY)], &ChangeScript::Own);
    assert_eq!(refused(stage.bind(0)), NodeError::InFlight { outpoint: first });
    lossy.set(false);
    stage.pass(60);
    stage.bind(0).unwrap();
    stage.earn(0, 7);
    assert_eq!((stage.held(0), stage.paid(0)), (msat(7), msat(1_507)));
}

#[test]
fn work_owed_more_than_was_allowed_is_not_credited() {
    let mut stage = Stage::open(1);
    let policy = WorkPolicy { owed_max: msat(100), ..WorkPolicy::default() };
    stage.world.command(stage.pool, Command::TendWork(policy)).unwrap();
    stage.earn(0, 100);
    // What was verified is credited whole.
    stage.earn(0, 900);
    let worker = stage.workers[0].key;
    let more = Command::CreditWork { worker, credit: worth(1) };
    let error = refused(stage.world.command(stage.pool, more));
    let (due, max) = (msat(1_000), msat(100));
    assert_eq!(error, LedgerError::UnpaidLimit { worker, due, max }.into());
    stage.bind(0).unwrap();
    stage.settle_down();
    stage.earn(0, 1);
    assert_eq!(stage.held(0), msat(1_001));
}

#[test]
fn small_amounts_wait_for_their_sum_or_their_time() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 3);
    let policy = WorkPolicy { pay_at: msat(100), pay_after: secs(600), ..WorkPolicy::default() };
    stage.world.command(stage.pool, Command::TendWork(policy)).unwrap();
    for _ in 0..33 {
        stage.earn(0, 3);
    }
    assert_eq!((stage.held(0), stage.due(0)), (msat(3), msat(99)));
    stage.earn(0, 1);
    assert_eq!((stage.held(0), stage.due(0)), (msat(103), Msat::ZERO));
    assert_eq!(stage.node().wake(), None);
    stage.earn(0, 40);
    let wake = stage.node().wake().unwrap();
    assert_eq!(wake.why, WakeReason::PayWork);
    assert_eq!(wake.at, stage.world.now().time.saturating_after(secs(600)));
    stage.pass(599);
    stage.earn(0, 2);
    assert_eq!(stage.held(0), msat(103));
    stage.pass(1);
    assert_eq!(stage.held(0), msat(145));
    assert_even(&stage, 0);
    assert_eq!(stage.node().wake(), None);
}

#[test]
fn payment_over_its_budget_is_told_and_paid_when_there_is_more() {
    let mut stage = Stage::open(1);
    stage.bind_within(0, msat(1_000)).unwrap();
    stage.settle_down();
    stage.earn(0, 900);
    let _before = stage.events();
    stage.earn(0, 200);
    assert_eq!((stage.held(0), stage.due(0)), (msat(900), msat(200)));
    let unpaid =
        |event: &Event| matches!(event, Event::WorkUnpaid { due, .. } if *due == msat(200));
    assert_eq!(stage.events().iter().filter(|event| unpaid(event)).count(), 1);
    stage.bind_within(0, msat(10_000)).unwrap();
    stage.settle_down();
    stage.earn(0, 1);
    assert_eq!(stage.held(0), msat(1_101));
    assert_even(&stage, 0);
}

#[test]
fn what_a_settlement_leaves_out_is_due_on_the_successor_and_not_after_a_better_one() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 30_000_500);
    // The worker is away for 700 msat, and settles what it has.
    let _lossy = lose_vouchers(&mut stage);
    stage.earn(0, 700);
    let first = stage.workers[0].outpoint;
    stage.settle(0, 1_000);
    stage.world.set_weather(Box::new(Clear));
    stage.follow(0);
    stage.pass(60);
    // 500 msat are the successor's first debt, and the 700 are due again.
    assert_eq!(stage.held(0), msat(1_200), "{:?}", stage.refusals());
    assert_eq!(stage.paid(0), msat(30_001_200));
    assert_even(&stage, 0);
    stage.world.reboot(stage.pool).unwrap();
    stage.reconnect(0);
    stage.earn(0, 100);
    assert_eq!((stage.held(0), stage.paid(0)), (msat(1_300), msat(30_001_300)));
    // The mempool drops it: what counts is what was signed where it was, and the rest is paid there.
    let next = stage.workers[0].outpoint;
    stage.world.chain().with(|chain| chain.set_min_relay(FeeRate::new(50_000).unwrap()));
    stage.mine(1);
    stage.workers[0].outpoint = first;
    assert!(stage.events().contains(&Event::SpendUndone { outpoint: first }));
    stage.reconnect(0);
    assert_eq!((stage.paid(0), stage.signed(0)), (msat(30_001_300), msat(30_001_300)));
    assert_even(&stage, 0);
    // It comes back, and with it what was paid behind it: nothing is due twice.
    stage.world.chain().with(|chain| chain.set_min_relay(FeeRate::new(1_000).unwrap()));
    stage.mine(5);
    stage.workers[0].outpoint = next;
    assert_eq!((stage.paid(0), stage.signed(0)), (msat(30_001_300), msat(1_300)));
    stage.earn(0, 50);
    assert_eq!((stage.paid(0), stage.held(0)), (msat(30_001_350), msat(1_350)));
    assert_even(&stage, 0);
}

#[test]
fn channel_that_ends_comes_to_rest_at_what_its_spend_states() {
    for lost in [0, 250] {
        let key = bitcoin::key::UntweakedPublicKey::from(base(77));
        let script = ScriptBuf::new_p2tr(&Secp256k1::verification_only(), key, None);
        let wallet = ChangeScript::Wallet(WalletScript::parse(script).unwrap());
        let mut stage = Stage::on(World::new().unwrap(), 1, &wallet);
        stage.bind(0).unwrap();
        stage.earn(0, 20_000_000);
        let _lossy = lose_vouchers(&mut stage);
        if lost > 0 {
            stage.earn(0, lost);
        }
        stage.settle(0, 1_000);
        stage.world.set_weather(Box::new(Clear));
        let first = stage.workers[0].outpoint;
        stage.earn(0, 40);
        assert_eq!(stage.due(0), msat(lost + 40));
        stage.fund(vec![(0, CAPACITY)], &ChangeScript::Own);
        stage.mine(6);
        assert!(stage.node().payer(first).is_none());
        stage.world.reboot(stage.pool).unwrap();
        stage.reconnect(0);
        stage.bind(0).unwrap();
        stage.settle_down();
        assert_eq!(stage.held(0), msat(lost + 40), "{:?}", stage.refusals());
        assert_eq!(stage.paid(0), msat(20_000_040 + lost));
        assert_even(&stage, 0);
    }
}

#[test]
fn other_channel_is_not_bound_before_the_end_of_the_last_one_is_buried() {
    let key = bitcoin::key::UntweakedPublicKey::from(base(77));
    let script = ScriptBuf::new_p2tr(&Secp256k1::verification_only(), key, None);
    let wallet = ChangeScript::Wallet(WalletScript::parse(script).unwrap());
    let mut stage = Stage::on(World::new().unwrap(), 1, &wallet);
    let first = stage.workers[0].outpoint;
    stage.fund(vec![(0, CAPACITY)], &ChangeScript::Own);
    let second = std::mem::replace(&mut stage.workers[0].outpoint, first);
    stage.bind(0).unwrap();
    stage.earn(0, 20_000_000);
    stage.settle(0, 1_000);
    stage.workers[0].outpoint = second;
    stage.earn(0, 40);
    // Undone by a reorg, the first would go on, and its vouchers would pay for the same work.
    for confirmed in 0..3 {
        assert_eq!(refused(stage.bind(0)), NodeError::InFlight { outpoint: first }, "{confirmed}");
        stage.mine(1);
    }
    stage.mine(3);
    stage.bind(0).unwrap();
    stage.settle_down();
    assert_eq!((stage.held(0), stage.paid(0)), (msat(40), msat(20_000_040)));
    assert_even(&stage, 0);
}

#[test]
fn channel_that_pays_the_work_no_more_pays_other_things_again() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 1_000);
    let first = stage.workers[0].outpoint;
    stage.fund(vec![(0, CAPACITY)], &ChangeScript::Own);
    stage.bind(0).unwrap();
    stage.settle_down();
    let (more, ending) = (msat(900), Ending::KeepsChange);
    let pay = Command::Pay { outpoint: first, more, session: session(), ending };
    stage.world.command(stage.pool, pay).unwrap();
    stage.earn(0, 7);
    assert_eq!((stage.held(0), stage.paid(0)), (msat(7), msat(1_007)));
    assert_even(&stage, 0);
}

#[test]
fn top_up_is_followed_and_pays_on() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 60_000_000);
    let outpoint = stage.workers[0].outpoint;
    let (tx, coin) = stage.world.coin(sat(61_000)).unwrap();
    stage.world.chain().with(|chain| chain.submit(&tx)).unwrap();
    stage.mine(1);
    let (inputs, capacity) = (vec![coin], sat(CAPACITY));
    let top_up = Command::TopUp { outpoint, inputs, capacity, carries: None };
    stage.world.command(stage.pool, top_up).unwrap();
    stage.settle_down();
    // What is paid now it would not state: it waits, but not for long.
    stage.earn(0, 11);
    assert_eq!((stage.held(0), stage.due(0)), (msat(60_000_000), msat(11)));
    let spend = stage.events().into_iter().find_map(|event| match event {
        Event::TopUpAgreed { spend, .. } => Some(spend),
        _ => None,
    });
    let spend = spend.unwrap_or_else(|| panic!("{:?}", stage.refusals()));
    let witnesses = stage.world.sign_coins(spend.transaction(), spend.spent()).unwrap();
    stage.world.command(stage.pool, Command::FinishTopUp { outpoint, witnesses }).unwrap();
    stage.settle_down();
    stage.follow(0);
    stage.mine(4);
    stage.earn(0, 89);
    assert_eq!(stage.paid(0), msat(60_000_100), "{:?}", stage.refusals());
    assert_even(&stage, 0);
}

#[test]
fn pool_on_an_old_disk_takes_what_the_worker_shows_for_paid() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 1_000);
    let old = stage.world.end(stage.pool).unwrap().store().durable().clone();
    stage.earn(0, 400);
    *stage.world.end_mut(stage.pool).unwrap().store_mut() =
        millstream::store::fault::FaultStore::new(old);
    stage.world.reboot(stage.pool).unwrap();
    stage.reconnect(0);
    assert_eq!((stage.paid(0), stage.owed(0)), (msat(1_400), msat(1_000)));
    // The credits that it paid are gone with the disk; later ones work them off.
    stage.earn(0, 300);
    assert_eq!((stage.held(0), stage.due(0)), (msat(1_400), Msat::ZERO));
    stage.earn(0, 150);
    assert_eq!(stage.held(0), msat(1_450));
    assert_even(&stage, 0);
}

#[test]
fn gateway_settles_the_channels_of_many_workers_in_one_transaction() {
    // Its workers are keys of its own: it is their payee, and pays them as it likes.
    let mut stage = Stage::bound(1);
    stage.fund((0..11).map(|_| (0, CAPACITY)).collect(), &ChangeScript::Own);
    let gateway = stage.workers[0].end;
    let outpoints: Vec<_> =
        stage.node().payers().map(millstream::stream::Payer::outpoint).collect();
    assert_eq!(outpoints.len(), 12);
    for outpoint in outpoints {
        stage.workers[0].outpoint = outpoint;
        stage.bind(0).unwrap();
        stage.earn(0, 20_000_000);
    }
    assert_eq!((stage.paid(0), stage.due(0)), (msat(240_000_000), Msat::ZERO));
    let node = stage.world.end(gateway).unwrap().node();
    let (rate, policy) = (FeeRate::new(1_000).unwrap(), Policy::new(stage.till(0)));
    let from = stage.world.chain().with(|chain| chain.tip()).height;
    let plan = node.plan(rate, Some(Forecast { from, rate }), &[], &policy).unwrap();
    assert_eq!(plan.groups.len(), 1, "{plan:?}");
    let group = &plan.groups[0];
    assert_eq!(group.outpoints.len(), 12);
    let (outpoints, script) = (group.outpoints.clone(), stage.till(0));
    stage.world.command(gateway, Command::Settle { outpoints, script, rate }).unwrap();
    stage.settle_down();
    let sent: Vec<_> = stage.world.chain().with(|chain| chain.mempool().cloned().collect());
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].output.last().unwrap().value.to_sat(), group.brings.to_sat());
    assert_eq!(group.brings.to_sat() + group.fee.to_sat(), 240_000);
    stage.follow(0);
    stage.mine(4);
    stage.earn(0, 5_000);
    assert_eq!((stage.paid(0), stage.due(0)), (msat(240_005_000), Msat::ZERO));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn credits_in_any_order_with_any_cuts_between_are_paid_whole(
        story in prop::collection::vec((0_usize..2, 1_u64..5_000, 1_u64..200_000, 0_u8..8), 1..24),
    ) {
        let mut stage = Stage::open(2);
        let mut parts = [0_u128; 2];
        for (nth, work, price, befalls) in story {
            stage.credit(nth, credit(work, price));
            parts[nth] += u128::from(work) * u128::from(price);
            match befalls {
                0 => stage.world.set_weather(Box::new(Clear)),
                1 => { lose_vouchers(&mut stage); }
                2 => {
                    stage.settle_down();
                    stage.world.reboot(stage.pool).unwrap();
                    (0..2).for_each(|nth| stage.reconnect(nth));
                }
                3 => stage.reconnect(nth),
                4 => { let _bound = stage.bind(nth); }
                _ => stage.settle_down(),
            }
        }
        stage.world.set_weather(Box::new(Clear));
        for (nth, parts) in parts.into_iter().enumerate() {
            stage.settle_down();
            stage.reconnect(nth);
            stage.bind(nth).unwrap();
            stage.pass(60);
            let owed = msat(u64::try_from(parts >> 16).unwrap());
            prop_assert_eq!(stage.owed(nth), owed);
            prop_assert_eq!(stage.held(nth), owed);
            assert_even(&stage, nth);
        }
    }
}

#[test]
fn shares_of_a_window_have_receipts_that_the_worker_checks_alone() {
    let mut stage = Stage::bound(1);
    stage.earn(0, 77);
    let (worker, channel) = (stage.workers[0].key, stage.workers[0].outpoint);
    let owed = stage.node().ledger().account(worker).unwrap().owed();
    let opening = Opening { worker, channel, window: 1, owed };
    let (mut window, mut own) = (ShareWindow::proving(opening, 2), Credit::NONE);
    let mut early = None;
    for share in 0..5_u8 {
        let credit = credit(1_000, 40_000 + u64::from(share));
        window.push(&[share; 24], &credit).unwrap();
        own = own.plus(&credit).unwrap();
        if share == 4 {
            early = Some(window.clone().seal().unwrap());
        }
        stage.credit(0, credit);
    }
    stage.settle_down();
    let (statement, proof) = window.into_proof().unwrap();
    assert_eq!(early, Some(statement));
    let now = stage.world.now();
    let node = stage.world.end_mut(stage.pool).unwrap().node_mut();
    let signature = node.sign_shares(&statement, &now).unwrap();
    // More than was credited it does not sign.
    let to = statement.to.plus(Exact::from(msat(1))).unwrap();
    let error = node.sign_shares(&Statement { to, ..statement }, &now).unwrap_err();
    assert_eq!(error, LedgerError::AboveOwed { worker, by: msat(1) }.into());
    // The worker counted the sums alone, and kept one share.
    let (context, pool) = (Context::new(), base(1));
    statement.check(&own).unwrap();
    let receipt = ShareReceipt::new(statement, signature, proof).unwrap();
    assert_eq!(receipt.verify(&context, pool), Ok(&statement));
    assert!(receipt.verify(&context, base(10)).is_err());
    assert_eq!(receipt.proof().share(), [2; 24]);
    assert_even(&stage, 0);
}

/// What the worker verifies is what the signer signs for shares, and for nothing else.
#[test]
fn receipt_of_shares_holds_under_the_tag_of_shares_alone() {
    let mut stage = Stage::bound(1);
    let (worker, channel) = (stage.workers[0].key, stage.workers[0].outpoint);
    let opening = Opening { worker, channel, window: 1, owed: Exact::ZERO };
    let mut window = ShareWindow::proving(opening, 0);
    window.push(&[1; 24], &worth(7)).unwrap();
    let (statement, proof) = window.into_proof().unwrap();
    assert_eq!(statement.digest(), tagged_hash(Attest::Shares.tag(), &[&statement.encode()]));
    let now = stage.world.now();
    let signer = stage.world.end_mut(stage.pool).unwrap().node_mut().signer_mut();
    for kind in [Attest::Shares, Attest::Statement, Attest::Receipt] {
        let request = Request::Attest { kind, bytes: &statement.encode() };
        let signature = signer.sign(&request, now.time, &now.aux).unwrap();
        let receipt = ShareReceipt::new(statement, signature, proof.clone()).unwrap();
        let holds = receipt.verify(&Context::new(), base(1)).is_ok();
        assert_eq!(holds, kind == Attest::Shares, "{kind:?}");
    }
}

/// Both records are made for a worker by its key; that of another says so.
#[test]
fn ledger_of_the_pool_names_each_worker_by_its_payout_key() {
    let mut stage = Stage::bound(2);
    stage.earn(1, 12);
    let paid: Vec<_> = stage.node().ledger().accounts().map(Account::paid).collect();
    assert_eq!(paid.iter().filter(|paid| **paid == msat(12)).count(), 1);
    assert_eq!(stage.workers[1].key, WorkerKey::from(base(11)));
}
