//! What `pay` and `pool` ask of a channel before they pay on in it.

use bitcoin::XOnlyPublicKey;
use millstream::stream::Payer;
use millstream::stream::payer::PayerPhase;
use millstream::units::{Blocks, Height};

/// Whether it is open, and the payee of `base` is paid by it.
pub(crate) fn is_open_to(payer: &Payer, base: XOnlyPublicKey) -> bool {
    let open = matches!(payer.phase(), PayerPhase::Open | PayerPhase::Unsure);
    open && payer.record().base() == base
}

/// Whether its last call has come: its payee takes nothing any more, and never will again.
pub(crate) fn is_late(payer: &Payer, tip: Height) -> bool {
    payer.last_call().is_some_and(|last| tip >= last)
}

/// How deep its output lies; what is paid before the depth of the payee's terms is refused.
pub(crate) fn depth(payer: &Payer, tip: Height) -> Option<Blocks> {
    let delay = payer.channel().output().delay().to_blocks();
    Some(payer.deadline()?.saturating_before(delay).depth_at(tip))
}
