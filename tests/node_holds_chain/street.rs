//! A payer and a payee with one hold, the simulated chain, and what each of them told.

use std::collections::BTreeMap;

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction};
use millstream::chain::regtest::Regtest;
use millstream::keys::{Context, Entropy, Seed};
use millstream::monitor::{Policy, Watch};
use millstream::node::{Command, Event, LinkId, Node};
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::sim::world::{EndId, Machine, World, WorldError};
use millstream::store::Store;
use millstream::stream::payee::PayeePhase;
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{HoldRules, Terms};
use millstream::tx::hold::{HoldSettlement, HoldSpend, Preimage};
use millstream::tx::{ChangeScript, Delay, FeeInput};
use millstream::units::{
    Blocks, FeeRate, Height, HoldId, KeyIndex, Msat, Sat, SessionId, UtcSeconds,
};

pub(crate) const AMOUNT: u64 = 50_000;
pub(crate) const K: u16 = 6;
pub(crate) const MARGIN: u32 = 5;
/// How many blocks after its offer a hold ends.
pub(crate) const EXPIRY: u32 = 40;
const DEPTH: u32 = 3;
/// 1 sat a virtual byte.
const RATE: u64 = 1_000;
const AUX: Entropy = Entropy::new([0; 32]);

pub(crate) fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

pub(crate) fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

pub(crate) fn hold(number: u64) -> HoldId {
    HoldId::new(number).unwrap()
}

pub(crate) fn preimage() -> Preimage {
    Preimage::new([0xab; 32])
}

fn session() -> SessionId {
    SessionId::new(3).unwrap()
}

fn base() -> bitcoin::XOnlyPublicKey {
    Seed::new([2; 32]).base_key(&Context::new(), Network::Regtest).unwrap().public()
}

fn terms() -> Terms {
    let mut terms = Terms::new(Network::Regtest, base()).unwrap();
    terms.delay = (Delay::new(100).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(10_000_000));
    terms.confirmation_depth = blocks(DEPTH);
    terms.settle_margin = blocks(MARGIN);
    terms.holds = HoldRules { k: K, fee: sat(500), dust: sat(1_000), count: 8 };
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms
}

/// Where a machine's claims and timeouts go.
fn till(seed: &Seed) -> ScriptBuf {
    let context = Context::new();
    let key = seed.coin_key(&context, Network::Regtest, KeyIndex::MIN).unwrap();
    ScriptBuf::new_p2tr(context.secp(), key.public(), None)
}

/// What one side was told of its holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// The last height at which the channel was spent.
    pub(crate) settled: Option<u32>,
    pub(crate) published: Vec<HoldId>,
    pub(crate) revealed: Vec<Preimage>,
    /// Claims in blocks: the height, and whether that was after a release.
    pub(crate) claims: Vec<(u32, bool)>,
    /// Timeouts in blocks: the height, and whether a preimage was lost with it.
    pub(crate) timeouts: Vec<(u32, bool)>,
    /// How often it was told that nobody tends its holds.
    pub(crate) untended: usize,
    /// Settlements that wait for their coins' owner.
    due: Vec<HoldSettlement>,
    pub(crate) is_over: bool,
    pub(crate) is_closed: bool,
}

pub(crate) struct Street {
    pub(crate) world: World,
    /// It pays.
    pub(crate) car: EndId,
    /// It is paid.
    pub(crate) station: EndId,
    pub(crate) outpoint: OutPoint,
    link: Option<LinkId>,
    offered: u32,
    tended: Vec<EndId>,
    stories: BTreeMap<bool, Story>,
}

impl Street {
    pub(crate) fn open() -> Self {
        let mut chain = Regtest::new().unwrap();
        World::fill(&mut chain);
        Self::on(chain)
    }

