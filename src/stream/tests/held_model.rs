//! Conditional payments and bundles under loss, repetition, reordering and power cuts on either
//! side of every write, against a model that adds: every offered hold ends paid in full, or given
//! up, and nothing is paid twice or lost, to the millisatoshi.

use alloc::collections::BTreeMap;
use alloc::vec;

use proptest::prelude::*;

use super::held::{Cut, EXPIRY, FEE, hold, preimage};
use super::held_bundle::bundle;
use super::payee::PayeeHoldState;
use super::payer::PayerPhase;
use super::*;
use crate::store::{Batch, Durability};
use crate::tx::hold::Held;
use crate::units::HoldId;

/// The expiry of every second hold.
const LATER: u32 = EXPIRY + 20;

#[derive(Debug, Clone, Copy)]
enum Op {
    Offer(u64),
    /// A bundle of this many millisatoshis.
    Bundle(u64),
    /// More for an open hold, or more items for an open bundle.
    Grow(usize, u64),
    Pay(u64),
    Fulfil(usize),
    Release(usize),
    /// The payer learns what the payee decided on one hold, and acts on it.
    Answer(usize),
    Drop,
    /// The payee gets one of the vouchers that were sent, whichever, or none.
    Deliver(usize),
    Newest,
    /// The power goes at the payer's next write.
    Cut(Cut),
    RestartPayer,
    RestartPayee,
    Mine,
}

fn any_op() -> impl Strategy<Value = Op> {
    let any = any::<usize>();
    prop_oneof![
        3 => (900_u64..9_000).prop_map(Op::Offer),
        3 => (900_000_u64..9_000_000).prop_map(Op::Bundle),
        3 => (any, 900_u64..12_000).prop_map(|(at, amount)| Op::Grow(at, amount)),
        2 => (0_u64..1_000_000).prop_map(Op::Pay),
        3 => any.prop_map(Op::Fulfil),
        2 => any.prop_map(Op::Release),
        4 => any.prop_map(Op::Answer),
        2 => Just(Op::Drop),
        2 => any.prop_map(Op::Deliver),
        6 => Just(Op::Newest),
        1 => Just(Op::Cut(Cut::BeforeWrite)),
        1 => Just(Op::Cut(Cut::AfterWrite)),
        1 => Just(Op::RestartPayer),
        1 => Just(Op::RestartPayee),
        1 => Just(Op::Mine),
    ]
}

/// A voucher that left, and what its settlement takes of the payer beside paid and holds.
struct Sent {
    voucher: HoldVoucher,
    fee: u64,
}

struct World {
    pair: Pair,
    height: u32,
    /// Every voucher that left, in order.
    sent: Vec<Sent>,
    /// What the payer authorised by plain payments, and by folds.
    plain: u64,
    folded: BTreeMap<HoldId, u64>,
}

impl World {
    fn new() -> Self {
        let mut pair = Pair::holding();
        let mut batch = Batch::default();
        let record = pair.payer.record();
        batch.put(record.key().unwrap(), &record.encode().unwrap()).unwrap();
        pair.payer_store.commit(&batch, Durability::Barrier).unwrap();
        Self { pair, height: DEEP, sent: Vec::new(), plain: 0, folded: BTreeMap::new() }
    }

    /// The id of one of the payer's open holds.
    fn pick(&self, at: usize) -> Option<HoldId> {
        let holds = self.pair.payer.record().holds.open();
        holds.get(at % holds.len().max(1)).map(|hold| hold.id)
    }

    /// The number of the next hold; its preimage is of this number.
    fn next(&self) -> u8 {
        u8::try_from(self.pair.payer.record().holds.last.to_u64() + 1).unwrap()
    }

