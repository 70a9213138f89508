//! A car, a station and a channel between them, with a door for strangers.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, Transaction, TxOut, Txid};
use core::ops::ControlFlow;
use millstream::keys::{Context, Entropy, Seed};
use millstream::meter::tariff::{Band, Measure, Repeat, Tariff, Tier};
use millstream::meter::{State, Statement, Window};
use millstream::node::{Command, Event, Input, LinkId, NodeError};
use millstream::signer::budget::Policy;
use millstream::signer::{Attest, MemorySigner, PeerId, Request, Signer};
use millstream::sim::world::{EndId, Machine, World, WorldError};
use millstream::store::Store;
use millstream::stream::Terms;
use millstream::stream::payer::{Opening, PayerRecord};
use millstream::tx::{ChangeScript, Delay, FeeInput, payee_script};
use millstream::units::{
    Blocks, ChannelAlias, FeeRate, KeyIndex, Msat, Ppm, Price, Quantity, Sat, Seconds, SessionId,
    UtcSeconds,
};
use millstream::wire::{self, Change, Message, OfferHash};

const DAY: u64 = 86_400;

pub(crate) fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

pub(crate) fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

pub(crate) fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

pub(crate) fn id(session: u64) -> SessionId {
    SessionId::new(session).unwrap()
}

pub(crate) fn secs(seconds: u64) -> Seconds {
    Seconds::new(seconds).unwrap()
}

/// 12.5 msat a watt-second until a border `after` seconds from now, then `late` of them.
pub(crate) fn border_tariff(street: &Street, after: u64, late: u64) -> Tariff {
    let at = (street.time().to_u64() + after) % DAY;
    let price = Price::new(msat(late), 3_600_000).unwrap();
    let tiers = vec![Tier { from: Quantity::ZERO, price }];
    let band = |from, to| Band { from: secs(from), to: secs(to), tiers: tiers.clone() };
    let to = at + DAY / 2;
    let bands = if to <= DAY { vec![band(at, to)] } else { vec![band(0, to - DAY), band(at, DAY)] };
    tariff().with_bands(Repeat::Daily, bands).unwrap()
}

/// What the station offers, with clocks 5 s apart and meters 2.5 % apart at most.
pub(crate) fn offer(link: LinkId, session: u64, tariff: Tariff, window: Window) -> Command {
    Command::OfferSession {
        link,
        session: id(session),
        tariff,
        window,
        skew: secs(5),
        tolerance: Ppm::new(25_000).unwrap(),
    }
}

pub(crate) fn tariff() -> Tariff {
    // 45,000 sat a kilowatt-hour by the watt-second.
    Tariff::flat(Measure::WattSecond, Price::new(msat(45_000_000), 3_600_000).unwrap()).unwrap()
}

fn terms() -> Terms {
    let seed = Seed::new([2; 32]);
    let base = seed.base_key(&Context::new(), bitcoin::Network::Regtest).unwrap().public();
    let mut terms = Terms::new(bitcoin::Network::Regtest, base).unwrap();
    terms.delay = (Delay::new(100).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(10_000_000));
    terms.confirmation_depth = blocks(3);
    terms.settle_margin = blocks(20);
    terms.zero_conf_limit = sat(50_000);
    terms.tariff = tariff().hash().0;
    terms.credit = msat(5_000_000);
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms
}

/// A statement as the station signs it, by its base key.
pub(crate) fn signed_statement(statement: &Statement) -> wire::Statement {
    let (all, zeros, bytes) = (Msat::MAX, Entropy::new([0; 32]), statement.encode());
    let policy = Policy { hour: all, day: all, peer: all, slice: msat(1) };
    let (seed, network) = (Seed::new([2; 32]), bitcoin::Network::Regtest);
    let mut signer = MemorySigner::new(seed, network, policy, None, &zeros).unwrap();
    let request = Request::Attest { kind: Attest::Statement, bytes: &bytes };
    let signature = signer.sign(&request, UtcSeconds::MIN, &zeros).unwrap();
    let blob = wire::Bytes::new([&bytes[..], &signature.serialize()].concat()).unwrap();
    wire::Statement { session: statement.session, statement: blob }
}

/// The stage of every test.
pub(crate) struct Street {
    pub(crate) world: World,
    pub(crate) car: EndId,
    pub(crate) station: EndId,
    pub(crate) link: LinkId,
    pub(crate) outpoint: OutPoint,
    pub(crate) first: OutPoint,
    pub(crate) session: u64,
    pub(crate) total: u64,
    opening: Opening,
    funding: Transaction,
    next_link: u64,
    statements: Vec<Statement>,
}

