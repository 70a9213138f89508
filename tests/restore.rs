//! A payer with nothing but its seed and a backup: pays on, and refunds, wherever the coin went.

use bitcoin::{Network, OutPoint};

use millstream::chain::ChainSource as _;
use millstream::node::{Command, Event, LinkId, Node};
use millstream::signer::MemorySigner;
use millstream::sim::world::{EndId, Machine, World};
use millstream::store::{Key, Store as _};
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{Backup, Payer, Terms};
use millstream::tx::{ChangeScript, Delay, payee_script};
use millstream::units::{Blocks, FeeRate, KeyIndex, Msat, Sat, SessionId};

const CAR: [u8; 32] = [1; 32];
const STATION: [u8; 32] = [2; 32];

fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

fn session() -> SessionId {
    SessionId::new(1).unwrap()
}

/// A station, a car with an open channel, and the backup that the car's store holds.
struct Lost {
    world: World,
    station: EndId,
    car: EndId,
    link: LinkId,
    terms: Terms,
    outpoint: OutPoint,
}

impl Lost {
    fn open() -> Self {
        let base = millstream::keys::Seed::new(STATION)
            .base_key(&millstream::keys::Context::new(), Network::Regtest)
            .unwrap()
            .public();
        let mut terms = Terms::new(Network::Regtest, base).unwrap();
        terms.zero_conf_limit = sat(100_000);
        let mut world = World::new().unwrap();
        let station = world.add(Machine::payee("station", STATION, terms.clone())).unwrap();
        let car = world.add(Machine::payer("car", CAR)).unwrap();
        let link = world.connect(car, station).unwrap();
        let mut lost = Self { world, station, car, link, terms, outpoint: OutPoint::default() };
        lost.outpoint = lost.fund();
        lost
    }

    fn fund(&mut self) -> OutPoint {
        let end = self.world.end(self.car).unwrap();
        let node = end.node();
        let index = KeyIndex::new(5).unwrap();
        let seed = end.machine().seed();
        let key = seed.payer_key(node.context(), Network::Regtest, index).unwrap().public();
        let view = node.view(self.world.now().time).unwrap();
        let opening = Opening::new(
            node.context(),
            &self.terms,
            index,
            key,
            Delay::new(144).unwrap(),
            sat(1_000_000),
            ChangeScript::Own,
            &view,
        )
        .unwrap();
        let backup_key = seed.backup_key(Network::Regtest);
        let (funding, outpoint) =
            self.world.funding(opening.script().clone(), opening.capacity()).unwrap();
        let backup = opening.funded(outpoint).1.seal(&backup_key);
        assert!(backup.len() <= 160);
        let (link, opening) = (Some(self.link), Box::new(opening));
        let fund = Command::Fund { link, opening, funding, vout: outpoint.vout, backup };
        self.world.command(self.car, fund).unwrap();
        self.world.settle_down().unwrap();
        self.world.mine(blocks(6));
        self.world.settle_down().unwrap();
        self.budget(self.car);
        outpoint
    }

    /// Opens a session's budget, outside the meter.
    fn budget(&mut self, end: EndId) {
        let peer = millstream::signer::PeerId::new(self.terms.base);
        let signer = self.world.end_mut(end).unwrap().node_mut().signer_mut();
        millstream::signer::Signer::open_session(signer, peer, session(), msat(900_000_000))
            .unwrap();
    }

    fn pay(&mut self, end: EndId, outpoint: OutPoint, more: u64) {
        let (more, session) = (msat(more), session());
        let ending = Ending::KeepsChange;
        self.world.command(end, Command::Pay { outpoint, more, session, ending }).unwrap();
        self.world.settle_down().unwrap();
    }

    fn held(&self, outpoint: OutPoint) -> Msat {
        self.world.end(self.station).unwrap().node().payee(outpoint).unwrap().paid()
    }

