//! Who is there: providers with what they can do and how they behave, requesters with their jobs.

use crate::common::dice::Dice;

/// How a provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Does what it is paid for.
    Honest,
    /// Makes up every third result, because that is cheaper.
    MakesUp,
    /// Loses power for good at a time, seconds.
    Vanishes(u64),
}

/// A provider.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    /// The kinds of work that it can do, each with its price of a unit, msat.
    pub(crate) asks: Vec<(usize, u64)>,
    /// Contracts at a time.
    pub(crate) slots: usize,
    /// Seconds for a unit.
    pub(crate) pace: u64,
    pub(crate) habit: Habit,
    /// What requesters have seen of it: 0 to 1,000.
    pub(crate) standing: u32,
    /// Whether it has vanished.
    pub(crate) gone: bool,
}

/// Some work that a requester wants done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) requester: usize,
    /// When it asks for it, seconds.
    pub(crate) at: u64,
    pub(crate) kind: usize,
    pub(crate) units: u64,
    /// The highest price of a unit, msat.
    pub(crate) limit: u64,
}

/// A requester.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requester {
    pub(crate) name: &'static str,
    /// What it spends at most in all, msat.
    pub(crate) budget: u64,
    /// From this second on it says nothing more, and pays nothing.
    pub(crate) mute_from: Option<u64>,
}

/// Nobody knows a new provider: it begins here.
pub(crate) const STANDING: u32 = 500;
/// Below it nobody is hired.
pub(crate) const HIRED_FROM: u32 = 300;
const PRIMES: usize = 0;
const CHAINS: usize = 1;
const SHARES: usize = 2;

/// What a result did to a provider's standing.
pub(crate) fn judged(standing: u32, right: bool) -> u32 {
    if right { (standing + 5).min(1_000) } else { standing / 2 }
}

/// Seven providers, of whom two cheat or vanish if anything goes wrong.
pub(crate) fn providers(chaos: u8) -> Vec<Provider> {
    let provider = |name, asks: &[(usize, u64)], slots, pace, habit| Provider {
        name,
        asks: asks.to_vec(),
        slots,
        pace,
        habit: if chaos == 0 { Habit::Honest } else { habit },
        standing: STANDING,
        gone: false,
    };
    vec![
        provider("rack", &[(PRIMES, 30_000), (CHAINS, 36_000)], 4, 2, Habit::Honest),
        provider("laptop", &[(PRIMES, 25_000), (SHARES, 9_000)], 2, 4, Habit::Honest),
        provider(
            "bargain",
            &[(PRIMES, 18_000), (CHAINS, 20_000), (SHARES, 6_000)],
            3,
            1,
            Habit::MakesUp,
        ),
        provider("solar", &[(CHAINS, 24_000), (SHARES, 7_000)], 2, 3, Habit::Vanishes(240)),
        provider("office", &[(PRIMES, 34_000), (CHAINS, 31_000)], 3, 3, Habit::Honest),
        provider("fridge", &[(SHARES, 8_000)], 1, 6, Habit::Honest),
        provider(
            "cluster",
            &[(PRIMES, 42_000), (CHAINS, 44_000), (SHARES, 12_000)],
            6,
            1,
            Habit::Honest,
        ),
    ]
}

/// Four requesters; the last one does not pay from a time on, if anything goes wrong.
pub(crate) fn requesters(chaos: u8) -> Vec<Requester> {
    let requester = |name, budget, mute_from| Requester { name, budget, mute_from };
    vec![
        requester("lab", 20_000_000, None),
        requester("school", 12_000_000, None),
        requester("pool", 5_000_000, None),
        requester("stranger", 9_000_000, (chaos > 0).then_some(420)),
    ]
}

/// Their jobs: a few that are always there, and as many at any time.
pub(crate) fn wants(dice: &mut Dice) -> Vec<Want> {
    let want = |requester, at, kind, units, limit| Want { requester, at, kind, units, limit };
    let mut wants = vec![
        want(0, 5, PRIMES, 40, 40_000),
        want(1, 20, CHAINS, 30, 45_000),
        want(2, 30, SHARES, 60, 10_000),
        want(3, 300, PRIMES, 60, 45_000),
        want(1, 360, CHAINS, 20, 32_000),
    ];
    for _ in 0..6 {
        let (requester, at) =
            (usize::try_from(dice.between(0, 3)).unwrap_or(0), dice.between(60, 900));
        let (kind, units) =
            (usize::try_from(dice.between(0, 3)).unwrap_or(0), dice.between(10, 40));
        let usual = [32_000, 36_000, 9_000][kind];
        wants.push(want(requester, at, kind, units, dice.between(usual * 8 / 10, usual * 15 / 10)));
    }
    wants.sort_by_key(|want| want.at);
    wants
}
