//! On-chain coins of one party: they fund channels and pay fees.
//!
//! ```text
//!   fund(payment) ------> PSBT --sign (here, or on another device)--> transaction --> broadcast
//!   fee_inputs(..) -----> coins for a settlement --unsigned_psbt--> PSBT --sign--> witnesses
//!   apply(chain event) -> which coins there are, confirmed and not in use
//! ```
//!
//! Everything that is to be signed travels as a PSBT, so that a hardware or foreign wallet fits in.
//! What a PSBT, a settlement or a transaction of the chain uses is reserved until it is released:
//! a spend that a reorganisation undoes waits in the mempool again, and must not be replaced by the
//! next one.
//!
//! Used by the drivers in `rt` and `sim`, the examples and the command line.

#[cfg(feature = "bdk")]
mod bdk;
mod memory;

#[cfg(test)]
mod tests;

use bitcoin::psbt::{Input, Psbt};
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut, Witness};

#[cfg(feature = "bdk")]
pub use bdk::WalletCoins;
pub use memory::MemoryCoins;

use crate::tx::seen::ChainEvent;
use crate::tx::{FeeInput, TxError};
use crate::units::{Blame, FeeRate, Sat};

/// The coins of one party, and whoever can sign for them.
pub trait Coins {
    /// Builds a transaction whose output 0 makes `payment`; the change, if any, is output 1.
    ///
    /// Only confirmed coins are used, so that a version-3 transaction may have an unconfirmed child
    /// and its id cannot change by a reorganisation of its inputs' mempool. The coins are reserved.
    ///
    /// # Errors
    /// [`CoinsError::Insufficient`] if the free coins do not cover it.
    fn fund(&mut self, payment: &Payment) -> Result<Psbt, CoinsError>;

    /// Reserves at most `count_max` confirmed coins which are together worth at least `amount`
    /// after paying for their own inputs at `rate`.
    ///
    /// # Errors
    /// [`CoinsError::Insufficient`] if the free coins do not cover it.
    fn fee_inputs(
        &mut self,
        amount: Sat,
        rate: FeeRate,
        count_max: usize,
    ) -> Result<Vec<FeeInput>, CoinsError>;

    /// A script of the party's own for what is left over.
    ///
    /// # Errors
    /// None in memory; those of the wallet behind it.
    fn change_script(&mut self) -> Result<ScriptBuf, CoinsError>;

    /// Signs and finishes the inputs that are the party's own; the others stay as they are.
    ///
    /// # Errors
    /// [`CoinsError::NoUtxo`] if the PSBT does not say what each input spends,
    /// [`CoinsError::Sighash`] if one of the own inputs asks for anything but `SIGHASH_DEFAULT` or
    /// `SIGHASH_ALL`.
    fn sign(&mut self, psbt: &mut Psbt) -> Result<(), CoinsError>;

    /// Takes the next event of the chain, in order.
    ///
    /// # Errors
    /// None in memory; those of the wallet behind it.
    fn apply(&mut self, event: &ChainEvent) -> Result<(), CoinsError>;

    /// Makes reserved coins free again, after what used them came to nothing: it was never sent,
    /// was evicted, or conflicts with what confirmed. Coins that are spent on chain stay spent.
    fn release(&mut self, outpoints: &[OutPoint]);

    /// What is confirmed, mature and not in use.
    fn balance(&self) -> Sat;
}

/// One payment out of on-chain coins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payment {
    /// Who is paid: the channel's output script.
    pub script: ScriptBuf,
    /// How much.
    pub amount: Sat,
    /// At which rate.
    pub rate: FeeRate,
    /// The transaction's version: 3 unless the caller chose another. An unconfirmed channel can be
    /// settled, and so credited, only if its funding is version 3.
    pub version: i32,
}

impl Payment {
    /// A payment by a version-3 transaction.
    pub const fn new(script: ScriptBuf, amount: Sat, rate: FeeRate) -> Self {
        Self { script, amount, rate, version: 3 }
    }

    /// The same with another transaction version, 1 to 3.
    #[must_use]
    pub fn with_version(self, version: i32) -> Self {
        Self { version, ..self }
    }
}