    fn step(&mut self, op: Op) {
        if self.pair.payer.record().phase == PayerPhase::Unsure {
            self.resume_payer();
        }
        match op {
            Op::Offer(amount) => {
                let (hash, expiry) = (preimage(self.next()).hash(), self.expiry());
                let sent = self.pair.offer_at(hash, amount, expiry, self.height);
                self.send(sent);
            }
            Op::Bundle(total) => {
                let sum = bundle(self.next(), self.expiry(), 3, total);
                let sent = self.pair.offer_bundle_at(&sum, self.height);
                self.send(sent);
            }
            Op::Grow(at, amount) => self.grow(at, amount),
            Op::Pay(amount) => {
                let before = self.pair.payer.signed().to_msat();
                let sent = self.pair.pay_held(before + amount);
                // Durable, though a power cut may have kept it from leaving.
                let rose = self.pair.payer.signed().to_msat() - before;
                assert!(rose == 0 || rose == amount);
                self.plain += rose;
                self.send(sent);
            }
            Op::Fulfil(at) => {
                let Some(held) = self.held(at) else { return };
                let known = preimage(u8::try_from(held.to_u64()).unwrap());
                let view = view(self.height);
                if let Ok(record) = self.pair.payee.fulfil(held, known, &view) {
                    self.pair.payee.apply(&record).unwrap();
                }
            }
            Op::Release(at) => {
                let Some(held) = self.held(at) else { return };
                if let Ok(record) = self.pair.payee.release(held) {
                    self.pair.payee.apply(&record).unwrap();
                }
            }
            Op::Answer(at) => self.answer(at),
            Op::Drop => {
                let sent = self.pair.drop_holds(self.height);
                self.send(sent);
            }
            Op::Deliver(at) => {
                let count = self.sent.len().max(1);
                if let Some(sent) = self.sent.get(at % count) {
                    let voucher = sent.voucher.clone();
                    self.deliver(&voucher);
                }
            }
            Op::Newest => {
                if let Some(sent) = self.sent.last() {
                    let voucher = sent.voucher.clone();
                    self.deliver(&voucher);
                }
            }
            Op::Cut(cut) => self.pair.cut = Some(cut),
            Op::RestartPayer => {
                self.pair.power_cut();
                self.resume_payer();
            }
            Op::RestartPayee => self.pair.restart_payee(),
            Op::Mine => self.height = (self.height + 15).min(LAST_CALL - 1),
        }
    }

    fn expiry(&self) -> u32 {
        if self.next().is_multiple_of(2) { LATER } else { EXPIRY }
    }

    /// S9: what leaves is what the store says.
    fn send(&mut self, sent: Result<HoldVoucher, StreamError>) {
        let Ok(voucher) = sent else { return };
        let key = self.pair.payer.record().key().unwrap();
        let bytes = self.pair.payer_store.get(&key).unwrap().unwrap();
        let stored = PayerRecord::decode(&key, &bytes).unwrap();
        assert_eq!((stored.signed, stored.holds.open()), (voucher.paid, voucher.holds.clone()));
        let fee = if voucher.holds.is_empty() {
            0
        } else {
            let (channel, fee) = (self.pair.payer.channel().clone(), sat(FEE));
            let holds = voucher.holds.clone();
            let held = Held::new(&self.pair.context, channel, voucher.paid, fee, holds).unwrap();
            held.payer_fee().to_sat() * 1_000
        };
        self.sent.push(Sent { voucher, fee });
    }

    fn grow(&mut self, at: usize, amount: u64) {
        let Some(id) = self.pick(at) else { return };
        let kept = self.pair.payer.holds().iter().find(|kept| kept.hold.id == id).unwrap();
        let sent = match kept.bundle {
            Some(sum) => {
                let number = u8::try_from(id.to_u64()).unwrap();
                let (expiry, total) = (kept.hold.expiry, sum.total().to_msat() + amount);
                let more = bundle(number, expiry.to_u32(), sum.items() + 1, total);
                self.pair.offer_bundle_at(&more, self.height)
            }
            None => self.pair.grow(id.to_u64(), amount),
        };
        self.send(sent);
    }

    fn held(&self, at: usize) -> Option<HoldId> {
        let holds = self.pair.payee.holds();
        holds.get(at % holds.len().max(1)).map(|held| held.hold.id)
    }

    fn answer(&mut self, at: usize) {
        let Some(id) = self.held(at) else { return };
        let state = self.pair.payee.holds().iter().find(|held| held.hold.id == id).unwrap().state;
        match state {
            PayeeHoldState::Open => {}
            PayeeHoldState::Released => {
                if let Ok(record) = self.pair.payer.released(id) {
                    self.pair.payer.apply(&record).unwrap();
                }
            }
            PayeeHoldState::Fulfilled(known) => {
                let before = self.pair.payer.signed().to_msat();
                let kept = self.pair.payer.holds().iter().find(|kept| kept.hold.id == id);
                let due = kept.map(|kept| {
                    let held = kept.hold.amount.to_msat();
                    kept.bundle.map_or(held, |sum| sum.total()).to_msat()
                });
                let sent = self.pair.fold_at(id.to_u64(), known, self.height);
                let rose = self.pair.payer.signed().to_msat() - before;
                if rose > 0 {
                    assert_eq!(Some(rose), due);
                    // Nothing is folded twice.
                    assert_eq!(self.folded.insert(id, rose), None);
                }
                self.send(sent);
            }
        }
    }

    fn deliver(&mut self, voucher: &HoldVoucher) {
        let before = self.pair.payee.paid();
        if let Ok(step) = self.pair.hear_at(voucher, self.height) {
            assert!(step.paid() >= before);
        }
    }

    fn resume_payer(&mut self) {
        let shown = self.pair.payee.best_held();
        let resumed = match shown {
            Some(shown) => {
                self.pair.payer.resume_held(&self.pair.context, &mut self.pair.payer_signer, &shown)
            }
            None => self.pair.payer.resume(&self.pair.context, &mut self.pair.payer_signer, None),
        };
        self.pair.payer.apply(resumed.unwrap().record()).unwrap();
    }

