//! What a monitor is told of a channel's own machine: whose outpoint it is, and after each step the
//! holds that some voucher could still put on the chain.
//!
//! ```text
//!   Payer, Payee --step--> payer_holds, payee_holds --> Monitor::follow --> one batch, one barrier
//! ```
//!
//! `stream` and `monitor` are of one rank and do not know each other; here they meet. Used by
//! whoever drives a channel with holds.

use alloc::vec::Vec;

use bitcoin::XOnlyPublicKey;

use crate::monitor::{Side, Standing, Subject, Watched};
use crate::stream::payee::{PayeeHold, PayeeHoldState};
use crate::stream::payer::{PayerHold, PayerHoldState};
use crate::stream::{Payee, Payer, Rules};
use crate::tx::Channel;

/// What a payer's monitor watches.
#[must_use]
pub fn payer_subject(payer: &Payer) -> Subject {
    subject(Side::Payer, payer.channel(), payer.record().base(), payer.record().rules())
}

/// What a payee's monitor watches; `base` is the key that its terms print.
#[must_use]
pub fn payee_subject(payee: &Payee, base: XOnlyPublicKey) -> Subject {
    subject(Side::Payee, payee.channel(), base, payee.record().rules())
}

fn subject(side: Side, channel: &Channel, base: XOnlyPublicKey, rules: &Rules) -> Subject {
    Subject {
        side,
        payer: channel.output().payer(),
        base,
        delay: channel.output().delay(),
        outpoint: channel.outpoint(),
        capacity: channel.capacity(),
        depth: rules.confirmation_depth,
        margin: rules.settle_margin,
        fee: rules.holds.fee,
    }
}

/// The holds of a payer's newest voucher, and those with which an older one could cost it more than
/// is paid. A payer's monitor needs no voucher.
///
/// # Example
/// ```
/// use millstream::keys::Context;
/// use millstream::monitor::{Monitor, MonitorError, Watch};
/// use millstream::node::watch::{payer_holds, payer_subject};
/// use millstream::stream::Payer;
///
/// fn watch(context: &Context, payer: &Payer) -> Result<Monitor, MonitorError> {
///     let mut monitor = Monitor::load(context, Watch::new(payer_subject(payer)))?;
///     let record = monitor.follow(None, &payer_holds(payer))?;
///     monitor.apply(&record)?;
///     Ok(monitor)
/// }
/// ```
#[must_use]
pub fn payer_holds(payer: &Payer) -> Vec<Watched> {
    let watched = |kept: &PayerHold| {
        let standing = match kept.state {
            PayerHoldState::Open => Standing::Open,
            PayerHoldState::Released => Standing::Released,
            PayerHoldState::GivenUp => Standing::GivenUp,
            PayerHoldState::Expired => Standing::Expired,
        };
        Watched::new(kept.hold, standing, None)
    };
    payer.holds().iter().map(watched).collect()
}

/// The holds of a payee's best voucher, with the preimages that it knows; the voucher itself is
/// [`Payee::best`].
#[must_use]
pub fn payee_holds(payee: &Payee) -> Vec<Watched> {
    let watched = |held: &PayeeHold| match held.state {
        PayeeHoldState::Open => Watched::new(held.hold, Standing::Open, None),
        PayeeHoldState::Released => Watched::new(held.hold, Standing::Released, None),
        PayeeHoldState::Fulfilled(known) => Watched::new(held.hold, Standing::Open, Some(known)),
    };
    payee.holds().iter().map(watched).collect()
}
