//! Two nodes on one chain, from the terms to the close, through a rollover and reboots.

use millstream::keys::Context;
use millstream::meter::Window;
use millstream::meter::tariff::{Measure, Tariff};
use millstream::node::LinkId;
use millstream::node::{Command, Event};
use millstream::sim::world::{EndId, Machine, World};
use millstream::stream::Terms;
use millstream::stream::payer::Opening;
use millstream::tx::{ChangeScript, Delay, payee_script};
use millstream::units::{
    Blocks, FeeRate, KeyIndex, Msat, Ppm, Price, Quantity, Sat, Seconds, SessionId, UtcSeconds,
};

const SESSION: u64 = 7;

fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

fn terms(tariff: &Tariff) -> Terms {
    let seed = millstream::keys::Seed::new([2; 32]);
    let base = seed.base_key(&Context::new(), bitcoin::Network::Regtest).unwrap().public();
    let mut terms = Terms::new(bitcoin::Network::Regtest, base).unwrap();
    terms.delay = (Delay::new(100).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(10_000_000));
    terms.confirmation_depth = blocks(3);
    terms.settle_margin = blocks(20);
    terms.zero_conf_limit = sat(50_000);
    terms.tariff = tariff.hash().0;
    terms.credit = msat(5_000_000);
    terms.prepay = Msat::ZERO;
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms
}

/// A car, a station, one chain, and the channel between them.
struct Pair {
    world: World,
    car: EndId,
    station: EndId,
    link: LinkId,
    outpoint: bitcoin::OutPoint,
    total: u64,
}

impl Pair {
    /// Opens a channel of 1,000,000 sat from published terms, confirmed deep enough.
    fn open() -> Self {
        let tariff = tariff();
        let terms = terms(&tariff);
        let mut world = World::new().unwrap();
        let car = world.add(Machine::payer("car", [1; 32])).unwrap();
        let station = world.add(Machine::payee("station", [2; 32], terms.clone())).unwrap();
        let link = world.connect(car, station).unwrap();
        world.command(car, Command::AskTerms(link)).unwrap();
        world.settle_down().unwrap();
        let events = world.take_events(car).unwrap();
        assert_eq!(events, [Event::TermsReceived { link, terms: terms.clone() }]);

        let opening = opening(&world, car, &terms);
        let (funding, outpoint) =
            world.funding(opening.script().clone(), opening.capacity()).unwrap();
        let (_, backup, _) = opening.funded(outpoint);
        let backup = backup
            .seal(&world.end(car).unwrap().machine().seed().backup_key(bitcoin::Network::Regtest));
        let (link_to, opening, vout) = (Some(link), Box::new(opening), outpoint.vout);
        let fund = Command::Fund { link: link_to, opening, funding, vout, backup };
        world.command(car, fund).unwrap();
        world.settle_down().unwrap();
        world.mine(blocks(3));
        world.settle_down().unwrap();
        Self { world, car, station, link, outpoint, total: 0 }
    }

    fn start_session(&mut self) {
        let session = SessionId::new(SESSION).unwrap();
        let offer = Command::OfferSession {
            link: self.link,
            session,
            tariff: tariff(),
            window: Window { credit: msat(5_000_000), prepay: Msat::ZERO },
            skew: Seconds::new(5).unwrap(),
            tolerance: Ppm::new(25_000).unwrap(),
        };
        self.world.command(self.station, offer).unwrap();
        self.world.settle_down().unwrap();
        let node = self.world.end(self.car).unwrap().node();
        let accept = Command::AcceptSession {
            session,
            offer: node.offer_hash(self.link, session).unwrap(),
            outpoint: self.outpoint,
            budget: msat(900_000_000),
            slack: Quantity::new(1_000_000).unwrap(),
        };
        self.world.command(self.car, accept).unwrap();
        self.world.settle_down().unwrap();
    }

    /// One second at 100 kW on both meters.
    fn tick(&mut self) {
        let session = SessionId::new(SESSION).unwrap();
        self.total += 100_000;
        self.world.pass(Seconds::new(1).unwrap()).unwrap();
        let total = Quantity::new(self.total).unwrap();
        for end in [self.car, self.station] {
            if let Err(error) = self.world.command(end, Command::Meter { session, total }) {
                let refusals: Vec<_> = self.world.end(self.car).unwrap().refusals().collect();
                let other: Vec<_> = self.world.end(self.station).unwrap().refusals().collect();
                panic!("{error}: {refusals:?} {other:?}");
            }
        }
        self.world.settle_down().unwrap();
        self.check();
    }

