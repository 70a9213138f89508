//! Random lives of a channel whose two monitors keep their word: reorgs, restarts and power cuts,
//! old vouchers, preimages that come late, fees that change. Whatever happens, each hold on the
//! chain ends, and at the side that it is for.

use std::collections::BTreeMap;

use millstream::chain::regtest::Regtest;
use millstream::monitor::{Fate, Side};
use millstream::tx::hold::Hold;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::support::{Cut, DELAY, DEPTH, K, MARGIN, Pair, blocks, preimage, rate};

const LEAD: u32 = 6;

/// What happens between two blocks.
#[derive(Debug, Clone)]
enum Event {
    /// The payee learns the preimage of hold 1, 2 or 3.
    Learn(u8),
    /// The payee's old machine publishes the voucher of this number.
    Publish(usize),
    /// So many blocks give way to one more that are empty.
    Reorg(u32),
    /// Blocks take this rate and more, and wallets know it.
    Rate(u64),
    /// A machine starts again.
    Restart(Side),
    /// A machine loses its power around its next write.
    Power(Side, Cut),
}

#[derive(Debug, Clone)]
struct Life {
    /// Amount and expiry of each hold.
    holds: [(u64, u32); 3],
    /// The second hold is released before all.
    released: bool,
    /// Blocks before each event.
    events: Vec<(u32, Event)>,
    /// Which of two blocks each side looks at.
    looks: [bool; 2],
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Payer), Just(Side::Payee)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1..4_u8).prop_map(Event::Learn),
        1 => (0..3_usize).prop_map(Event::Publish),
        2 => (1..DEPTH).prop_map(Event::Reorg),
        2 => (500..10_000_u64).prop_map(Event::Rate),
        1 => side().prop_map(Event::Restart),
        4 => (side(), any::<bool>()).prop_map(|(side, before)| {
            Event::Power(side, if before { Cut::BeforeWrite } else { Cut::AfterWrite })
        }),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    let hold = || (20_000..90_000_u64, 160..200_u32);
    (
        [hold(), hold(), hold()],
        any::<bool>(),
        prop::collection::vec((1..9_u32, event()), 4..20),
        any::<[bool; 2]>(),
    )
        .prop_map(|(holds, released, events, looks)| Life { holds, released, events, looks })
}

/// A channel in the middle of a life.
struct Played {
    pair: Pair,
    looks: [bool; 2],
    /// When the payee learnt each preimage.
    learnt: BTreeMap<u64, u32>,
    /// Somebody published an old voucher.
    published: bool,
}

impl Played {
    fn new(life: &Life) -> Self {
        let mut pair = Pair::open(Regtest::unchecked_scripts());
        pair.pay(20_000_000);
        for (number, (amount, expiry)) in (1..).zip(life.holds) {
            pair.offer(number, amount, expiry);
        }
        if life.released {
            pair.release(2);
        }
        // Coins for a raise.
        for value in [500, 1_000, 2_000, 2_500] {
            pair.coin(value);
        }
        Self { pair, looks: life.looks, learnt: BTreeMap::new(), published: false }
    }

    /// A block; each side looks at every one, or at every other.
    fn block(&mut self) {
        self.pair.world.mine(1);
        self.look();
    }

    fn look(&mut self) {
        let even = self.pair.world.tip().is_multiple_of(2);
        let Pair { context, world, payee, payer_signer, payee_signer, of_payer, of_payee, .. } =
            &mut self.pair;
        if even || self.looks[0] {
            let _stayed = of_payee.look(context, world, payee_signer, payee);
        }
        if even || self.looks[1] {
            let _stayed = of_payer.look(context, world, payer_signer, payee);
        }
    }