/// Why coins cannot do what they are asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoinsError {
    /// The free coins are not worth enough.
    #[error("{need} are needed and {free} are free")]
    Insufficient {
        /// What was asked, with the fee.
        need: Sat,
        /// What the coins that may be used are worth.
        free: Sat,
    },
    /// The payment is too small to be relayed.
    #[error("payment of {amount} is below its dust limit of {dust}")]
    Dust {
        /// What was asked.
        amount: Sat,
        /// The limit.
        dust: Sat,
    },
    /// The PSBT does not say what an input spends.
    #[error("psbt does not say what input {index} spends")]
    NoUtxo {
        /// Which input.
        index: usize,
    },
    /// An own input asks for a kind of signature that leaves something open.
    #[error("input {index} asks for a signature that does not cover the whole transaction")]
    Sighash {
        /// Which input.
        index: usize,
    },
    /// The transaction and what it spends do not fit each other.
    #[error("{inputs} inputs, {spent} spent outputs")]
    Count {
        /// Inputs of the transaction.
        inputs: usize,
        /// Outputs that were given for them.
        spent: usize,
    },
    /// A sum is above all money.
    #[error(transparent)]
    Overflow(#[from] crate::units::Overflow),
    /// A key.
    #[error(transparent)]
    Key(#[from] crate::keys::KeyError),
    /// A coin that cannot pay fees.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The wallet does not build the transaction.
    #[cfg(feature = "bdk")]
    #[error("the wallet does not build it: {0}")]
    Build(Box<bdk_wallet::error::CreateTxError>),
    /// The wallet does not sign.
    #[cfg(feature = "bdk")]
    #[error("the wallet does not sign: {0}")]
    Sign(Box<bdk_wallet::signer::SignerError>),
    /// The wallet does not find its place in the chain.
    #[cfg(feature = "bdk")]
    #[error("the wallet does not know the chain: {0}")]
    Chain(#[from] bdk_wallet::chain::local_chain::CannotConnectError),
}

impl CoinsError {
    /// Ours, who hold the coins and make the payment; the world's if the chain moved away.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Insufficient { .. }
            | Self::Dust { .. }
            | Self::NoUtxo { .. }
            | Self::Sighash { .. }
            | Self::Count { .. } => Blame::Us,
            Self::Overflow(error) => error.blame(),
            Self::Key(error) => error.blame(),
            Self::Tx(error) => error.blame(),
            #[cfg(feature = "bdk")]
            Self::Build(_) | Self::Sign(_) => Blame::Us,
            #[cfg(feature = "bdk")]
            Self::Chain(_) => Blame::World,
        }
    }
}

/// A transaction, its witnesses left out, and what it spends, as a PSBT for the signers of its fee
/// inputs.
///
/// `spent`: the output of each input, in order.
///
/// # Errors
/// [`CoinsError::Count`] if their numbers differ.
pub fn unsigned_psbt(tx: &Transaction, spent: &[TxOut]) -> Result<Psbt, CoinsError> {
    let count = CoinsError::Count { inputs: tx.input.len(), spent: spent.len() };
    if tx.input.len() != spent.len() {
        return Err(count);
    }
    let mut unsigned = tx.clone();
    for input in &mut unsigned.input {
        input.witness = Witness::new();
        input.script_sig = ScriptBuf::new();
    }
    // Without witnesses and script signatures it is what a PSBT takes.
    let mut psbt = Psbt::from_unsigned_tx(unsigned).map_err(|_| count)?;
    for (input, output) in psbt.inputs.iter_mut().zip(spent) {
        *input = Input { witness_utxo: Some(output.clone()), ..Input::default() };
    }
    Ok(psbt)
}

/// The weight that one input with this placeholder witness adds, in weight units.
fn input_weight(input: &FeeInput) -> u64 {
    // Outpoint, empty script length and sequence are 41 bytes that count fourfold; the witness of a
    // key-path P2TR is 66 bytes, that of P2WPKH at most 108.
    const BASE: u64 = 164;
    const P2TR_WITNESS: u64 = 66;
    const P2WPKH_WITNESS: u64 = 108;
    let taproot = input.output().script_pubkey.is_p2tr();
    BASE.saturating_add(if taproot { P2TR_WITNESS } else { P2WPKH_WITNESS })
}

/// Picks the fewest of `free`, largest first, that cover `amount` and their own inputs.
fn pick(
    mut free: Vec<FeeInput>,
    amount: Sat,
    rate: FeeRate,
    count_max: usize,
) -> Result<Vec<FeeInput>, CoinsError> {
    free.sort_by(|one, other| {
        other.output().value.cmp(&one.output().value).then(one.outpoint().cmp(&other.outpoint()))
    });
    let mut picked = Vec::new();
    let mut worth = Sat::ZERO;
    let mut need = amount;
    for coin in free.into_iter().take(count_max) {
        if worth >= need {
            break;
        }
        let value = Sat::new(coin.output().value.to_sat()).unwrap_or(Sat::ZERO);
        worth = worth.saturating_add(value);
        need = need.add(rate.ceil_fee(input_weight(&coin))?)?;
        picked.push(coin);
    }
    if worth < need {
        return Err(CoinsError::Insufficient { need, free: worth });
    }
    Ok(picked)
}
