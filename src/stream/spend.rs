//! Who spent the channel's output, and how: read off the witness of a confirmed or seen spend.

use bitcoin::{OutPoint, Transaction, Witness};

use crate::tx::{Channel, VoucherKind};
use crate::units::{Msat, Sat};

/// The witness of a settle-leaf spend: two signatures, the script and the control block.
const SETTLE_ITEMS: usize = 4;
/// The length of a Schnorr signature without a type byte (`SIGHASH_DEFAULT`).
const DEFAULT_SIGNATURE: usize = 64;

/// How a channel's output was spent. Only its owners can make any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpendKind {
    /// The payee put a voucher of `paid` on the chain.
    Settlement {
        /// The voucher's cumulative amount.
        paid: Msat,
        /// Where the channel goes on with how much, if its change is its own script.
        rollover: Option<(OutPoint, Sat)>,
    },
    /// The payee put a voucher with open holds on the chain. What was paid is not to be seen, where
    /// the payee's output is left out; the holds' outputs are found by their scripts.
    HoldSettlement {
        /// The sub-satoshi part of the voucher's cumulative amount, 0 ..= 999 msat.
        rest: Msat,
        /// Where the channel goes on with how much, unless the change was left out.
        rollover: Option<(OutPoint, Sat)>,
    },
    /// Both signed: a close, or a top-up if the channel's own script is output 0.
    Joint {
        /// The sub-satoshi part of the amount that both agreed on, 0 ..= 999 msat.
        rest: Msat,
        /// Where the channel goes on with how much.
        top_up: Option<(OutPoint, Sat)>,
    },
    /// The payer took its coin back after the delay.
    Refund,
}

impl SpendKind {
    /// How `tx` spends `channel`, or `None` if it does not.
    #[must_use]
    pub fn of(channel: &Channel, tx: &Transaction) -> Option<Self> {
        let (index, input) =
            tx.input.iter().enumerate().find(|(_, i)| i.previous_output == channel.outpoint())?;
        let settle = channel.output().settle_script();
        let items = input.witness.len();
        if items != SETTLE_ITEMS || script(&input.witness) != Some(settle.as_bytes()) {
            return Some(Self::Refund);
        }
        let rest = u64::from(input.sequence.to_consensus_u32() & 0xffff);
        let rest = Msat::new(rest).unwrap_or(Msat::ZERO);
        let own = |index: usize| own_output(channel, tx, index);
        if input.witness.nth(1).is_some_and(|signature| signature.len() == DEFAULT_SIGNATURE) {
            return Some(Self::Joint { rest, top_up: own(0) });
        }
        let kind = input.witness.nth(1).and_then(<[u8]>::last).copied();
        // The last voucher signs no output, so its paid is the capacity whatever stands there.
        if kind == Some(VoucherKind::None.sighash_byte()) {
            return Some(Self::Settlement { paid: channel.capacity().to_msat(), rollover: None });
        }
        if kind == Some(VoucherKind::All.sighash_byte()) {
            return Some(Self::HoldSettlement { rest, rollover: own(0) });
        }
        let change = tx.output.get(index)?.value.to_sat();
        let balance = channel.capacity().saturating_sub(Sat::new(change).ok()?);
        let paid = balance.to_msat().checked_add(rest)?;
        Some(Self::Settlement { paid, rollover: own(index) })
    }

    /// Where the channel goes on, with how much, and what the new outpoint owes from the start.
    #[must_use]
    pub fn successor(&self) -> Option<(OutPoint, Sat, Msat)> {
        match *self {
            Self::Settlement { paid, rollover: Some((outpoint, capacity)) } => {
                let rest = Msat::new(u64::from(paid.sub_sat())).unwrap_or(Msat::ZERO);
                Some((outpoint, capacity, rest))
            }
            Self::Joint { rest, top_up: Some((outpoint, capacity)) }
            | Self::HoldSettlement { rest, rollover: Some((outpoint, capacity)) } => {
                Some((outpoint, capacity, rest))
            }
            Self::Settlement { .. }
            | Self::Joint { .. }
            | Self::HoldSettlement { .. }
            | Self::Refund => None,
        }
    }
}

fn script(witness: &Witness) -> Option<&[u8]> {
    witness.nth(SETTLE_ITEMS.saturating_sub(2))
}

/// Output `index` of `tx`, if it pays the channel's own script.
fn own_output(channel: &Channel, tx: &Transaction, index: usize) -> Option<(OutPoint, Sat)> {
    let output = tx.output.get(index)?;
    if output.script_pubkey != *channel.output().script() {
        return None;
    }
    let vout = u32::try_from(index).ok()?;
    Some((OutPoint { txid: tx.compute_txid(), vout }, Sat::new(output.value.to_sat()).ok()?))
}
