//! Fundings that a reorg undoes, that never confirm, or that the payee took up wrongly, and what
//! depends on them: nothing waits for ever, and nothing is sent for ever.

#[path = "node_attacks/street.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod street;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use millstream::node::{Command, Event, Input, NodeError};
use millstream::sim::world::{Clear, EndId, Fate, Weather, WorldError};
use millstream::stream::StreamError;
use millstream::stream::payer::Ending;
use millstream::tx::{ChangeScript, FeeInput, WalletScript};
use millstream::units::{FeeRate, Msat, Sat, Seconds};
use millstream::wire::{Message, Refusal, Refused, Resume};
use street::{Street, blocks, id, msat, sat};

/// Where a node keeps what it sends again at every tip.
const UNCONFIRMED: [u8; 2] = [0x01, 0x03];

fn funded_unconfirmed() -> Street {
    let mut street = Street::unfunded();
    let fund = street.fund_command(Some(street.link));
    street.world.command(street.car, fund).unwrap();
    street.world.settle_down().unwrap();
    street
}

fn mine(street: &mut Street, count: u32) {
    street.world.mine(blocks(count));
    street.world.settle_down().unwrap();
}

/// A branch of empty blocks takes the newest one out, and mempools drop what was in it.
fn lose_newest_block(street: &mut Street) {
    street.world.chain().with(|chain| {
        chain.reorg(blocks(1), &[Vec::new(), Vec::new()]).unwrap();
        chain.set_min_relay(FeeRate::new(100_000_000).unwrap());
        chain.set_min_relay(FeeRate::new(100).unwrap());
        assert_eq!(chain.mempool().count(), 0);
    });
}

fn is_confirmed(street: &Street, outpoint: OutPoint) -> bool {
    let status = street.world.chain().with(|chain| chain.output(outpoint));
    status.is_some_and(|status| status.confirmed.is_some())
}

fn pay(street: &mut Street, more: Msat) {
    let pay = Command::Pay {
        outpoint: street.outpoint,
        more,
        session: id(8),
        ending: Ending::KeepsChange,
    };
    street.world.command(street.car, pay).unwrap();
    street.world.settle_down().unwrap();
}

fn paid_at_station(street: &Street) -> Option<Msat> {
    let node = street.world.end(street.station).unwrap().node();
    node.payee(street.outpoint).map(millstream::stream::Payee::paid)
}

#[test]
fn funding_that_a_reorg_leaves_in_no_mempool_is_sent_again_also_after_a_restart() {
    for reboot in [false, true] {
        let mut street = funded_unconfirmed();
        mine(&mut street, 1);
        assert!(is_confirmed(&street, street.first));
        lose_newest_block(&mut street);
        assert!(!is_confirmed(&street, street.first));
        if reboot {
            street.world.reboot(street.car).unwrap();
        }
        street.world.settle_down().unwrap();
        mine(&mut street, 1);
        assert!(is_confirmed(&street, street.first), "nobody sent it again");
    }
}

#[test]
fn funding_is_sent_again_until_it_is_buried_and_not_after() {
    let mut street = funded_unconfirmed();
    // 3 blocks bury it by the street's terms.
    for sent in [1, 1, 1, 0] {
        assert_eq!(street.records(street.car, &UNCONFIRMED), sent);
        mine(&mut street, 1);
    }
    street.world.reboot(street.car).unwrap();
    mine(&mut street, 1);
    assert_eq!(street.records(street.car, &UNCONFIRMED), 0);
}

#[test]
fn settlement_is_sent_again_after_a_look_at_the_channel_that_it_makes() {
    let mut street = Street::in_session();
    street.settle(1_000);
    assert_ne!(street.newest(), street.first);
    mine(&mut street, 1);
    assert_eq!(street.records(street.station, &UNCONFIRMED), 1, "its end is not buried");
    lose_newest_block(&mut street);
    street.world.settle_down().unwrap();
    mine(&mut street, 1);
    let spent = street.world.chain().with(|chain| chain.output(street.first));
    let spend = spent.unwrap().spent.expect("nobody sent the settlement again");
    assert!(spend.confirmed.is_some());
    mine(&mut street, 3);
    assert_eq!(street.records(street.station, &UNCONFIRMED), 0);
}

