//! What a campaign counts: every fault that was injected, and every deed that came through.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Something that a run counts. A campaign in which one stays 0 has not tested it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Count {
            $($(#[$doc])* $name,)+
        }

        impl Count {
            /// All of them, in the order of a report.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in a report.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

counts! {
    /// A message was lost.
    Lost = "messages lost",
    /// A message came twice.
    Twice = "messages repeated",
    /// A message overtook the one before it.
    Overtakes = "messages reordered",
    /// A byte of a message was changed.
    Corrupted = "messages corrupted",
    /// A connection broke, with what was on the way.
    LinkCut = "links cut",
    /// The payer's power failed between two commits.
    PayerReboot = "payer reboots",
    /// The payee's power failed between two commits.
    PayeeReboot = "payee reboots",
    /// The power failed at a commit, of which nothing reached the medium.
    CutBefore = "power cuts before a commit",
    /// The power failed at a commit, which is durable although nobody learnt it.
    CutAfter = "power cuts after a commit",
    /// Lazy commits were lost with the power.
    LazyLost = "lazy commits lost",
    /// A commit found no room.
    DiskFull = "full disks",
    /// A stored record of the payer lost a bit, and was refused.
    PayerRot = "payer records rotted",
    /// A stored record of the payee lost a bit, and was refused.
    PayeeRot = "payee records rotted",
    /// The payer came back from an older copy of its store.
    OldPayer = "payer stores restored",
    /// The payee came back from an older copy of its store.
    OldPayee = "payee stores restored",
    /// A reorganisation took an unspent channel output out of its block.
    FundingReorg = "reorgs of a funding",
    /// A reorganisation took a spend of a channel out of its block.
    SpendReorg = "reorgs of a spend",
    /// A machine was cut off from the chain.
    Stall = "stalled tips",
    /// Miners asked for more than the settlements paid.
    Spike = "fee spikes",
    /// A settlement was replaced by one of a better fee.
    Replaced = "settlements replaced",
    /// A payment was acknowledged on an output that was not deep enough.
    ZeroConf = "zero-conf payments",
    /// A payment was acknowledged.
    Acknowledged = "payments acknowledged",
    /// A reading of the meter.
    Tick = "meter ticks",
    /// A session began on both sides.
    Session = "sessions",
    /// A session's end was agreed to the millisatoshi.
    Statement = "statements agreed",
    /// A channel went on at a new outpoint.
    RolledOver = "rollovers",
    /// A settlement is buried.
    Settled = "settlements buried",
    /// A cooperative close is buried.
    Closed = "closes buried",
    /// A refund is buried.
    Refunded = "refunds buried",
}

/// The counts of one run, or of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters([u64; Count::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Count::ALL.len()])
    }
}

impl Counters {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// Each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Count, u64)> + '_ {
        Count::ALL.iter().copied().zip(self.0)
    }

    pub(super) fn count(&mut self, count: Count) {
        let at = Count::ALL.iter().position(|one| *one == count);
        if let Some(sum) = at.and_then(|at| self.0.get_mut(at)) {
            *sum = sum.saturating_add(1);
        }
    }
}
