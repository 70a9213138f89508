//! Random stories against a sum a lane.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::batch::flight::Front;

#[derive(Debug, Clone)]
enum Step {
    Pay(Vec<(u16, u64)>),
    Flush(usize),
    Deliver(usize),
    Lose(usize, Index),
    Repeat(usize, Index),
    Reorder(usize, Index),
    Wait,
    Reconnect,
    /// Before or after the commit.
    Reboot(usize, bool),
    /// Closes a lane that is open, opens one that is not.
    Turn(u16),
    /// By a plain voucher.
    PayPlain(u64),
    /// To what its disk had at the beginning.
    GoBack(usize),
}

/// Also lanes that come and go, plain payments, and old disks.
fn wild() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => step(),
        2 => (0..3_u16).prop_map(Step::Turn),
        1 => (1..500_u64).prop_map(Step::PayPlain),
        1 => (0..2_usize).prop_map(Step::GoBack),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let items = proptest::collection::vec((0..3_u16, 0..2_000_u64), 1..40);
    let side = 0..2_usize;
    prop_oneof![
        6 => items.prop_map(Step::Pay),
        6 => side.clone().prop_map(Step::Flush),
        8 => side.clone().prop_map(Step::Deliver),
        2 => (side.clone(), any::<Index>()).prop_map(|(side, at)| Step::Lose(side, at)),
        2 => (side.clone(), any::<Index>()).prop_map(|(side, at)| Step::Repeat(side, at)),
        2 => (side.clone(), any::<Index>()).prop_map(|(side, at)| Step::Reorder(side, at)),
        1 => Just(Step::Wait),
        1 => Just(Step::Reconnect),
        1 => (side, any::<bool>()).prop_map(|(side, after)| Step::Reboot(side, after)),
    ]
}

impl Pair {
    fn at(&self, side: usize, index: Index) -> Option<usize> {
        let on_the_line = self.lines[side].len();
        (on_the_line > 0).then(|| index.index(on_the_line))
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Pay(items) => {
                let sum: u64 = items.iter().map(|(_, amount)| amount).sum();
                let front = self.buyer().front(self.stage.outpoint);
                let open = |front: &Front| {
                    items.iter().all(|(at, _)| front.lanes().state(lane(*at)).is_some())
                };
                if front.is_ok_and(|front| open(&front)) && sum > 0 {
                    // Full, or a session's question is open: the model counts only what is taken.
                    let _refused = self.pay(items);
                }
            }
            Step::Flush(side) => self.flush(*side),
            Step::Deliver(side) => {
                let _refused = self.deliver(*side, 0);
            }
            Step::Lose(side, index) => {
                self.at(*side, *index).and_then(|at| self.lines[*side].remove(at));
            }
            Step::Repeat(side, index) => {
                let Some(at) = self.at(*side, *index) else { return };
                let again = self.lines[*side][at].clone();
                self.lines[*side].push_back(again);
            }
            Step::Reorder(side, index) => {
                let Some(at) = self.at(*side, *index) else { return };
                let late = self.lines[*side].remove(at).unwrap();
                self.lines[*side].push_back(late);
            }
            Step::Turn(at) => {
                let outpoint = self.stage.outpoint;
                let state = self.buyer().lanes(outpoint).and_then(|lanes| lanes.state(lane(*at)));
                let (lane, limit, session) = (lane(*at), msat(1 << 40), id(BUDGET));
                let _refused = self.stage.handle(
                    BUYER,
                    Input::Do(match state {
                        Some(_) => Command::CloseLane { outpoint, lane },
                        None => Command::OpenLane { outpoint, lane, limit, session },
                    }),
                );
            }
            Step::PayPlain(amount) => {
                let (outpoint, session, more) = (self.stage.outpoint, id(BUDGET), msat(*amount));
                let ending = crate::stream::payer::Ending::KeepsChange;
                let pay = Command::Pay { outpoint, more, session, ending };
                let _refused = self.stage.handle(BUYER, Input::Do(pay));
            }
            Step::GoBack(side) => {
                self.stage.stores[*side] = self.first[*side].clone();
                self.reboot(*side);
            }
            Step::Wait => self.wait(),
            Step::Reconnect => self.reconnect(),
            Step::Reboot(side, after) => {
                if *after {
                    self.flush(*side);
                }
                self.reboot(*side);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn random_stories_end_with_every_item_paid_once(
        steps in proptest::collection::vec(step(), 1..90)
    ) {
        let mut pair = Pair::with_lanes();
        pair.open_lane(2, 1 << 40);
        pair.limit_flight(4, 200_000);
        pair.flush(BUYER);
        for step in &steps {
            let (told, signed) = (pair.told.clone(), pair.signed());
            pair.play(step);
            if pair.signed() < signed {
                // A cut before the commit took payments with it, so they were never told: what is
                // left of them is in the record.
                let outpoint = pair.stage.outpoint;
                let lanes = pair.buyer().lanes(outpoint).cloned();
                for (at, told) in &mut pair.told {
                    let total = lanes.as_ref().and_then(|lanes| lanes.state(lane(*at)));
                    *told = total.map_or(0, |state| state.total.to_msat());
                }
                prop_assert!(told.values().sum::<u64>() > pair.told.values().sum::<u64>());
            }
            pair.check();
            let at_risk = pair.buyer().at_risk(pair.stage.outpoint).unwrap();
            prop_assert!(at_risk <= msat(200_000), "{at_risk} at risk");
        }
        pair.reconnect();
        pair.heal();
        pair.check_all_paid();
        for (at, told) in &pair.told {
            prop_assert_eq!(pair.total_of(SELLER, *at).unwrap_or(0), *told);
        }
    }

    #[test]
    fn wild_stories_end_with_equal_lanes_on_both_sides(
        steps in proptest::collection::vec(wild(), 1..90)
    ) {
        let mut pair = Pair::with_lanes();
        pair.open_lane(2, 1 << 40);
        pair.limit_flight(4, 200_000);
        pair.flush(BUYER);
        pair.first = pair.stage.stores.clone();
        for step in &steps {
            pair.play(step);
            pair.check_nodes();
        }
        // A payee on an old disk is owed again what it lost; nothing else is ever paid twice.
        pair.reconnect();
        pair.heal();
        prop_assert_eq!(pair.paid(), pair.signed());
        let outpoint = pair.stage.outpoint;
        if pair.buyer().lanes(outpoint).unwrap().state(lane(2)).is_none() {
            pair.open_lane(2, 1 << 40);
        }
        pair.heal();
        pair.pay(&[(2, 5)]).unwrap();
        pair.heal();
        prop_assert_eq!(pair.paid(), pair.signed());
        prop_assert_eq!(pair.buyer().lanes(outpoint), pair.seller().lanes(outpoint));
    }
}