#[test]
fn funding_that_cannot_confirm_is_abandoned_with_the_top_up_that_was_agreed_on_it() {
    let mut street = funded_unconfirmed();
    mine(&mut street, 1);
    street.open_budget(7);
    let pay = Command::Pay {
        outpoint: street.first,
        more: msat(1_500),
        session: id(7),
        ending: Ending::KeepsChange,
    };
    street.world.command(street.car, pay).unwrap();
    street.world.settle_down().unwrap();
    street.top_up(1).unwrap();
    street.world.settle_down().unwrap();
    let payers = |street: &Street| street.world.end(street.car).unwrap().node().payers().count();
    assert_eq!(payers(&street), 2, "{:?}", street.refusals());
    // The funding's coin goes elsewhere, so that neither of the two channels can ever be.
    lose_newest_block(&mut street);
    let elsewhere = bitcoin::ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([3; 20]));
    let (other, _) = street.world.conflicting_funding(elsewhere, sat(500_000)).unwrap();
    street.world.chain().with(|chain| chain.connect(&[other])).unwrap();
    street.world.settle_down().unwrap();
    mine(&mut street, 3);
    let outpoint = street.first;
    street.world.command(street.car, Command::Abandon { outpoint }).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(payers(&street), 0);
    mine(&mut street, 1);
    assert_eq!(street.records(street.car, &UNCONFIRMED), 0);
}

/// Tops the newest outpoint up with a coin of the world, and goes on where that leads.
fn top_up(street: &mut Street, coin: FeeInput, more: Sat) {
    let outpoint = street.outpoint;
    let node = street.world.end(street.car).unwrap().node();
    let capacity = node.payer(outpoint).unwrap().channel().capacity().add(more).unwrap();
    let (inputs, carries) = (vec![coin], Some(id(7)));
    let top_up = Command::TopUp { outpoint, inputs, capacity, carries };
    street.world.command(street.car, top_up).unwrap();
    street.world.settle_down().unwrap();
    let events = street.world.take_events(street.car).unwrap();
    let agreed = events.into_iter().find_map(|event| match event {
        Event::TopUpAgreed { spend, .. } => Some(spend),
        _ => None,
    });
    let spend = agreed.unwrap_or_else(|| panic!("{:?}", street.refusals()));
    let witnesses = street.world.sign_coins(spend.transaction(), spend.spent()).unwrap();
    street.world.command(street.car, Command::FinishTopUp { outpoint, witnesses }).unwrap();
    street.world.settle_down().unwrap();
    street.outpoint = OutPoint { txid: spend.transaction().compute_txid(), vout: 0 };
    assert_eq!(street.newest(), street.outpoint);
}

#[test]
fn session_is_paid_once_when_a_topped_up_channel_is_buried_before_its_parent() {
    let mut child_first = 0;
    for nth in 0..6 {
        let mut street = Street::in_session();
        let coins: Vec<_> = (0..2)
            .map(|_| {
                let (tx, coin) = street.world.coin(sat(101_000)).unwrap();
                street.world.chain().with(|chain| chain.submit(&tx)).unwrap();
                coin
            })
            .collect();
        mine(&mut street, 1);
        let more = sat(100_000 + nth);
        let mut coins = coins.into_iter();
        top_up(&mut street, coins.next().unwrap(), more);
        let middle = street.outpoint;
        mine(&mut street, 1);
        street.tick();
        top_up(&mut street, coins.next().unwrap(), more);
        // Both top-ups are out of their blocks, and then buried in one look.
        street
            .world
            .chain()
            .with(|chain| chain.reorg(blocks(1), &[Vec::new(), Vec::new()]))
            .unwrap();
        street.world.settle_down().unwrap();
        street.tick();
        mine(&mut street, 3);
        child_first += u32::from(middle < street.first);
        let signed = street.signed();
        for _ in 0..3 {
            street.tick();
        }
        assert_eq!(street.paid(), street.owed(), "{:?}", street.refusals());
        // 100,000 Ws at 12.5 msat, three times.
        assert_eq!(street.signed().saturating_sub(signed), msat(3_750_000));
        let node = street.world.end(street.car).unwrap().node();
        assert_eq!(node.payers().count(), 1);
    }
    assert!(child_first > 0, "no channel was looked at before its parent");
}

fn write_off(street: &mut Street) -> Result<(), WorldError> {
    let outpoint = street.first;
    street.world.command(street.station, Command::Abandon { outpoint })?;
    street.world.settle_down().map(|_| ())
}

