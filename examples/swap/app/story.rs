//! The episodes, and what each must come to.

use super::chains::Weather;
use super::party::{Cut, Lie};
use super::purse::Leg;
use super::world::{ALICE, BOB, Back, Outcome, Plan, Vanish};

/// What both legs must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Both paid.
    Both,
    /// Neither.
    Neither,
    /// Both or neither: it depends on how far it had come.
    Same,
    /// Both or neither, or who never came back has lost its leg.
    NotTheOther {
        /// Who was gone.
        gone: usize,
    },
}

/// One swap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Episode {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) plan: Plan,
    pub(crate) want: Want,
    /// The heights, after each expiry, at which holds are to be taken back on the chain.
    pub(crate) refunds: bool,
}

/// An episode with its end.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) episode: Episode,
    pub(crate) outcome: Outcome,
    pub(crate) legs: [Leg; 2],
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

/// The most that miners may take of one channel, sat: who comes in the last block pays a good part
/// of its claim to be in it. Below half of what is swapped, so that a leg is paid or not.
const FEES_MAX: u64 = 40_000;

impl Told {
    pub(crate) fn judge(episode: Episode, outcome: Outcome) -> Self {
        let legs = outcome.purses.map(|purse| purse.leg());
        let mut broken = outcome.broken.clone();
        let mut checks = outcome.checks;
        let mut check = |holds: bool, what: &str| {
            checks += 1;
            if !holds {
                broken.push(what.into());
            }
        };
        let [first, second] = legs;
        check(!legs.contains(&Leg::Odd), "money is missing");
        check(outcome.purses.iter().all(|purse| purse.fees <= FEES_MAX), "miners took too much");
        let same = first == second;
        match episode.want {
            Want::Both => check(same && first == Leg::Paid, "not both legs were paid"),
            Want::Neither => check(same && first == Leg::Kept, "not both legs were kept"),
            Want::Same => check(same, "one leg was paid, and the other was not"),
            Want::NotTheOther { gone } => {
                // Alice is paid by the second leg, Bob by the first one.
                let (hers, its) = if gone == ALICE { (second, first) } else { (first, second) };
                let lost = (hers, its) == (Leg::Kept, Leg::Paid);
                check(same || lost, "who was there has lost");
            }
        }
        if episode.refunds {
            let expiries = [outcome.deal.first.expiry, outcome.deal.second.expiry];
            for (purse, expiry) in outcome.purses.iter().zip(expiries) {
                let back = Some((expiry.to_u32() + 1, false));
                check(purse.spent == back, "a hold was not taken back at its first height");
            }
        }
        if episode.plan.vanish.is_some() {
            check(outcome.cut, "the power did not go");
        }
        Self { episode, outcome, legs, checks, broken }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.legs {
            _ if !self.broken.is_empty() => "BROKEN",
            [Leg::Paid, Leg::Paid] => "both are paid",
            [Leg::Kept, Leg::Kept] => "neither is paid",
            [Leg::Kept, Leg::Paid] => "Bob never came back, and lost his leg",
            [Leg::Paid, Leg::Kept] => "Alice never came back, and lost her leg",
            [Leg::Odd, _] | [_, Leg::Odd] => "money is missing",
        }
    }
}

const fn vanish(who: usize, at: u32, cut: Cut, back: Back) -> Plan {
    Plan { vanish: Some(Vanish { who, at, cut, back }), ..Plan::calm() }
}

const fn lie(who: usize, lie: Lie) -> Plan {
    let lies = if who == ALICE { [Some(lie), None] } else { [None, Some(lie)] };
    Plan { lies, ..Plan::calm() }
}

const fn episode(name: &'static str, title: &'static str, plan: Plan, want: Want) -> Episode {
    Episode { name, title, plan, want, refunds: false }
}

/// The commits at which the parties stop in the story; the matrix of tests takes all of them.
///
/// Alice: 1 the deal, 2 her hold, 3 Bob's hold, 4 she may tell, 5 the preimage, 6 paid, 7 folded.
/// Bob: 1 the deal, 2 Alice's hold, 3 taken, 4 his hold, 5 he knows, 6 the preimage, 7 folded.
const ALICE_MAY_TELL: u32 = 4;
const ALICE_TELLS: u32 = 5;
const BOB_OFFERS: u32 = 4;
const BOB_KNOWS: u32 = 5;

/// What happens, by how much may go wrong.
pub(crate) fn episodes(chaos: u8) -> Vec<Episode> {
    let mut story = vec![episode(
        "swap",
        "both pay, and nothing but two settlements touches a chain",
        Plan::calm(),
        Want::Both,
    )];
    if chaos >= 1 {
        story.extend(gone());
        story.extend(chain());
        story.extend(lies());
    }
    if chaos >= 2 {
        story.extend(worst());
    }
    if chaos >= 3 {
        for who in [ALICE, BOB] {
            for at in 2..=7 {
                for cut in [Cut::Before, Cut::After] {
                    let plan = vanish(who, at, cut, Back::InTime);
                    let plan = Plan { weather: Weather::Worst, reorg: 2, ..plan };
                    let title = "power cut, reorgs, and the worst weather";
                    story.push(episode("storm", title, plan, Want::Same));
                }
            }
        }
    }
    story
}

