//! Transactions of stream channels: the on-chain format, version 1, in full.
//!
//! Pure builders and checkers: they take keys, amounts and coins, and give transactions, digests
//! and proofs. Whoever reads this page and BIP340-342 can write a second implementation; the
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
//! # Notation
//!
//! `H_tag(m)` is BIP340's tagged hash, SHA-256(SHA-256(tag) || SHA-256(tag) || m). Keys are x-only,
//! 32 bytes; a key that is tweaked is lifted to even Y first, and of the sum the x coordinate
//! counts. G is the generator, D the delay in blocks, 1 ..= 65,535. Amounts on the chain are
//! satoshis, `paid` is in millisatoshis; floor(paid) below means paid / 1000, rounded down. Numbers
//! in transactions and digests are little-endian. Lock times are 0, script signatures empty.
//!
//! # Keys and the funding output
//!
//! ```text
//! payee         base + H_millstream/stream/payee(base || payer) G
//! r             H_millstream/stream/internal(0x01 || payer || payee || D as two bytes)
//! internal key  P + r G, P = BIP341's point without a known logarithm, whose x coordinate is
//!               50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0
//! settle leaf   0x20 payer 0xad 0x20 payee 0xac, 68 bytes:
//!               <payer> OP_CHECKSIGVERIFY <payee> OP_CHECKSIG
//! refund leaf   0x20 payer 0xad push(D) 0xb2, 36 to 39 bytes:
//!               <payer> OP_CHECKSIGVERIFY <D> OP_CHECKSEQUENCEVERIFY
//! push(D)       1-16: one byte, 0x50 + D; above: length, then D in as few bytes as hold it,
//!               with a zero byte at the end if the highest bit of the last one is set
//! leaf hash     H_TapLeaf(0xc0 || length of the script, one byte || script)
//! root          H_TapBranch(the two leaf hashes, the smaller one first)
//! output key    internal key + H_TapTweak(internal key || root) G
//! script        0x51 0x20 output key
//! control block 0xc0, or 0xc1 if the output key's Y is odd; internal key; the other leaf's hash
//! payee script  0x51 0x20 x(payee + H_TapTweak(payee) G), spent by the key path
//! ```
//!
//! ([`crate::keys::payee_key`], [`FundingOutput`], [`payee_script`].) The byte 0x01 is the version
//! of the format. Both sides compute all of it from payer, base and D. A channel is one outpoint
//! with this script: a second deposit to it is another channel. The payee's script is the usual
//! target of its money; in a settlement it may choose any other.
//!
//! # Voucher
//!
//! The payer's BIP340 signature of [`Channel::digest`], whose byte table stands there: the settle
//! leaf's digest of a transaction of version 3 with this one input, whose sequence is
//! 0x80000000 + (paid mod 1000), and with the change, capacity - floor(paid), as output 0.
//!
//! | paid | type | change |
//! | --- | --- | --- |
//! | below capacity x 1000 | 0x83, SINGLE and ANYONECANPAY | at least its [`dust_limit`] |
//! | capacity x 1000 | 0x82, NONE and ANYONECANPAY | none |
//!
//! What lies between, a change below dust, cannot be paid: the payer stops at
//! [`Channel::largest_with_change`], or gives up the rest and signs the last voucher. The type is
//! never sent, since `paid` implies it; in a witness it stands behind the signature
//! ([`Channel::parse_witness`]). The change script is fixed when the channel opens: the channel's
//! own, or exactly P2TR, P2WPKH or P2WSH ([`WalletScript`]). BIP340's auxiliary data is free; the
//! vectors use 32 zero bytes.
//!
//! # Transactions
//!
//! | | settlement | close, top-up | refund |
//! | --- | --- | --- | --- |
//! | version | 3 | 3 | 2 |
//! | inputs | with change, full, fee | channel, fee (top-up) | channel |
//! | channel's sequence | 0x80000000 + (paid mod 1000) | the same | D |
//! | fee input's sequence | 0xfffffffd | 0xfffffffd | |
//! | outputs | change i at i, then the payee's | as in [`JointSpend`] | one |
//! | payer signs | its voucher | settle leaf | refund leaf |
//! | payee signs | settle leaf | settle leaf | |
//! | largest size | 10,000 vB | 1,000 vB | |
//! | fee from | payee, fee inputs | payer | payer |
//!
//! The witness of a channel's input is payee's signature, payer's signature, settle leaf, its
//! control block; in a refund payer's signature, refund leaf, its control block. But for vouchers
//! all signatures are of `SIGHASH_DEFAULT`, 64 bytes without a type byte.
//!
//! A fee is the rate times the weight, rounded up to the satoshi, with every signature at its full
//! size. No output is below its dust limit. Change i belongs to input i because SINGLE signs just
//! that pair; a full channel or a fee input before one with change would break it. Fee inputs are
//! confirmed P2TR (key path) or P2WPKH coins, consumed whole ([`FeeInput`]). What the builders
//! cannot see, their caller checks:
//!
//! * The inputs of a settlement are confirmed; or all unconfirmed ones come from one version-3
//!   transaction, the settlement has at most 1,000 vB (6 channels with P2TR changes), and that
//!   parent has no other child. Inputs of a close or top-up are confirmed (BIP431, TRUC).
//! * A settlement confirms at the latest in the block before the deadline: the confirmation height
//!   of the funding + D, from which on a refund can confirm.
//! * With the change to the channel's own script a settlement is a rollover
//!   ([`Settlement::rollover`]): change i is the channel's new outpoint with a fresh D, and
//!   paid mod 1000 the payer's first debt there.
//! * Replacing a settlement means building it again from the same parts with a higher rate; inputs
//!   and changes stay.
//!
//! # Sizes
//!
//! With P2TR payee output; in weight units, of which four are one vB.
//!
//! | transaction | weight | vB |
//! | --- | --- | --- |
//! | funding output | 172 | 43 |
//! | settlement of one channel, change to P2TR, P2WSH or its own script | 817 | 204.25 |
//! | of one channel, change to P2WPKH | 769 | 192.25 |
//! | of one full channel | 645 | 161.25 |
//! | each further channel: P2TR, P2WPKH change, full | 603, 555, 431 | 150.75, 138.75, 107.75 |
//! | each fee input: P2TR, P2WPKH | 230, 272 | 57.5, 68 |
//! | refund, D to 16, to 127, to 32,767, above | 547, 548, 549, 550 | 137.5 at most |
//! | close, two P2TR outputs | 816 | 204 |
//! | top-up with one P2TR fee input: carried, paid out | 874, 1,046 | 218.5, 261.5 |
//!
//! So 10,000 vB hold 65 channels with P2TR changes and two P2TR fee inputs, 71 with P2WPKH changes
//! and one, or 92 full ones.
//!
//! # Example
//!
//! ```
//! use bitcoin::{Network, OutPoint};
//! use millstream::keys::{Context, Entropy, Seed};
//! use millstream::tx::{
//!     ChangeScript, Channel, Delay, FundingOutput, Settled, Settlement, payee_script,
//! };
//! use millstream::units::{FeeRate, KeyIndex, Msat, Sat};
//!
//! let (context, aux) = (Context::new(), Entropy::new([0; 32]));
//! let payer = Seed::new([1; 32]).payer_key(&context, Network::Regtest, KeyIndex::new(0)?)?;
//! let base = Seed::new([2; 32]).base_key(&context, Network::Regtest)?;
//! let output = FundingOutput::new(&context, payer.public(), base.public(), Delay::new(144)?)?;
//! let funded = OutPoint::null(); // where `output.script()` was funded
//! let channel = Channel::new(funded, Sat::new(100_000)?, output, ChangeScript::Own)?;
//!
//! // The payer pays 40,000.500 satoshis in all, the payee checks.
//! let voucher = channel.sign(&context, &payer, Msat::new(40_000_500)?, &aux)?;
//! let checked = channel.verify(&context, voucher)?;
//!
//! // The payee settles at 2 sat/vB.
//! let payee = base.for_payer(&context, payer.public())?;
//! let to = payee_script(&context, payee.public())?;
//! let part = Settled::new(channel, checked)?;
//! let settlement = Settlement::at_rate(vec![part], &[], to, FeeRate::new(2_000)?)?;
//! let signature = payee.sign(&context, settlement.digest(0)?, &aux);
//! let next = settlement.rollover(0)?.map(|channel| channel.capacity());
//! let transaction = settlement.finish(&[signature], vec![])?;
//! assert_eq!(next, Some(Sat::new(60_000)?));
//! assert_eq!(transaction.output[1].value.to_sat(), 40_000 - 409);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rank 2. `signer` computes digests from here, `stream` decides which transaction is due.

