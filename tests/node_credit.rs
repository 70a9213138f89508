//! What a payer could have for nothing: places in the node by fundings that never confirm, writes
//! and transactions by closes, credit by top-ups with coins that do not exist, service on a channel
//! that cannot pay.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid, WPubkeyHash};
use millstream::keys::{Context, Entropy};
use millstream::meter::State;
use millstream::node::{Command, Event, Input, LinkId, NodeError};
use millstream::signer::{MemorySigner, PeerId, Request, Role, Signer};
use millstream::store::MemoryStore;
use millstream::stream::payee::PayeePhase;
use millstream::stream::payer::Ending;
use millstream::stream::{Payee, StreamError};
use millstream::tx::seen::{OutputStatus, Spend, Tip};
use millstream::tx::{ChangeScript, Channel, JointSpend, payee_script};
use millstream::units::{ChannelAlias, FeeRate, Height};
use millstream::wire::{self, Message, Refusal};
use street::{Street, blocks, id, msat, sat};

fn alias(alias: u32) -> ChannelAlias {
    ChannelAlias::new(alias).unwrap()
}

fn wallet() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_raw_hash(Hash::all_zeros()))
}

fn phantom(n: u32) -> OutPoint {
    let mut txid = [7; 32];
    txid[..4].copy_from_slice(&n.to_be_bytes());
    OutPoint { txid: Txid::from_byte_array(txid), vout: 0 }
}

/// The station is shown an output of the car's script, and its chain answers for it.
fn show(street: &mut Street, link: LinkId, n: u32, status: OutputStatus) -> Result<(), NodeError> {
    let open = wire::Open { outpoint: phantom(n), alias: alias(n), ..street.open_message() };
    street.inject(street.station, link, open)?;
    street.handle(street.station, Input::Output(phantom(n), Some(status)))
}

fn unspent(street: &Street, confirmed: Option<Height>) -> OutputStatus {
    let payer = street.world.end(street.car).unwrap().node().payer(street.first).unwrap();
    let script = payer.channel().output().script().clone();
    OutputStatus { value: sat(10_000), script, confirmed, truc: false, spent: None }
}

fn tip(street: &Street) -> Tip {
    street.world.chain().with(|chain| chain.tip())
}

fn drain(street: &mut Street) -> millstream::node::Outbox {
    let now = street.world.now();
    let node = street.world.end_mut(street.station).unwrap().node_mut();
    node.flush(&now, &mut MemoryStore::default()).unwrap()
}

fn payees(street: &Street) -> Vec<OutPoint> {
    let node = street.world.end(street.station).unwrap().node();
    node.payees().map(Payee::outpoint).collect()
}

#[test]
fn fundings_that_never_confirm_take_a_small_part_and_are_forgotten_when_they_are_gone() {
    let mut street = Street::in_session();
    let stranger = street.stranger_at(street.station);
    let status = unspent(&street, None);
    let mut refused = None;
    for n in 0..1_100 {
        if let Err(error) = show(&mut street, stranger, n, status.clone()) {
            refused.get_or_insert(error);
        }
        let _ = drain(&mut street);
    }
    let what = "channels that are in no block";
    assert_eq!(refused, Some(NodeError::TooMany { what, max: 1_024 }));
    assert_eq!(payees(&street).len(), 1_024 + 1);
    // Who waits for its funding to confirm is not kept out by them.
    let confirmed = unspent(&street, Some(tip(&street).height));
    show(&mut street, stranger, 2_000, confirmed).unwrap();
    // Replaced: one makes room at once for whoever needs it, the others go in time.
    street.handle(street.station, Input::Output(phantom(3), None)).unwrap();
    assert_eq!(payees(&street).len(), 1_024 + 2);
    show(&mut street, stranger, 2_001, status).unwrap();
    assert!(!payees(&street).contains(&phantom(3)));
    for age in 0..=6 {
        let mut tip = tip(&street);
        tip.height = Height::new(tip.height.to_u32() + age).unwrap();
        street.handle(street.station, Input::Tip(tip)).unwrap();
        assert_eq!(payees(&street).len(), 1_024 + 2, "{age}");
        for n in (0..1_024).chain([2_001]) {
            let _unknown = street.handle(street.station, Input::Output(phantom(n), None));
            let _ = drain(&mut street);
        }
    }
    let mut left = payees(&street);
    left.sort();
    let mut kept = vec![street.outpoint, phantom(2_000)];
    kept.sort();
    assert_eq!(left, kept);
}

/// The station's chain knows nothing of the channel's funding, for so many blocks.
fn lose_funding(street: &mut Street, for_blocks: u32) {
    let (station, first) = (street.station, street.first);
    let node = street.world.end(station).unwrap().node();
    let mut tip = node.view(street.time()).unwrap().tip;
    for age in [0, for_blocks] {
        tip.height = Height::new(tip.height.to_u32() + age).unwrap();
        street.handle(station, Input::Tip(tip)).unwrap();
        street.handle(station, Input::Output(first, None)).unwrap();
        let _ = street.flush(station);
    }
}

