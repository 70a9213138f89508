//! Spending a hold's output: the payee's claim, the payer's timeout, and what a claim reveals.

use bitcoin::absolute::LockTime;
use bitcoin::secp256k1::schnorr;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, ScriptBuf, Sequence, Transaction, TxOut, Witness};

use super::super::TxError;
use super::super::change::dust_limit;
use super::super::draft::{Draft, REPLACEABLE, output};
use super::output::{HoldOutput, Preimage};
use crate::units::{FeeRate, Height, Sat};

/// The items of a claim's witness: signature, preimage, script, control block.
const CLAIM_ITEMS: usize = 4;

/// A hold's output on the chain, or in a settlement that is on its way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCoin {
    outpoint: OutPoint,
    value: Sat,
    scripts: HoldOutput,
}

impl HoldCoin {
    /// The output at `outpoint`, which pays `value` to the hold's script.
    #[must_use]
    pub const fn new(outpoint: OutPoint, value: Sat, scripts: HoldOutput) -> Self {
        Self { outpoint, value, scripts }
    }

    /// The output of `tx` that pays the hold's script, if there is one.
    ///
    /// `skip`: how many earlier ones of the same script belong to other holds (two holds of equal
    /// hash, expiry and delay have one script).
    #[must_use]
    pub fn find(scripts: HoldOutput, tx: &Transaction, skip: usize) -> Option<Self> {
        let mut ours = tx
            .output
            .iter()
            .enumerate()
            .filter(|(_, output)| output.script_pubkey == *scripts.script());
        let (index, found) = ours.nth(skip)?;
        let value = Sat::new(found.value.to_sat()).ok()?;
        let vout = u32::try_from(index).ok()?;
        Some(Self { outpoint: OutPoint { txid: tx.compute_txid(), vout }, value, scripts })
    }

    /// Where it is.
    #[must_use]
    pub const fn outpoint(&self) -> OutPoint {
        self.outpoint
    }

    /// What it is worth.
    #[must_use]
    pub const fn value(&self) -> Sat {
        self.value
    }

    /// Its scripts.
    #[must_use]
    pub const fn scripts(&self) -> &HoldOutput {
        &self.scripts
    }

    /// The preimage that `tx` reveals by claiming this output.
    #[must_use]
    pub fn preimage_in(&self, tx: &Transaction) -> Option<Preimage> {
        let input = tx.input.iter().find(|input| input.previous_output == self.outpoint)?;
        if input.witness.len() != CLAIM_ITEMS {
            return None;
        }
        let preimage = Preimage::parse(input.witness.nth(1)?).ok()?;
        (preimage.hash() == self.scripts.hash()).then_some(preimage)
    }

    /// The output as a transaction output.
    #[must_use]
    pub fn to_txout(&self) -> TxOut {
        output(self.value, self.scripts.script().clone())
    }
}

/// A spend of one hold's output before its signature: the payee's claim, or the payer's timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct HoldSpend {
    draft: Draft,
    coin: HoldCoin,
    path: Path,
}

/// Which leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Claim(Preimage),
    Timeout,
}

impl HoldSpend {
    /// The payee's claim to `script` with a fee of `rate`: version 2, lock time 0, sequence k.
    ///
    /// # Errors
    /// [`TxError::WrongPreimage`]; [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn claim(
        coin: HoldCoin,
        preimage: Preimage,
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<Self, TxError> {
        preimage.check(coin.scripts.hash())?;
        Self::at_rate(coin, Path::Claim(preimage), script, rate)
    }