    /// Conservation: what the payer signed, the payee holds, and both count one session.
    fn check(&self) {
        self.world.check_invariants().unwrap();
        let (car, station) =
            (self.world.end(self.car).unwrap(), self.world.end(self.station).unwrap());
        for payer in car.node().payers() {
            let Some(payee) = station.node().payee(payer.outpoint()) else { continue };
            assert!(payee.paid() <= payer.signed(), "{} > {}", payee.paid(), payer.signed());
            assert!(payer.signed() <= payer.channel().capacity().to_msat());
        }
    }

    fn paid(&self) -> Msat {
        let session = SessionId::new(SESSION).unwrap();
        self.world.end(self.station).unwrap().node().session(session).unwrap().record().paid()
    }

    fn owed(&self) -> Msat {
        let session = SessionId::new(SESSION).unwrap();
        self.world.end(self.station).unwrap().node().session(session).unwrap().owed()
    }

    fn reconnect(&mut self) {
        self.link = self.world.connect(self.car, self.station).unwrap();
        let (link, outpoint) = (self.link, self.outpoint);
        self.world.command(self.car, Command::Attach { link, outpoint }).unwrap();
        self.world.settle_down().unwrap();
    }
}

fn tariff() -> Tariff {
    // 45,000 sat a kilowatt-hour by the watt-second: dear, so that a minute is worth settling.
    Tariff::flat(Measure::WattSecond, Price::new(msat(45_000_000), 3_600_000).unwrap()).unwrap()
}

fn opening(world: &World, car: EndId, terms: &Terms) -> Opening {
    let node = world.end(car).unwrap().node();
    let index = KeyIndex::new(0).unwrap();
    let seed = world.end(car).unwrap().machine().seed();
    let key = seed.payer_key(node.context(), bitcoin::Network::Regtest, index).unwrap().public();
    let view = node.view(world.now().time).unwrap();
    Opening::new(
        node.context(),
        terms,
        index,
        key,
        Delay::new(144).unwrap(),
        sat(1_000_000),
        ChangeScript::Own,
        &view,
    )
    .unwrap()
}

#[test]
fn session_over_a_rollover_is_paid_to_the_millisatoshi_and_stated_by_both() {
    let mut pair = Pair::open();
    pair.start_session();
    for _ in 0..20 {
        pair.tick();
    }
    assert!(pair.paid() > Msat::ZERO);
    assert_eq!(pair.paid(), pair.owed());

    let payee = pair.world.end(pair.station).unwrap().node().payee(pair.outpoint).unwrap();
    let script = payee_script(&Context::new(), payee.channel().output().payee()).unwrap();
    let (outpoints, rate) = (vec![pair.outpoint], FeeRate::new(1_000).unwrap());
    pair.world.command(pair.station, Command::Settle { outpoints, script, rate }).unwrap();
    pair.world.settle_down().unwrap();
    assert_eq!(pair.world.end_mut(pair.station).unwrap().take_unsent(), []);
    let rolled = pair.world.take_events(pair.car).unwrap();
    let to = rolled.iter().find_map(|event| match event {
        Event::RolledOver { to, .. } => Some(*to),
        _ => None,
    });
    let refusals: Vec<_> = pair.world.end(pair.car).unwrap().refusals().collect();
    pair.outpoint = to.unwrap_or_else(|| panic!("no rollover: {rolled:?}, {refusals:?}"));
    for _ in 0..20 {
        pair.tick();
    }
    assert_eq!(
        pair.paid(),
        pair.owed(),
        "{:?}",
        pair.world.end(pair.car).unwrap().refusals().collect::<Vec<_>>()
    );
    pair.world.mine(blocks(4));
    pair.world.settle_down().unwrap();
    for _ in 0..20 {
        pair.tick();
    }
    assert_eq!(pair.paid(), pair.owed());

    let session = SessionId::new(SESSION).unwrap();
    pair.world.command(pair.car, Command::EndSession(session)).unwrap();
    pair.world.settle_down().unwrap();
    let events = pair.world.take_events(pair.car).unwrap();
    let agreed = events.iter().find_map(|event| match event {
        Event::StatementAgreed { statement } => Some(*statement),
        _ => None,
    });
    let statement = agreed.expect("a statement that both agree on");
    // 60 s at 100 kW: 6,000,000 Ws x 12.5 msat.
    assert_eq!(statement.owed, msat(75_000_000));
    assert_eq!(statement.paid, msat(75_000_000));

    let fee = sat(250);
    let script = bitcoin::ScriptBuf::new_p2tr_tweaked(
        bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked(payee_of(&pair)),
    );
    let close = Command::Close { outpoint: pair.outpoint, script, fee };
    pair.world.command(pair.car, close).unwrap();
    pair.world.settle_down().unwrap();
    pair.world.mine(blocks(4));
    pair.world.settle_down().unwrap();
    assert_eq!(pair.world.end(pair.car).unwrap().node().payers().count(), 0);
    assert_eq!(pair.world.end(pair.station).unwrap().node().payees().count(), 0);
}

