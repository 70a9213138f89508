//! What a hostile peer can make of batches and lanes: typed errors, and nothing changed.

use super::*;
use crate::batch::BatchError;
use crate::batch::flight::FlightError;
use crate::batch::item::ItemError;
use crate::batch::lanes::{Lanes, LanesError};
use crate::signer::SignerError;
use crate::stream::StreamError;
use crate::stream::payer::Ending;
use crate::tx::TxError;
use crate::wire::{Ack, BatchPart, BatchVoucher, Bytes, LanesQuery, LanesTold, Resume};

impl Pair {
    /// Pays `items` and takes the window's one message off the line.
    fn window(&mut self, items: &[(u16, u64)]) -> BatchVoucher {
        self.flush(BUYER);
        self.lines[SELLER].clear();
        self.pay(items).unwrap();
        self.flush(BUYER);
        let Some(Message::BatchVoucher(window)) = self.lines[SELLER].pop_front() else { panic!() };
        window
    }

    /// Shows `message` to `side`; what is refused changes nothing, on the disk either.
    fn show(&mut self, side: usize, message: impl Into<Message>) -> Result<(), NodeError> {
        let before = (self.paid(), self.signed(), self.stage.stores[side].clone());
        let lanes = self.stage.nodes[side].lanes(self.stage.outpoint).cloned();
        let shown = self.stage.handle(side, Input::Received(LINK, message.into()));
        if shown.is_err() {
            self.flush(side);
            assert_eq!(before, (self.paid(), self.signed(), self.stage.stores[side].clone()));
            assert_eq!(lanes.as_ref(), self.stage.nodes[side].lanes(self.stage.outpoint));
        }
        shown
    }
}

