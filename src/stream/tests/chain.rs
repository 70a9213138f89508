//! The chain side against a model: reorgs of the funding and of spends, statements that stay,
//! deadlines that move. The model knows heights and amounts only.

use alloc::string::String;

use proptest::prelude::*;

use super::payee::PayeePhase;
use super::payer::PayerPhase;
use super::*;

#[derive(Debug, Clone, Copy)]
enum Op {
    /// The funding confirms at the tip, or moves there.
    Fund,
    /// A reorg takes the funding out, and what spends it with it.
    Unfund,
    /// The payee promises and signs a settlement.
    Promise,
    /// Spend number `index` of those that exist is seen, in the tip's block if `mined`.
    Spend {
        index: usize,
        mined: bool,
    },
    /// The spend is gone.
    Undo,
    Mine(u32),
    Accept(u64),
    Restart,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Fund),
        1 => Just(Op::Unfund),
        2 => Just(Op::Promise),
        3 => (0..4_usize, any::<bool>()).prop_map(|(index, mined)| Op::Spend { index, mined }),
        2 => Just(Op::Undo),
        3 => prop_oneof![1..3_u32, 20..60_u32].prop_map(Op::Mine),
        6 => (0..3_000_000_u64).prop_map(Op::Accept),
        1 => Just(Op::Restart),
    ]
}

#[derive(Debug, Default)]
struct Model {
    tip: u32,
    funded: Option<u32>,
    spend: Option<(usize, Option<u32>)>,
    stated: Option<u64>,
    paid: u64,
    closed: bool,
}

impl Model {
    fn depth(&self, height: Option<u32>) -> u32 {
        height.map_or(0, |height| self.tip + 1 - height)
    }

    fn look(&mut self, spends: &[(Transaction, Option<u64>)]) {
        if let (Some((index, at)), false) = (self.spend, self.closed) {
            if let Some(paid) = spends[index].1 {
                self.stated = Some(self.stated.map_or(paid, |stated| stated.min(paid)));
            }
            self.closed = self.depth(at) >= 3;
        }
    }

    /// The error's name, or nothing if a voucher of `paid` is taken.
    fn refuses(&self, paid: u64) -> Option<&'static str> {
        let above = |from: u64| paid.saturating_sub(from) > ZERO_CONF_SAT * 1_000;
        let late = self.funded.is_some_and(|height| self.tip >= height + u32::from(DELAY) - 10);
        if paid == self.paid && paid > 0 && (self.closed || self.spend.is_some() || late) {
            return None;
        }
        if self.closed || self.spend.is_some() {
            Some("WrongPhase")
        } else if paid < self.paid {
            Some("Stale")
        } else if late {
            Some("TooLate")
        } else if self.depth(self.funded) < 3 {
            above(0).then_some("NotDeepEnough")
        } else {
            self.stated.is_some_and(above).then_some("NotDeepEnough")
        }
    }
}

struct World {
    pair: Pair,
    model: Model,
    /// What can spend the output: a settlement with its amount, or the refund.
    spends: Vec<(Transaction, Option<u64>)>,
}

impl World {
    fn new() -> Self {
        let mut pair = Pair::with(Choice { confirmed: None, ..Choice::default() });
        let mut twin = Pair::open();
        let refund = twin.refund();
        pair.notice(&status(pair.payee.channel(), None), 100);
        let model = Model { tip: 100, ..Model::default() };
        Self { pair, model, spends: Vec::from([(refund, None)]) }
    }