impl Street {
    /// A funding that is signed, and told to nobody.
    pub(crate) fn unfunded() -> Self {
        Self::unfunded_with(ChangeScript::Own, &terms())
    }

    /// The same, under terms that give no credit before the output is deep.
    pub(crate) fn unfunded_without_credit() -> Self {
        let mut terms = terms();
        terms.zero_conf_limit = Sat::ZERO;
        Self::unfunded_with(ChangeScript::Own, &terms)
    }

    fn unfunded_with(change: ChangeScript, terms: &Terms) -> Self {
        let mut world = World::new().unwrap();
        let car = world.add(Machine::payer("car", [1; 32])).unwrap();
        let station = world.add(Machine::payee("station", [2; 32], terms.clone())).unwrap();
        let link = world.connect(car, station).unwrap();
        world.settle_down().unwrap();
        let opening = opening(&world, car, change, terms);
        let (funding, outpoint) =
            world.funding(opening.script().clone(), opening.capacity()).unwrap();
        Self {
            world,
            car,
            station,
            link,
            outpoint,
            first: outpoint,
            session: 7,
            total: 0,
            opening,
            funding,
            next_link: 1_000,
            statements: Vec::new(),
        }
    }

    /// A channel that is funded and buried, and not shown to the payee yet.
    pub(crate) fn unopened() -> Self {
        Self::unopened_with(ChangeScript::Own)
    }

    /// The same with another change script.
    pub(crate) fn unopened_with(change: ChangeScript) -> Self {
        let mut street = Self::unfunded_with(change, &terms());
        let fund = street.fund_command(None);
        street.world.command(street.car, fund).unwrap();
        street.world.settle_down().unwrap();
        street.world.mine(blocks(3));
        street.world.settle_down().unwrap();
        street
    }

    /// A channel of 1,000,000 sat, buried and open on both sides.
    pub(crate) fn open() -> Self {
        let mut street = Self::unopened();
        street.show();
        street
    }

    /// A session in which 10 seconds are delivered and paid.
    pub(crate) fn in_session() -> Self {
        let mut street = Self::open();
        street.start_session(7);
        for _ in 0..10 {
            street.tick();
        }
        assert!(street.paid() > Msat::ZERO, "{:?}", street.refusals());
        street
    }

    pub(crate) fn fund_command(&self, link: Option<LinkId>) -> Command {
        let key = Machine::payer("car", [1; 32]).seed().backup_key(bitcoin::Network::Regtest);
        let backup = self.opening.funded(self.first).1.seal(&key);
        let (opening, funding) = (Box::new(self.opening.clone()), self.funding.clone());
        Command::Fund { link, opening, funding, vout: self.first.vout, backup }
    }

    pub(crate) fn fresh_record(&self) -> PayerRecord {
        self.opening.funded(self.first).0
    }

    /// Shows the channel by telling the funding again.
    pub(crate) fn show(&mut self) {
        let fund = self.fund_command(Some(self.link));
        self.world.command(self.car, fund).unwrap();
        self.world.settle_down().unwrap();
    }

    pub(crate) fn open_message(&self) -> wire::Open {
        let (record, _, request) = self.opening.funded(self.first);
        wire::Open {
            alias: ChannelAlias::new(0).unwrap(),
            chain: bitcoin::constants::ChainHash::REGTEST,
            payer: request.payer,
            delay: core::num::NonZeroU16::new(request.delay.to_u16()).unwrap(),
            outpoint: record.outpoint(),
            change: Change::Own,
            paid: Msat::ZERO,
            payee_base: request.base,
            terms_hash: request.terms,
        }
    }

    /// A connection that no machine of the world stands behind.
    pub(crate) fn stranger_at(&mut self, end: EndId) -> LinkId {
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.handle(end, Input::Connected(link)).unwrap();
        link
    }

    pub(crate) fn handle(&mut self, end: EndId, input: Input) -> Result<(), NodeError> {
        let now = self.world.now();
        self.world.end_mut(end).unwrap().node_mut().handle(&now, input)
    }

    pub(crate) fn inject(
        &mut self,
        end: EndId,
        link: LinkId,
        message: impl Into<Message>,
    ) -> Result<(), NodeError> {
        self.handle(end, Input::Received(link, message.into()))
    }