/// Somebody is not there.
fn gone() -> Vec<Episode> {
    let in_time = Back::InTime;
    vec![
        episode(
            "bob-gone",
            "Bob vanishes before he offers: Alice's hold runs out",
            vanish(BOB, BOB_OFFERS, Cut::Before, Back::Never),
            Want::Neither,
        ),
        episode(
            "bob-late",
            "Bob vanishes after he has offered, and is back just in time: the chain told",
            vanish(BOB, BOB_KNOWS, Cut::Before, in_time),
            Want::Both,
        ),
        episode(
            "bob-lost",
            "Bob vanishes after he has offered, and never comes back",
            vanish(BOB, BOB_KNOWS, Cut::Before, Back::Never),
            Want::NotTheOther { gone: BOB },
        ),
        episode(
            "bob-knows",
            "Bob vanishes as soon as he knows the secret, and is back just in time",
            vanish(BOB, BOB_KNOWS, Cut::After, in_time),
            Want::Both,
        ),
        episode(
            "alice-gone",
            "Alice vanishes before she tells: both holds run out",
            vanish(ALICE, ALICE_MAY_TELL, Cut::Before, Back::Never),
            Want::Neither,
        ),
        episode(
            "alice-late",
            "Alice is back when it is too late to tell: she never tells",
            vanish(ALICE, ALICE_MAY_TELL, Cut::After, Back::InTime),
            Want::Neither,
        ),
        episode(
            "alice-mute",
            "Alice vanishes before her word leaves, and claims on the chain when she is back",
            vanish(ALICE, ALICE_TELLS, Cut::After, in_time),
            Want::Both,
        ),
        episode(
            "alice-back",
            "Alice's power goes for a block while she tells",
            vanish(ALICE, ALICE_TELLS, Cut::Before, Back::Soon),
            Want::Both,
        ),
    ]
}

/// The chain decides.
fn chain() -> Vec<Episode> {
    let publish = Some(Lie::Publish);
    let refunds = Plan { lies: [publish, publish], ..Plan::calm() };
    let refunds = episode(
        "refunds",
        "both holds are published, nobody claims: each is taken back in its first block",
        refunds,
        Want::Neither,
    );
    vec![
        episode(
            "deaf",
            "the line breaks when both holds stand: Bob takes the secret off the chain",
            Plan { deaf: true, ..Plan::calm() },
            Want::Both,
        ),
        episode(
            "reorg",
            "the line breaks, and both chains lose two blocks again and again",
            Plan { deaf: true, reorg: 2, ..Plan::calm() },
            Want::Both,
        ),
        Episode { refunds: true, ..refunds },
        episode(
            "silence",
            "Alice never tells: both holds run out, and cost Bob nothing but time",
            lie(ALICE, Lie::Silence),
            Want::Neither,
        ),
    ]
}

/// Somebody offers something else.
fn lies() -> Vec<Episode> {
    let refused = |name, title, who, what| episode(name, title, lie(who, what), Want::Neither);
    vec![
        refused("hash-a", "Alice's hold has another hash", ALICE, Lie::Hash),
        refused("hash-b", "Bob's hold has another hash", BOB, Lie::Hash),
        refused("amount-a", "Alice's hold is a satoshi short", ALICE, Lie::Amount),
        refused("amount-b", "Bob's hold is a satoshi short", BOB, Lie::Amount),
        refused("expiry-a", "Alice's hold ends a block early", ALICE, Lie::Expiry),
        refused("expiry-b", "Bob's hold ends a block early", BOB, Lie::Expiry),
    ]
}

/// The first chain as fast, and the second as slow, as the policy counts on.
fn worst() -> Vec<Episode> {
    let worst = |plan: Plan| Plan { weather: Weather::Worst, ..plan };
    vec![
        episode(
            "worst",
            "the line breaks in the worst weather of both chains",
            worst(Plan { deaf: true, ..Plan::calm() }),
            Want::Both,
        ),
        episode(
            "worst-reorg",
            "the same, and both chains lose two blocks again and again",
            worst(Plan { deaf: true, reorg: 2, ..Plan::calm() }),
            Want::Both,
        ),
        episode(
            "worst-alice",
            "Alice claims in the last block of all, in the worst weather: Bob still has his blocks",
            worst(vanish(ALICE, ALICE_TELLS, Cut::After, Back::Last)),
            Want::Both,
        ),
        episode(
            "worst-bob",
            "Bob is back as late as he may in the worst weather",
            worst(vanish(BOB, BOB_KNOWS, Cut::Before, Back::InTime)),
            Want::Both,
        ),
    ]
}