/// How a payee signature on a channel in no deep block has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    Settlement,
    Close,
}

fn promised(how: Promise) -> Street {
    let mut street = Street::unfunded();
    let fund = street.fund_command(Some(street.link));
    street.world.command(street.car, fund).unwrap();
    street.world.settle_down().unwrap();
    match how {
        Promise::Settlement => {
            street.open_budget(8);
            let (outpoint, more) = (street.first, msat(900_000));
            let pay = Command::Pay { outpoint, more, session: id(8), ending: Ending::KeepsChange };
            street.world.command(street.car, pay).unwrap();
            street.world.settle_down().unwrap();
            street.settle(1_000);
        }
        Promise::Close => {
            street.world.mine(blocks(1));
            street.world.settle_down().unwrap();
            let request = close(&mut street, 21);
            street.inject(street.station, street.link, request).unwrap();
            let _ = street.flush(street.station);
        }
    }
    street
}

fn phase(street: &Street) -> Option<PayeePhase> {
    let node = street.world.end(street.station).unwrap().node();
    node.payee(street.first).map(Payee::phase)
}

#[test]
fn channel_that_a_payee_has_signed_on_is_never_forgotten() {
    for (how, stated) in [(Promise::Settlement, 900_000), (Promise::Close, 0)] {
        let mut street = promised(how);
        let (station, outpoint) = (street.station, street.first);
        let promised = Some(PayeePhase::Promised { stated: msat(stated) });
        // Replaced, or taken out by a reorg, for longer than any mempool remembers.
        lose_funding(&mut street, 4_032);
        assert_eq!(phase(&street), promised, "{how:?}");
        let abandon = street.handle(station, Input::Do(Command::Abandon { outpoint }));
        let (phase_name, act) = ("promised", "abandon");
        let refused = StreamError::WrongPhase { phase: phase_name, act };
        assert_eq!(abandon, Err(NodeError::Stream(refused)), "{how:?}");
        // It comes back without what was signed, is buried, and its payer shows it as a new one.
        let stranger = street.stranger_at(station);
        let open = street.open_message();
        street.inject(station, stranger, open).unwrap();
        let payer = street.world.end(street.car).unwrap().node().payer(outpoint).unwrap();
        let value = payer.channel().capacity();
        let confirmed = Some(tip(&street).height);
        let status = OutputStatus { value, truc: true, ..unspent(&street, confirmed) };
        street.handle(station, Input::Output(outpoint, Some(status))).unwrap();
        assert_eq!(phase(&street), promised, "{how:?}");
    }
}

#[test]
fn channel_that_a_payee_has_signed_on_makes_no_room_for_others() {
    let mut street = promised(Promise::Close);
    lose_funding(&mut street, 0);
    let stranger = street.stranger_at(street.station);
    let status = unspent(&street, None);
    for n in 0..1_023 {
        show(&mut street, stranger, n, status.clone()).unwrap();
        let _ = drain(&mut street);
    }
    let (what, max) = ("channels that are in no block", 1_024);
    let refused = show(&mut street, stranger, 1_023, status);
    assert_eq!(refused, Err(NodeError::TooMany { what, max }));
    assert_eq!(phase(&street), Some(PayeePhase::Promised { stated: msat(0) }));
}

#[test]
fn outputs_of_a_refund_count_as_any_that_a_payer_shows() {
    let mut street = Street::in_session();
    let (station, first) = (street.station, street.first);
    let stranger = street.stranger_at(station);
    let payer = street.world.end(street.car).unwrap().node().payer(first).unwrap();
    let value = payer.channel().capacity();
    let deep = tip(&street).height.to_u32() - 3;
    let shown = unspent(&street, None);
    let old = OutputStatus { value, confirmed: Height::new(deep).ok(), ..shown.clone() };
    // In a mempool, and worth as many places as it has outputs.
    let output = TxOut { value: Amount::from_sat(10_000), script_pubkey: shown.script.clone() };
    let refund = Transaction {
        version: Version(3),
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: first, ..TxIn::default() }],
        output: vec![output; 1_100],
    };
    let txid = refund.compute_txid();
    let spent = Some(Spend { tx: refund, confirmed: None });
    let spent = OutputStatus { spent, ..old.clone() };
    street.handle(station, Input::Output(first, Some(spent))).unwrap();
    let _ = street.flush(station);
    let mut refused = None;
    for vout in 0..1_100 {
        let outpoint = OutPoint { txid, vout };
        let open = wire::Open { outpoint, alias: alias(vout + 1), ..street.open_message() };
        street.inject(station, stranger, open).unwrap();
        let done = street.handle(station, Input::Output(outpoint, Some(shown.clone())));
        refused = refused.or(done.err());
        let _ = drain(&mut street);
    }
    let what = "channels that are in no block";
    assert_eq!(refused, Some(NodeError::TooMany { what, max: 1_024 }));
    assert_eq!(payees(&street).len(), 1_024 + 1);
    // Replaced: they go in time.
    street.handle(station, Input::Output(first, Some(old))).unwrap();
    let mut tip = tip(&street);
    for age in [0, 6] {
        tip.height = Height::new(tip.height.to_u32() + age).unwrap();
        street.handle(station, Input::Tip(tip)).unwrap();
        for vout in 0..1_100 {
            let outpoint = OutPoint { txid, vout };
            let _unknown = street.handle(station, Input::Output(outpoint, None));
            let _ = drain(&mut street);
        }
    }
    assert_eq!(payees(&street), [first]);
}