fn batch_error(shown: Result<(), NodeError>) -> BatchError {
    match shown {
        Err(NodeError::Batch(error) | NodeError::Stream(StreamError::Batch(error))) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn window_that_is_repeated_is_acknowledged_and_counts_once() {
    let mut pair = Pair::with_lanes();
    let window = pair.window(&[(0, 100), (1, 5)]);
    for _ in 0..3 {
        pair.show(SELLER, window.clone()).unwrap();
    }
    pair.settle();
    pair.check_lanes();
    let received = pair.events[SELLER].iter().filter(|e| matches!(e, Event::Received { .. }));
    assert_eq!(received.count(), 1);
    // The same root once more, as if it came next, needs a signature of its own.
    let again = BatchVoucher {
        start: window.paid,
        paid: window.paid.saturating_add(window.paid),
        lanes: None,
        ..window
    };
    let refused = pair.show(SELLER, again);
    let forged = matches!(refused, Err(NodeError::Stream(StreamError::Tx(_))));
    assert!(forged, "{refused:?}");
}

#[test]
fn window_whose_items_are_not_those_that_were_signed_for_is_refused_whole() {
    let honest: Vec<(u16, u64)> = (1..=50).map(|n| (0, n)).collect();
    let mut missing = honest.clone();
    missing.pop();
    let mut reordered = honest.clone();
    reordered.swap(3, 4);
    let mut moved = honest.clone();
    moved[7].0 = 1;
    for (other, want_root) in [(missing, false), (reordered, true), (moved, true)] {
        let mut pair = Pair::with_lanes();
        let forged = pair.sealed(&other);
        pair.next.clear();
        let window = pair.window(&honest);
        let part = Bytes::new(forged.bytes).unwrap();
        let refused = pair.show(SELLER, BatchVoucher { part, ..window.clone() });
        assert!(refused.as_ref().is_err_and(NodeError::is_lie), "a link is cut for it");
        let error = batch_error(refused);
        let root = matches!(error, BatchError::RootDiffers);
        assert!(root == want_root && (root || matches!(error, BatchError::SumDiffers { .. })));
        // The right one still counts.
        pair.show(SELLER, window).unwrap();
        pair.settle();
        pair.check_lanes();
    }
}

#[test]
fn item_replayed_in_a_later_window_is_refused() {
    let mut pair = Pair::with_lanes();
    let first = pair.window(&[(0, 100)]);
    pair.show(SELLER, first.clone()).unwrap();
    pair.settle();
    // Signed for the same amount again, with the bytes of the first.
    let second = pair.window(&[(0, 100)]);
    let replay = BatchVoucher { part: first.part.clone(), root: first.root, ..second };
    let error = ItemError::NotRising { lane: lane(0), id: ItemId::new(1).unwrap(), last: 1 };
    assert_eq!(batch_error(pair.show(SELLER, replay)), BatchError::Item { at: 0, error });
}

#[test]
fn window_that_nobody_signed_for_is_not_kept() {
    let mut pair = Pair::with_lanes();
    let window = pair.window(&[(0, 100)]);
    let paid = window.paid.saturating_add(msat(1));
    let promised = BatchVoucher { paid, length: Some(1_000_000), ..window.clone() };
    let refused = pair.show(SELLER, promised);
    let bad =
        matches!(refused, Err(NodeError::Stream(StreamError::Tx(TxError::BadSignature { .. }))));
    assert!(bad, "{refused:?}");
    assert!(pair.seller().assemblies.is_empty());
    // What was signed for is kept, within its length, and goes with the line.
    pair.show(SELLER, BatchVoucher { length: Some(1_000_000), ..window.clone() }).unwrap();
    assert_eq!(pair.seller().assemblies.len(), 1);
    pair.reconnect();
    assert!(pair.seller().assemblies.is_empty());
}

#[test]
fn window_above_its_limits_is_refused_before_it_is_counted() {
    let mut pair = Pair::with_lanes();
    let window = pair.window(&[(0, 100)]);
    let refused = pair.show(SELLER, BatchVoucher { length: Some(1_048_577), ..window.clone() });
    let (what, max) = ("bytes", 1_048_576);
    assert_eq!(refused, Err(NodeError::WindowTooLarge { what, got: 1_048_577, max }));
    // 13 bytes that say 131,073 equal items.
    for (items, refused) in [(131_072_u32, false), (131_073, true)] {
        let mut bytes = Vec::from([0x10, 16]);
        let mut rest = items;
        while rest > 0x7f {
            bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        bytes.extend([u8::try_from(rest).unwrap(), 0, 1, 0, 1]);
        let part = Bytes::new(bytes).unwrap();
        let shown = pair.show(SELLER, BatchVoucher { part, ..window.clone() });
        let got = usize::try_from(items).unwrap();
        let too_many = NodeError::WindowTooLarge { what: "items", got, max: 131_072 };
        assert_eq!(shown == Err(too_many), refused, "{shown:?}");
    }
    // The payer does not even sign one.
    let front = pair.buyer().front(pair.stage.outpoint);
    let mut builder = front.unwrap().build(LeafSize::new(64).unwrap()).unwrap();
    for number in 1..=131_073 {
        builder.push(&item(1, number, 1)).unwrap();
    }
    let signed = pair.signed();
    let refused = pair.send(builder.seal().unwrap());
    assert!(matches!(refused, Err(NodeError::WindowTooLarge { what: "items", .. })));
    assert_eq!(pair.signed(), signed);
}

#[test]
fn parts_that_do_not_fit_are_passed_over_or_refused() {
    let mut pair = Pair::with_lanes();
    let whole = pair.window(&[(0, 1), (0, 300), (1, 7)]);
    let bytes = whole.part.as_slice().to_vec();
    let length = u32::try_from(bytes.len()).ok();
    let cut = |at: usize| Bytes::new(bytes[..at].to_vec()).unwrap();
    let part = |offset: usize, until: usize| BatchPart {
        alias: whole.alias,
        paid: whole.paid,
        offset: u32::try_from(offset).unwrap(),
        part: Bytes::new(bytes[offset..until].to_vec()).unwrap(),
    };
    // A length that is no more than what is there has a shorter form.
    let stated = BatchVoucher { length, ..whole.clone() };
    let error = BatchError::NotMinimal { what: "parts" };
    assert_eq!(batch_error(pair.show(SELLER, stated)), error);
    pair.show(SELLER, part(4, 8)).unwrap();
    pair.show(SELLER, BatchVoucher { part: cut(4), length, ..whole.clone() }).unwrap();
    // Out of place, of another window, repeated.
    pair.show(SELLER, part(6, 8)).unwrap();
    pair.show(SELLER, BatchPart { paid: msat(1), ..part(4, 8) }).unwrap();
    pair.show(SELLER, part(4, 8)).unwrap();
    pair.show(SELLER, part(4, 8)).unwrap();
    let longer = BatchPart { part: Bytes::new(Vec::from([0; 60])).unwrap(), ..part(8, 9) };
    assert!(matches!(batch_error(pair.show(SELLER, longer)), BatchError::Trailing { .. }));
    assert_eq!(pair.paid(), Msat::ZERO);
    pair.show(SELLER, part(8, bytes.len())).unwrap();
    pair.settle();
    pair.check_lanes();
}

#[test]
fn lanes_that_are_stated_otherwise_than_they_are_held_are_refused() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 1_000)]).unwrap();
    pair.settle();
    let (outpoint, session, more) = (pair.stage.outpoint, id(BUDGET), msat(500));
    let ending = Ending::KeepsChange;
    pair.stage.run(BUYER, Command::Pay { outpoint, more, session, ending });
    pair.settle();
    pair.open_lane(2, 1_000);
    let window = pair.window(&[(1, 7)]);
    let held = Lanes::decode(window.lanes.as_ref().unwrap().as_slice()).unwrap();
    let stated = |lanes: &Lanes| BatchVoucher {
        lanes: Some(Bytes::new(lanes.encode()).unwrap()),
        ..window.clone()
    };
    // Everything but limits and the numbers of lanes that have paid nothing, which are the payer's
    // to choose: what was paid outside, the closed lanes' last id, lane 0, and what lane 1 paid.
    let bytes = held.encode();
    let mut refused = 0;
    for at in (1..36).chain(46..62) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(lanes) = Lanes::decode(&changed) else { continue };
        let shown = pair.show(SELLER, stated(&lanes));
        assert!(shown.is_err(), "byte {at}: {lanes:?}");
        let error = batch_error(shown);
        assert!(matches!(error, BatchError::Lanes(_)), "byte {at}: {error:?}");
        refused += 1;
    }
    assert!(refused > 20, "{refused}");
    // Plain money does not become a lane's.
    let mut moved = bytes;
    moved[1..9].copy_from_slice(&[0; 8]);
    moved[28..36].copy_from_slice(&1_500_u64.to_be_bytes());
    let moved = Lanes::decode(&moved).unwrap();
    assert_eq!(moved.paid(), held.paid());
    let differs = BatchError::Lanes(LanesError::Differ { lane: Some(lane(0)) });
    assert_eq!(batch_error(pair.show(SELLER, stated(&moved))), differs);
    pair.show(SELLER, window).unwrap();
    assert_eq!(pair.paid(), pair.signed());
}

