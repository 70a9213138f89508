//! A viewer: what it wants to see, when, and for how much; and what it has seen.

use std::collections::BTreeSet;

use super::studio::QUALITIES;
use crate::common::dice::Dice;

/// What a viewer does at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Pause(u64),
    See(usize),
}

/// One session: its price of a minute, msat, and the seconds that were sent in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bill {
    pub(crate) minute: u64,
    pub(crate) seconds: u64,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Away,
    Watching,
    Leaving,
    Left,
    CutOff,
}

/// A viewer's evening.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(crate) starts: u64,
    /// Seconds.
    pub(crate) film: u64,
    pub(crate) acts: Vec<(u64, Act)>,
    /// What it pays for a minute at most, msat.
    pub(crate) limit: u64,
    pub(crate) quality: usize,
    /// Whether it needs another session.
    pub(crate) wants: bool,
    /// Whether it has taken the session that was offered last.
    pub(crate) taken: bool,
    pub(crate) paused_until: u64,
    pub(crate) back_at: u64,
    pub(crate) offered_at: u64,
    pub(crate) paid_at: u64,
    pub(crate) stage: Stage,
    pub(crate) bills: Vec<Bill>,
    /// The sessions that both agree on.
    pub(crate) stated: BTreeSet<u64>,
    pub(crate) watched: u64,
}

/// The name of a quality.
pub(crate) fn name(quality: usize) -> &'static str {
    QUALITIES.get(quality).copied().unwrap_or("nothing")
}

/// The first viewer: the best, a pause, less, more again, and less when it gets dearer.
pub(crate) fn first() -> Viewer {
    let acts = vec![
        (260, Act::Pause(90)),
        (420, Act::See(0)),
        (530, Act::See(2)),
        (800, Act::Pause(60)),
        (1_000, Act::See(0)),
    ];
    watch(10, 1_000, acts, 70_000, 2)
}

/// Any other: a few pauses and changes at any time.
pub(crate) fn viewer(dice: &mut Dice) -> Viewer {
    let starts = dice.between(1, 120);
    let act = |dice: &mut Dice| {
        let at = dice.between(starts + 10, 1_200);
        match dice.between(0, 2) {
            0 => (at, Act::Pause(dice.between(10, 120))),
            _ => (at, Act::See(usize::try_from(dice.between(0, 3)).unwrap_or(0))),
        }
    };
    let acts = (0..4).map(|_| act(dice)).collect();
    let (film, limit) = (dice.between(700, 1_200), dice.between(40_000, 100_000));
    let quality = usize::try_from(dice.between(0, 3)).unwrap_or(0);
    watch(starts, film, acts, limit, quality)
}

fn watch(starts: u64, film: u64, acts: Vec<(u64, Act)>, limit: u64, quality: usize) -> Viewer {
    Viewer {
        starts,
        film,
        acts,
        limit,
        quality,
        wants: false,
        taken: false,
        paused_until: 0,
        back_at: 0,
        offered_at: 0,
        paid_at: 0,
        stage: Stage::Away,
        bills: Vec::new(),
        stated: BTreeSet::new(),
        watched: 0,
    }
}
