//! One channel on the simulated chain: both machines, both monitors, and every voucher with holds
//! that was ever signed.

use std::collections::BTreeSet;

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction, Witness};
use millstream::chain::regtest::{Cursor, Regtest, miner_coins};
use millstream::chain::{Coins, MemoryCoins, Payment, unsigned_psbt};
use millstream::keys::{Context, Entropy, Seed};
use millstream::monitor::{Act, Monitor, News, Policy, Side, Sight, Step, Subject, Watch, Watched};
use millstream::node::watch::{payee_holds, payee_subject, payer_holds, payer_subject};
use millstream::signer::budget::{self};
use millstream::signer::{MemorySigner, Past, PeerId, Request, Role, Signer};
use millstream::store::{Batch, Durability, MemoryStore, Store};
use millstream::stream::payer::{HoldStep, Opening};
use millstream::stream::{HoldRules, HoldVoucher, Payee, Payer, Terms, View};
use millstream::tx::hold::{Hold, HoldSettlement, Preimage};
use millstream::tx::{ChangeScript, Channel, Delay, FeeInput, Voucher};
use millstream::units::{
    Blocks, FeeRate, Height, HoldId, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds,
};

pub(crate) const NETWORK: Network = Network::Regtest;
pub(crate) const AUX: Entropy = Entropy::new([0; 32]);
pub(crate) const CAPACITY: u64 = 1_000_000;
pub(crate) const DELAY: u16 = 400;
pub(crate) const MARGIN: u32 = 10;
pub(crate) const DEPTH: u32 = 4;
pub(crate) const K: u16 = 12;
pub(crate) const FEE: u64 = 500;
/// The chain when the channel is deep; its output is in block 111.
pub(crate) const START: u32 = 120;
/// 1 sat a virtual byte.
pub(crate) const RATE: u64 = 1_000;

pub(crate) fn sat(sat: u64) -> Sat {
    Sat::new(sat).unwrap()
}

pub(crate) fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

pub(crate) fn at(height: u32) -> Height {
    Height::new(height).unwrap()
}

pub(crate) fn blocks(blocks: u32) -> Blocks {
    Blocks::new(blocks).unwrap()
}

pub(crate) fn rate(rate: u64) -> FeeRate {
    FeeRate::new(rate).unwrap()
}

pub(crate) fn preimage(number: u8) -> Preimage {
    Preimage::new([number; 32])
}

pub(crate) fn id(number: u64) -> HoldId {
    HoldId::new(number).unwrap()
}

fn session() -> SessionId {
    SessionId::new(1).unwrap()
}

fn now() -> UtcSeconds {
    UtcSeconds::new(1_900_000_000).unwrap()
}

/// Where each side's claims and timeouts go.
pub(crate) fn till(side: Side) -> ScriptBuf {
    let context = Context::new();
    let byte = if side == Side::Payer { 1 } else { 2 };
    let key = Seed::new([byte; 32]).coin_key(&context, NETWORK, KeyIndex::MIN).unwrap();
    ScriptBuf::new_p2tr(context.secp(), key.public(), None)
}

fn terms(context: &Context) -> Terms {
    let base = Seed::new([2; 32]).base_key(context, NETWORK).unwrap().public();
    let mut terms = Terms::new(NETWORK, base).unwrap();
    terms.delay = (Delay::new(50).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(10_000_000));
    terms.confirmation_depth = blocks(DEPTH);
    terms.settle_margin = blocks(MARGIN);
    terms.expiry = UtcSeconds::new(u64::MAX).unwrap();
    terms.holds = HoldRules { k: K, fee: sat(FEE), dust: sat(1_000), count: 8 };
    terms
}

fn signer(byte: u8) -> MemorySigner {
    let all = Msat::MAX;
    let policy = budget::Policy { hour: all, day: all, peer: all, slice: all };
    let seed = Seed::new([byte; 32]);
    let mut signer = MemorySigner::new(seed, NETWORK, policy, None, &AUX).unwrap();
    signer.release_day_budget_without_record(now()).unwrap();
    signer
}

/// When the power goes: around the write of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    BeforeWrite,
    AfterWrite,
}

