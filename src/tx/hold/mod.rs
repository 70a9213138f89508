//! Holds: conditional payments on a stream channel, "amount X for the preimage of h until t".
//!
//! ```text
//! channel's outpoint
//!    | settle leaf, payer's voucher (ALL and ANYONECANPAY) + payee's signature
//!    '--> HoldSettlement   v3   change (own script), payee, one output a hold in the order of ids
//!            | claim leaf, payee with the preimage, k blocks after the settlement
//!            |--> HoldSpend::claim     v2, sequence k
//!            | timeout leaf, payer alone after height t
//!            '--> HoldSpend::time_out  v3, lock time t
//! ```
//!
//! Notation and the channel's own scripts are those of [`tx`](super). This page adds:
//!
//! # Hold output
//!
//! P2TR with the channel's internal key (the same r, the same point) and two leaves of version 0xc0
//! at depth 1:
//!
//! ```text
//! h             SHA-256 of the 32 bytes of the preimage
//! claim leaf    0x82 0x01 0x20 0x88 0xa8 0x20 h 0x88 0x20 payee 0xad push(k) 0xb2:
//!               OP_SIZE 32 OP_EQUALVERIFY OP_SHA256 <h> OP_EQUALVERIFY
//!               <payee> OP_CHECKSIGVERIFY <k> OP_CHECKSEQUENCEVERIFY
//! timeout leaf  push(t) 0xb1 0x75 0x20 payer 0xac:
//!               <t> OP_CHECKLOCKTIMEVERIFY OP_DROP <payer> OP_CHECKSIG
//! ```
//!
//! k, the claim's delay, is 2 ..= 65,535 blocks; t, the expiry, is a height of 1 ..= 499,999,999.
//! `OP_SIZE` keeps a preimage of another length out, which another chain or program could not take.
//!
//! # Voucher with holds
//!
//! State is `paid` and the open holds: id, whole satoshis, h, t and k each. Ids rise in the order
//! of the outputs, and are never used again on an outpoint. The payer signs the settle leaf's
//! digest of type 0x81, ALL and ANYONECANPAY: the byte table of [`Channel::digest`](super::Channel)
//! with that type, without the hash of the change, and with SHA-256 of all outputs, one after the
//! other as consensus serialises them, between the lock time and the spend type: 163 bytes as ever.
//! Sequence and version are those of every voucher.
//!
//! ```text
//! balance  = floor(paid)            fee = the terms' satoshis for the whole transaction
//! missing  = max(0, fee - balance)  what the payer adds to the fee
//! change   = capacity - balance - sum of the holds - missing   own script
//! payee    = balance - (fee - missing)                          payee script
//! outputs  [change, payee, hold, hold, ..]
//! ```
//!
//! Change and payee output are left out below 330 satoshis, their dust limit, and what they would
//! have held goes to the miner. Refused are: a change script that is not the channel's own (an
//! equal script elsewhere would let the payee pay one change for two channels), a hold below 330
//! satoshis, holds and fee above what the capacity leaves, ids that do not rise, more than
//! [`Held::HOLDS_MAX`] holds, and none at all (that is a plain voucher).
//!
//! # Transactions
//!
//! | | settlement | claim | timeout |
//! | --- | --- | --- | --- |
//! | version, lock time | 3, 0 | 2, 0 | 3, t |
//! | sequence | 0x80000000 + (paid mod 1000) | k | 0xfffffffd |
//! | witness | payee's signature, voucher and 0x81, settle leaf, control block | payee's signature, preimage, claim leaf, control block | payer's signature, timeout leaf, control block |
//! | further inputs | confirmed coins, sequence 0xfffffffd, consumed whole | none | none |
//! | outputs | those of the voucher | one | one |
//! | fee | the terms', and all of the further inputs | by rate | by rate |
//! | earliest block | | the settlement's + k | t + 1, after the settlement's |
//!
//! Both leaves' signatures, and the payee's on the settlement, are of `SIGHASH_DEFAULT`. A channel
//! with holds settles alone. Its fee is raised by a version-3 child of the payee output (at most
//! 1,000 vB), or by building it again with further inputs. Change in the own script is a rollover
//! as ever ([`HoldSettlement::rollover`]).
//!
//! | transaction, P2TR outputs | weight | vB |
//! | --- | --- | --- |
//! | settlement with change, payee output and one hold | 989 | 247.25 |
//! | each further hold; without change or without payee output | + 172, - 172 | 43 |
//! | each further P2TR input; P2WPKH | 230, 272 | 57.5, 68 |
//! | claim, k to 16, to 127, to 32,767, above | 619, 620, 621, 622 | 155.5 at most |
//! | timeout, t to 16, to 127, to 32,767, to 8,388,607, above | 548, 549, 550, 551, 552 | 138 at most |
//!
//! # Example
//!
//! ```
//! use bitcoin::{Network, OutPoint};
//! use millstream::keys::{Context, Entropy, Seed};
//! use millstream::tx::hold::{ClaimDelay, Held, Hold, HoldSettlement, HoldSpend, Preimage};
//! use millstream::tx::{ChangeScript, Channel, Delay, FundingOutput, payee_script};
//! use millstream::units::{FeeRate, Height, HoldId, KeyIndex, Msat, Sat};
//!
//! let (context, aux) = (Context::new(), Entropy::new([0; 32]));
//! let payer = Seed::new([1; 32]).payer_key(&context, Network::Regtest, KeyIndex::new(0)?)?;
//! let base = Seed::new([2; 32]).base_key(&context, Network::Regtest)?;
//! let output = FundingOutput::new(&context, payer.public(), base.public(), Delay::new(144)?)?;
//! let channel =
//!     Channel::new(OutPoint::null(), Sat::new(100_000)?, output, ChangeScript::Own)?;
//!
//! // 20,000 sat for the preimage until height 900,100, beside 10,000 sat that are paid.
//! let preimage = Preimage::new([7; 32]);
//! let hold = Hold {
//!     id: HoldId::new(1)?,
//!     amount: Sat::new(20_000)?,
//!     hash: preimage.hash(),
//!     expiry: Height::new(900_100)?,
//!     delay: ClaimDelay::new(12)?,
//! };
//! let (paid, fee) = (Msat::new(10_000_000)?, Sat::new(500)?);
//! let held = Held::new(&context, channel, paid, fee, vec![hold])?;
//! let voucher = held.sign(&context, &payer, &aux)?;
//!
//! // The payee checks, settles, and claims k blocks later.
//! let checked = held.verify(&context, &voucher)?;
//! let payee = base.for_payer(&context, payer.public())?;
//! let settlement = HoldSettlement::new(checked, &[])?;
//! let signature = payee.sign(&context, settlement.digest()?, &aux);
//! let coins = settlement.coins()?;
//! let transaction = settlement.finish(&signature, vec![])?;
//! assert_eq!(transaction.weight().to_wu(), 989);
//! let (to, rate) = (payee_script(&context, payee.public())?, FeeRate::new(2_000)?);
//! let claim = HoldSpend::claim(coins[0].clone(), preimage, to, rate)?;
//! let signature = payee.sign(&context, claim.digest()?, &aux);
//! let transaction = claim.finish(&signature)?;
//! assert_eq!(coins[0].preimage_in(&transaction), Some(preimage));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Used by `signer` (digests) and `stream` (which state is signed, what is due on the chain).

mod output;
mod settle;
mod spend;
mod state;

pub use super::delay::ClaimDelay;
pub use output::{HoldOutput, PaymentHash, Preimage};
pub use settle::HoldSettlement;
pub use spend::{HoldCoin, HoldSpend};
pub use state::{Held, HeldChecked, Hold};
