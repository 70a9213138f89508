//! What a campaign of hubs counts.

counts! {
    /// The hub took an order.
    Ordered = "orders taken",
    /// An order was refused: it paid too little, ended too early, or came again.
    Refused = "orders refused",
    /// A bundle went on.
    Bundle = "bundles forwarded",
    /// An outgoing hold was durable and its voucher left.
    Offered = "holds offered onward",
    /// The payer machine could not offer it.
    Declined = "orders that could not be offered",
    /// Two forwards of one hash.
    SameHash = "hashes used twice",
    /// A receiver told its preimage.
    Told = "preimages told",
    /// A preimage was read off the chain or the mempool.
    Read = "preimages read off the chain",
    /// An outgoing hold was folded.
    Folded = "holds folded onward",
    /// An incoming hold was folded.
    Paid = "holds folded by their sender",
    /// A receiver released a hold.
    Released = "releases by receivers",
    /// A receiver claimed a hold that it had released.
    Betrayed = "claims after a release",
    /// The hub released an incoming hold.
    Backward = "releases to senders",
    /// An outgoing hold was dead because its channel was still unspent long after its end.
    Lapsed = "holds that lapsed onward",
    /// The hub released because publishing would only hurt the receiver.
    Covered = "holds covered by later payments",
    /// A receiver published its newest voucher.
    Newest = "newest vouchers published",
    /// A receiver published an older voucher.
    Older = "older vouchers published",
    /// A voucher with holds was published after one of them had ended.
    Late = "vouchers published late",
    /// The hub timed a hold out.
    TimedOut = "timeouts of the hub",
    /// A receiver's claim is in a block.
    Claimed = "claims of receivers",
    /// The hub settled an incoming channel because its sender was silent.
    Settled = "settlements of the hub",
    /// The hub's claim is in a block.
    Collected = "claims of the hub",
    /// A sender timed out a hold that the hub had settled and not claimed.
    TakenBack = "timeouts of senders",
    /// The power failed at a commit, of which nothing reached the medium.
    CutBefore = "power cuts before a commit",
    /// The power failed at a commit, which is durable although nobody learnt it.
    CutAfter = "power cuts after a commit",
    /// The hub was off for blocks.
    Outage = "outages",
    /// A reorganisation undid blocks.
    Reorg = "reorgs",
    /// A voucher to the hub or from it was lost, or came again.
    Lost = "messages lost or repeated",
    /// The hub took a channel up again from what its receiver showed.
    Resumed = "channels resumed after a cut",
}