#[test]
fn lane_is_drained_and_never_overdrawn_on_either_side() {
    let mut pair = Pair::new();
    pair.open_lane(0, 1_000);
    pair.open_lane(1, 1_000);
    let front = pair.buyer().front(pair.stage.outpoint).unwrap();
    let mut builder = front.build(LeafSize::ONE).unwrap();
    builder.push(&item(0, 1, 1_000)).unwrap();
    let error = ItemError::Overdrawn { lane: lane(0), by: msat(1) };
    assert_eq!(builder.push(&item(0, 2, 1)), Err(error));
    // A payer that does not care meets the payee's check.
    let window = pair.window(&[(0, 1_000)]);
    pair.show(SELLER, window).unwrap();
    pair.settle();
    let (outpoint, limit) = (pair.stage.outpoint, msat(5_000));
    pair.stage.run(BUYER, Command::LimitLane { outpoint, lane: lane(0), limit });
    let above = BatchVoucher { lanes: None, ..pair.window(&[(0, 1)]) };
    let error = ItemError::Overdrawn { lane: lane(0), by: msat(1) };
    assert_eq!(batch_error(pair.show(SELLER, above)), BatchError::Item { at: 0, error });
    pair.heal();
    pair.check_lanes();
}

#[test]
fn windows_at_a_node_are_bounded_in_number_and_amount() {
    let mut pair = Pair::with_lanes();
    pair.limit_flight(2, 1_000);
    pair.pay(&[(0, 400)]).unwrap();
    pair.pay(&[(0, 400)]).unwrap();
    let full = NodeError::Flight(FlightError::TooMany { max: 2 });
    assert_eq!(pair.pay(&[(0, 1)]), Err(full));
    assert_eq!(pair.buyer().at_risk(pair.stage.outpoint), Some(msat(800)));
    pair.limit_flight(9, 1_000);
    let (amount, max) = (msat(1_001), msat(1_000));
    let dear = NodeError::Flight(FlightError::TooMuch { amount, max });
    assert_eq!(pair.pay(&[(0, 201)]), Err(dear));
    pair.pay(&[(0, 200)]).unwrap();
    // A refused one leaves nothing behind, and a batch built on another front is refused.
    let sealed = pair.sealed(&[(1, 0), (0, 0)].map(|(at, _)| (at, 0)).map(|(at, _)| (at, 1)));
    pair.settle();
    let early = sealed.clone();
    pair.send(sealed).unwrap();
    let (got, want) = (msat(1_000), msat(1_002));
    let late = NodeError::Flight(FlightError::NotNext { got, want });
    assert_eq!(pair.send(early), Err(late));
}