/// A monitor with its store and its signer.
#[derive(Clone)]
pub(crate) struct Watcher {
    pub(crate) monitor: Monitor,
    pub(crate) store: MemoryStore,
    pub(crate) news: Vec<News>,
    /// How many records were written.
    pub(crate) writes: usize,
    /// At which write the power goes, and how.
    pub(crate) cut: Option<(usize, Cut)>,
    /// What it knows from elsewhere.
    pub(crate) known: Vec<Preimage>,
    /// Its policy's, if it is another than the default.
    pub(crate) reaction: Option<u32>,
    pub(crate) missing_fee: Option<Sat>,
    /// The most holds that were not worth their spend at one look.
    pub(crate) unworthy: usize,
    /// How many transactions and packages it sent, and how many were refused.
    pub(crate) sent: usize,
    /// How many of them had or were a child of a settlement.
    pub(crate) bumps: usize,
    pub(crate) refused: usize,
}

/// The chain, with what wallets are told to pay.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) chain: Regtest,
    pub(crate) rate: u64,
    /// Confirmed coins of the payee's, which the miner's key signs for.
    pub(crate) coins: Vec<FeeInput>,
}

impl World {
    pub(crate) fn tip(&self) -> u32 {
        self.chain.tip().height.to_u32()
    }

    pub(crate) fn mine(&mut self, count: u32) {
        self.chain.mine(blocks(count));
    }
}

fn wallet() -> MemoryCoins {
    miner_coins().unwrap()
}

impl Watcher {
    fn new(context: &Context, subject: Subject) -> Self {
        let monitor = Monitor::load(context, Watch::new(subject)).unwrap();
        let mut watcher = Self {
            monitor,
            store: MemoryStore::default(),
            news: Vec::new(),
            writes: 0,
            cut: None,
            known: Vec::new(),
            reaction: None,
            missing_fee: None,
            unworthy: 0,
            sent: 0,
            bumps: 0,
            refused: 0,
        };
        let first = watcher.monitor.record().clone();
        watcher.write(&first);
        watcher
    }

    fn write(&mut self, record: &Watch) {
        let mut batch = Batch::default();
        batch.put(record.key().unwrap(), &record.encode().unwrap()).unwrap();
        self.store.commit(&batch, Durability::Barrier).unwrap();
    }

    /// The monitor as its store has it.
    pub(crate) fn restart(&mut self, context: &Context) {
        let key = self.monitor.record().key().unwrap();
        let bytes = self.store.get(&key).unwrap().unwrap();
        self.monitor = Monitor::load(context, Watch::decode(&key, &bytes).unwrap()).unwrap();
    }

    /// Writes and applies, or loses its power on the way.
    fn take(&mut self, context: &Context, record: &Watch) -> bool {
        if record == self.monitor.record() {
            return true;
        }
        let cut = self.cut.filter(|(write, _)| *write == self.writes).map(|(_, cut)| cut);
        self.writes += 1;
        if cut != Some(Cut::BeforeWrite) {
            self.write(record);
            self.monitor.apply(record).unwrap();
        }
        if cut.is_some() {
            self.restart(context);
        }
        cut.is_none()
    }

    pub(crate) fn follow(&mut self, context: &Context, best: Option<Voucher>, holds: &[Watched]) {
        let record = self.monitor.follow(best, holds).unwrap();
        let cut = self.cut.take();
        assert!(self.take(context, &record));
        self.cut = cut;
    }

    fn decide(&self, context: &Context, world: &World) -> Step {
        let outputs: Vec<_> = self
            .monitor
            .watched()
            .into_iter()
            .filter_map(|outpoint| Some((outpoint, world.chain.output(outpoint)?)))
            .collect();
        let side = self.monitor.record().subject().side;
        let sight = Sight {
            tip: world.chain.tip().height,
            outputs: &outputs,
            preimages: &self.known,
            rate: rate(world.rate),
            coins: &world.coins,
        };
        let mut policy = Policy::new(till(side));
        policy.reaction = self.reaction.map_or(policy.reaction, blocks);
        let step = self.monitor.decide(context, &sight, &policy).unwrap();
        assert_eq!(self.monitor.decide(context, &sight, &policy).unwrap(), step);
        step
    }

