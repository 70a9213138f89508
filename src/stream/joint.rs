//! Close and top-up proposals, which the payer makes and the payee answers.

use alloc::vec::Vec;

use bitcoin::secp256k1::schnorr;
use bitcoin::{Script, ScriptBuf};

use super::error::StreamError;
use crate::tx::{Channel, FeeInput, JointSpend, TxError, Voucher};
use crate::units::{Msat, Sat};

/// The most inputs that bring money into a top-up: they fit its 1,000 vB with room to spare.
const TOP_UP_INPUTS_MAX: usize = 8;

/// A payer's proposal to close, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseProposal {
    /// The cumulative amount at which the channel closes.
    pub paid: Msat,
    /// Where the payer's rest goes.
    pub script: ScriptBuf,
    /// The fee, out of the payer's rest.
    pub fee: Sat,
    /// The payer's signature of [`JointSpend::close`].
    pub signature: schnorr::Signature,
}

/// A payer's proposal to top up. The payer signs last, after it holds the payee's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUpProposal {
    /// The cumulative amount at which the old outpoint ends.
    pub paid: Msat,
    /// The new capacity.
    pub capacity: Sat,
    /// The coins that bring the new money and the fee.
    pub inputs: Vec<FeeInput>,
    /// The payer's first voucher on the new outpoint: of `paid` if the balance is carried, of its
    /// sub-satoshi part if the rest is paid out. The payee refuses a proposal without one.
    pub carried: Option<Voucher>,
}

/// The sub-satoshi part, which nothing on the chain can pay out.
pub(super) fn rest_of(paid: Msat) -> Msat {
    Msat::new(u64::from(paid.sub_sat())).unwrap_or(Msat::ZERO)
}

/// A close goes to a script that every node relays, and is no rollover in disguise.
pub(super) fn check_close_script(channel: &Channel, script: &Script) -> Result<(), StreamError> {
    let standard = script.is_p2tr()
        || script.is_p2wpkh()
        || script.is_p2wsh()
        || script.is_p2pkh()
        || script.is_p2sh();
    if standard && *script != **channel.output().script() {
        Ok(())
    } else {
        Err(StreamError::CloseScript { bytes: script.len() })
    }
}

/// The transaction of a top-up; both sides build it from the same words. `payout`: where the
/// balance goes, or `None` if it is carried.
///
/// # Errors
/// [`StreamError::Tx`]; see [`JointSpend::top_up`].
pub(super) fn top_up_spend(
    channel: &Channel,
    paid: Msat,
    inputs: &[FeeInput],
    capacity: Sat,
    payout: Option<ScriptBuf>,
) -> Result<JointSpend, StreamError> {
    if inputs.len() > TOP_UP_INPUTS_MAX {
        let (want, got) = (TOP_UP_INPUTS_MAX, inputs.len());
        return Err(TxError::WitnessCount { want, got }.into());
    }
    // Nothing to pay out is nothing to lose; dust is refused, because it must be carried.
    let payout = payout.filter(|_| paid.floor_to_sat() > Sat::ZERO);
    Ok(JointSpend::top_up(channel.clone(), paid, inputs, capacity, payout)?)
}
