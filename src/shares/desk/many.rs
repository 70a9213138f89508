//! Many shares at once: their headers fill the lanes of the processor.

use core::num::NonZeroUsize;

use super::{Desk, Good};
use crate::sha256::{Engine, State};
use crate::shares::text::second_block;
use crate::shares::{Refused, Share};
use crate::units::UtcSeconds;

/// Shares that are hashed together: twice the lanes of the widest kernel, so that few stand empty.
const LOT: usize = 32;

impl Desk {
    /// [`Self::take`] of each share, in order: the same answers, and the same desk afterwards.
    ///
    /// Headers are hashed on many lanes, so that a share costs less than one by one; merkle roots
    /// of extranonces are not. `verdict` is called once for each share. It takes some 8 KiB of
    /// stack.
    pub fn check_many(
        &mut self,
        now: UtcSeconds,
        shares: &[Share],
        verdict: &mut impl FnMut(&Share, Result<Good, Refused>),
    ) {
        let mut lot = Lot::new();
        for shares in shares.chunks(LOT) {
            let mut hashed = [false; LOT];
            for (share, hashed) in shares.iter().zip(&mut hashed) {
                *hashed = lot.push(self, now, share).is_ok();
            }
            let mut hashes = lot.hash(self.engine);
            for (share, hashed) in shares.iter().zip(hashed) {
                let hash = if hashed { hashes.next() } else { None };
                verdict(share, self.settle(now, share, hash));
            }
        }
    }

    /// The answer to a share whose hash is known, or that had none when the lot was hashed.
    #[inline]
    fn settle(
        &mut self,
        now: UtcSeconds,
        share: &Share,
        hash: Option<State>,
    ) -> Result<Good, Refused> {
        // What refused it then refuses it now: jobs and tip are the same for a lot.
        let Some(hash) = hash else { return self.take(now, share) };
        let place = self.place(now, share)?;
        let budget = self.within_budget(now, place.before);
        let answer = self.judge(now, &place, share, hash.to_bytes(), budget);
        if let Ok(good) = &answer {
            self.count(good);
        }
        answer
    }
}

/// Headers without gaps between them, on their way to their hashes.
struct Lot {
    first: Group,
    last: Group,
    /// Whether a lane of `last` waits for its state until those of `first` are known.
    waits: [bool; LOT],
}

impl Lot {
    const fn new() -> Self {
        Self { first: Group::new(), last: Group::new(), waits: [false; LOT] }
    }

    /// Builds the header of a share, if it passes every check that comes before its hash.
    #[inline]
    fn push(&mut self, desk: &Desk, now: UtcSeconds, share: &Share) -> Result<(), Refused> {
        let place = desk.place(now, share)?;
        if let (Some(first), Some(last), Some(waits)) = (
            self.first.blocks.get_mut(self.first.used),
            self.last.blocks.get_mut(self.last.used),
            self.waits.get_mut(self.last.used),
        ) {
            let known = place.issued.job.build(desk.engine, &desk.space, share, first, last);
            *waits = known.is_none();
            self.last.push(known.unwrap_or(State::INITIAL));
            if known.is_none() {
                self.first.push(State::INITIAL);
            }
        }
        Ok(())
    }

    /// The double hashes, in order; then there is room for the next lot.
    #[inline]
    fn hash(&mut self, engine: Engine) -> impl Iterator<Item = State> {
        self.first.absorb(engine);
        let mut first = self.first.states.iter();
        let lanes = self.last.states.iter_mut().zip(self.waits).take(self.last.used);
        for (state, _) in lanes.filter(|(_, waits)| *waits) {
            if let Some(known) = first.next() {
                *state = *known;
            }
        }
        self.last.absorb(engine);
        for (state, block) in self.last.states.iter_mut().zip(&mut self.last.blocks) {
            *block = second_block(*state);
            *state = State::INITIAL;
        }
        self.last.absorb(engine);
        let used = core::mem::take(&mut self.last.used);
        self.first.used = 0;
        self.last.states.into_iter().take(used)
    }
}

/// Lanes with a block each.
struct Group {
    states: [State; LOT],
    blocks: [[u8; 64]; LOT],
    used: usize,
}

impl Group {
    const fn new() -> Self {
        Self { states: [State::INITIAL; LOT], blocks: [[0; 64]; LOT], used: 0 }
    }

    /// The block of the next lane was written; this is the state that absorbs it.
    #[inline]
    fn push(&mut self, state: State) {
        if let Some(lane) = self.states.get_mut(self.used) {
            *lane = state;
            self.used = self.used.saturating_add(1);
        }
    }

    #[inline]
    fn absorb(&mut self, engine: Engine) {
        if let (Some(states), Some(blocks)) =
            (self.states.get_mut(..self.used), self.blocks.get(..self.used))
        {
            engine.absorb(states, blocks, NonZeroUsize::MIN);
        }
    }
}