    /// Drains a node beside its store, answering its look-ups, and gives what it sends.
    pub(crate) fn flush(&mut self, end: EndId) -> Vec<(LinkId, Message)> {
        let now = self.world.now();
        let mut scratch = millstream::store::MemoryStore::default();
        let mut sends = Vec::new();
        loop {
            let node = self.world.end_mut(end).unwrap().node_mut();
            let outbox = node.flush(&now, &mut scratch).unwrap();
            sends.extend(outbox.sends);
            if outbox.look_ups.is_empty() {
                return sends;
            }
            for outpoint in outbox.look_ups {
                let status = self.world.chain().with(|chain| chain.output(outpoint));
                let _refused = self.handle(end, Input::Output(outpoint, status));
            }
        }
    }

    pub(crate) fn offer(&mut self, link: LinkId, session: u64) {
        let window = Window { credit: msat(5_000_000), prepay: Msat::ZERO };
        self.world.command(self.station, offer(link, session, tariff(), window)).unwrap();
    }

    /// An offer over the car's own line, and its answers.
    pub(crate) fn offer_with(&mut self, session: u64, tariff: Tariff, window: Window) {
        self.world.command(self.station, offer(self.link, session, tariff, window)).unwrap();
        self.world.settle_down().unwrap();
    }

    /// Session 7 of an offer over the car's own line.
    pub(crate) fn start_with(&mut self, tariff: Tariff, window: Window) {
        self.offer_with(7, tariff, window);
        self.accept(7).unwrap();
        self.world.settle_down().unwrap();
    }

    pub(crate) fn accept(&mut self, session: u64) -> Result<(), WorldError> {
        let node = self.world.end(self.car).unwrap().node();
        // Of what nobody offers any hash will do.
        let offer = node.offer_hash(self.link, id(session)).unwrap_or(OfferHash([0; 32]));
        let accept = Command::AcceptSession {
            session: id(session),
            offer,
            outpoint: self.outpoint,
            budget: msat(500_000_000),
            slack: Quantity::new(1_000_000).unwrap(),
        };
        self.world.command(self.car, accept)
    }

    /// The offer that [`Self::offer`] makes.
    pub(crate) fn offer_message(session: u64) -> wire::SessionOffer {
        wire::SessionOffer {
            session: id(session),
            tariff_hash: tariff().hash().0,
            credit: msat(5_000_000),
            prepay: Msat::ZERO,
            skew: Seconds::new(5).unwrap(),
            tolerance: Ppm::new(25_000).unwrap(),
            tariff: Some(wire::Bytes::new(tariff().encode()).unwrap()),
        }
    }

    pub(crate) fn start_session(&mut self, session: u64) {
        self.offer(self.link, session);
        self.world.settle_down().unwrap();
        self.accept(session).unwrap();
        self.world.settle_down().unwrap();
    }

    pub(crate) fn end_session(&mut self, session: u64) {
        self.world.command(self.car, Command::EndSession(id(session))).unwrap();
        self.world.settle_down().unwrap();
        let _ = self.statements();
    }

    pub(crate) fn reset_meter(&mut self) {
        self.total = 0;
    }

    /// One second at 100 kW on both meters.
    pub(crate) fn tick(&mut self) {
        self.total += 100_000;
        self.world.pass(Seconds::new(1).unwrap()).unwrap();
        let (session, total) = (id(self.session), Quantity::new(self.total).unwrap());
        for end in [self.car, self.station] {
            if let Err(error) = self.world.command(end, Command::Meter { session, total }) {
                panic!("{error}: {:?}", self.refusals());
            }
        }
        self.world.settle_down().unwrap();
        self.world.check_invariants().unwrap();
    }

    pub(crate) fn settle(&mut self, rate: u64) {
        let node = self.world.end(self.station).unwrap().node();
        let payee = node.payee(self.outpoint).unwrap();
        let script = payee_script(&Context::new(), payee.channel().output().payee()).unwrap();
        let (outpoints, rate) = (vec![self.outpoint], FeeRate::new(rate).unwrap());
        self.world.command(self.station, Command::Settle { outpoints, script, rate }).unwrap();
        self.world.settle_down().unwrap();
        assert_eq!(self.world.end_mut(self.station).unwrap().take_unsent(), []);
    }

    pub(crate) fn top_up(&mut self, nth: u8) -> Result<(), WorldError> {
        self.top_up_to(nth, sat(1_500_000))
    }