#[test]
fn settlement_leaves_though_the_signer_holds_no_channel_more() {
    let mut street = Street::in_session();
    let station = street.station;
    let payer = street.world.end(street.car).unwrap().node().payer(street.first).unwrap();
    let (output, capacity) = (payer.channel().output().clone(), payer.channel().capacity());
    let signer = street.world.end_mut(station).unwrap().node_mut().signer_mut();
    for n in 1..u32::try_from(MemorySigner::CHANNELS_MAX).unwrap() {
        let change = ChangeScript::Own;
        let other = Channel::new(phantom(n), capacity, output.clone(), change).unwrap();
        signer.register(&other, Role::Payee { stated: None }).unwrap();
    }
    let script = payee_script(&Context::new(), output.payee()).unwrap();
    let (outpoints, rate) = (vec![street.outpoint], FeeRate::new(1_000).unwrap());
    let settle = Command::Settle { outpoints, script, rate };
    street.world.command(station, settle).unwrap();
    street.world.settle_down().unwrap();
    let payee = street.world.end(station).unwrap().node().payee(street.outpoint).unwrap();
    assert!(matches!(payee.phase(), PayeePhase::Spent { .. }), "{:?}", payee.phase());
    street.world.mine(blocks(3));
    street.world.settle_down().unwrap();
    // Its end leaves room for what the payer shows: the channel goes on.
    assert_eq!(payees(&street), []);
    street.outpoint = street.newest();
    street.reconnect();
    assert_eq!(payees(&street), [street.outpoint]);
}

/// The car's request to close for a fee.
fn close(street: &mut Street, fee: u64) -> wire::CloseRequest {
    let paid = street.signed();
    let end = street.world.end(street.car).unwrap();
    let channel = end.node().payer(street.outpoint).unwrap().channel().clone();
    let payee = payee_script(&Context::new(), channel.output().payee()).unwrap();
    let spend = JointSpend::close(channel, paid, wallet(), payee, sat(fee)).unwrap();
    let (request, now) = (Request::Close { spend: &spend }, street.time());
    let signer = street.world.end_mut(street.car).unwrap().node_mut().signer_mut();
    let signature = signer.sign(&request, now, &Entropy::new([0; 32])).unwrap();
    let script = wire::Bytes::new(wallet().to_bytes()).unwrap();
    wire::CloseRequest { alias: alias(0), paid, fee: sat(fee), script, signature }
}

#[test]
fn closes_of_a_channel_are_one_and_each_pays_its_relay() {
    let mut street = Street::in_session();
    let (station, link) = (street.station, street.link);
    let ask = |street: &mut Street, fee| {
        let request = close(street, fee);
        street.inject(station, link, request)
    };
    let refused = |got, want| Err(NodeError::CloseFee { got: sat(got), want: sat(want) });
    // 817 weight units at 100 sat/kvB.
    assert_eq!(ask(&mut street, 20), refused(20, 21));
    ask(&mut street, 21).unwrap();
    assert_eq!(ask(&mut street, 41), refused(41, 42));
    ask(&mut street, 42).unwrap();
    for fee in 0..300 {
        let _refused = ask(&mut street, fee);
    }
    let out = drain(&mut street);
    assert_eq!(out.broadcasts.len(), 2 + (299 - 42) / 21);
    // The answer was lost: it is given again, and nothing is written.
    ask(&mut street, 294).unwrap();
    let out = drain(&mut street);
    assert_eq!(out.broadcasts.len(), 0);
    assert!(matches!(&out.sends[..], [(_, Message::CloseSigned(_))]), "{:?}", out.sends);
    let tip = tip(&street);
    street.handle(station, Input::Tip(tip)).unwrap();
    let out = drain(&mut street);
    let fees = out.broadcasts.iter().flatten().map(|tx| {
        let paid_out = tx.output.iter().map(|output| output.value.to_sat()).sum::<u64>();
        1_000_000 - paid_out
    });
    assert_eq!(fees.collect::<Vec<_>>(), [294]);
}