    /// A channel of 1,000,000 sat, deep enough, and a budget.
    pub(crate) fn on(chain: Regtest) -> Self {
        let mut world = World::on_filled(chain);
        let car = world.add(Machine::payer("car", [1; 32])).unwrap();
        let station = world.add(Machine::payee("station", [2; 32], terms())).unwrap();
        let link = world.connect(car, station).unwrap();
        let (context, index) = (Context::new(), KeyIndex::MIN);
        let key = Seed::new([1; 32]).payer_key(&context, Network::Regtest, index).unwrap();
        let view = world.end(car).unwrap().node().view(world.now().time).unwrap();
        let (delay, own) = (Delay::new(400).unwrap(), ChangeScript::Own);
        let terms = terms();
        let opening =
            Opening::new(&context, &terms, index, key.public(), delay, sat(1_000_000), own, &view)
                .unwrap();
        let (funding, outpoint) =
            world.funding(opening.script().clone(), opening.capacity()).unwrap();
        let (link_to, opening, vout) = (Some(link), Box::new(opening), outpoint.vout);
        let fund = Command::Fund { link: link_to, opening, funding, vout, backup: vec![7; 100] };
        world.command(car, fund).unwrap();
        world.settle_down().unwrap();
        world.mine(blocks(DEPTH));
        world.settle_down().unwrap();
        let (offered, tended, stories) = (world_tip(&world), Vec::new(), BTreeMap::new());
        let link = Some(link);
        let mut street = Self { world, car, station, outpoint, link, offered, tended, stories };
        street.open_budget();
        street
    }

    fn open_budget(&mut self) {
        let signer = self.world.end_mut(self.car).unwrap().node_mut().signer_mut();
        let _open_already = signer.open_session(PeerId::new(base()), session(), Msat::MAX);
    }

    pub(crate) fn node(&self, end: EndId) -> &Node<MemorySigner> {
        self.world.end(end).unwrap().node()
    }

    pub(crate) fn other(&self, end: EndId) -> EndId {
        if end == self.car { self.station } else { self.car }
    }

    pub(crate) fn expiry(&self) -> u32 {
        self.offered + EXPIRY
    }

    pub(crate) fn exposure(&self) -> Option<Msat> {
        self.node(self.car).exposure(self.outpoint)
    }

    pub(crate) fn command(&mut self, end: EndId, command: Command) {
        self.world.command(end, command).unwrap();
    }

    pub(crate) fn settle_down(&mut self) {
        self.world.settle_down().unwrap();
        self.listen();
    }

    fn offer_command(&self) -> Command {
        let (hash, amount) = (preimage().hash(), sat(AMOUNT));
        let expiry = Height::new(self.expiry()).unwrap();
        Command::OfferHold { outpoint: self.outpoint, hash, amount, expiry, session: session() }
    }

    /// A hold of 50,000 sat, heard and acknowledged.
    pub(crate) fn offer(&mut self) {
        self.command(self.car, self.offer_command());
        self.settle_down();
        assert_eq!(self.node(self.station).payee(self.outpoint).unwrap().holds().len(), 1);
    }

    pub(crate) fn pay(&mut self, more: u64) {
        let (more, ending) = (Msat::new(more).unwrap(), Ending::KeepsChange);
        let pay = Command::Pay { outpoint: self.outpoint, more, session: session(), ending };
        self.command(self.car, pay);
        self.settle_down();
    }

    pub(crate) fn fulfil(&self) -> Command {
        Command::FulfilHold { outpoint: self.outpoint, id: hold(1), preimage: preimage() }
    }

    /// The line between the two is gone.
    pub(crate) fn part(&mut self) {
        if let Some(link) = self.link.take() {
            self.world.disconnect(link).unwrap();
        }
    }

    pub(crate) fn tend(&mut self, end: EndId) {
        self.tend_at(end, RATE);
    }

    pub(crate) fn tend_at(&mut self, end: EndId, rate: u64) {
        self.tend_with(end, rate, Vec::new());
    }

    pub(crate) fn tend_with(&mut self, end: EndId, rate: u64, coins: Vec<FeeInput>) {
        let till = till(&self.world.end(end).unwrap().machine().seed());
        let (policy, rate) = (Box::new(Policy::new(till)), FeeRate::new(rate).unwrap());
        self.command(end, Command::TendHolds { policy, rate, coins });
        self.tended.push(end);
    }

    /// Blocks take nothing below `rate`.
    pub(crate) fn weather(&mut self, rate: u64) {
        let rate = FeeRate::new(rate).unwrap();
        self.world.chain().with(|chain| chain.set_mining_rate(rate));
    }

