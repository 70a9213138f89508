//! Budgets against a list of all payments, over restarts at every durable point.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::budget::{Ahead, BudgetRecord};
use super::*;

const HOUR: u64 = 1_000;
const DAY: u64 = 2_500;
const PEER: u64 = 1_800;
const SESSION: u64 = 1_500;

#[derive(Debug, Clone, Copy)]
enum Act {
    /// On which of three channels, how much more, how many seconds later.
    Pay(usize, u64, u64),
    /// Reserve ahead; whether it is applied, or only made durable.
    Reserve(bool),
    /// A reservation that never became durable.
    LoseReservation,
    Restart,
    LoseRecord,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0..3_usize, 1..300_u64, prop_oneof![Just(0), 0..4_000_u64])
            .prop_map(|(on, more, later)| Act::Pay(on, more, later)),
        3 => any::<bool>().prop_map(Act::Reserve),
        1 => Just(Act::LoseReservation),
        1 => Just(Act::Restart),
        1 => Just(Act::LoseRecord),
    ]
}

/// One payment, as simple as it can be written down.
#[derive(Debug, Clone, Copy)]
struct Paid {
    second: u64,
    peer: u8,
    amount: u64,
}

struct World {
    signer: MemorySigner,
    store: MemoryStore,
    channels: [(Channel, u8); 3],
    best: [Option<Voucher>; 3],
    paid: Vec<Paid>,
    now: u64,
    policy: Policy,
}

impl World {
    fn new(slice: u64) -> Self {
        let policy =
            Policy { hour: msat(HOUR), day: msat(DAY), peer: msat(PEER), slice: msat(slice) };
        let channels = [(2, 0), (2, 1), (3, 2)].map(|(payee, index)| {
            (channel_with(payee, index, u8::try_from(index).unwrap() + 1), payee)
        });
        let mut world = Self {
            signer: signer(1, policy),
            store: MemoryStore::default(),
            channels,
            best: [None; 3],
            paid: Vec::new(),
            now: NOON,
            policy,
        };
        world.introduce();
        world
    }

    fn introduce(&mut self) {
        for (index, (channel, payee)) in self.channels.iter().enumerate() {
            let index = key_index(index.try_into().unwrap());
            let past = match self.best[index.to_u32() as usize] {
                Some(_) => Past::Unknown { from: None },
                None => Past::New,
            };
            self.signer.register(channel, Role::Payer { index, peer: peer(*payee), past }).unwrap();
        }
        for ((channel, _), best) in self.channels.iter().zip(self.best) {
            if let Some(best) = best {
                let best = channel.verify(self.signer.context(), best).unwrap();
                self.signer.resume(&best).unwrap();
            }
        }
        for payee in [2, 3] {
            self.signer.open_session(peer(payee), session(1), msat(SESSION)).unwrap();
        }
    }

    fn restart(&mut self) {
        let record = BudgetRecord::load(&self.store).unwrap();
        let lost = record.is_none();
        let network = Network::Regtest;
        self.signer =
            MemorySigner::new(seed(1), network, self.policy, record.as_ref(), &AUX).unwrap();
        if lost {
            let refused = self.signer.open_session(peer(2), session(1), msat(1));
            assert_eq!(refused, Err(SignerError::RecordMissing));
            self.signer.release_day_budget_without_record(at(self.now)).unwrap();
            // The caller said so: what was spent is forgotten, in the model too.
            self.paid.clear();
        }
        self.introduce();
    }

    fn reserve(&mut self, ahead: Option<Ahead>, apply: bool) {
        if let Some(next) = self.signer.reserve(at(self.now), ahead).unwrap() {
            let committed = next.commit(&mut self.store).unwrap();
            if apply {
                self.signer.apply(committed).unwrap();
            }
        }
    }

    /// Whether the payment was signed.
    fn pay(&mut self, on: usize, more: u64) -> bool {
        let (channel, payee) = self.channels[on].clone();
        let before = self.best[on].map_or(0, |best| best.paid.to_msat());
        let mut result = pay_at(&mut self.signer, &channel, before + more, self.now);
        if let Err(SignerError::NeedsReservation { ahead, .. }) = result {
            self.reserve(Some(ahead), true);
            result = pay_at(&mut self.signer, &channel, before + more, self.now);
        }
        match result {
            Ok(voucher) => {
                self.best[on] = Some(voucher);
                self.paid.push(Paid { second: self.now, peer: payee, amount: more });
                true
            }
            Err(SignerError::OverBudget { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn check(&self) {
        let sum = |fits: &dyn Fn(&Paid) -> bool| -> u64 {
            self.paid.iter().filter(|paid| fits(paid)).map(|paid| paid.amount).sum()
        };
        let (hour, day) = (self.now / 3_600, self.now / 86_400);
        assert!(sum(&|paid| paid.second / 3_600 == hour) <= HOUR);
        assert!(sum(&|paid| paid.second / 86_400 == day) <= DAY);
        for payee in [2, 3] {
            assert!(sum(&|paid| paid.peer == payee && paid.second / 86_400 == day) <= PEER);
            assert!(sum(&|paid| paid.peer == payee) <= SESSION);
        }
    }
}

#[test]
fn payments_never_exceed_a_budget_over_restarts_and_lost_records() {
    use core::cell::Cell;
    let [signed, refused, restarts, unapplied, unwritten, lost] = [const { Cell::new(0_u32) }; 6];
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let acts =
        (prop_oneof![Just(0_u64), Just(64), Just(5_000)], prop::collection::vec(act(), 1..80));
    let run = runner.run(&acts, |(slice, acts)| {
        let mut world = World::new(slice);
        for act in acts {
            match act {
                Act::Pay(on, more, later) => {
                    world.now += later;
                    count(if world.pay(on, more) { &signed } else { &refused });
                }
                Act::Reserve(apply) => {
                    world.reserve(None, apply);
                    if !apply {
                        count(&unapplied);
                    }
                }
                Act::LoseReservation => {
                    drop(world.signer.reserve(at(world.now), None).unwrap());
                    count(&unwritten);
                }
                Act::Restart => {
                    world.restart();
                    count(&restarts);
                }
                Act::LoseRecord => {
                    world.store = MemoryStore::default();
                    world.restart();
                    count(&lost);
                }
            }
            world.check();
        }
        Ok(())
    });
    run.unwrap();
    let counted = [signed, refused, restarts, unapplied, unwritten, lost].map(|cell| cell.get());
    std::println!("signed, refused, restarts, unapplied, unwritten, lost: {counted:?}");
    assert!(counted.iter().all(|count| *count > 0), "{counted:?}");
}

/// Without a restart nothing is lost to slices: whatever the budgets allow is signed.
#[test]
fn payments_within_every_budget_are_signed_to_the_last_millisatoshi() {
    let mut world = World::new(64);
    for more in [300, 300, 300, 99, 1] {
        assert!(world.pay(0, more));
    }
    assert!(!world.pay(0, 1));
    world.now += 3_600;
    assert!(world.pay(1, 500));
    // The session's 1,500 with that peer are used.
    assert!(!world.pay(1, 1));
    assert!(world.pay(2, 500));
    assert!(!world.pay(2, 1));
}