    /// Looks until there is nothing more to look up, and sends what is due. Whether the power
    /// stayed.
    pub(crate) fn look(
        &mut self,
        context: &Context,
        world: &mut World,
        signer: &mut MemorySigner,
        payee: &mut Payee,
    ) -> bool {
        loop {
            let step = self.decide(context, world);
            let before = self.monitor.watched();
            if !self.take(context, &step.record) {
                return false;
            }
            self.news.extend(step.news);
            if self.monitor.watched() != before {
                continue;
            }
            self.missing_fee = step.missing_fee;
            self.unworthy = self.unworthy.max(step.unworthy.len());
            for act in step.acts {
                let monitor = &self.monitor;
                let mut child = |child| monitor.sign_child(child, signer, now(), &AUX).unwrap();
                let (package, bumps) = match act {
                    Act::Bump(bump) => (vec![child(bump)], 1),
                    Act::Spend(spend) => {
                        (vec![monitor.sign(spend, signer, now(), &AUX).unwrap()], 0)
                    }
                    Act::Settle(settlement, bump) => {
                        let bump = bump.map(&mut child);
                        let first = settle(settlement, signer, payee);
                        let package: Vec<_> = std::iter::once(first).chain(bump).collect();
                        let bumps = package.len() - 1;
                        (package, bumps)
                    }
                };
                self.sent += 1;
                self.bumps += bumps;
                let taken = match &package[..] {
                    [one] => world.chain.submit(one),
                    all => world.chain.submit_package(all),
                };
                self.refused += usize::from(taken.is_err());
            }
            return true;
        }
    }

    pub(crate) fn revealed(&self) -> BTreeSet<u64> {
        let revealed = self.news.iter().filter_map(|news| match news {
            News::Revealed { id, .. } => Some(id.to_u64()),
            _ => None,
        });
        revealed.collect()
    }

    /// The holds that were claimed in a block, with whether that was after their release.
    pub(crate) fn claimed(&self) -> Vec<(u64, bool)> {
        let claimed = self.news.iter().filter_map(|news| match news {
            News::Claimed { id, at: Some(_), after_release } => Some((id.to_u64(), *after_release)),
            _ => None,
        });
        claimed.collect()
    }
}

/// P4: the payee's promise is applied before its signature leaves.
fn settle(settlement: HoldSettlement, signer: &mut MemorySigner, payee: &mut Payee) -> Transaction {
    let (record, _) = payee.promise_held(&settlement).unwrap();
    payee.apply(&record).unwrap();
    let request = Request::HoldSettlement { settlement: &settlement };
    let signature = signer.sign(&request, now(), &AUX).unwrap();
    let mut psbt = unsigned_psbt(settlement.transaction(), settlement.spent()).unwrap();
    wallet().sign(&mut psbt).unwrap();
    let added = psbt.inputs.into_iter().skip(1);
    let witnesses: Vec<Witness> = added.filter_map(|input| input.final_script_witness).collect();
    settlement.finish(&signature, witnesses).unwrap()
}

/// Both sides of one channel.
pub(crate) struct Pair {
    pub(crate) context: Context,
    pub(crate) world: World,
    pub(crate) payer: Payer,
    pub(crate) payee: Payee,
    pub(crate) payer_signer: MemorySigner,
    pub(crate) payee_signer: MemorySigner,
    pub(crate) of_payer: Watcher,
    pub(crate) of_payee: Watcher,
    /// Every voucher with holds, in the order in which they were signed.
    pub(crate) vouchers: Vec<HoldVoucher>,
}