    /// The payer's timeout to `script` with a fee of `rate`: version 3, lock time t, sequence
    /// 0xfffffffd.
    ///
    /// # Errors
    /// [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn time_out(coin: HoldCoin, script: ScriptBuf, rate: FeeRate) -> Result<Self, TxError> {
        Self::at_rate(coin, Path::Timeout, script, rate)
    }

    /// The same spend with the fee in satoshis.
    ///
    /// # Errors
    /// [`TxError::NotWorthIt`] if what is left would be dust.
    pub fn with_fee(mut self, fee: Sat) -> Result<Self, TxError> {
        let left = self.coin.value;
        let target = self.draft.tx.output.first_mut().ok_or(TxError::NoOutputs)?;
        let dust = dust_limit(&target.script_pubkey);
        let rest = left.checked_sub(fee).filter(|rest| *rest >= dust);
        let rest = rest.ok_or(TxError::NotWorthIt { left, fee, dust })?;
        target.value = bitcoin::Amount::from_sat(rest.to_sat());
        Ok(self)
    }

    fn at_rate(
        coin: HoldCoin,
        path: Path,
        script: ScriptBuf,
        rate: FeeRate,
    ) -> Result<Self, TxError> {
        let (version, lock_time, sequence) = match path {
            Path::Claim(_) => {
                let delay = Sequence::from_height(coin.scripts.delay().to_u16());
                (Version::TWO, LockTime::ZERO, delay)
            }
            Path::Timeout => {
                // Below 500,000,000 by its type, so it is a height.
                let until = LockTime::from_consensus(coin.scripts.expiry().to_u32());
                (Version(3), until, REPLACEABLE)
            }
        };
        let mut draft = Draft::new(version);
        draft.tx.lock_time = lock_time;
        let witness = Self::witness(&coin, path, [0; 64]);
        draft.push_input(coin.outpoint, sequence, witness, coin.to_txout());
        draft.tx.output.push(output(coin.value, script));
        let fee = draft.fee_at(rate)?;
        Self { draft, coin, path }.with_fee(fee)
    }

    /// The output that is spent.
    pub const fn coin(&self) -> &HoldCoin {
        &self.coin
    }

    /// Whether it is the payee's claim; else the payer's timeout.
    #[must_use]
    pub const fn is_claim(&self) -> bool {
        matches!(self.path, Path::Claim(_))
    }

    /// The first block that can hold it, if the settlement's block has height `settled`.
    #[must_use]
    pub fn earliest(&self, settled: Height) -> Height {
        let one = crate::units::Blocks::new(1).unwrap_or(crate::units::Blocks::MIN);
        match self.path {
            Path::Claim(_) => settled.saturating_after(self.coin.scripts.delay().to_blocks()),
            Path::Timeout => self.coin.scripts.expiry().max(settled).saturating_after(one),
        }
    }

    /// The transaction as it will be; the signature is zeros of the same size.
    pub const fn transaction(&self) -> &Transaction {
        &self.draft.tx
    }

    /// What payee or payer signs (BIP341/342, `SIGHASH_DEFAULT`, claim or timeout leaf).
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn digest(&self) -> Result<[u8; 32], TxError> {
        let leaf = match self.path {
            Path::Claim(_) => self.coin.scripts.claim_leaf_hash(),
            Path::Timeout => self.coin.scripts.timeout_leaf_hash(),
        };
        self.draft.digest(0, leaf)
    }

    /// Puts in the signature.
    ///
    /// # Errors
    /// None that construction did not already exclude.
    pub fn finish(mut self, signature: &schnorr::Signature) -> Result<Transaction, TxError> {
        let witness = Self::witness(&self.coin, self.path, signature.serialize());
        self.draft.set_witness(0, witness)?;
        Ok(self.draft.tx)
    }

    fn witness(coin: &HoldCoin, path: Path, signature: [u8; 64]) -> Witness {
        let mut witness = Witness::new();
        witness.push(signature);
        match path {
            Path::Claim(preimage) => {
                witness.push(preimage.as_bytes());
                witness.push(coin.scripts.claim_script().as_bytes());
                witness.push(coin.scripts.claim_control());
            }
            Path::Timeout => {
                witness.push(coin.scripts.timeout_script().as_bytes());
                witness.push(coin.scripts.timeout_control());
            }
        }
        witness
    }
}