#[test]
fn top_ups_with_coins_that_do_not_exist_share_one_zero_conf_limit() {
    // 50,000 sat by the station's terms.
    let mut street = Street::in_session();
    let (car, station, link) = (street.car, street.station, street.link);
    for nth in 0..8 {
        street.top_up(nth).unwrap();
        street.world.settle_down().unwrap();
    }
    street.open_budget(9);
    let base = street.world.end(car).unwrap().node().payer(street.first).unwrap().record().base();
    let signer = street.world.end_mut(car).unwrap().node_mut().signer_mut();
    signer.open_session(PeerId::new(base), id(9), msat(2_000_000_000)).unwrap();
    let node = street.world.end(car).unwrap().node();
    let outpoints: Vec<_> = node.payers().map(millstream::stream::Payer::outpoint).collect();
    assert_eq!(outpoints.len(), 9);
    let _ = street.world.take_events(station).unwrap();
    for outpoint in outpoints {
        let _ = street.world.command(car, Command::Attach { link, outpoint });
        street.world.settle_down().unwrap();
        let (more, session, ending) = (msat(20_000_000), id(9), Ending::KeepsChange);
        for _ in 0..3 {
            let pay = Command::Pay { outpoint, more, session, ending };
            let _refused = street.world.command(car, pay);
            street.world.settle_down().unwrap();
        }
    }
    let events = street.world.take_events(station).unwrap();
    let gained = events.iter().map(|event| match event {
        Event::Received { gained, .. } => gained.to_msat(),
        _ => 0,
    });
    // As much on the old outpoint as on all that could come out of it.
    assert_eq!(gained.sum::<u64>(), 2 * 40_000_000);
}

fn start(street: &Street, named: u32, session: u64) -> wire::SessionStart {
    let (session, time) = (id(session), street.time());
    let offer = Street::offer_message(session.to_u64()).hash();
    wire::SessionStart { session, alias: alias(named), offer, time }
}

fn refusal(street: &mut Street, link: LinkId) -> Option<Refusal> {
    let sends = street.flush(street.station);
    sends.into_iter().find_map(|(to, message)| match message {
        Message::Refused(refused) if to == link => Some(refused.code),
        _ => None,
    })
}

#[test]
fn service_on_a_channel_that_is_past_its_last_call_or_refunded_does_not_begin() {
    let mut street = Street::in_session();
    street.end_session(7);
    street.world.mine(blocks(150));
    street.world.settle_down().unwrap();
    let (station, link) = (street.station, street.link);
    street.offer(link, 8);
    let late = street.inject(station, link, start(&street, 0, 8));
    assert!(matches!(late, Err(NodeError::Stream(StreamError::TooLate { .. }))), "{late:?}");
    assert_eq!(refusal(&mut street, link), Some(Refusal::TooLate));
    let (outpoint, rate) = (street.first, FeeRate::new(2_000).unwrap());
    let refund = Command::Refund { outpoint, script: wallet(), rate };
    street.world.command(street.car, refund).unwrap();
    street.world.settle_down().unwrap();
    let spent = street.inject(station, link, start(&street, 0, 8));
    assert!(matches!(spent, Err(NodeError::Stream(StreamError::WrongPhase { .. }))), "{spent:?}");
    assert_eq!(refusal(&mut street, link), Some(Refusal::Closing));
    assert_eq!(street.state(station, 8), State::Offered);
}

#[test]
fn service_ends_when_the_refund_of_its_channel_is_seen() {
    let mut street = Street::in_session();
    street.world.mine(blocks(150));
    street.world.settle_down().unwrap();
    assert_eq!(street.state(street.station, 7), State::Active);
    let (outpoint, rate) = (street.first, FeeRate::new(2_000).unwrap());
    let refund = Command::Refund { outpoint, script: wallet(), rate };
    street.world.command(street.car, refund).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(street.state(street.station, 7), State::Ended);
}

#[test]
fn service_on_an_output_without_credit_begins_when_it_is_deep_enough() {
    let mut street = Street::unfunded_without_credit();
    let fund = street.fund_command(Some(street.link));
    street.world.command(street.car, fund).unwrap();
    street.world.settle_down().unwrap();
    street.start_session(7);
    for depth in 0..3 {
        assert_eq!(street.state(street.station, 7), State::Offered, "{depth}");
        street.world.mine(blocks(1));
        street.world.settle_down().unwrap();
        street.world.pass(millstream::units::Seconds::new(60).unwrap()).unwrap();
        street.world.settle_down().unwrap();
    }
    for end in [street.car, street.station] {
        assert_eq!(street.state(end, 7), State::Active);
    }
    street.tick();
    assert_eq!(street.paid(), street.owed());
}
