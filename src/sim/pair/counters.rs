//! What a campaign counts: every fault that was injected, and every deed that came through.

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
    /// A channel whose change is the wallet's P2TR script opened.
    ChangeP2tr = "channels with a P2TR change",
    /// A channel whose change is the wallet's P2WPKH script opened.
    ChangeP2wpkh = "channels with a P2WPKH change",
    /// A channel whose change is the wallet's P2WSH script opened.
    ChangeP2wsh = "channels with a P2WSH change",
    /// A channel was funded in version 2, without zero-conf credit.
    Version2 = "version-2 fundings",
    /// A payment was refused because its version-2 funding was shallow.
    Version2Waits = "payments refused on a shallow version 2",
    /// A funding transaction was replaced by another in the mempool.
    FundingReplaced = "fundings replaced",
    /// A channel whose funding was replaced was forgotten by its owner.
    Unfunded = "channels of a replaced funding forgotten",
    /// A payment on the outpoint of the replacing funding was acknowledged.
    PaidOnReplacing = "payments on a replacing funding",
    /// A top-up that paid the payee out is buried.
    PaidOut = "top-ups that paid out buried",
    /// A top-up that carried the balance is buried.
    Carried = "top-ups that carried buried",
    /// A top-up that the payee signed was left unfinished.
    TopUpLeft = "top-ups left unfinished",
    /// A settlement of several channels in one transaction is buried.
    Batch = "settlement batches buried",
    /// A session began under another tariff than the one before it.
    Tariff = "tariff changes",
    /// The price changed within a session, with the time of day.
    Price = "price changes within a session",
    /// After the faults, a payment went through.
    FinalPayment = "final payments",
    /// After the faults, a session was begun, delivered, paid, ended and stated.
    FinalSession = "final sessions",
    /// A buried spend was held against the vouchers that left the payer, to the satoshi.
    Audited = "spends audited",
    /// A settlement is buried.
    Settled = "settlements buried",
    /// A cooperative close is buried.
    Closed = "closes buried",
    /// A refund is buried.
    Refunded = "refunds buried",
}

impl Counters {
    pub(super) fn of(&self, count: Count) -> u64 {
        self.iter().find(|(one, _)| *one == count).map_or(0, |(_, sum)| sum)
    }
}