    fn status(&self) -> OutputStatus {
        let channel = self.pair.payee.channel();
        let mut shown = status(channel, self.model.funded);
        shown.spent = self.model.spend.map(|(index, at)| Spend {
            tx: self.spends[index].0.clone(),
            confirmed: at.map(super::at),
        });
        shown
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Fund if self.model.spend.is_none() => self.model.funded = Some(self.model.tip),
            Op::Unfund => (self.model.funded, self.model.spend) = (None, None),
            Op::Promise => self.promise(),
            Op::Spend { index, mined } => {
                let at = mined.then_some(self.model.tip);
                if self.model.funded.is_some() && !self.model.closed {
                    self.model.spend = Some((index % self.spends.len(), at));
                }
            }
            Op::Undo if !self.model.closed => self.model.spend = None,
            Op::Mine(count) => self.model.tip += count,
            Op::Accept(paid) => self.accept(paid),
            Op::Restart => self.pair.restart_payee(),
            Op::Fund | Op::Undo => {}
        }
        self.look();
    }

    fn promise(&mut self) {
        let mined = self.model.spend.is_some_and(|(_, at)| at.is_some());
        let may = !self.model.closed && !mined && self.model.paid > 0;
        let plan = SettlementPlan::new(&self.pair.context, [&self.pair.payee]);
        assert_eq!(plan.is_ok(), may);
        let Ok(plan) = plan else { return };
        let Ok(settlement) = plan.build(&[], wallet(9), rate(1_000)) else { return };
        let (record, _) = self.pair.payee.promise(&settlement).unwrap();
        self.pair.payee.apply(&record).unwrap();
        let paid = self.model.paid;
        self.model.stated = Some(self.model.stated.map_or(paid, |stated| stated.min(paid)));
        self.spends.push((settlement.transaction().clone(), Some(paid)));
    }

    fn accept(&mut self, paid: u64) {
        let index = KeyIndex::new(0).unwrap();
        let key = seed(1).payer_key(&self.pair.context, Network::Regtest, index).unwrap();
        let channel = self.pair.payee.channel();
        let voucher = channel.sign(&self.pair.context, &key, msat(paid), &AUX).unwrap();
        let result = self.pair.accept_at(voucher, self.model.tip);
        let refused = result.err().map(|error| {
            let shown = alloc::format!("{error:?}");
            String::from(shown.split(' ').next().unwrap())
        });
        assert_eq!(refused.as_deref(), self.model.refuses(paid), "{:?}", self.model);
        if refused.is_none() {
            self.model.paid = self.model.paid.max(paid);
        }
    }

    fn look(&mut self) {
        self.model.look(&self.spends);
        let (status, height) = (self.status(), self.model.tip);
        let was_spent = matches!(self.pair.payer.phase(), PayerPhase::Spent { .. });
        self.pair.notice(&status, height);
        let again = self.pair.payee.notice(Some(&status), &tip(height)).unwrap();
        assert_eq!((again.news(), again.record()), (&[][..], self.pair.payee.record()));
        let again = self.pair.payer.notice(Some(&status), &tip(height)).unwrap();
        assert_eq!((again.news(), again.successor()), (&[][..], None));
        let spend = self
            .model
            .spend
            .map(|(index, at)| (self.spends[index].0.compute_txid(), at.map(super::at)));
        let stated = self.model.stated.map(msat);
        match (self.pair.payee.phase(), spend) {
            (PayeePhase::Closed { .. }, _) => assert!(self.model.closed),
            (PayeePhase::Spent { by, at, stated: kept }, Some(seen)) => {
                assert_eq!(((by, at), kept), (seen, stated));
            }
            (PayeePhase::Promised { stated: kept }, None) => assert_eq!(Some(kept), stated),
            (PayeePhase::Open, None) => assert_eq!(stated, None),
            other => panic!("{other:?} for {:?}", self.model),
        }
        match (self.pair.payer.phase(), spend) {
            (PayerPhase::Closed, _) => assert!(self.model.closed),
            (PayerPhase::Spent { by, at }, Some(seen)) => assert_eq!((by, at), seen),
            (PayerPhase::Unsure, None) => {}
            (PayerPhase::Open, None) => assert!(!was_spent),
            other => panic!("{other:?} for {:?}", self.model),
        }
        let deadline = self.model.funded.map(|height| super::at(height + u32::from(DELAY)));
        if !self.model.closed {
            assert_eq!(self.pair.payee.deadline(), deadline);
            assert_eq!(self.pair.payer.deadline(), deadline);
        }
        assert_eq!(self.pair.payee.paid(), msat(self.model.paid));
        self.pair.payee.check_invariants(&self.pair.context).unwrap();
        self.pair.payer.check_invariants().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_course_of_the_chain_leaves_both_where_the_model_is(
        ops in prop::collection::vec(any_op(), 1..40),
    ) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
    }
}

#[test]
fn reorg_of_the_funding_moves_the_deadline_and_takes_the_credit_back() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let more = pair.sign(30_000_000).unwrap();
    let out = status(pair.payee.channel(), None);
    pair.notice(&out, DEEP);
    assert_eq!((pair.payee.deadline(), pair.payee.paid()), (None, msat(20_000_000)));
    assert!(matches!(pair.accept(more), Err(StreamError::NotDeepEnough { .. })));
    let back = status(pair.payee.channel(), Some(DEEP));
    pair.notice(&back, DEEP + 2);
    assert_eq!(pair.payee.deadline(), Some(at(DEEP + u32::from(DELAY))));
    let _accepted = pair.accept_at(more, DEEP + 2).unwrap();
}

#[test]
fn reorg_of_a_settlement_leaves_its_statement_in_force() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let (tx, _) = pair.settle(1_000);
    let seen = spent(pair.payee.channel(), &tx, Some(DEEP));
    pair.notice(&seen, DEEP + 1);
    let undone = status(pair.payee.channel(), Some(CONFIRMED));
    pair.notice(&undone, DEEP);
    assert_eq!(pair.payee.phase(), PayeePhase::Promised { stated: msat(20_000_000) });
    assert_eq!(pair.payer.phase(), PayerPhase::Unsure);
    assert_eq!(pair.resume(), Ok(Msat::ZERO));
    pair.pay(20_000_001);
}

#[test]
fn statement_that_the_record_lost_is_learnt_from_the_chain() {
    let mut pair = Pair::open();
    pair.pay(20_000_000);
    let fresh = pair.payee.record().clone();
    let (tx, _) = pair.settle(1_000);
    // The store is back at an older state; the settlement that left is in the mempool.
    pair.payee = Payee::load(&pair.context, base(2), fresh).unwrap();
    let seen = spent(pair.payee.channel(), &tx, None);
    pair.notice(&seen, DEEP);
    let undone = status(pair.payee.channel(), Some(CONFIRMED));
    pair.notice(&undone, DEEP);
    assert_eq!(pair.payee.phase(), PayeePhase::Promised { stated: msat(20_000_000) });
}

#[test]
fn settlement_above_what_the_payer_knows_raises_what_it_knows() {
    let mut pair = Pair::open();
    pair.pay(1_000_000);
    let old = pair.payer.record().clone();
    pair.pay(20_000_000);
    let (tx, _) = pair.settle(1_000);
    pair.reload_payer(PayerRecord { phase: PayerPhase::Unsure, ..old });
    let seen = spent(pair.payer.channel(), &tx, None);
    let seen = pair.payer.notice(Some(&seen), &tip(DEEP)).unwrap();
    let (paid, signed) = (msat(20_000_000), msat(1_000_000));
    let news = payer::PayerNews::SettledAboveSigned { paid, signed };
    assert!(seen.news().contains(&news));
    assert_eq!(seen.record().signed(), paid);
}