    /// The station settles, so that the channel rolls over to an outpoint that the backup does not
    /// name.
    fn roll_over(&mut self) {
        let payee = self.world.end(self.station).unwrap().node().payee(self.outpoint).unwrap();
        let key = payee.channel().output().payee();
        let script = payee_script(&millstream::keys::Context::new(), key).unwrap();
        let (outpoints, rate) = (vec![self.outpoint], FeeRate::new(1_000).unwrap());
        self.world.command(self.station, Command::Settle { outpoints, script, rate }).unwrap();
        self.world.settle_down().unwrap();
        self.world.mine(blocks(7));
        self.world.settle_down().unwrap();
    }

    /// The backup's bytes as the car's store holds them.
    fn backup(&self) -> Vec<u8> {
        let mut key = vec![0x01, 0x02];
        key.extend_from_slice(self.outpoint.txid.as_ref());
        key.extend_from_slice(&self.outpoint.vout.to_be_bytes());
        let store = self.world.end(self.car).unwrap().store();
        store.get(&Key::new(&key).unwrap()).unwrap().unwrap()
    }

    /// Another machine with the same seed and an empty store finds the coin by its script.
    fn restore(&mut self, bytes: &[u8], with_terms: bool) -> (EndId, OutPoint) {
        let car = self.world.add(Machine::payer("car again", CAR)).unwrap();
        let seed = millstream::keys::Seed::new(CAR);
        let backup = Backup::open(bytes, &seed, Network::Regtest).unwrap();
        let node: &Node<MemorySigner> = self.world.end(car).unwrap().node();
        let output = backup.output(node.context(), &seed).unwrap();
        let found = self.world.chain().source().outputs_of(output.script()).unwrap();
        let unspent: Vec<_> = found.iter().filter(|(_, status)| status.spent.is_none()).collect();
        let [(outpoint, status)] = unspent[..] else { panic!("{} coins", unspent.len()) };
        let terms = with_terms.then_some(&self.terms);
        let key = output.payer();
        let record =
            Payer::restore(node.context(), key, &backup, terms, *outpoint, status).unwrap();
        let outpoint = *outpoint;
        self.world.command(car, Command::Adopt(Box::new(record))).unwrap();
        self.world.settle_down().unwrap();
        (car, outpoint)
    }

    fn resume(&mut self, car: EndId, outpoint: OutPoint) {
        let link = self.world.connect(car, self.station).unwrap();
        self.world.command(car, Command::Attach { link, outpoint }).unwrap();
        self.world.settle_down().unwrap();
        self.budget(car);
    }
}

#[test]
fn payer_with_seed_and_backup_alone_pays_on_from_the_payees_best_voucher() {
    let mut lost = Lost::open();
    lost.pay(lost.car, lost.outpoint, 123_456_789);
    assert_eq!(lost.held(lost.outpoint), msat(123_456_789));
    let backup = lost.backup();
    let (car, outpoint) = lost.restore(&backup, true);
    assert_eq!(outpoint, lost.outpoint);
    lost.resume(car, outpoint);
    let events = lost.world.take_events(car).unwrap();
    let ready = Event::Ready { outpoint, signed: msat(123_456_789), behind: Msat::ZERO };
    assert!(events.contains(&ready), "{events:?}");
    lost.pay(car, outpoint, 1_000);
    assert_eq!(lost.held(outpoint), msat(123_457_789));
}

#[test]
fn payer_with_seed_and_backup_alone_pays_on_after_a_rollover() {
    let mut lost = Lost::open();
    lost.pay(lost.car, lost.outpoint, 123_456_789);
    let backup = lost.backup();
    lost.roll_over();
    let (car, outpoint) = lost.restore(&backup, true);
    assert_ne!(outpoint, lost.outpoint);
    lost.resume(car, outpoint);
    // The rollover's first debt is the sub-satoshi part.
    lost.pay(car, outpoint, 10_000_789);
    assert_eq!(lost.held(outpoint), msat(10_000_789));
}

