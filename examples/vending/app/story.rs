//! The story: a day's sales, and then what can go wrong, one thing at a time.

use super::episode::{Cut, Ending, Episode, Step, Twist};
use super::scene::HOLD_BLOCKS;
use super::vendor::{LAST_ONE, QUOTE_SECONDS, SLOTS};
use crate::common::dice::Dice;

/// Purchases of an ordinary day.
const SALES: u64 = 8;
/// Purchases of a storm, for each grade of chaos.
const STORM: u64 = 8;

/// The episodes for this much chaos; what is bought, and when, depends on the seed.
pub(crate) fn episodes(seed: u64, chaos: u8) -> Vec<Episode> {
    let mut dice = Dice::new(seed, "story");
    let mut story = vec![Episode {
        name: "day",
        title: "a day's sales, each reserved by a hold and paid as the item drops",
        steps: sales(&mut dice),
        ending: Ending::Agreed,
    }];
    if chaos >= 1 {
        story.extend(single_faults(&mut dice));
    }
    if chaos >= 2 {
        story.push(storm(&mut dice, STORM * u64::from(chaos)));
    }
    story
}

fn sales(dice: &mut Dice) -> Vec<Step> {
    let sale = |_| [Step::Buy(slot(dice), Twist::None), Step::Blocks(pause(dice))];
    (0..SALES).flat_map(sale).collect()
}

/// A slot that is full.
fn slot(dice: &mut Dice) -> usize {
    usize::try_from(dice.between(0, SLOTS - 1)).unwrap_or(0)
}

fn pause(dice: &mut Dice) -> u32 {
    u32::try_from(dice.between(1, 5)).unwrap_or(1)
}

fn single_faults(dice: &mut Dice) -> Vec<Episode> {
    use Ending::{Agreed, Refund};
    let same = slot(dice);
    let mut buy = |twist| Step::Buy(slot(dice), twist);
    let sale = buy(Twist::None);
    let episode = |name, title, steps, ending| Episode { name, title, steps, ending };
    let cuts = Cut::ALL.into_iter().flat_map(|cut| [buy(Twist::PowerCut(cut)), Step::Blocks(1)]);
    let cuts = cuts.collect();
    let past = Step::Blocks(HOLD_BLOCKS + 2);
    vec![
        episode(
            "jam",
            "nothing drops: the hold is released, and at risk until its expiry",
            vec![sale, Step::Blocks(3), buy(Twist::Jam), Step::Blocks(6), sale, past],
            Agreed,
        ),
        episode("power", "the machine loses power at each step of a sale", cuts, Agreed),
        episode(
            "sold-out",
            "somebody else takes the last one between price and hold",
            vec![
                Step::Buy(LAST_ONE, Twist::SoldOut),
                Step::Blocks(2),
                Step::Buy(LAST_ONE, Twist::None),
                sale,
                Step::Blocks(2),
            ],
            Agreed,
        ),
        episode(
            "price",
            "the price rises after it was shown: it stands for two minutes",
            vec![
                Step::Buy(same, Twist::PriceRise(300, QUOTE_SECONDS / 2)),
                Step::Blocks(2),
                Step::Buy(same, Twist::PriceRise(300, QUOTE_SECONDS + 20)),
                Step::Buy(same, Twist::None),
                Step::Blocks(2),
            ],
            Agreed,
        ),
        episode(
            "vanish",
            "the buyer is gone with the item: claimed on the chain",
            vec![sale, Step::Blocks(2), buy(Twist::BuyerVanishes)],
            Refund,
        ),
        episode(
            "gone",
            "the machine is gone with the hold open: everything else comes back",
            vec![sale, Step::Blocks(2), buy(Twist::MachineVanishes)],
            Refund,
        ),
        episode(
            "removed",
            "the machine is taken away and settled with the hold open: timed out",
            vec![sale, Step::Blocks(2), buy(Twist::Removed)],
            Refund,
        ),
        episode(
            "cheat",
            "the machine releases a hold and claims it all the same",
            vec![sale, Step::Blocks(2), buy(Twist::Jam), Step::Blocks(3), Step::Cheat],
            Refund,
        ),
    ]
}

/// `count` purchases, and any of the faults that pass.
fn storm(dice: &mut Dice, count: u64) -> Episode {
    let mut steps = Vec::new();
    for _ in 0..count {
        let cut = usize::try_from(dice.between(0, 5)).unwrap_or(0);
        let twist = match dice.between(0, 8) {
            0 => Twist::Jam,
            1 => Twist::PowerCut(Cut::ALL.get(cut).copied().unwrap_or(Cut::Turned)),
            2 => Twist::PriceRise(100, dice.between(1, 2 * QUOTE_SECONDS)),
            3 => Twist::BuyerRestarts,
            _ => Twist::None,
        };
        steps.push(Step::Buy(slot(dice), twist));
        steps.push(Step::Blocks(pause(dice) - 1));
    }
    Episode {
        name: "storm",
        title: "everything that passes, at any time",
        steps,
        ending: Ending::Agreed,
    }
}