    /// A confirmed coin of the payee's.
    pub(crate) fn coin(&mut self, value: u64) -> FeeInput {
        self.world.chain().with(|chain| chain.set_mining_rate(FeeRate::MIN));
        let (tx, coin) = self.world.coin(sat(value)).unwrap();
        self.submit(&tx);
        self.pass(1);
        coin
    }

    pub(crate) fn submit(&mut self, tx: &Transaction) {
        self.world.chain().with(|chain| chain.submit(tx)).unwrap();
        self.settle_down();
    }

    /// The payee settles long before it must.
    pub(crate) fn settle(&mut self) {
        let draft = self.node(self.station).draft_hold_settlement(self.outpoint, &[]).unwrap();
        let settlement = Box::new(draft);
        self.command(self.station, Command::SettleHeld { settlement, witnesses: Vec::new() });
        self.settle_down();
    }

    /// The settlement of the voucher that the payee has now, and the claim of its hold, signed by a
    /// payee that keeps no rule.
    pub(crate) fn sign_as_payee(&self) -> (Transaction, Transaction) {
        let context = Context::new();
        let draft = self.node(self.station).draft_hold_settlement(self.outpoint, &[]).unwrap();
        let machine = self.node(self.station).payee(self.outpoint).unwrap();
        let base = Seed::new([2; 32]).base_key(&context, Network::Regtest).unwrap();
        let key = base.for_payer(&context, machine.channel().output().payer()).unwrap();
        let coin = HoldSettlement::coins(&draft).unwrap().remove(0);
        let signature = key.sign(&context, draft.digest().unwrap(), &AUX);
        let settlement = draft.finish(&signature, Vec::new()).unwrap();
        let (script, rate) = (till(&Seed::new([2; 32])), FeeRate::new(RATE).unwrap());
        let claim = HoldSpend::claim(coin, preimage(), script, rate).unwrap();
        let signature = key.sign(&context, claim.digest().unwrap(), &AUX);
        (settlement, claim.finish(&signature).unwrap())
    }

    /// A block at a time, and everybody looks.
    pub(crate) fn pass(&mut self, count: u32) {
        for _ in 0..count {
            self.world.mine(blocks(1));
            self.settle_down();
            self.world.check_invariants().unwrap();
        }
    }

    pub(crate) fn pass_until_claimed(&mut self) {
        for _ in 0..EXPIRY {
            if !self.story(self.station).claims.is_empty() {
                return;
            }
            self.pass(1);
        }
        panic!("not claimed: {:?}", self.story(self.station));
    }

    pub(crate) fn reorg(&mut self, depth: u32) {
        let branch = vec![Vec::new(); usize::try_from(depth).unwrap() + 1];
        self.world.chain().with(|chain| chain.reorg(blocks(depth), &branch)).unwrap();
    }

    /// What the till of a machine has in blocks.
    pub(crate) fn paid_to(&self, end: EndId) -> Sat {
        let till = till(&self.world.end(end).unwrap().machine().seed());
        let outputs = self.world.chain().with(|chain| chain.outputs_of(&till));
        let confirmed = outputs.iter().filter(|(_, status)| status.confirmed.is_some());
        confirmed.fold(Sat::ZERO, |sum, (_, status)| sum.saturating_add(status.value))
    }

    pub(crate) fn story(&self, end: EndId) -> Story {
        self.stories.get(&(end == self.car)).cloned().unwrap_or_default()
    }

    pub(crate) fn take_due(&mut self) -> Vec<HoldSettlement> {
        self.stories
            .get_mut(&false)
            .map(|story| core::mem::take(&mut story.due))
            .unwrap_or_default()
    }

    /// Neither the channel nor its watch is known any more.
    pub(crate) fn is_gone(&self, end: EndId) -> bool {
        let node = self.node(end);
        let known = node.payee(self.outpoint).is_some() || node.payer(self.outpoint).is_some();
        !known && node.watches().count() == 0
    }

    fn listen(&mut self) {
        for end in [self.car, self.station] {
            for event in self.world.take_events(end).unwrap() {
                self.hear(end, &event);
            }
        }
    }

