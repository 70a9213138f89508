//! Payer and payee under loss, repetition, reordering and restarts, through rollovers that are
//! replaced, evicted and reorganised, against a model that only adds.
//!
//! The model: what was served, what each outpoint holds at most, and which transaction stands.

use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::payee::PayeePhase;
use super::payer::PayerPhase;
use super::*;
use crate::signer::SignerError;

/// What a tick of service costs.
const TICK: u64 = 300_700;
/// How much unpaid service the payee gives.
const CREDIT: u64 = 3 * TICK;
const LIMIT: u64 = ZERO_CONF_SAT * 1_000;

#[derive(Debug, Clone, Copy)]
enum Op {
    Serve,
    Pay,
    /// Takes message `0` of those under way to the payee or the payer, or loses or doubles it.
    ToPayee(usize, Fate),
    ToPayer(usize, Fate),
    /// Restarts from one of the records that may have reached the disk.
    RestartPayer(usize),
    RestartPayee,
    Settle(u64),
    Evict,
    Reorg,
    Mine(u32),
    LookPayer,
    LookPayee,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    Doubled,
}

fn any_op() -> impl Strategy<Value = Op> {
    let fate =
        || prop_oneof![5 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Doubled)];
    prop_oneof![
        5 => Just(Op::Serve),
        5 => Just(Op::Pay),
        8 => (any::<usize>(), fate()).prop_map(|(i, fate)| Op::ToPayee(i, fate)),
        8 => (any::<usize>(), fate()).prop_map(|(i, fate)| Op::ToPayer(i, fate)),
        2 => any::<usize>().prop_map(Op::RestartPayer),
        2 => Just(Op::RestartPayee),
        1 => (1_000..3_000_u64).prop_map(Op::Settle),
        1 => Just(Op::Evict),
        1 => Just(Op::Reorg),
        2 => (1..4_u32).prop_map(Op::Mine),
        3 => Just(Op::LookPayer),
        3 => Just(Op::LookPayee),
    ]
}

#[derive(Debug, Clone)]
enum ToPayee {
    Voucher(OutPoint, Voucher),
    Resume(OutPoint),
}

#[derive(Debug, Clone)]
enum ToPayer {
    Best(OutPoint, Option<Voucher>),
}

/// One outpoint as the world knows it.
struct Coin {
    channel: Channel,
    confirmed: Option<u32>,
    /// What the outpoints before it paid out, msat.
    before: u64,
    /// The outpoint that it descends from.
    parent: Option<OutPoint>,
    /// The largest amount that any life of the payer signed on it.
    signed: u64,
}

struct World {
    context: Context,
    signer: MemorySigner,
    payers: BTreeMap<OutPoint, Payer>,
    /// Records that may have reached the payer's disk; the first is there for certain.
    disk: BTreeMap<OutPoint, Vec<Vec<u8>>>,
    payees: BTreeMap<OutPoint, Payee>,
    coins: BTreeMap<OutPoint, Coin>,
    /// What spends an outpoint: the transaction, its height, where the channel goes on.
    spends: BTreeMap<OutPoint, (Transaction, Option<u32>, OutPoint)>,
    first: OutPoint,
    tip: u32,
    served: u64,
    to_payee: Vec<ToPayee>,
    to_payer: Vec<ToPayer>,
    messages: usize,
}

impl World {
    fn new() -> Self {
        let mut terms = terms();
        terms.capacity.1 = sat(10_000_000);
        let context = Context::new();
        let (index, key, delay) = (KeyIndex::new(0).unwrap(), payer_key(0), Delay::new(1_000));
        let (own, capacity) = (ChangeScript::Own, sat(1_000_000));
        let delay = delay.unwrap();
        let opening =
            Opening::new(&context, &terms, index, key, delay, capacity, own, &view(90)).unwrap();
        let (record, _, request) = opening.funded(outpoint(1));
        let payer = Payer::load(&context, key, record).unwrap();
        let channel = payer.channel().clone();
        let shown = status(&channel, None);
        let payee = Payee::open(&context, &terms, &request, Some(&shown), &view(100)).unwrap();
        let mut signer = payer_signer();
        payer.register(&mut signer, Past::New).unwrap();
        let first = outpoint(1);
        let coin = Coin { channel, confirmed: None, before: 0, parent: None, signed: 0 };
        let mut world = Self {
            context,
            signer,
            disk: BTreeMap::from([(first, Vec::from([payer.record().encode().unwrap()]))]),
            payers: BTreeMap::from([(first, payer)]),
            payees: BTreeMap::from([(first, payee)]),
            coins: BTreeMap::from([(first, coin)]),
            spends: BTreeMap::new(),
            first,
            tip: 100,
            served: 0,
            to_payee: Vec::new(),
            to_payer: Vec::new(),
            messages: 0,
        };
        world.mine(1);
        world
    }