#[test]
fn payer_with_seed_and_backup_alone_refunds_after_a_rollover_without_the_payee() {
    let mut lost = Lost::open();
    lost.pay(lost.car, lost.outpoint, 123_456_789);
    let backup = lost.backup();
    lost.roll_over();
    let (car, outpoint) = lost.restore(&backup, false);
    let script = bitcoin::ScriptBuf::from_bytes([&[0x00, 0x14][..], &[7; 20]].concat());
    let rate = FeeRate::new(1_000).unwrap();
    let refund =
        |script: &bitcoin::ScriptBuf| Command::Refund { outpoint, script: script.clone(), rate };
    let early = lost.world.command(car, refund(&script));
    assert!(early.is_err());
    // Seven blocks are on top of the rollover already; one before the deadline mempools take it.
    lost.world.mine(blocks(144 - 7));
    lost.world.settle_down().unwrap();
    lost.world.command(car, refund(&script)).unwrap();
    lost.world.settle_down().unwrap();
    assert_eq!(lost.world.end_mut(car).unwrap().take_unsent(), []);
    lost.world.mine(blocks(1));
    let found = lost.world.chain().source().outputs_of(&script).unwrap();
    let [(_, status)] = &found[..] else { panic!("{found:?}") };
    // 1,000,000 - 123,456 sat less the fee of 125.5 vB at 1 sat/vB.
    assert_eq!(status.value, sat(1_000_000 - 123_456 - 126));
}

#[test]
fn coin_of_a_replaced_funding_transaction_is_found_by_its_script() {
    let mut lost = Lost::open();
    let backup = lost.backup();
    let hint = lost.outpoint;
    // The channel's script is funded by another transaction in a branch that wins.
    let opening =
        Backup::open(&backup, &millstream::keys::Seed::new(CAR), Network::Regtest).unwrap();
    let context = millstream::keys::Context::new();
    let output = opening.output(&context, &millstream::keys::Seed::new(CAR)).unwrap();
    let (funding, outpoint) =
        lost.world.conflicting_funding(output.script().clone(), sat(999_000)).unwrap();
    let mut branch = vec![vec![]; 8];
    branch[0] = vec![funding];
    lost.world.chain().with(|chain| {
        chain.reorg(Blocks::new(7).unwrap(), &branch).unwrap();
    });
    lost.world.settle_down().unwrap();
    let gone = lost.world.chain().source().output(hint).unwrap();
    assert!(gone.is_none_or(|status| status.confirmed.is_none()), "the first funding is out");
    let found = lost.world.chain().source().outputs_of(output.script()).unwrap();
    let confirmed: Vec<_> = found.iter().filter(|(_, s)| s.confirmed.is_some()).collect();
    assert_eq!(confirmed.len(), 1);
    assert_eq!(confirmed[0].0, outpoint);

    // The payee has never seen that outpoint: it is shown to it, and the payer pays on.
    lost.world.mine(blocks(6));
    lost.world.settle_down().unwrap();
    let (car, outpoint) = lost.restore(&backup, true);
    lost.resume(car, outpoint);
    lost.pay(car, outpoint, 5_000);
    assert_eq!(lost.held(outpoint), msat(5_000));
}

#[test]
fn payee_that_lost_its_store_takes_the_payers_voucher_again() {
    let mut lost = Lost::open();
    lost.pay(lost.car, lost.outpoint, 123_456_789);
    lost.station = lost.world.add(Machine::payee("new disk", STATION, lost.terms.clone())).unwrap();
    let (link, outpoint) = (lost.world.connect(lost.car, lost.station).unwrap(), lost.outpoint);
    lost.world.command(lost.car, Command::Attach { link, outpoint }).unwrap();
    lost.world.settle_down().unwrap();
    assert_eq!(lost.held(outpoint), msat(123_456_789));
    let events = lost.world.take_events(lost.station).unwrap();
    let claimed = msat(123_456_789);
    assert!(events.contains(&Event::RecoveredOnPayersWord { outpoint, claimed }), "{events:?}");
}