impl Pair {
    pub(crate) fn open(chain: Regtest) -> Self {
        let context = Context::new();
        let mut world = World { chain, rate: RATE, coins: Vec::new() };
        world.mine(110);
        let terms = terms(&context);
        let index = KeyIndex::MIN;
        let key = Seed::new([1; 32]).payer_key(&context, NETWORK, index).unwrap().public();
        let (delay, own) = (Delay::new(DELAY).unwrap(), ChangeScript::Own);
        let view = view(&world);
        let opening =
            Opening::new(&context, &terms, index, key, delay, sat(CAPACITY), own, &view).unwrap();
        let outpoint = fund(&mut world, opening.script().clone(), CAPACITY);
        let (record, _, request) = opening.funded(outpoint);
        let mut payer = Payer::load(&context, key, record).unwrap();
        world.mine(START - 110);
        let status = world.chain.output(outpoint).unwrap();
        let view = self::view(&world);
        let payee = Payee::open(&context, &terms, &request, Some(&status), &view).unwrap();
        let seen = payer.notice(Some(&status), &view.tip).unwrap();
        payer.apply(seen.record()).unwrap();

        let (payer_signer, payee_signer) = signers(&payer, &payee, Past::New);
        let of_payer = Watcher::new(&context, payer_subject(&payer));
        let of_payee = Watcher::new(&context, payee_subject(&payee, terms.base));
        let vouchers = Vec::new();
        Self {
            context,
            world,
            payer,
            payee,
            payer_signer,
            payee_signer,
            of_payer,
            of_payee,
            vouchers,
        }
    }

    /// The same at another table: signers have no copy, and know nothing of their past.
    pub(crate) fn copy(&self) -> Self {
        let past = Past::Unknown { from: None };
        let (payer_signer, payee_signer) = signers(&self.payer, &self.payee, past);
        Self {
            context: Context::new(),
            world: self.world.clone(),
            payer: self.payer.clone(),
            payee: self.payee.clone(),
            payer_signer,
            payee_signer,
            of_payer: self.of_payer.clone(),
            of_payee: self.of_payee.clone(),
            vouchers: self.vouchers.clone(),
        }
    }

    pub(crate) fn channel(&self) -> &Channel {
        self.payer.channel()
    }

    /// A confirmed coin of the payee's.
    pub(crate) fn coin(&mut self, value: u64) {
        let script = wallet().script().clone();
        let outpoint = fund(&mut self.world, script.clone(), value);
        self.world.mine(1);
        let value = bitcoin::Amount::from_sat(value);
        let output = bitcoin::TxOut { value, script_pubkey: script };
        self.world.coins.push(FeeInput::new(outpoint, output).unwrap());
    }

    /// The payer's step reaches the payee; both monitors follow before it does.
    fn hear(&mut self, step: HoldStep) {
        let record = step.record().clone();
        let voucher = step.commit(&mut MemoryStore::default()).unwrap();
        self.payer.apply(&record).unwrap();
        self.follow();
        let view = view(&self.world);
        let accepted = self.payee.accept_held(&self.context, &voucher, &view).unwrap();
        self.payee.apply(accepted.record()).unwrap();
        self.follow();
        if !voucher.holds.is_empty() {
            self.vouchers.push(voucher);
        }
    }

    pub(crate) fn follow(&mut self) {
        self.of_payer.follow(&self.context, None, &payer_holds(&self.payer));
        self.of_payee.follow(&self.context, self.payee.best(), &payee_holds(&self.payee));
    }

    pub(crate) fn pay(&mut self, paid: u64) {
        let (context, view, paid) = (&self.context, view(&self.world), msat(paid));
        let signer = &mut self.payer_signer;
        let step = self.payer.pay_held(context, signer, paid, session(), &view, &AUX).unwrap();
        self.hear(step);
    }

    /// Offers `amount` for preimage `number` until `expiry`.
    pub(crate) fn offer(&mut self, number: u8, amount: u64, expiry: u32) {
        let (context, view, hash) = (&self.context, view(&self.world), preimage(number).hash());
        let (signer, amount, expiry) = (&mut self.payer_signer, sat(amount), at(expiry));
        let step = self
            .payer
            .offer(context, signer, hash, amount, expiry, session(), &view, &AUX)
            .unwrap();
        self.hear(step);
    }

    pub(crate) fn grow(&mut self, number: u64, amount: u64) {
        let (context, view) = (&self.context, view(&self.world));
        let (signer, id, amount) = (&mut self.payer_signer, id(number), sat(amount));
        let step = self.payer.grow(context, signer, id, amount, session(), &view, &AUX).unwrap();
        self.hear(step);
    }

    /// The payee learns the preimage of hold `number`.
    pub(crate) fn fulfil(&mut self, number: u64, with: u8) {
        let view = view(&self.world);
        let record = self.payee.fulfil(id(number), preimage(with), &view).unwrap();
        self.payee.apply(&record).unwrap();
        self.follow();
    }

