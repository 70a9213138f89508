//! Transactions of stream channels: the on-chain format, version 1, in full.
//!
//! Pure builders and checkers: they take keys, amounts and coins, and give transactions, digests
//! and proofs. Whoever reads this room's pages can write a second implementation from them; the
//! vectors in `tests/vectors/stream_v1.json` are the same in numbers.
//!
//! ```text
//! funding coin --> FundingOutput (P2TR: settle leaf, refund leaf)
//!                    | settle leaf, voucher of the payer + signature of the payee
//!                    |--> Settlement        v3   change_0 .. change_n, payee's outputs
//!                    |      change = own script: a rollover, the channel goes on
//!                    | settle leaf, both SIGHASH_DEFAULT
//!                    |--> JointSpend::close   v3  payer, payee
//!                    |--> JointSpend::top_up  v3  channel, payee
//!                    | refund leaf, payer alone after D blocks
//!                    '--> Refund            v2   payer
//! ```
//!
//! # The format
//!
//! * Keys are x-only. payee = lift_x(base) + tagged hash("millstream/stream/payee", base || payer)
//!   times the generator ([`crate::keys::payee_key`]).
//! * The output is [`FundingOutput`]; its two scripts, internal key and control blocks stand there.
//! * A voucher is the payer's BIP340 signature of [`Channel::digest`]; its byte table stands there.
//!   In the witness it carries its type byte, 0x83 or 0x82; on the wire it does not.
//! * The witness of the settle leaf is: payee's signature, payer's signature, script, control
//!   block. That of the refund leaf is: payer's signature, script, control block.
//! * Every settle-leaf spend has the sequence `0x8000_0000 | (paid mod 1000)`; fee inputs have
//!   0xfffffffd; a refund has D.
//!
//! # Sizes
//!
//! | transaction | weight units | vB |
//! | --- | --- | --- |
//! | funding output | 172 | 43 |
//! | settlement, one channel, P2TR change and payee output | 817 | 204.25 |
//! | settlement, each further channel with P2TR change | 604 | 151 |
//! | refund to P2TR | 547 or 548 or 550 (D in one, two or three bytes) | 137.5 |
//! | close, two P2TR outputs | 816 | 204 |
//!
//! Rank 2. `signer` computes digests from here, `stream` decides which transaction is due.

mod change;
mod draft;
mod joint;
mod output;
mod refund;
pub mod seen;
mod settle;
mod voucher;

use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{OutPoint, Witness};

pub use change::{ChangeScript, WalletScript, dust_limit};
pub use draft::FeeInput;
pub use joint::JointSpend;
pub use output::{Delay, FundingOutput, payee_script};
pub use refund::Refund;
pub use settle::{Settled, Settlement};
pub use voucher::{Channel, Voucher, VoucherChecked};

use crate::keys::KeyError;
use crate::units::{Msat, Overflow, Sat, UnitError};

