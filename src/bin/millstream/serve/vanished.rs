//! Buyers that went away in the middle of a session: when it is ended, and when it is written off.
//!
//! ```text
//!   service, link gone --end_after--> ended, still owed --forget_after--> forgotten
//!          '------- the buyer is back: nothing has happened -------'
//! ```
//!
//! Without it every buyer that never comes back would keep one of the node's places for ever. What
//! an ended session is not owed anything for, and offers to nobody, the node forgets by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::meter::{Role, Session, State};
use millstream::node::Node;
use millstream::signer::MemorySigner;
use millstream::units::{Msat, SessionId};
use tokio::time::Instant;

/// Three quarters of what a node holds: from here on a debt is written off when its session ends,
/// so that there is room for those who are here.
const CROWD: usize = 768;
/// Acts at one look: each is a commit, and readings must not wait for more of them.
const ACTS_MAX: usize = 64;

/// How long a buyer may be away.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Patience {
    /// End a session whose buyer has had no link for so many seconds
    #[arg(long, default_value_t = 300)]
    end_after: u64,
    /// Write off what an ended session is owed after so many seconds without a link
    #[arg(long, default_value_t = 3_600)]
    forget_after: u64,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    End,
    Forget,
}

/// A session as this looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) session: SessionId,
    pub(super) debt: Msat,
    here: bool,
    ended: bool,
}

/// Since when each buyer is away; a process that starts anew counts from its start.
#[derive(Debug)]
pub(super) struct Vanished {
    patience: Patience,
    since: BTreeMap<SessionId, Instant>,
}

impl Vanished {
    pub(super) const fn new(patience: Patience) -> Self {
        Self { patience, since: BTreeMap::new() }
    }

    /// What is due now, the longest absence first.
    pub(super) fn due(&mut self, now: Instant, seen: &[Seen]) -> Vec<(Seen, Act)> {
        let away: BTreeMap<_, _> =
            seen.iter().filter(|seen| !seen.here).map(|seen| (seen.session, seen)).collect();
        self.since.retain(|session, _| away.contains_key(session));
        let crowded = seen.len() >= CROWD;
        let mut due = Vec::new();
        for (session, seen) in away {
            let since = *self.since.entry(session).or_insert(now);
            let (act, after) = match seen.ended {
                false => (Act::End, self.patience.end_after),
                true if crowded => (Act::Forget, self.patience.end_after),
                true => (Act::Forget, self.patience.forget_after),
            };
            if now.saturating_duration_since(since) >= Duration::from_secs(after) {
                due.push((since, *seen, act));
            }
        }
        due.sort_by_key(|(since, seen, _)| (*since, seen.session));
        due.into_iter().take(ACTS_MAX).map(|(_, seen, act)| (seen, act)).collect()
    }
}

/// The sessions that hold a place until somebody acts: begun, and not both ended and paid.
pub(super) fn look(node: &mut Node<MemorySigner>) -> Vec<Seen> {
    let seen = node.sessions().map(|(meter, link)| seen(meter, link.is_some()));
    seen.flatten().collect()
}

fn seen(meter: &Session, here: bool) -> Option<Seen> {
    let (record, debt) = (meter.record(), meter.debt());
    let ended = record.state() == State::Ended;
    let sold = record.role() == Role::Seller && record.state() != State::Offered;
    let open = sold && !(ended && debt == Msat::ZERO);
    open.then(|| Seen { session: record.id(), debt, here, ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(session: u64, here: bool, ended: bool) -> Seen {
        let debt = Msat::new(7).unwrap();
        Seen { session: SessionId::new(session).unwrap(), debt, here, ended }
    }

    fn acts(due: &[(Seen, Act)]) -> Vec<(u64, Act)> {
        due.iter().map(|(seen, act)| (seen.session.to_u64(), *act)).collect()
    }

    fn vanished() -> (Vanished, Instant) {
        (Vanished::new(Patience { end_after: 300, forget_after: 3_600 }), Instant::now())
    }

    #[test]
    fn session_is_ended_and_then_forgotten_at_its_seconds_and_not_before() {
        let (mut vanished, start) = vanished();
        let mut at_second = |second: u64, seen: &[Seen]| {
            acts(&vanished.due(start + Duration::from_secs(second), seen))
        };
        let running = [at(1, false, false)];
        assert_eq!(at_second(0, &running), []);
        assert_eq!(at_second(299, &running), []);
        assert_eq!(at_second(300, &running), [(1, Act::End)]);
        let ended = [at(1, false, true)];
        assert_eq!(at_second(3_599, &ended), []);
        assert_eq!(at_second(3_600, &ended), [(1, Act::Forget)]);
    }

    #[test]
    fn buyer_that_comes_back_begins_anew() {
        let (mut vanished, start) = vanished();
        let mut at_second = |second: u64, here: bool| {
            acts(&vanished.due(start + Duration::from_secs(second), &[at(1, here, false)]))
        };
        assert_eq!(at_second(0, false), []);
        assert_eq!(at_second(299, true), []);
        assert_eq!(at_second(400, false), []);
        assert_eq!(at_second(699, false), []);
        assert_eq!(at_second(700, false), [(1, Act::End)]);
    }

    #[test]
    fn crowd_is_forgotten_as_it_ends_a_few_at_a_time_the_longest_away_first() {
        let (mut vanished, start) = vanished();
        let crowd: Vec<Seen> = (1..=CROWD as u64).rev().map(|id| at(id, false, true)).collect();
        assert_eq!(acts(&vanished.due(start, &crowd[..1])), []);
        let later = start + Duration::from_secs(10);
        assert_eq!(acts(&vanished.due(later, &crowd)), []);
        // One fewer than a crowd waits for its hour.
        let end = later + Duration::from_secs(300);
        assert_eq!(acts(&vanished.due(end, &crowd[..CROWD - 1])), []);
        let due = acts(&vanished.due(end, &crowd));
        assert_eq!(due.len(), ACTS_MAX);
        assert_eq!(due[0], (CROWD as u64, Act::Forget), "away for ten seconds more");
        assert!(due.iter().all(|(_, act)| *act == Act::Forget));
    }
}