mod change;
mod delay;
mod draft;
pub mod hold;
mod joint;
mod output;
mod payee;
mod refund;
pub mod seen;
mod settle;
mod voucher;

use bitcoin::secp256k1::XOnlyPublicKey;
use bitcoin::{OutPoint, Witness};

pub use change::{ChangeScript, WalletScript, dust_limit};
pub use delay::Delay;
pub use draft::FeeInput;
pub use joint::JointSpend;
pub use output::{FundingOutput, payee_script};
pub use payee::PayeeSpend;
pub use refund::Refund;
pub use settle::{Settled, Settlement};
pub use voucher::{Channel, Voucher, VoucherChecked, VoucherKind};

use crate::keys::KeyError;
use crate::units::{Blame, HoldId, Msat, Overflow, Sat, UnitError};

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
    /// The change of a channel with holds is its own script: an equal script elsewhere would let
    /// the payee pay one change for two channels, and a wallet's could pin the settlement.
    #[error("holds on channel {outpoint}, whose change is not its own script")]
    HoldsNeedOwnChange {
        /// The channel.
        outpoint: OutPoint,
    },
    /// A state with holds that has none: that is a plain voucher.
    #[error("no open hold")]
    NoHolds,
    /// More holds than one settlement can carry.
    #[error("{got} open holds, above {max}")]
    TooManyHolds {
        /// What was asked.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Ids of holds rise.
    #[error("hold {after} stands behind hold {before}")]
    HoldOrder {
        /// The first of the two.
        before: HoldId,
        /// The second.
        after: HoldId,
    },
    /// A hold's output is too small to be relayed.
    #[error("hold {id} of {amount} is below its dust limit of {dust}")]
    HoldBelowDust {
        /// Which.
        id: HoldId,
        /// Its amount.
        amount: Sat,
        /// The limit.
        dust: Sat,
    },
    /// The settlement could not be paid for: balance, holds and what is missing of the fee exceed
    /// the capacity.
    #[error("balance, holds and fee of {needed} are above the capacity of {capacity}")]
    HoldsAboveCapacity {
        /// Their sum.
        needed: Sat,
        /// The capacity.
        capacity: Sat,
    },
    /// A claim after zero or one blocks would leave the payer no block of its own.
    #[error("claim's delay of {got} blocks is below 2")]
    ClaimDelayTooShort {
        /// What was asked.
        got: u16,
    },
    /// A preimage has 32 bytes.
    #[error("preimage of {bytes} bytes, not 32")]
    PreimageLength {
        /// Its length.
        bytes: usize,
    },
    /// The preimage is of another hash.
    #[error("preimage is not of {want}")]
    WrongPreimage {
        /// The hold's hash.
        want: hold::PaymentHash,
    },
    /// The key is not the one in the channel's script.
    #[error("key is not the channel's {want}")]
    WrongKey {
        /// The channel's key. The other one is left out to keep every `Result` here small.
        want: XOnlyPublicKey,
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

impl TxError {
    /// What an opening, voucher or signature carries is the peer's: where our own caller chose the
    /// value, the signer refuses it, and its error says so. What a transaction is built of is ours,
    /// and that a fee rate eats the rest is the world's.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::ZeroDelay
            | Self::NonStandardChange { .. }
            | Self::CapacityBelowDust { .. }
            | Self::AboveCapacity { .. }
            | Self::ChangeBelowDust { .. }
            | Self::BadSignature { .. }
            | Self::SignatureForm { .. }
            | Self::HoldsNeedOwnChange { .. }
            | Self::NoHolds
            | Self::TooManyHolds { .. }
            | Self::HoldOrder { .. }
            | Self::HoldBelowDust { .. }
            | Self::HoldsAboveCapacity { .. }
            | Self::ClaimDelayTooShort { .. }
            | Self::PreimageLength { .. }
            | Self::WrongPreimage { .. } => Blame::Peer,
            Self::WrongKey { .. }
            | Self::OtherChannel { .. }
            | Self::NoParts
            | Self::NoOutputs
            | Self::SpentTwice { .. }
            | Self::FeeInputKind { .. }
            | Self::FeeWitnessSize { .. }
            | Self::OutputBelowDust { .. }
            | Self::OutputsAboveInputs { .. }
            | Self::TooLarge { .. }
            | Self::NoSuchInput { .. }
            | Self::WitnessCount { .. } => Blame::Us,
            Self::NotWorthIt { .. } => Blame::World,
            Self::Key(error) => error.blame(),
            Self::Amount(error) => error.blame(),
            Self::Overflow(error) => error.blame(),
        }
    }
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