    pub(crate) fn fold(&mut self, number: u64, with: u8) {
        let (context, view, known) = (&self.context, view(&self.world), preimage(with));
        let (signer, id) = (&mut self.payer_signer, id(number));
        let step = self.payer.fold(context, signer, id, &known, session(), &view, &AUX).unwrap();
        self.hear(step);
    }

    /// The payee releases a hold, and the payer drops it.
    pub(crate) fn release(&mut self, number: u64) {
        let record = self.payee.release(id(number)).unwrap();
        self.payee.apply(&record).unwrap();
        let record = self.payer.released(id(number)).unwrap();
        self.payer.apply(&record).unwrap();
        self.follow();
        let (context, view) = (&self.context, view(&self.world));
        let signer = &mut self.payer_signer;
        let step = self.payer.drop_holds(context, signer, session(), &view, &AUX).unwrap();
        self.hear(step);
    }

    /// Both monitors look; whoever loses its power looks again.
    pub(crate) fn look(&mut self) {
        let Self { context, world, payee, payer_signer, payee_signer, .. } = self;
        let _stayed = self.of_payee.look(context, world, payee_signer, payee);
        let _stayed = self.of_payer.look(context, world, payer_signer, payee);
    }

    /// A block and a look, so many times.
    pub(crate) fn pass(&mut self, count: u32) {
        for _ in 0..count {
            self.world.mine(1);
            self.look();
        }
    }

    /// The settlement of any voucher, signed by a payee that keeps no rule.
    pub(crate) fn settlement_of(&self, voucher: &HoldVoucher) -> (Transaction, Vec<Hold>) {
        let context = &self.context;
        let holds = voucher.holds.clone();
        let channel = self.channel().clone();
        let held = millstream::tx::hold::Held::new(
            context,
            channel,
            voucher.paid,
            sat(FEE),
            holds.clone(),
        );
        let checked = held.unwrap().verify(context, &voucher.signature).unwrap();
        let settlement = HoldSettlement::new(checked, &[]).unwrap();
        let key = self.payee_key();
        let signature = key.sign(context, settlement.digest().unwrap(), &AUX);
        (settlement.finish(&signature, Vec::new()).unwrap(), holds)
    }

    /// The payee's key in this channel.
    pub(crate) fn payee_key(&self) -> millstream::keys::ChannelKey {
        let base = Seed::new([2; 32]).base_key(&self.context, NETWORK).unwrap();
        base.for_payer(&self.context, self.channel().output().payer()).unwrap()
    }
}

pub(crate) fn view(world: &World) -> View {
    let tip = world.chain.tip();
    View { tip, now: now(), tip_age_max: Seconds::MAX }
}

/// Pays to a script out of the miner's coins.
fn fund(world: &mut World, script: ScriptBuf, value: u64) -> OutPoint {
    let (mut coins, mut cursor) = (wallet(), Cursor::default());
    while let Some(event) = world.chain.next_event(&mut cursor) {
        coins.apply(&event).unwrap();
    }
    let payment = Payment::new(script, sat(value), rate(RATE));
    let mut psbt = coins.fund(&payment).unwrap();
    coins.sign(&mut psbt).unwrap();
    let tx = psbt.extract_tx_unchecked_fee_rate();
    world.chain.submit(&tx).unwrap();
    OutPoint { txid: tx.compute_txid(), vout: 0 }
}

fn signers(payer: &Payer, payee: &Payee, past: Past) -> (MemorySigner, MemorySigner) {
    let (mut of_payer, mut of_payee) = (signer(1), signer(2));
    let peer = PeerId::new(payer.record().base());
    of_payer.open_session(peer, session(), Msat::MAX).unwrap();
    let next = of_payer.reserve(now(), None).unwrap().unwrap();
    of_payer.apply(next.commit(&mut MemoryStore::default()).unwrap()).unwrap();
    payer.register(&mut of_payer, past).unwrap();
    of_payee.register(payee.channel(), Role::Payee { stated: None }).unwrap();
    (of_payer, of_payee)
}