fn payee_of(pair: &Pair) -> bitcoin::XOnlyPublicKey {
    let node = pair.world.end(pair.car).unwrap().node();
    node.payer(pair.outpoint).unwrap().channel().output().payer()
}

#[test]
fn either_side_rebooted_in_a_session_pays_on() {
    for who in 0..2 {
        let mut pair = Pair::open();
        pair.start_session();
        for _ in 0..10 {
            pair.tick();
        }
        let before = pair.paid();
        let end = if who == 0 { pair.car } else { pair.station };
        pair.world.reboot(end).unwrap();
        pair.reconnect();
        for _ in 0..10 {
            pair.tick();
        }
        let refusals: Vec<_> = [pair.car, pair.station]
            .iter()
            .flat_map(|end| pair.world.end(*end).unwrap().refusals().collect::<Vec<_>>())
            .collect();
        assert!(pair.paid() > before, "{who}: {} after {before}: {refusals:?}", pair.paid());
        assert_eq!(pair.paid(), pair.owed());
        // 20 s at 100 kW: 2,000,000 Ws x 12.5 msat.
        assert_eq!(pair.paid(), msat(25_000_000));
    }
}

#[test]
fn settlement_that_never_reached_the_chain_is_sent_again_after_a_restart() {
    let mut pair = Pair::open();
    pair.start_session();
    for _ in 0..20 {
        pair.tick();
    }
    let payee = pair.world.end(pair.station).unwrap().node().payee(pair.outpoint).unwrap();
    let script = payee_script(&Context::new(), payee.channel().output().payee()).unwrap();
    let (outpoints, rate) = (vec![pair.outpoint], FeeRate::new(1_000).unwrap());
    pair.world.end_mut(pair.station).unwrap().source_mut().set_cut_off(true);
    pair.world.command(pair.station, Command::Settle { outpoints, script, rate }).unwrap();
    pair.world.settle_down().unwrap();
    assert_eq!(pair.world.chain().with(|chain| chain.mempool().count()), 0);

    pair.world.reboot(pair.station).unwrap();
    pair.world.settle_down().unwrap();
    assert_eq!(pair.world.chain().with(|chain| chain.mempool().count()), 1);
    pair.world.mine(blocks(4));
    pair.world.settle_down().unwrap();
    let events = pair.world.take_events(pair.station).unwrap();
    let closed = Event::Closed { outpoint: pair.outpoint };
    assert!(events.contains(&closed), "{events:?}");
}

#[test]
fn session_that_the_seller_ended_while_the_line_was_down_is_paid_and_stated_after_it() {
    let mut pair = Pair::open();
    pair.start_session();
    for _ in 0..3 {
        pair.tick();
    }
    let link = pair.link;
    pair.world.disconnect(link).unwrap();
    pair.tick();
    assert!(pair.paid() < pair.owed());
    let session = SessionId::new(SESSION).unwrap();
    pair.world.command(pair.station, Command::EndSession(session)).unwrap();
    pair.world.settle_down().unwrap();
    let _before = pair.world.take_events(pair.car).unwrap();
    pair.reconnect();
    assert_eq!(pair.paid(), pair.owed());
    let events = pair.world.take_events(pair.car).unwrap();
    let stated = events.iter().any(|event| matches!(event, Event::StatementAgreed { .. }));
    assert!(stated, "{events:?}");
}

#[test]
fn debt_that_stopped_service_is_paid_after_the_seller_restarted() {
    let mut pair = Pair::open();
    pair.start_session();
    pair.tick();
    let link = pair.link;
    pair.world.disconnect(link).unwrap();
    // Five seconds for 1,250,000 msat each are above the credit of 5,000,000.
    for _ in 0..5 {
        pair.tick();
    }
    assert_eq!(pair.owed(), msat(7_500_000));
    pair.world.reboot(pair.station).unwrap();
    assert_eq!(pair.owed(), msat(7_500_000), "a restart opens the credit again");
    pair.reconnect();
    assert_eq!(pair.paid(), pair.owed());
}
