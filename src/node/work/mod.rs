//! Settling: accepted work becomes vouchers of a channel from the pool to the worker.
//!
//! ```text
//!  CreditWork {worker, work, price, shares}   any number of times a drain
//!        |  the ledger decides; its record goes into the commit
//!        v
//!  owed, kept under the worker's key ---- no channel: kept ---- BindWorker: paid at once
//!        |  `pay_at` is due, or `pay_after` has passed
//!        v
//!  flush: one voucher a worker; the ledger's and the channel's records in the commit of it
//!        |
//!        v  behind the barrier
//!  Voucher to the worker, Event::WorkPaid
//! ```
//!
//! # What is the truth
//!
//! A worker's *line* says which channel pays it, what earlier ones paid, and from which amount on
//! the channel counts. What the worker was paid is read off the channel: its cumulative `paid`,
//! counted along the line, as a session's is. The ledger's own count of what is paid follows it in
//! the same commit, and is never what a voucher is made from. So a power cut between any two writes
//! pays nothing twice and loses nothing:
//!
//! - W1. Before the commit neither credit nor payment is stored, and neither was told.
//! - W2. After it the voucher may not have left: the channel's record has its amount, which is sent
//!   again when the worker is met, as any payment that was not acknowledged.
//! - W3. Credit that is durable and not paid is due again from the records alone, at the next
//!   meeting.
//! - W4. A pool whose disk is older than what the worker presents takes that for paid: the channel
//!   says so by the pool's own signature.
//! - W5. Whatever else is paid on a bound channel counts as paid ahead. So it pays no session, lane
//!   or hold, and its record is durable before any voucher of it leaves.
//!
//! # Over spends
//!
//! The line goes along with rollovers and top-ups, back with reorgs, and counts what a settlement
//! states: a worker that settles less than was signed is owed the rest on the successor. When the
//! spend that ends a channel is buried the line comes to rest, at what that spend states, until
//! another channel is bound. What the worker was paid and never settled before the deadline is not
//! owed again: the voucher was its money, and settling it was its duty.
//!
//! Another channel of the same payee may be bound in place of one that is full, once the worker has
//! acknowledged everything on it: what it then settles lower is its own loss.
//!
//! # Work that blocks pay
//!
//! ```text
//!  LogWork {worker, credit, reach}    any number of times a drain
//!        |  the account counts the shares, the ledger's window their work
//!        v
//!  FindBlock {id, coinbase, height, depth, reward, fee, reach}
//!        |  who worked for it is kept with it; what is logged later is of later blocks
//!        v
//!  its coinbase is watched as any outpoint --- in no block, 100 blocks on: Event::BlockLost
//!        |  `depth` deep
//!        v
//!  Event::BlockShared: all accounts and the vouchers in one commit, as far as it has room
//! ```
//!
//! - W6. A block is shared once: its id is in the ledger as one that waits, or as one of the last
//!   64 that were decided, and the step that decides it is one commit with what it changes. A block
//!   that comes back after a reorg is looked at again, as long as it waits.
//! - W7. Who found no block is not paid for one: until it is buried nothing is owed. `depth` is the
//!   caller's: 101 and the reward can be spent when it is owed; less, and a reorg deeper than that
//!   is the pool's loss; 0, and every block that is dropped is.
//! - W8. As with credits, a share that was logged and not flushed was not counted, and one that was
//!   flushed counts: nobody is answered before the flush. [`Account::shares`] of the worker says
//!   after a cut which it was.
//!
//! # What is stored
//!
//! | bytes | field of the record under 0x01, 0x08, worker key; numbers big-endian |
//! | --- | --- |
//! | 8 + 8 | name and size of the budget that pays |
//! | 1 | how many places follow, 1 to 17 |
//! | 52 each | as a session's; an outpoint of zeros is none |
//!
//! All else is the [`ledger`](crate::ledger)'s: accounts, the window of logged work, blocks.
//!
//! [`Account::shares`]: crate::ledger::Account::shares
//!
//! Used by whoever runs a pool or a gateway, by `millstream bench` and the tests.

mod block;
mod credit;
mod line;
mod pay;

use alloc::collections::{BTreeMap, BTreeSet};

use bitcoin::OutPoint;

use crate::ledger::{Ledger, WorkerKey};
use crate::units::{Msat, Seconds, UtcSeconds};
pub(super) use line::PREFIX;
use line::WorkLine;

/// When what is owed for work is paid, and how much may be owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkPolicy {
    /// A voucher is signed once so much is due.
    pub pay_at: Msat,
    /// And for less, when it has been due for so long.
    pub pay_after: Seconds,
    /// The most that may be owed to one worker: more work of it is not credited.
    pub owed_max: Msat,
}

/// Every millisatoshi at once, and no limit of what may be owed.
impl Default for WorkPolicy {
    fn default() -> Self {
        let pay_at = Msat::new(1).unwrap_or(Msat::ZERO);
        Self { pay_at, pay_after: Seconds::MAX, owed_max: Msat::MAX }
    }
}

/// The ledger, and which channel pays whom.
#[derive(Debug, Default)]
pub(super) struct Works {
    ledger: Ledger,
    policy: WorkPolicy,
    lines: BTreeMap<WorkerKey, WorkLine>,
    /// Whose work each bound channel pays.
    at: BTreeMap<OutPoint, WorkerKey>,
    /// Who is looked at by the next flush.
    owing: BTreeSet<WorkerKey>,
    /// Who of them has waited long enough for less than a voucher's worth.
    late: BTreeSet<WorkerKey>,
    /// When those who are owed less than a voucher's worth are paid, and when those are tried again
    /// whose payment was refused for now.
    timers: BTreeMap<WorkerKey, UtcSeconds>,
    /// Whose last payment was refused, so that it is told once.
    unpaid: BTreeSet<WorkerKey>,
}

impl Works {
    /// When a timer is due first.
    pub(super) fn next_at(&self) -> Option<UtcSeconds> {
        self.timers.values().min().copied()
    }
}