#[test]
fn plain_payments_and_windows_do_not_overtake_each_other() {
    let mut pair = Pair::with_lanes();
    let (outpoint, session, more) = (pair.stage.outpoint, id(BUDGET), msat(500));
    let pay = || {
        let ending = Ending::KeepsChange;
        Input::Do(Command::Pay { outpoint, more, session, ending })
    };
    pair.pay(&[(0, 100)]).unwrap();
    assert_eq!(pair.stage.handle(BUYER, pay()), Err(NodeError::InFlight { outpoint }));
    pair.settle();
    pair.stage.handle(BUYER, pay()).unwrap();
    let sealed = pair.sealed(&[(0, 1)]);
    assert_eq!(pair.send(sealed.clone()), Err(NodeError::InFlight { outpoint }));
    pair.settle();
    pair.send(sealed).unwrap();
    pair.settle();
    assert_eq!((pair.paid(), pair.signed()), (msat(601), msat(601)));
    assert_eq!(pair.total_of(SELLER, 0), Some(101));
}

#[test]
fn payment_does_not_overtake_a_window_that_waits_for_its_budget() {
    let mut pair = Pair::with_lanes();
    let (outpoint, fresh) = (pair.stage.outpoint, id(BUDGET + 1));
    let signer = pair.stage.nodes[BUYER].signer_mut();
    signer.open_session(PeerId::new(base()), fresh, Msat::MAX).unwrap();
    // Nothing of its budget is reserved yet: it is by the next flush.
    let batch = Box::new(pair.sealed(&[(0, 100)]));
    pair.stage.run(BUYER, Command::PayBatch { outpoint, batch, session: fresh });
    *pair.told.entry(0).or_default() += 100;
    assert_eq!(pair.signed(), Msat::ZERO);
    for session in [fresh, id(BUDGET)] {
        let pay = Command::Pay { outpoint, more: msat(50), session, ending: Ending::KeepsChange };
        let refused = pair.stage.handle(BUYER, Input::Do(pay));
        assert_eq!(refused, Err(NodeError::InFlight { outpoint }));
    }
    pair.settle();
    assert_eq!((pair.paid(), pair.total_of(SELLER, 0)), (msat(100), Some(100)));
    pair.pay(&[(0, 7)]).unwrap();
    pair.settle();
    pair.check_lanes();
}

#[test]
fn unfinished_window_is_kept_once_a_channel_however_many_lines_its_payer_has() {
    let mut pair = Pair::with_lanes();
    let (outpoint, window) = (pair.stage.outpoint, pair.window(&[(0, 100)]));
    let first = BatchVoucher { length: Some(1_000_000), ..window };
    for link in (1..20).map(LinkId) {
        if link != LINK {
            pair.stage.handle(SELLER, Input::Connected(link)).unwrap();
            let resume = Resume { alias: first.alias, outpoint: Some(outpoint) };
            pair.stage.handle(SELLER, Input::Received(link, resume.into())).unwrap();
        }
        let received = Input::Received(link, first.clone().into());
        pair.stage.handle(SELLER, received).unwrap();
        assert_eq!(pair.seller().assemblies.keys().collect::<Vec<_>>(), [&link]);
    }
}

#[test]
fn lane_is_left_free_for_what_is_billed_anew() {
    let mut pair = Pair::new();
    for at in 0..63 {
        pair.open_lane(at, 1_000_000);
    }
    let (outpoint, limit) = (pair.stage.outpoint, msat(1));
    let open = Command::OpenLane { outpoint, lane: lane(63), limit, session: id(BUDGET) };
    let refused = pair.stage.handle(BUYER, Input::Do(open));
    assert_eq!(refused, Err(LanesError::TooMany { max: 63 }.into()));
    // What was lost of a lane that is closed now is billed all the same.
    pair.pay(&[(0, 100)]).unwrap();
    pair.flush(BUYER);
    pair.lines[SELLER].clear();
    pair.close_lane(0);
    pair.open_lane(63, 1_000_000);
    pair.flush(BUYER);
    pair.reboot(BUYER);
    pair.reconnect();
    pair.settle();
    assert_eq!(pair.paid(), pair.signed());
    assert_eq!(pair.paid(), msat(100));
}