/// Why a transaction cannot be built, or does not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// A delay of zero blocks would let the payer refund at once.
    #[error("refund delay of zero blocks")]
    ZeroDelay,
    /// The change script is none of P2TR, P2WPKH and P2WSH.
    #[error("change script of {bytes} bytes is not P2TR, P2WPKH or P2WSH")]
    NonStandardChange {
        /// The script's length.
        bytes: usize,
    },
    /// The channel's output is too small to be relayed.
    #[error("capacity of {capacity} is below the dust limit of {dust}")]
    CapacityBelowDust {
        /// What was asked.
        capacity: Sat,
        /// The limit.
        dust: Sat,
    },
    /// More is paid than the channel holds.
    #[error("paid {paid} is above the capacity of {limit}")]
    AboveCapacity {
        /// What was asked.
        paid: Msat,
        /// The capacity.
        limit: Msat,
    },
    /// The change would be dust, and the voucher is not the last one.
    #[error("change of {change} is below its dust limit of {dust}")]
    ChangeBelowDust {
        /// What would be left.
        change: Sat,
        /// The limit of the change script.
        dust: Sat,
    },
    /// The signature does not fit this outpoint and template.
    #[error("signature does not fit a voucher of {paid}")]
    BadSignature {
        /// The amount that it was checked for.
        paid: Msat,
    },
    /// A voucher's signature in a witness has 64 bytes and the type byte that its amount implies.
    #[error("signature of {bytes} bytes with type {kind:02x?} where {implied:#04x} is implied")]
    SignatureForm {
        /// Its length.
        bytes: usize,
        /// Its 65th byte.
        kind: Option<u8>,
        /// The type byte that belongs there.
        implied: u8,
    },
    /// The key is not the one in the channel's script.
    #[error("key {got} is not the channel's {want}")]
    WrongKey {
        /// The channel's key.
        want: XOnlyPublicKey,
        /// The key that was given.
        got: XOnlyPublicKey,
    },
    /// The voucher was checked against another channel.
    #[error("voucher of {got} in a settlement of {want}")]
    OtherChannel {
        /// The channel's outpoint.
        want: OutPoint,
        /// The outpoint that the voucher was checked for.
        got: OutPoint,
    },
    /// A settlement of no channel.
    #[error("settlement of no channel")]
    NoParts,
    /// A transaction without outputs.
    #[error("transaction without outputs")]
    NoOutputs,
    /// Two inputs spend one outpoint.
    #[error("{outpoint} is spent twice")]
    SpentTwice {
        /// The outpoint.
        outpoint: OutPoint,
    },
    /// The coin's witness has no known size.
    #[error("fee input {outpoint} is neither P2TR nor P2WPKH")]
    FeeInputKind {
        /// The coin.
        outpoint: OutPoint,
    },
    /// The witness of a fee input is missing, or larger than its kind's is counted.
    #[error("witness of {got} bytes for fee input {outpoint}, of which {limit} were counted")]
    FeeWitnessSize {
        /// The coin.
        outpoint: OutPoint,
        /// The size of what was given.
        got: usize,
        /// The size that the fee was computed with.
        limit: usize,
    },
    /// An output is too small to be relayed, and the transaction with it.
    #[error("output of {value} is below its dust limit of {dust}")]
    OutputBelowDust {
        /// The output's value.
        value: Sat,
        /// Its script's limit.
        dust: Sat,
    },
    /// The outputs are worth more than the inputs.
    #[error("outputs of {outputs} from inputs of {inputs}")]
    OutputsAboveInputs {
        /// Sum of the inputs.
        inputs: Sat,
        /// Sum of the outputs.
        outputs: Sat,
    },
    /// Nothing above dust is left after the fee.
    #[error("{left} less a fee of {fee} is below the dust limit of {dust}")]
    NotWorthIt {
        /// What there is before the fee.
        left: Sat,
        /// The fee.
        fee: Sat,
        /// The output's dust limit.
        dust: Sat,
    },
    /// The transaction is larger than its kind may be (BIP431).
    #[error("transaction of {vbytes} vB is above its limit of {limit}")]
    TooLarge {
        /// Its size.
        vbytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The transaction has no such input, or it is not a channel's.
    #[error("no input {index} among {inputs}")]
    NoSuchInput {
        /// What was asked.
        index: usize,
        /// How many there are.
        inputs: usize,
    },
    /// Too many or too few signatures or witnesses.
    #[error("{got} witnesses where {want} are needed")]
    WitnessCount {
        /// How many inputs want one.
        want: usize,
        /// How many were given.
        got: usize,
    },
    /// A key could not be derived.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An amount is out of range.
    #[error(transparent)]
    Amount(#[from] UnitError),
    /// A sum is out of range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// The witness of the settle leaf.
fn settle_witness(output: &FundingOutput, payee: &[u8], payer: &[u8]) -> Witness {
    let mut witness = Witness::new();
    witness.push(payee);
    witness.push(payer);
    witness.push(output.settle_script().as_bytes());
    witness.push(output.settle_control());
    witness
}