    /// Proposes to go on at `capacity` with a coin that nobody owns.
    pub(crate) fn top_up_to(&mut self, nth: u8, capacity: Sat) -> Result<(), WorldError> {
        let node = self.world.end(self.car).unwrap().node();
        let channel = node.payer(self.outpoint).unwrap().channel();
        let script_pubkey = payee_script(&Context::new(), channel.output().payee()).unwrap();
        let old = channel.capacity().to_sat();
        let value = Amount::from_sat(capacity.to_sat() - old + 1_000 + u64::from(nth));
        let outpoint = OutPoint { txid: Txid::from_byte_array([nth; 32]), vout: 1 };
        let coin = FeeInput::new(outpoint, TxOut { value, script_pubkey }).unwrap();
        let (outpoint, carries) = (self.outpoint, Some(id(self.session)));
        let top_up = Command::TopUp { outpoint, inputs: vec![coin], capacity, carries };
        self.world.command(self.car, top_up)
    }

    pub(crate) fn open_budget(&mut self, session: u64) {
        let end = self.world.end_mut(self.car).unwrap();
        let base = end.node().payer(self.outpoint).unwrap().record().base();
        let signer = end.node_mut().signer_mut();
        signer.open_session(PeerId::new(base), id(session), msat(1_000_000)).unwrap();
    }

    /// The channel on which nothing is spent yet, on the car's side.
    pub(crate) fn newest(&self) -> OutPoint {
        let open = |outpoint: &OutPoint| {
            let status = self.world.chain().with(|chain| chain.output(*outpoint));
            status.is_some_and(|status| status.spent.is_none())
        };
        let node = self.world.end(self.car).unwrap().node();
        node.payers().map(millstream::stream::Payer::outpoint).find(open).unwrap()
    }

    pub(crate) fn attach(&mut self) {
        let (link, outpoint) = (self.link, self.outpoint);
        self.world.command(self.car, Command::Attach { link, outpoint }).unwrap();
        self.world.settle_down().unwrap();
    }

    pub(crate) fn reconnect(&mut self) {
        self.link = self.world.connect(self.car, self.station).unwrap();
        self.attach();
    }

    pub(crate) fn paid(&self) -> Msat {
        let node = self.world.end(self.station).unwrap().node();
        node.session(id(self.session)).unwrap().record().paid()
    }

    pub(crate) fn owed(&self) -> Msat {
        self.world.end(self.station).unwrap().node().session(id(self.session)).unwrap().owed()
    }

    pub(crate) fn signed(&self) -> Msat {
        self.world.end(self.car).unwrap().node().payer(self.outpoint).unwrap().signed()
    }

    pub(crate) fn state(&self, end: EndId, session: u64) -> State {
        self.world.end(end).unwrap().node().session(id(session)).unwrap().record().state()
    }

    pub(crate) fn time(&self) -> UtcSeconds {
        self.world.now().time
    }

    pub(crate) fn quantity(&self) -> Quantity {
        Quantity::new(self.total).unwrap()
    }

    /// The statements that the car has agreed to so far.
    pub(crate) fn statements(&mut self) -> Vec<Statement> {
        for event in self.world.take_events(self.car).unwrap() {
            if let Event::StatementAgreed { statement } = event {
                self.statements.push(statement);
            }
        }
        self.statements.clone()
    }

    /// How many records of a prefix a machine's store holds.
    pub(crate) fn records(&self, end: EndId, prefix: &[u8]) -> usize {
        let mut count = 0;
        let store = self.world.end(end).unwrap().store();
        store
            .scan(prefix, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        count
    }

    pub(crate) fn refusals(&self) -> Vec<NodeError> {
        [self.car, self.station]
            .iter()
            .flat_map(|end| self.world.end(*end).unwrap().refusals().copied().collect::<Vec<_>>())
            .collect()
    }
}

fn opening(world: &World, car: EndId, change: ChangeScript, terms: &Terms) -> Opening {
    let node = world.end(car).unwrap().node();
    let index = KeyIndex::new(0).unwrap();
    let seed = world.end(car).unwrap().machine().seed();
    let key = seed.payer_key(node.context(), bitcoin::Network::Regtest, index).unwrap().public();
    let view = node.view(world.now().time).unwrap();
    let (delay, capacity) = (Delay::new(144).unwrap(), sat(1_000_000));
    Opening::new(node.context(), terms, index, key, delay, capacity, change, &view).unwrap()
}
