//! A contract: one provider works for one job, unit by unit, each paid once it is verified.

use super::task::{Task, Verifier};

/// Where a contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The provider is to offer the session, or the requester to take it.
    Agreed,
    /// Units go one way, vouchers the other.
    Works,
    /// The job is done: both agree on the sum, or will.
    Ending,
    /// Both agreed on a statement.
    Stated,
    /// One side broke it off, the reason is in the log.
    Broken,
}

/// One provider's work for one job.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    pub(crate) job: usize,
    pub(crate) provider: usize,
    /// Of a unit, msat.
    pub(crate) price: u64,
    pub(crate) stage: Stage,
    /// The job's first unit that it works on.
    pub(crate) first: u64,
    /// Its results from there on.
    pub(crate) results: Vec<u64>,
    /// How many of them are verified: the requester's own meter.
    pub(crate) verified: u64,
    /// How many the provider has noted as debit: its own meter.
    pub(crate) noted: u64,
    /// When the next result is there, seconds.
    pub(crate) ready: u64,
    /// When the session was offered, and when its debt was nothing, seconds.
    pub(crate) offered: Option<u64>,
    pub(crate) clear: u64,
}

impl Contract {
    /// Its result of a unit.
    pub(crate) fn result(&self, unit: u64) -> Option<u64> {
        let at = usize::try_from(unit.checked_sub(self.first)?).ok()?;
        self.results.get(at).copied()
    }

    /// Whether it may still deliver for its job.
    pub(crate) const fn alive(&self) -> bool {
        matches!(self.stage, Stage::Agreed | Stage::Works)
    }
}

/// A job: what is wanted, and what is decided of it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) requester: usize,
    pub(crate) kind: usize,
    pub(crate) limit: u64,
    /// The result of each unit that was decided; the job's length is fixed.
    pub(crate) decided: Vec<u64>,
    pub(crate) units: u64,
    /// How many providers it needs now: more, where they disagree.
    pub(crate) needs: usize,
    pub(crate) done: bool,
    /// When a unit was decided last, seconds.
    pub(crate) moved: u64,
}

impl Job {
    /// The unit that is to be decided next.
    pub(crate) fn next(&self) -> u64 {
        self.decided.len() as u64
    }
}

/// What all results of one unit say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This is believed.
    Is(u64),
    /// Too few say the same, and not all have spoken.
    Waits,
    /// All have spoken, and too few say the same: another one is needed.
    Disputed,
}

/// Judges the results that are there of a unit; `silent` providers have not said theirs.
pub(crate) fn judge(task: &dyn Task, unit: u64, results: &[u64], silent: usize) -> Verdict {
    match task.verifier() {
        Verifier::Proof => {
            let proven = |result: &&u64| task.proves(unit, **result) == Some(true);
            match results.iter().find(proven) {
                Some(result) => Verdict::Is(*result),
                None if silent > 0 || results.is_empty() => Verdict::Waits,
                None => Verdict::Disputed,
            }
        }
        Verifier::Replicas { agree, of } => {
            let votes = |result: &u64| results.iter().filter(|other| *other == result).count();
            match results.iter().find(|result| votes(result) >= agree) {
                Some(result) => Verdict::Is(*result),
                None if silent > 0 || results.len() < of => Verdict::Waits,
                None => Verdict::Disputed,
            }
        }
    }
}
