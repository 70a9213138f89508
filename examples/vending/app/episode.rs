//! An episode as data, and what it came to.

use serde::Serialize;

use super::guard::Losses;
use crate::common::books::Books;

/// Where the machine's power goes while it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It has taken the hold, and noted nothing.
    Taken,
    /// It has noted that the motor turns; it did not.
    Noted,
    /// The item dropped, and nobody knows but the counter.
    Turned,
    /// It has noted what the counter says.
    Known,
    /// It has decided to reveal the preimage, and that is not durable.
    Answered,
}

impl Cut {
    /// Every one, in the order of the work.
    pub(crate) const ALL: [Self; 5] =
        [Self::Taken, Self::Noted, Self::Turned, Self::Known, Self::Answered];

    /// In words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "before it noted anything",
            Self::Noted => "before the motor turned",
            Self::Turned => "as the item dropped",
            Self::Known => "after the counter was read",
            Self::Answered => "before the preimage was durable",
        }
    }
}

/// What is special about one purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    /// Nothing.
    None,
    /// The motor turns, and nothing drops.
    Jam,
    /// The machine's power goes.
    PowerCut(Cut),
    /// Somebody pays the last one with coins while the buyer makes up its mind.
    SoldOut,
    /// The price rises by so many sat, and the buyer pays what it was shown so many seconds later.
    PriceRise(u64, u64),
    /// The item drops, and the buyer is gone for good.
    BuyerVanishes,
    /// The machine is gone for good before it serves.
    MachineVanishes,
    /// The operator settles the channel as it stands and takes the machine away.
    Removed,
    /// The buyer's phone restarts before it hears the answer.
    BuyerRestarts,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Somebody wants what is in a slot.
    Buy(usize, Twist),
    /// So many blocks pass.
    Blocks(u32),
    /// The machine claims what it released.
    Cheat,
}

/// How an episode ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both sign the channel away.
    Agreed,
    /// The buyer takes the rest back after the deadline.
    Refund,
}

/// One episode.
#[derive(Debug, Clone)]
pub(crate) struct Episode {
    /// Its name in files.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) title: &'static str,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
    /// How it ends.
    pub(crate) ending: Ending,
}

/// One instant, as plotted; amounts in msat.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// The height of the tip.
    pub(crate) height: u32,
    /// Paid for good.
    pub(crate) paid: u64,
    /// Reserved by holds of the newest voucher.
    pub(crate) reserved: u64,
    /// What the channel can cost the buyer at most: `Node::exposure`.
    pub(crate) exposure: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mark {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// What.
    pub(crate) what: String,
}

/// A hold that the machine promised not to claim.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Released {
    /// The item that did not drop.
    pub(crate) item: &'static str,
    /// What is at risk, sat.
    pub(crate) price: u64,
    /// At which height it was released.
    pub(crate) at: u32,
    /// Until which height the old voucher could bring it to the machine.
    pub(crate) at_risk_until: u32,
    /// The channel's exposure at the release, msat.
    pub(crate) exposure: u64,
    /// What of it was neither paid nor reserved, msat.
    pub(crate) at_risk: u64,
    /// Whether the machine broke its word.
    pub(crate) claimed: bool,
}

/// What an episode came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Which.
    pub(crate) episode: Episode,
    /// How it went on.
    pub(crate) samples: Vec<Sample>,
    /// What happened.
    pub(crate) marks: Vec<Mark>,
    /// Holds that were released.
    pub(crate) released: Vec<Released>,
    /// Prices that were shown, items that dropped.
    pub(crate) quotes: u64,
    /// Items that dropped for holds.
    pub(crate) drops: u64,
    /// What the machine got by vouchers, and by claims, sat.
    pub(crate) got: (u64, u64),
    /// What each side lost.
    pub(crate) losses: Losses,
    /// The largest exposure, msat.
    pub(crate) exposure_max: u64,
    /// The most that was at risk in released holds, msat.
    pub(crate) at_risk_max: u64,
    /// Messages sent.
    pub(crate) messages: u64,
    /// Bytes sent, frames included.
    pub(crate) bytes: u64,
    /// Commits of all stores.
    pub(crate) commits: u64,
    /// Where the money went.
    pub(crate) books: Books,
    /// How often an invariant was checked.
    pub(crate) checks: u64,
    /// Those that did not hold.
    pub(crate) broken: Vec<String>,
}