#[test]
fn payee_writes_off_a_channel_whose_funding_is_in_no_block() {
    let mut street = funded_unconfirmed();
    street.open_budget(8);
    pay(&mut street, msat(1_000));
    assert_eq!(paid_at_station(&street), Some(msat(1_000)));
    write_off(&mut street).unwrap();
    assert_eq!(paid_at_station(&street), None);
    assert_eq!(street.records(street.station, &[0x04]), 0);
    assert_eq!(street.world.end(street.station).unwrap().node().watched().count(), 0);
    // The payer shows it again, with everything that it had paid.
    pay(&mut street, msat(500));
    street.world.pass(Seconds::new(11).unwrap()).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(paid_at_station(&street), Some(msat(1_500)), "{:?}", street.refusals());
}

#[test]
fn payee_does_not_write_off_a_channel_that_has_confirmed_or_is_spent() {
    let wrong = |error: &WorldError| {
        let WorldError::Node(NodeError::Stream(error)) = error else { return false };
        matches!(error, StreamError::WrongPhase { act: "abandon", .. })
    };
    let mut street = funded_unconfirmed();
    mine(&mut street, 1);
    assert!(write_off(&mut street).is_err_and(|error| wrong(&error)));
    let mut street = Street::in_session();
    street.settle(1_000);
    // The spent one, and the one that goes on where its settlement says.
    for outpoint in [street.first, street.newest()] {
        street.first = outpoint;
        assert!(write_off(&mut street).is_err_and(|error| wrong(&error)), "{outpoint}");
    }
    assert_eq!(street.world.end(street.station).unwrap().node().payees().count(), 2);
}

fn wallet_change() -> ChangeScript {
    let hash = bitcoin::WPubkeyHash::from_byte_array([3; 20]);
    ChangeScript::Wallet(WalletScript::parse(bitcoin::ScriptBuf::new_p2wpkh(&hash)).unwrap())
}

/// Changes one byte of the first `Open`: its change script is another's then.
#[derive(Debug, Default)]
struct Garbling {
    now: bool,
    done: bool,
}

impl Weather for Garbling {
    fn fate(&mut self, _from: EndId, bytes: usize) -> Fate {
        if !core::mem::take(&mut self.now) {
            return Fate::Arrives;
        }
        self.done = true;
        // Type, alias, chain, payer, delay and outpoint are 108 bytes, the script's kind is one.
        assert!(bytes > 109);
        Fate::Corrupted { at: 109, mask: 1 }
    }

    fn sees(&mut self, _from: EndId, message: &Message) {
        self.now = matches!(message, Message::Open(_)) && !self.done;
    }
}

#[test]
fn payment_on_a_channel_that_was_shown_garbled_comes_through_after_it_is_shown_again() {
    let mut street = Street::unopened_with(wallet_change());
    street.world.set_weather(Box::new(Garbling::default()));
    street.show();
    street.world.set_weather(Box::new(Clear));
    let change = |street: &Street, end| {
        let node = street.world.end(end).unwrap().node();
        let payer = node.payer(street.first).map(|machine| machine.channel().change().clone());
        payer.or(node.payee(street.first).map(|machine| machine.channel().change().clone()))
    };
    assert!(change(&street, street.station).is_some(), "{:?}", street.refusals());
    assert_ne!(change(&street, street.car), change(&street, street.station));
    street.open_budget(8);
    pay(&mut street, msat(1_000));
    street.world.pass(Seconds::new(11).unwrap()).unwrap();
    street.world.settle_down().unwrap();
    assert_eq!(paid_at_station(&street), Some(msat(1_000)), "{:?}", street.refusals());
    assert_eq!(change(&street, street.car), change(&street, street.station));
}

#[test]
fn payee_that_refuses_every_signature_is_shown_the_channel_once_a_repetition() {
    let mut street = Street::open();
    street.open_budget(8);
    pay(&mut street, msat(1_000));
    let (link, outpoint) = (street.link, street.outpoint);
    street.handle(street.car, Input::Do(Command::Attach { link, outpoint })).unwrap();
    let sent = street.flush(street.car);
    let alias = sent.iter().find_map(|(_, message)| match message {
        Message::Resume(Resume { alias, .. }) => Some(*alias),
        _ => None,
    });
    let (alias, code) = (alias.unwrap(), Refusal::BadSignature);
    let refused = Refused { alias, code, best: Msat::ZERO, session: None };
    let mut shown = 0;
    for _ in 0..10 {
        street.inject(street.car, link, refused).unwrap();
        let sent = street.flush(street.car);
        shown += sent.iter().filter(|(_, message)| matches!(message, Message::Open(_))).count();
    }
    assert_eq!(shown, 1);
}
