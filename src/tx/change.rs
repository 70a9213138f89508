//! Where the payer's change goes, fixed when the channel opens.

use bitcoin::{Script, ScriptBuf, WitnessVersion};

use super::TxError;
use crate::units::Sat;

/// Bitcoin Core's dust limit of an output of 34 bytes of witness program (P2TR, P2WSH).
const DUST_32: u64 = 330;
/// Bitcoin Core's dust limit of P2WPKH.
const DUST_20: u64 = 294;

/// The payer's change script: the channel's own, or a wallet's of exactly one of three kinds.
///
/// Any other script could make every settlement unrelayable, so the payee refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeScript {
    /// The channel's own script: a settlement is then a rollover, and the channel goes on.
    Own,
    /// A wallet's P2TR, P2WPKH or P2WSH script.
    Wallet(WalletScript),
}

/// A script that is exactly P2TR, P2WPKH or P2WSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletScript(ScriptBuf);

impl WalletScript {
    /// Checks the script's kind.
    ///
    /// # Errors
    /// [`TxError::NonStandardChange`] for anything but P2TR, P2WPKH and P2WSH.
    pub fn parse(script: ScriptBuf) -> Result<Self, TxError> {
        if script.is_p2tr() || script.is_p2wpkh() || script.is_p2wsh() {
            Ok(Self(script))
        } else {
            Err(TxError::NonStandardChange { bytes: script.len() })
        }
    }

    /// The script.
    pub fn as_script(&self) -> &Script {
        &self.0
    }
}

/// The smallest value of an output of `script` that nodes relay (Bitcoin Core, 3 sat/vB).
///
/// Scripts that are no witness program get the limit of the largest one.
#[must_use]
pub fn dust_limit(script: &Script) -> Sat {
    let short = script.witness_version() == Some(WitnessVersion::V0) && script.len() == 22;
    let sat = if short { DUST_20 } else { DUST_32 };
    Sat::new(sat).unwrap_or(Sat::ZERO)
}