    fn event(&mut self, event: &Event) {
        let pair = &mut self.pair;
        match event {
            Event::Learn(number) => {
                pair.of_payee.known.push(preimage(*number));
                let tip = pair.world.tip();
                self.learnt.entry(u64::from(*number)).or_insert(tip);
            }
            Event::Publish(number) => {
                let (settlement, _) = pair.settlement_of(&pair.vouchers[*number].clone());
                // It may be spent by now.
                self.published |= pair.world.chain.submit(&settlement).is_ok();
            }
            Event::Reorg(depth) => {
                let branch = vec![Vec::new(); usize::try_from(*depth).unwrap() + 1];
                pair.world.chain.reorg(blocks(*depth), &branch).unwrap();
                self.look();
            }
            Event::Rate(now) => {
                pair.world.rate = *now;
                pair.world.chain.set_mining_rate(rate(*now));
            }
            Event::Restart(Side::Payer) => pair.of_payer.restart(&pair.context),
            Event::Restart(Side::Payee) => pair.of_payee.restart(&pair.context),
            Event::Power(Side::Payer, cut) => {
                pair.of_payer.cut = Some((pair.of_payer.writes, *cut));
            }
            Event::Power(Side::Payee, cut) => {
                pair.of_payee.cut = Some((pair.of_payee.writes, *cut));
            }
        }
    }

    /// Nothing more goes wrong: all is over before the channel's deadline.
    fn calm(&mut self) {
        self.event(&Event::Rate(1_000));
        let over = |pair: &Pair| {
            pair.of_payer.monitor.record().is_over() && pair.of_payee.monitor.record().is_over()
        };
        while !over(&self.pair) {
            self.block();
            assert!(self.pair.world.tip() < 111 + u32::from(DELAY), "{:?}", self.fates());
        }
    }

    fn fates(&self) -> Vec<(Hold, bool, Fate)> {
        let holds = self.pair.of_payer.monitor.record().holds().iter();
        holds.map(|held| (held.hold, held.standing.is_released(), held.fate)).collect()
    }
}

/// Lives, and how often a hold ended so: told at the end, and none may be zero.
#[derive(Debug, Default)]
struct Counts {
    claimed: u32,
    timed_out: u32,
    not_published: u32,
    raised: u32,
}

fn check(life: &Life, counts: &mut Counts) {
    let mut played = Played::new(life);
    for (wait, event) in &life.events {
        for _ in 0..*wait {
            played.block();
        }
        played.event(event);
    }
    played.calm();
    let record = played.pair.of_payer.monitor.record().clone();
    for (held, (hold, released, fate)) in record.holds().iter().zip(played.fates()) {
        let (number, expiry) = (hold.id.to_u64(), hold.expiry.to_u32());
        let learnt = played.learnt.get(&number).copied();
        match fate {
            Fate::Claimed { at, .. } => {
                counts.claimed += 1;
                assert!(at.is_some() && !released, "{number}: {fate:?}");
                assert!(learnt.is_some() && held.preimage.is_some(), "{number}: {fate:?}");
            }
            Fate::TimedOut { at, .. } => {
                counts.timed_out += 1;
                assert!(at.unwrap().to_u32() > expiry, "{number}: {fate:?}");
                // The margin and the lead are there for blocks that are missed and undone.
                let in_time = expiry - u32::from(K) - MARGIN - LEAD;
                let late = learnt.is_none_or(|learnt| learnt > in_time);
                assert!(late || released || played.published, "{number}, {learnt:?}: {fate:?}");
            }
            Fate::Held => counts.not_published += 1,
            Fate::Published { .. } => panic!("{number}: {fate:?}"),
        }
    }
    counts.raised += u32::try_from(played.pair.of_payee.bumps).unwrap();
}

#[test]
fn any_life_ends_every_hold_at_the_side_that_it_is_for() {
    let counts = std::cell::RefCell::new(Counts::default());
    let persistence = FileFailurePersistence::WithSource("regressions");
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: Some(Box::new(persistence)),
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    proptest!(config, |(life in life())| check(&life, &mut counts.borrow_mut()));
    let counts = counts.into_inner();
    println!("{counts:?}");
    let Counts { claimed, timed_out, not_published, raised } = counts;
    assert!(claimed > 0 && timed_out > 0 && not_published > 0 && raised > 0, "{counts:?}");
}