    fn hear(&mut self, end: EndId, event: &Event) {
        let (of, story) = (self.outpoint, self.stories.entry(end == self.car).or_default());
        match *event {
            Event::Spent { outpoint, at: Some(at), .. } if outpoint == of => {
                story.settled = Some(at.to_u32());
            }
            Event::HoldPublished { id, .. } => story.published.push(id),
            Event::HoldShown { preimage, .. } => story.revealed.push(preimage),
            Event::HoldClaimed { at: Some(at), after_release, .. } => {
                story.claims.push((at.to_u32(), after_release));
            }
            Event::HoldTimedOut { at: Some(at), lost, .. } => {
                story.timeouts.push((at.to_u32(), lost));
            }
            Event::HoldSettlementDue { ref settlement, .. } => {
                story.due.push((**settlement).clone());
            }
            Event::HoldsUntended { .. } => story.untended += 1,
            Event::HoldsOver { .. } => story.is_over = true,
            Event::Closed { outpoint } if outpoint == of => story.is_closed = true,
            _ => {}
        }
    }

    /// No record of a watch is left.
    pub(crate) fn check_stored(&self, end: EndId) {
        let mut left = 0;
        let store = self.world.end(end).unwrap().store();
        store
            .scan(&Watch::PREFIX, &mut |_, _| {
                left += 1;
                core::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(left, 0);
    }

    /// Offered, told by both to mind their holds, and left to the chain: claimed, or published and
    /// timed out. Whoever loses its power comes back. Whether that happened.
    pub(crate) fn live(&mut self, times_out: bool, life: u32) -> bool {
        let mut cuts = 0;
        for end in [self.car, self.station] {
            self.tend(end);
        }
        cuts += self.calm();
        let heard = |street: &Self| {
            let payee = street.node(street.station).payee(street.outpoint).unwrap();
            !payee.holds().is_empty()
        };
        while !heard(self) {
            self.meet();
            cuts += self.calm();
            // At first, and where the power went before it was durable: nobody knows of it then.
            let none = self.node(self.car).payer(self.outpoint).unwrap().holds().is_empty();
            if none {
                self.command(self.car, self.offer_command());
            }
            cuts += self.calm();
        }
        if times_out {
            while !self.is_settled() {
                let drafted = self.node(self.station).draft_hold_settlement(self.outpoint, &[]);
                let settlement = Box::new(drafted.unwrap());
                let settle = Command::SettleHeld { settlement, witnesses: Vec::new() };
                self.command(self.station, settle);
                cuts += self.calm();
                self.world.mine(blocks(1));
                cuts += self.calm();
            }
        } else {
            self.part();
            while !self.is_known() {
                let fulfil = self.fulfil();
                self.command(self.station, fulfil);
                cuts += self.calm();
            }
        }
        for _ in 0..life {
            self.world.mine(blocks(1));
            cuts += self.calm();
            self.world.check_invariants().unwrap();
        }
        cuts > 0
    }

    fn is_settled(&self) -> bool {
        let machine = self.node(self.station).payee(self.outpoint);
        machine.is_some_and(|m| matches!(m.phase(), PayeePhase::Spent { at: Some(_), .. }))
    }

    fn is_known(&self) -> bool {
        let mut watches = self.node(self.station).watches();
        watches.any(|watch| watch.holds().iter().any(|held| held.preimage.is_some()))
    }

    /// The line comes back, if it is gone.
    fn meet(&mut self) {
        if self.link.is_some() {
            return;
        }
        let link = self.world.connect(self.car, self.station).unwrap();
        self.link = Some(link);
        let attach = Command::Attach { link, outpoint: self.outpoint };
        self.command(self.car, attach);
    }

    /// Everybody acts until all is quiet; who lost its power starts again. How many did.
    fn calm(&mut self) -> usize {
        let mut cuts = 0;
        loop {
            match self.world.settle_down() {
                Ok(_) => break,
                Err(WorldError::Stopped { end, .. }) => {
                    cuts += 1;
                    self.world.reboot(end).unwrap();
                    self.link = None;
                    self.open_budget();
                    if self.tended.contains(&end) {
                        self.tend(end);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.listen();
        cuts
    }
}

fn world_tip(world: &World) -> u32 {
    world.chain().with(|chain| chain.tip().height.to_u32())
}
