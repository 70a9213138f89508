//! An episode as data, and what it came to.

use serde::Serialize;

use super::guard::Losses;
use crate::common::books::Books;
use crate::common::prices::Prices;

/// What can go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The data line is down for so many seconds.
    LineDown(u64),
    /// The car's computer loses power, and is back after so many seconds.
    CarReboot(u64),
    /// The station's computer loses power, and is back after so many seconds.
    StationReboot(u64),
    /// The station asks for another price.
    Prices(Prices),
    /// The station's meter runs fast by so many parts in a million.
    Drift(u64),
    /// The car takes power and says nothing any more.
    CarSilent,
    /// The station is gone for good.
    StationGone,
    /// The station takes what it holds to the chain.
    Settle,
    /// The last blocks are replaced by empty ones.
    Reorg(u32),
}

/// How an episode should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In peace: a statement that both agree on, and a close that both sign.
    Agreed,
    /// The station takes its vouchers to the chain, the car takes the rest after the deadline.
    Quarrel,
    /// The car takes everything back after the deadline.
    Deserted,
}

/// One episode.
#[derive(Debug, Clone)]
pub(crate) struct Episode {
    /// Its name in files.
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) title: &'static str,
    /// When it starts, seconds UTC.
    pub(crate) start: u64,
    /// State of charge at the start and at the end, percent.
    pub(crate) charge: (u64, u64),
    /// What the station gives at most, watts.
    pub(crate) station: u64,
    /// What goes wrong after how many seconds.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// How it should end.
    pub(crate) ending: Ending,
}

/// One second, as plotted.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// State of charge, hundredths of a percent.
    pub(crate) charge: u64,
    /// Power, watts.
    pub(crate) power_w: u64,
    /// Price, sat a kilowatt-hour.
    pub(crate) price: u64,
    /// Owed so far, msat.
    pub(crate) owed: u64,
    /// Paid so far, msat.
    pub(crate) paid: u64,
    /// Owed and not paid just before this second was paid, msat.
    pub(crate) peak: u64,
    /// Owed and not paid, msat.
    pub(crate) debt: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mark {
    /// Seconds since the start.
    pub(crate) t: u64,
    /// What.
    pub(crate) what: String,
}

/// What an episode came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Which.
    pub(crate) episode: Episode,
    /// Second by second.
    pub(crate) samples: Vec<Sample>,
    /// What happened.
    pub(crate) marks: Vec<Mark>,
    /// Energy by the car's meter, watt-seconds.
    pub(crate) energy: u64,
    /// Owed by the station's meter and paid, msat.
    pub(crate) owed: u64,
    /// Paid, msat.
    pub(crate) paid: u64,
    /// The largest debt, msat.
    pub(crate) debt_max: u64,
    /// What each side lost.
    pub(crate) losses: Losses,
    /// Seconds in which power flowed.
    pub(crate) ticks: u64,
    /// Vouchers, all messages, and their bytes.
    pub(crate) vouchers: u64,
    /// Messages sent.
    pub(crate) messages: u64,
    /// Bytes sent, frames included.
    pub(crate) bytes: u64,
    /// Signatures made by both.
    pub(crate) signatures: u64,
    /// Commits and barriers of both stores.
    pub(crate) commits: (u64, u64),
    /// Where the money went.
    pub(crate) books: Books,
    /// How often an invariant was checked.
    pub(crate) checks: u64,
    /// Those that did not hold.
    pub(crate) broken: Vec<String>,
}