#[test]
fn window_over_its_budget_is_not_sent() {
    let mut pair = Pair::with_lanes();
    let sealed = pair.sealed(&[(0, 100)]);
    let (outpoint, session, batch) = (pair.stage.outpoint, id(99), Box::new(sealed));
    let unknown = Command::PayBatch { outpoint, batch, session };
    let refused = pair.stage.handle(BUYER, Input::Do(unknown));
    let none = matches!(
        refused,
        Err(NodeError::Stream(StreamError::Signer(SignerError::NoSuchSession { .. })))
    );
    assert!(none, "{refused:?}");
    pair.pay(&[(0, 100)]).unwrap();
    pair.settle();
    pair.check_lanes();
}

#[test]
fn lanes_are_told_to_the_payer_alone() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 100)]).unwrap();
    pair.settle();
    let best = pair.seller().payee(pair.stage.outpoint).unwrap().best().unwrap();
    let alias = ChannelAlias::MIN;
    let repeated = LanesQuery { alias, paid: best.paid, signature: best.signature };
    assert!(matches!(pair.show(SELLER, repeated), Err(NodeError::NotAsked { .. })));
    let forged = LanesQuery { paid: best.paid.saturating_add(msat(1)), ..repeated };
    assert!(matches!(pair.show(SELLER, forged), Err(NodeError::Stream(StreamError::Tx(_)))));
    // And the payer takes what it did not ask for from nobody.
    let lanes = Bytes::new(Lanes::new(Msat::ZERO).encode()).unwrap();
    let told = LanesTold { alias, paid: Msat::ZERO, lanes };
    assert!(matches!(pair.show(BUYER, told), Err(NodeError::NotAsked { .. })));
}

#[test]
fn payee_that_claims_more_of_a_lane_than_was_paid_is_not_believed() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 100), (1, 50)]).unwrap();
    pair.flush(BUYER);
    pair.reboot(BUYER);
    for side in [BUYER, SELLER, BUYER] {
        pair.flush(side);
        while pair.deliver(1 - side, 0).is_some() {}
    }
    // Nothing of lane 1, and a millisatoshi more of lane 0 than was ever paid.
    let mut lanes = Lanes::new(Msat::ZERO);
    lanes.open(lane(0), Msat::MAX).unwrap();
    let mut bytes = lanes.encode();
    // Behind the head (18) and the lane (2): last id and total.
    (bytes[27], bytes[35]) = (1, 101);
    let Ok(ahead) = Lanes::decode(&bytes) else { panic!("{bytes:?}") };
    let lanes = Bytes::new(ahead.encode()).unwrap();
    let told = LanesTold { alias: ChannelAlias::MIN, paid: msat(101), lanes };
    // It is billed what is signed and it does not hold, in no lane, and nothing more is signed.
    let signed = pair.signed();
    pair.show(BUYER, told).unwrap();
    pair.flush(BUYER);
    assert_eq!(pair.signed(), signed);
    let Some(Message::BatchVoucher(bill)) = pair.lines[SELLER].pop_back() else { panic!() };
    assert_eq!((bill.start, bill.paid), (msat(101), msat(150)));
    // Which is not where it stands, so that it tells the truth if it is honest from now on.
    pair.lines[SELLER].clear();
    pair.heal();
    pair.check_all_paid();
}

#[test]
fn acknowledgement_of_more_than_was_sent_is_refused() {
    let mut pair = Pair::with_lanes();
    pair.pay(&[(0, 100)]).unwrap();
    pair.flush(BUYER);
    let ack = |paid| Ack { alias: ChannelAlias::MIN, paid: msat(paid) };
    assert!(matches!(pair.show(BUYER, ack(101)), Err(NodeError::NotAsked { .. })));
    // Inside a window, which counts whole or not at all: what the payee has is asked for.
    pair.show(BUYER, ack(50)).unwrap();
    pair.heal();
    pair.check_lanes();
}
