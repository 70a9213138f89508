//! Which output of a transaction is which hold's.

use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};

use super::{MonitorError, Watched};
use crate::keys::Context;
use crate::tx::hold::HoldCoin;
use crate::tx::{Channel, TxError};
use crate::units::Sat;

/// The outputs of `tx` that are holds', each with the number of its hold in `holds`.
///
/// Holds of equal hash, expiry and delay have one script. An output is that of a hold with its
/// amount, or of one that has grown since. Where there are several such, it cannot be told which,
/// and the innocent reading counts: one that stands in the newest voucher and is not released, and
/// then the earlier id. One preimage is due for one of them in any case.
pub(super) fn coins(
    context: &Context,
    channel: &Channel,
    holds: &[Watched],
    tx: &Transaction,
) -> Result<Vec<(usize, HoldCoin)>, MonitorError> {
    let scripts = holds.iter().map(|held| held.hold.output(context, channel.output()));
    let scripts = scripts.collect::<Result<Vec<_>, TxError>>()?;
    let txid = tx.compute_txid();
    let mut found: Vec<(usize, HoldCoin)> = Vec::new();
    for (vout, output) in (0_u32..).zip(&tx.output) {
        let value = Sat::new(output.value.to_sat()).unwrap_or(Sat::MAX);
        let fits = scripts.iter().zip(holds).enumerate().filter(|(index, (script, held))| {
            *script.script() == output.script_pubkey
                && held.hold.amount >= value
                && found.iter().all(|(taken, _)| taken != index)
        });
        let likeliest = fits.min_by_key(|(_, (_, held))| {
            let Watched { hold, standing, .. } = held;
            (hold.amount != value, !standing.is_present(), standing.is_released(), hold.id)
        });
        if let Some((index, (script, _))) = likeliest {
            let outpoint = OutPoint { txid, vout };
            found.push((index, HoldCoin::new(outpoint, value, script.clone())));
        }
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found)
}
