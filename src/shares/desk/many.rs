//! Many shares at once: their headers fill the lanes of the processor.

use core::num::NonZeroUsize;

use super::check::Place;
use super::{Desk, Good};
use crate::sha256::{Engine, State};
use crate::shares::job::Built;
use crate::shares::text::second_block;
use crate::shares::{Refused, Share};
use crate::units::UtcSeconds;

/// Shares that are hashed together: twice the lanes of the widest kernel, so that few stand empty.
const LOT: usize = 32;

/// What is known of a share of a lot before the shares in front of it are counted.
enum Early {
    /// Nothing that those can change.
    Refused(Refused),
    /// Its hash was judged.
    Judged {
        /// Its job's tip is the one before.
        before: bool,
        result: Result<Good, Refused>,
    },
}

impl Desk {
    /// [`Self::take`] of each share, in order: the same answers, and the same desk afterwards.
    ///
    /// Headers are hashed on many lanes, so that a share costs less than one by one; merkle roots
    /// of extranonces are not. `verdict` is called once for each share. On the stack it takes some
    /// 30 KiB, on the heap what [`Self::take`] takes.
    pub fn check_many(
        &mut self,
        now: UtcSeconds,
        shares: &[Share],
        verdict: &mut impl FnMut(&Share, Result<Good, Refused>),
    ) {
        for lot in shares.chunks(LOT) {
            for (share, early) in lot.iter().zip(self.judged(now, lot).into_iter().flatten()) {
                verdict(share, self.settled(now, &early));
            }
        }
    }

    /// What depends on the shares in front: the budget, and what is counted. Then it counts.
    fn settled(&mut self, now: UtcSeconds, early: &Early) -> Result<Good, Refused> {
        match *early {
            Early::Refused(refused) => Err(refused),
            Early::Judged { before, result } => {
                self.within_budget(now, before)?;
                let good = result?;
                self.not_counted(&good, before)?;
                self.count(&good);
                Ok(good)
            }
        }
    }

    /// Judges a lot, of at most [`LOT`] shares.
    fn judged(&self, now: UtcSeconds, lot: &[Share]) -> [Option<Early>; LOT] {
        let placed = |share| {
            let place = self.place(now, share)?;
            // A budget that is spent now is spent when the share's turn comes.
            self.within_budget(now, place.before)?;
            Ok((place, place.issued.job.build(self.engine, &self.space, share)))
        };
        let mut shares = lot.iter();
        let lanes: [_; LOT] = core::array::from_fn(|_| shares.next().map(placed));
        let hashes = hashes(self.engine, &lanes);
        let mut found = lanes.iter().zip(hashes).zip(lot);
        core::array::from_fn(|_| {
            let ((lane, hash), share) = found.next()?;
            Some(match lane.as_ref()? {
                Err(refused) => Early::Refused(*refused),
                Ok((place, built)) => Early::Judged {
                    before: place.before,
                    result: self.judge(now, place, share, built, hash),
                },
            })
        })
    }
}

/// The double hashes of the headers that were built; zeros in the place of others.
fn hashes(
    engine: Engine,
    lanes: &[Option<Result<(Place<'_>, Built), Refused>>; LOT],
) -> [[u8; 32]; LOT] {
    let built = || lanes.iter().flatten().flatten().map(|(_, built)| built);
    // First blocks, of those headers whose version was rolled or whose root is their own.
    let mut first = Group::new();
    for built in built().filter(|built| built.midstate.is_none()) {
        first.push(State::INITIAL, built.blocks.first());
    }
    let mut first = first.absorbed(engine);
    let mut last = Group::new();
    for built in built() {
        let state = built.midstate.or_else(|| first.next());
        last.push(state.unwrap_or(State::INITIAL), built.blocks.last());
    }
    let mut again = Group::new();
    for state in last.absorbed(engine) {
        again.push(State::INITIAL, Some(&second_block(state)));
    }
    let mut hashes = again.absorbed(engine);
    core::array::from_fn(|at| match lanes.get(at) {
        Some(Some(Ok(_))) => hashes.next().map_or([0; 32], State::to_bytes),
        _ => [0; 32],
    })
}

/// Lanes without gaps between them, a block each.
struct Group {
    states: [State; LOT],
    blocks: [[u8; 64]; LOT],
    used: usize,
}

impl Group {
    const fn new() -> Self {
        Self { states: [State::INITIAL; LOT], blocks: [[0; 64]; LOT], used: 0 }
    }

    fn push(&mut self, state: State, block: Option<&[u8; 64]>) {
        if let (Some(lane), Some(slot), Some(block)) =
            (self.states.get_mut(self.used), self.blocks.get_mut(self.used), block)
        {
            (*lane, *slot) = (state, *block);
            self.used = self.used.saturating_add(1);
        }
    }

    fn absorbed(mut self, engine: Engine) -> impl Iterator<Item = State> {
        if let (Some(states), Some(blocks)) =
            (self.states.get_mut(..self.used), self.blocks.get(..self.used))
        {
            engine.absorb(states, blocks, NonZeroUsize::MIN);
        }
        self.states.into_iter().take(self.used)
    }
}