    /// The outpoints that stand, from the first to the newest.
    fn line(&self) -> Vec<OutPoint> {
        let mut line = Vec::from([self.first]);
        while let Some((_, _, next)) = line.last().and_then(|last| self.spends.get(last)) {
            line.push(*next);
        }
        line
    }

    fn status(&self, outpoint: OutPoint) -> Option<OutputStatus> {
        let line = self.line();
        let coin = self.coins.get(&outpoint).filter(|_| line.contains(&outpoint))?;
        let mut shown = status(&coin.channel, coin.confirmed);
        shown.spent = self
            .spends
            .get(&outpoint)
            .map(|(tx, height, _)| Spend { tx: tx.clone(), confirmed: height.map(at) });
        Some(shown)
    }

    /// All that the payee was ever paid on the line that stands.
    fn paid(&self) -> u64 {
        let last = *self.line().last().unwrap();
        self.coins[&last].before + self.payees[&last].paid().to_msat()
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Serve => {
                if self.served.saturating_sub(self.paid()) + TICK <= CREDIT {
                    self.served += TICK;
                }
            }
            Op::Pay => self.pay(),
            Op::ToPayee(index, fate) => {
                if let Some(message) = take(&mut self.to_payee, index, fate) {
                    self.payee_gets(message);
                }
            }
            Op::ToPayer(index, fate) => {
                if let Some(message) = take(&mut self.to_payer, index, fate) {
                    self.payer_gets(message);
                }
            }
            Op::RestartPayer(version) => self.restart_payer(version),
            Op::RestartPayee => self.restart_payee(),
            Op::Settle(rate) => self.settle(rate),
            Op::Evict => self.undo(false),
            Op::Reorg => self.undo(true),
            Op::Mine(count) => self.mine(count),
            Op::LookPayer => self.look_payer(),
            Op::LookPayee => self.look_payee(),
        }
        self.check();
    }

    /// The payer's newest outpoint that is not spent, as far as it has looked.
    fn current(&self) -> Option<OutPoint> {
        let open = |outpoint: &&OutPoint| {
            self.payers.get(*outpoint).is_some_and(|payer| {
                let phase = payer.phase();
                matches!(phase, PayerPhase::Open | PayerPhase::Unsure)
            })
        };
        self.line().iter().rev().find(open).copied()
    }

    fn pay(&mut self) {
        let Some(outpoint) = self.current() else { return };
        let coin = &self.coins[&outpoint];
        let owed = self.served.saturating_sub(coin.before);
        let payer = &self.payers[&outpoint];
        let target = msat(owed).max(payer.signed());
        let (signer, view) = (&mut self.signer, view(self.tip));
        match payer.pay(signer, target, Ending::KeepsChange, session(), &view, &AUX) {
            Ok(step) => {
                self.payers.get_mut(&outpoint).unwrap().apply(step.record()).unwrap();
                self.disk.get_mut(&outpoint).unwrap().push(step.record().encode().unwrap());
                let coin = self.coins.get_mut(&outpoint).unwrap();
                coin.signed = coin.signed.max(target.to_msat());
                self.to_payee.push(ToPayee::Voucher(outpoint, step.voucher()));
            }
            Err(StreamError::MustResume { .. }) => self.to_payee.push(ToPayee::Resume(outpoint)),
            // A rollover that vanished: this payer has not looked yet.
            Err(StreamError::Signer(SignerError::SecondOutpoint { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
        self.messages += 1;
    }

    #[expect(clippy::needless_pass_by_value, reason = "a message is received once")]
    fn payee_gets(&mut self, message: ToPayee) {
        self.messages += 1;
        match message {
            ToPayee::Voucher(outpoint, voucher) => {
                let payee = self.payees.get_mut(&outpoint).unwrap();
                let before = payee.paid();
                match payee.accept(&self.context, voucher, &view(self.tip)) {
                    Ok(step) => {
                        assert_eq!(step.paid(), before.max(voucher.paid));
                        payee.apply(step.record()).unwrap();
                    }
                    Err(StreamError::Tx(error)) => panic!("{error:?}"),
                    Err(_) => {
                        self.to_payer.push(ToPayer::Best(outpoint, payee.best()));
                    }
                }
            }
            ToPayee::Resume(outpoint) => {
                let best = self.payees[&outpoint].best();
                self.to_payer.push(ToPayer::Best(outpoint, best));
            }
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a message is received once")]
    fn payer_gets(&mut self, message: ToPayer) {
        self.messages += 1;
        let ToPayer::Best(outpoint, best) = message;
        let Some(payer) = self.payers.get_mut(&outpoint) else { return };
        let newer = best.is_some_and(|best| best.paid > payer.signed());
        if payer.phase() != PayerPhase::Unsure && !newer {
            return;
        }
        let own = ChangeScript::Own;
        let best = best.map(|best| (best, &own));
        match payer.resume(&self.context, &mut self.signer, best) {
            Ok(resumed) => {
                payer.apply(resumed.record()).unwrap();
                let record = resumed.record().encode().unwrap();
                self.disk.get_mut(&outpoint).unwrap().push(record);
            }
            Err(StreamError::WrongPhase { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn restart_payer(&mut self, version: usize) {
        self.signer = payer_signer();
        for (outpoint, versions) in &mut self.disk {
            versions.truncate(version % versions.len() + 1);
            let key = PayerRecord::key_of(*outpoint).unwrap();
            let record = PayerRecord::decode(&key, versions.last().unwrap()).unwrap();
            let payer = Payer::load(&self.context, payer_key(0), record).unwrap();
            self.payers.insert(*outpoint, payer);
        }
    }

    fn restart_payee(&mut self) {
        // Every accepted record was committed before anything was told of it.
        for payee in self.payees.values_mut() {
            let key = payee.record().key().unwrap();
            let bytes = payee.record().encode().unwrap();
            let record = PayeeRecord::decode(&key, &bytes).unwrap();
            assert_eq!(&record, payee.record());
            *payee = Payee::load(&self.context, base(2), record).unwrap();
        }
    }

    /// The payee settles the newest outpoint that is confirmed, or replaces its settlement.
    fn settle(&mut self, sat_per_kvb: u64) {
        let line = self.line();
        let confirmed = |outpoint: &&OutPoint| self.coins[*outpoint].confirmed.is_some();
        let outpoint = *line.iter().rev().find(confirmed).unwrap_or(&self.first);
        let Ok(plan) = SettlementPlan::new(&self.context, [&self.payees[&outpoint]]) else {
            return;
        };
        let Ok(settlement) = plan.build(&[], wallet(9), rate(sat_per_kvb)) else { return };
        let payee = self.payees.get_mut(&outpoint).unwrap();
        let (record, next) = payee.promise(&settlement).unwrap();
        let paid = payee.paid().to_msat();
        payee.apply(&record).unwrap();
        let next = next.unwrap();
        let before = self.coins[&outpoint].before;
        let next = Payee::load(&self.context, base(2), next).unwrap();
        let coin = Coin {
            channel: next.channel().clone(),
            confirmed: None,
            before: before + paid / 1_000 * 1_000,
            parent: Some(outpoint),
            signed: 0,
        };
        // Conservation: paid out and carried are what was paid, the rest is the new capacity.
        assert_eq!(coin.before + next.start().to_msat(), before + paid);
        let gone = self.coins[&outpoint].channel.capacity().to_sat() - paid / 1_000;
        assert_eq!(coin.channel.capacity(), sat(gone));
        let to = next.outpoint();
        self.coins.entry(to).or_insert(coin);
        self.payees.entry(to).or_insert(next);
        self.spends.insert(outpoint, (settlement.transaction().clone(), None, to));
    }

    /// Takes the newest spend out of its block if it is shallow, or out of the mempool.
    fn undo(&mut self, reorg: bool) {
        let line = self.line();
        let Some(outpoint) = line.iter().rev().nth(1) else { return };
        let Some((_, height, next)) = self.spends.get_mut(outpoint) else { return };
        match *height {
            Some(at) if reorg && self.tip + 1 - at < 3 => {
                *height = None;
                self.coins.get_mut(next).unwrap().confirmed = None;
            }
            None if !reorg => {
                self.spends.remove(outpoint);
            }
            _ => {}
        }
    }

    fn mine(&mut self, count: u32) {
        let height = self.tip + 1;
        for outpoint in self.line() {
            let coin = self.coins.get_mut(&outpoint).unwrap();
            coin.confirmed.get_or_insert(height);
            if let Some((_, at, _)) = self.spends.get_mut(&outpoint) {
                at.get_or_insert(height);
            }
        }
        self.tip += count;
    }

    fn look_payee(&mut self) {
        for outpoint in self.payees.keys().copied().collect::<Vec<_>>() {
            let status = self.status(outpoint);
            let payee = self.payees.get_mut(&outpoint).unwrap();
            let seen = payee.notice(status.as_ref(), &tip(self.tip)).unwrap();
            payee.apply(seen.record()).unwrap();
        }
    }

    fn look_payer(&mut self) {
        for outpoint in self.line() {
            if !self.payers.contains_key(&outpoint) {
                continue;
            }
            let status = self.status(outpoint);
            let payer = self.payers.get_mut(&outpoint).unwrap();
            let seen = payer.notice(status.as_ref(), &tip(self.tip)).unwrap();
            payer.apply(seen.record()).unwrap();
            // With a barrier: what was seen of the chain and the successor are one commit.
            let record = seen.record().encode().unwrap();
            self.disk.insert(outpoint, Vec::from([record]));
            if let Some(record) = seen.successor().cloned() {
                self.go_on(outpoint, record);
            }
            if self.payers[&outpoint].phase() == PayerPhase::Closed {
                // Buried: it keeps no other outpoint of the script from being paid on.
                let _unknown = self.signer.forget(outpoint);
            }
        }
        let line = self.line();
        for outpoint in self.coins.keys().filter(|outpoint| !line.contains(outpoint)) {
            // Its funding was replaced or evicted: another outpoint may be paid on. Should it come
            // back, the payee's word comes first.
            let _unknown = self.signer.forget(*outpoint);
            if let Some(payer) = self.payers.get_mut(outpoint) {
                let phase = PayerPhase::Unsure;
                let record = PayerRecord { phase, ..payer.record().clone() };
                payer.apply(&record).unwrap();
            }
        }
    }

    /// Takes a successor up, unless there is a record of it.
    fn go_on(&mut self, from: OutPoint, record: PayerRecord) {
        let outpoint = record.outpoint();
        if self.payers.contains_key(&outpoint) {
            return;
        }
        let carried = record.signed();
        let payer = Payer::load(&self.context, payer_key(0), record.clone()).unwrap();
        let past = Past::Descends { from, carried };
        let known =
            record.phase() == PayerPhase::Open && payer.register(&mut self.signer, past).is_ok();
        let record =
            if known { record } else { PayerRecord { phase: PayerPhase::Unsure, ..record } };
        self.disk.insert(outpoint, Vec::from([record.encode().unwrap()]));
        let payer = Payer::load(&self.context, payer_key(0), record).unwrap();
        self.payers.insert(outpoint, payer);
    }

    fn check(&self) {
        for (outpoint, payee) in &self.payees {
            payee.check_invariants(&self.context).unwrap();
            let coin = &self.coins[outpoint];
            let (capacity, paid) = (coin.channel.capacity().to_msat(), payee.paid());
            // Conservation, and nothing counts that was never signed.
            assert_eq!(capacity.checked_sub(paid).unwrap().checked_add(paid), Some(capacity));
            assert!(paid.to_msat() <= coin.signed.max(payee.start().to_msat()));
            // The payer never signs more than it was served, whatever it forgot.
            assert!(coin.before + coin.signed <= self.served.max(coin.before) + 999);
            if let Some(parent) = coin.parent {
                assert!(coin.before >= self.coins[&parent].before);
            }
        }
        for payer in self.payers.values() {
            payer.check_invariants().unwrap();
        }
        // The window, and what stood on an output that was not deep.
        let loss = self.served.saturating_sub(self.paid());
        assert!(loss <= CREDIT + 2 * LIMIT, "{loss}");
    }

    /// The faults have stopped: the next payment arrives within a bounded number of messages.
    fn settles_down(&mut self) {
        self.to_payee.clear();
        self.to_payer.clear();
        for _ in 0..3 {
            self.look_payee();
            // What was signed is broadcast every block until it is confirmed: until then, vouchers
            // above its statement are credit.
            let last = *self.line().last().unwrap();
            if matches!(self.payees[&last].phase(), PayeePhase::Promised { .. }) {
                self.settle(1_000);
            }
            self.look_payee();
            self.mine(3);
            self.look_payer();
            self.look_payee();
        }
        self.messages = 0;
        self.served += TICK;
        let want = self.served;
        while self.paid() < want {
            assert!(self.messages < 12, "wedged: {} of {want}", self.paid());
            self.pay();
            while let Some(message) = self.to_payee.pop() {
                self.payee_gets(message);
            }
            while let Some(message) = self.to_payer.pop() {
                self.payer_gets(message);
            }
            self.check();
        }
        assert_eq!(self.paid(), want, "overpaid");
        let last = *self.line().last().unwrap();
        let phase = self.payees[&last].phase();
        assert!(matches!(phase, PayeePhase::Open | PayeePhase::Promised { .. }));
    }
}

fn take<M: Clone>(queue: &mut Vec<M>, index: usize, fate: Fate) -> Option<M> {
    if queue.is_empty() {
        return None;
    }
    let index = index % queue.len();
    match fate {
        Fate::Arrives => Some(queue.remove(index)),
        Fate::Doubled => Some(queue[index].clone()),
        Fate::Lost => {
            queue.remove(index);
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn any_faults_leave_no_wedge_no_loss_beyond_the_window_and_no_overpayment(
        ops in prop::collection::vec(any_op(), 1..80),
    ) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.settles_down();
    }
}