    fn check(&self) {
        let pair = &self.pair;
        pair.payer.check_invariants().unwrap();
        pair.payee.check_invariants(&pair.context).unwrap();
        // Conservation: what is signed is what was paid plainly and what was folded in full.
        let folded: u64 = self.folded.values().sum();
        assert_eq!(pair.payer.signed().to_msat(), self.plain + folded);
        assert!(pair.payee.paid() <= pair.payer.signed());
        for Sent { voucher, fee } in &self.sent {
            // The stated exposure covers every voucher that ever left, at every height.
            for height in [self.height, EXPIRY, EXPIRY + 1, LATER, LATER + 1] {
                let live = voucher.holds.iter().filter(|hold| hold.expiry >= at(height));
                let held: u64 = live.map(|hold| hold.amount.to_sat() * 1_000).sum();
                let cost = voucher.paid.to_msat() + held + fee;
                assert!(cost <= pair.payer.exposure_at(at(height)).to_msat());
                let signer = pair.payer_signer.exposure_at(outpoint(1), at(height));
                // A plain one may be unknown there after a restart, until the payee shows it; and
                // so is everything until the payer resumed.
                let plain = voucher.holds.is_empty();
                let known = signer.is_none_or(|known| known.to_msat() >= cost);
                assert!(plain || known);
            }
            // Every hold in it that is not folded is still watched, if it could cost more than is
            // paid.
            let sum: u64 = voucher.holds.iter().map(|hold| hold.amount.to_sat() * 1_000).sum();
            if voucher.paid.to_msat() + sum > pair.payer.signed().to_msat() {
                for hold in &voucher.holds {
                    let kept = pair.payer.holds().iter().any(|kept| kept.hold.id == hold.id);
                    assert!(kept || self.folded.contains_key(&hold.id), "{hold:?}");
                }
            }
        }
    }

    /// Without faults both come to one state: what the payee refused or released is dropped, what
    /// it fulfilled is folded, and the rest stands.
    fn settles_down(&mut self) {
        self.pair.cut = None;
        self.pair.power_cut();
        self.resume_payer();
        for hold in self.pair.payer.record().holds.open() {
            let known = self.pair.payee.holds().iter().find(|held| held.hold.id == hold.id);
            match known.map(|held| (held.state, held.hold.amount)) {
                Some((PayeeHoldState::Fulfilled(_), _)) if at(self.height) <= hold.expiry => {
                    let holds = self.pair.payee.holds();
                    let at = holds.iter().position(|held| held.hold.id == hold.id);
                    self.answer(at.unwrap());
                    assert!(self.folded.contains_key(&hold.id));
                }
                Some((PayeeHoldState::Open, amount)) if amount != hold.amount => {
                    let record = self.pair.payee.release(hold.id).unwrap();
                    self.pair.payee.apply(&record).unwrap();
                }
                _ => {}
            }
            if !self.pair.payee.may_claim(hold.id) {
                let record = self.pair.payer.released(hold.id).unwrap();
                self.pair.payer.apply(&record).unwrap();
            }
        }
        let newest = self.pair.drop_holds(self.height).unwrap();
        self.pair.hear_at(&newest, self.height).map(|step| step.paid()).unwrap();
        assert_eq!(self.pair.payee.paid(), self.pair.payer.signed());
        let held: Vec<_> = self.pair.payee.holds().iter().map(|held| held.hold).collect();
        assert_eq!(held, self.pair.payer.record().holds.open());
    }
}

#[test]
fn power_cut_before_the_write_of_an_offer_sends_nothing_and_after_it_loses_nothing() {
    for (cut, kept) in [(Cut::BeforeWrite, 0), (Cut::AfterWrite, 1)] {
        let mut world = World::new();
        world.pair.cut = Some(cut);
        let lost = world.pair.offer(1, 5_000).unwrap_err();
        assert_eq!(lost, StreamError::MustResume { at_least: Msat::ZERO });
        assert_eq!(world.pair.payer.holds().len(), kept);
        world.resume_payer();
        // What is durable is sent now; what never was takes no id.
        let next = world.pair.offer(2, 6_000).unwrap();
        let fresh = crate::tx::hold::Hold { hash: preimage(2).hash(), ..hold(1, 6_000) };
        let want = [[fresh].to_vec(), vec![hold(1, 5_000), hold(2, 6_000)]];
        assert_eq!(next.holds, want[kept]);
        assert!(world.pair.hear(&next).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_faults_leave_every_hold_paid_once_or_given_up(
        ops in proptest::collection::vec(any_op(), 1..60),
    ) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
            world.check();
        }
        world.settles_down();
        world.check();
    }
}
