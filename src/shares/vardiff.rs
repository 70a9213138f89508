//! How hard a worker's shares should be, so that it finds one about as often as is wanted.

use crate::units::{Seconds, Target, UtcSeconds, Work, WorkBits};

/// Chooses the target of a worker's next job, in steps of one bit.
///
/// Within a window of at most 32 shares and 32 times the aim it compares the work that was found
/// with what the present target should give. The steps that it takes are those for which chance
/// alone is a bad explanation (below 1 in 1,000 a window for a worker that is where it should be),
/// so that it stays anywhere between half and twice the rate, and moves quickly where that is far
/// off: after 8 shares if they take less than one aim, after 8 aims if there is none.
///
/// It counts work, not shares, so that late shares of older jobs, whose target they keep, do not
/// mislead it. Targets are 2^(256 - b) - 1, far below difficulty 1 where a worker is that slow: a
/// microcontroller of 300 kH/s settles at 2^24 hashes a minute, difficulty 0.0039.
///
/// ```
/// use millstream::shares::Vardiff;
/// use millstream::units::{Seconds, Target, UtcSeconds, Work, WorkBits};
///
/// let now = UtcSeconds::new(1_800_000_000)?;
/// let (least, most, start) = (WorkBits::new(16)?, WorkBits::new(60)?, WorkBits::new(20)?);
/// let mut vardiff = Vardiff::new(least, most, start, Seconds::new(60)?, now);
/// // Eight shares at once are seven too many.
/// for _ in 0..7 {
///     assert_eq!(vardiff.found(now, Work::new(1 << 20)), None);
/// }
/// let harder = Target::of_work_bits(WorkBits::new(21)?);
/// assert_eq!(vardiff.found(now, Work::new(1 << 20)), Some(harder));
/// assert_eq!(vardiff.target(), harder);
/// # Ok::<(), millstream::units::UnitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vardiff {
    least: WorkBits,
    most: WorkBits,
    aim: Seconds,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// What the worker asked for.
    Fixed(Target),
    Floating {
        bits: WorkBits,
        /// Where the window begins.
        since: UtcSeconds,
        /// Found since.
        work: Work,
    },
}

impl Vardiff {
    /// Begins at `start`, within `least` and `most`; aims at a share each `aim`, of at least a
    /// second. If `most` is below `least`, it counts as equal.
    #[must_use]
    pub fn new(
        least: WorkBits,
        most: WorkBits,
        start: WorkBits,
        aim: Seconds,
        now: UtcSeconds,
    ) -> Self {
        let most = most.max(least);
        let bits = start.clamp(least, most);
        let aim = aim.max(Seconds::new(1).unwrap_or(aim));
        Self { least, most, aim, mode: Mode::Floating { bits, since: now, work: Work::ZERO } }
    }

    /// Keeps to the target that the worker asked for, or to the nearest within the bounds; returns
    /// it.
    pub fn suggest(&mut self, target: Target) -> Target {
        let (easiest, hardest) =
            (Target::of_work_bits(self.least), Target::of_work_bits(self.most));
        let target = target.clamp(hardest, easiest);
        self.mode = Mode::Fixed(target);
        target
    }

    /// Counts a good share of this worth. If the target changes, returns the new one: for the next
    /// job, which may be made at once.
    pub fn found(&mut self, now: UtcSeconds, worth: Work) -> Option<Target> {
        if let Mode::Floating { work, .. } = &mut self.mode {
            *work = work.saturating_add(worth);
        }
        self.wake(now)
    }

    /// Looks at the time, because a target that is much too hard shows in nothing else: call it
    /// each few aims.
    pub fn wake(&mut self, now: UtcSeconds) -> Option<Target> {
        let Mode::Floating { bits, since, work } = self.mode else { return None };
        let elapsed = now.saturating_since(since).to_u64();
        let span = |aims: u64| self.aim.to_u64().saturating_mul(aims);
        // Shares of the present target; a rest counts with the next one.
        let shares = work.hashes().wrapping_shr(bits.to_u8().into());
        let raised = RAISES.iter().any(|&(least, aims)| shares >= least && elapsed <= span(aims));
        let lowered = LOWERS.iter().any(|&(aims, most)| elapsed >= span(aims) && shares <= most);
        let over = shares >= SHARES_MAX || elapsed >= span(AIMS_MAX);
        let bits = match (raised, lowered) {
            (true, _) => bits.saturating_add(ONE).min(self.most),
            (false, true) => bits.saturating_sub(ONE).max(self.least),
            (false, false) if !over => return None,
            (false, false) => bits,
        };
        let before = self.target();
        self.mode = Mode::Floating { bits, since: now, work: Work::ZERO };
        Some(self.target()).filter(|target| *target != before)
    }

    /// The target for jobs from now on.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self.mode {
            Mode::Fixed(target) => target,
            Mode::Floating { bits, .. } => Target::of_work_bits(bits),
        }
    }
}

const ONE: WorkBits = match WorkBits::new(1) {
    Ok(bits) => bits,
    Err(_) => WorkBits::MIN,
};

/// As many shares within as many aims are too many: by chance less than once in 4,000 windows.
const RAISES: [(u128, u64); 3] = [(8, 1), (16, 5), (32, 16)];
/// After as many aims so few shares are too few: by chance less than once in 1,000 windows.
const LOWERS: [(u64, u128); 3] = [(8, 0), (16, 4), (32, 15)];
/// A window ends with so many shares,
const SHARES_MAX: u128 = 32;
/// or after as many aims.
const AIMS_MAX: u64 = 32;
