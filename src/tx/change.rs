//! Where the payer's change goes, fixed when the channel opens.

use bitcoin::{Script, ScriptBuf};

use super::TxError;
use crate::units::Sat;

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

/// The smallest value of an output of `script` that nodes relay.
///
/// Bitcoin Core's default (`GetDustThreshold` at 3 sat/vB): three satoshis for each byte of the
/// output and of the input that would spend it, 67 bytes for a witness program and 148 for others.
///
/// | script | limit |
/// | --- | --- |
/// | P2TR, P2WSH | 330 sat |
/// | P2WPKH | 294 sat |
/// | P2PKH, P2SH (outputs of a refund, a close or the payee only) | 546 sat, 540 sat |
/// | `OP_RETURN` | 0 |
#[must_use]
pub fn dust_limit(script: &Script) -> Sat {
    Sat::new(script.minimal_non_dust().to_sat()).unwrap_or(Sat::MAX)
}
