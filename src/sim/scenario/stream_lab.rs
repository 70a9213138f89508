//! Stream channels for the scenarios: funded, with both parties' keys, and every transaction kind
//! built by `tx` and signed.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness};

use crate::keys::{BaseKey, ChannelKey, Context, Entropy};
use crate::sim::scenario::BuildError;
use crate::sim::scenario::lab::{Draft, FEE, Lab, LabCoin, output, output_of};
use crate::tx::{
    ChangeScript, Channel, Delay, FeeInput, FundingOutput, JointSpend, Refund, Settled, Settlement,
};
use crate::units::{FeeRate, Msat, Sat};

/// Capacity of every channel, in satoshis.
pub(super) const CAPACITY: u64 = 1_000_000;
/// Refund delay of every channel, in blocks.
pub(super) const DELAY: u16 = 20;
/// What the vouchers of the scenarios pay: 400,000.250 sat.
pub(super) const PAID: u64 = 400_000_250;
/// Two satoshis a virtual byte.
pub(super) const RATE: u64 = 2_000;

/// Both parties' keys of one channel, and the channel.
pub(super) struct Stream {
    pub(super) channel: Channel,
    pub(super) payer: ChannelKey,
    pub(super) payee: ChannelKey,
}

/// One payee and any number of payers.
pub(super) struct StreamLab<'lab> {
    pub(super) lab: &'lab Lab,
    pub(super) context: Context,
    base: BaseKey,
}

impl<'lab> StreamLab<'lab> {
    pub(super) fn new(lab: &'lab Lab) -> Result<Self, BuildError> {
        let context = Context::new();
        let base = BaseKey::from_secret(&context, &digest("payee"))?;
        Ok(Self { lab, context, base })
    }

    /// The channels of these payers in one transaction of this version, out of the coinbase at
    /// `height`. Output i funds channel i.
    pub(super) fn fund(
        &self,
        height: u32,
        version: i32,
        payers: &[(&str, ChangeScript)],
    ) -> Result<(Transaction, Vec<Stream>), BuildError> {
        let mut parties = Vec::new();
        let mut draft = Draft::sweep(&self.lab.coin(height)?, &self.wallet()?, FEE);
        for (name, change) in payers {
            let payer = ChannelKey::from_secret(&self.context, &digest(name))?;
            let payee = self.base.for_payer(&self.context, payer.public())?;
            let (base, delay) = (self.base.public(), Delay::new(DELAY)?);
            let funding = FundingOutput::new(&self.context, payer.public(), base, delay)?;
            draft = draft.and(CAPACITY, funding.script());
            parties.push((payer, payee, funding, change.clone()));
        }
        // The wallet's change goes last, so that the channels have the first outputs.
        draft.outputs.rotate_left(1);
        let tx = self.lab.sign(draft.version(version))?;
        let txid = tx.compute_txid();
        let streams = (0_u32..)
            .zip(parties)
            .map(|(vout, (payer, payee, funding, change))| {
                let outpoint = OutPoint { txid, vout };
                let channel = Channel::new(outpoint, Sat::new(CAPACITY)?, funding, change)?;
                Ok(Stream { channel, payer, payee })
            })
            .collect::<Result<Vec<_>, BuildError>>()?;
        Ok((tx, streams))
    }

    /// One channel of `name` in a version-3 funding.
    pub(super) fn one(
        &self,
        height: u32,
        name: &str,
        change: ChangeScript,
    ) -> Result<(Transaction, Stream), BuildError> {
        let (tx, mut streams) = self.fund(height, 3, &[(name, change)])?;
        let stream = streams.pop().ok_or(BuildError::Taproot)?;
        Ok((tx, stream))
    }

    /// The script of the parties' own wallets, all of one key.
    pub(super) fn wallet(&self) -> Result<ScriptBuf, BuildError> {
        Ok(self.lab.p2tr(&self.lab.key("wallet")?))
    }

    /// An output of `tx` that pays [`Self::wallet`].
    pub(super) fn wallet_coin(&self, tx: &Transaction, vout: u32) -> Result<LabCoin, BuildError> {
        Ok(output_of(tx, vout, &self.lab.key("wallet")?))
    }

    /// A settlement of these channels, each by a voucher of this many millisatoshis, at `rate`.
    pub(super) fn settle(
        &self,
        streams: &[(&Stream, u64)],
        fee_coins: &[LabCoin],
        rate: u64,
    ) -> Result<Transaction, BuildError> {
        let parts = self.parts(streams)?;
        let inputs = fee_inputs(fee_coins)?;
        let rate = FeeRate::new(rate)?;
        let settlement = Settlement::at_rate(parts, &inputs, self.wallet()?, rate)?;
        self.finish(streams, fee_coins, settlement)
    }

    /// The same put together by hand and as large as it gets, where [`Self::settle`] refuses: each
    /// channel's input and change from a settlement of it alone, then these coins.
    ///
    /// `data`: outputs of no value behind the payee's, which gets all that is over `fee`.
    pub(super) fn merged(
        &self,
        streams: &[(&Stream, u64)],
        fee_coins: &[LabCoin],
        data: &[TxOut],
        fee: u64,
    ) -> Result<Transaction, BuildError> {
        let mut tx = Transaction {
            version: Version(3),
            lock_time: LockTime::ZERO,
            input: Vec::new(),
            output: Vec::new(),
        };
        let mut spent = Vec::new();
        for (stream, paid) in streams {
            let alone = self.settle_with_fee(stream, *paid, FEE)?;
            // All but the last, which is the payee's.
            let changes = alone.output.len().saturating_sub(1);
            tx.input.extend(alone.input);
            tx.output.extend(alone.output.into_iter().take(changes));
            spent.push(stream.channel.to_txout());
        }
        for coin in fee_coins {
            tx.input.push(TxIn {
                previous_output: coin.outpoint,
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                ..TxIn::default()
            });
            spent.push(coin.output.clone());
        }
        let sum = |outputs: &[TxOut]| outputs.iter().map(|output| output.value.to_sat()).sum();
        let (total, changes): (u64, u64) = (sum(&spent), sum(&tx.output));
        let left = total.saturating_sub(changes).saturating_sub(fee);
        tx.output.push(output(left, &self.wallet()?));
        tx.output.extend_from_slice(data);
        self.sign_merged(streams, fee_coins, tx, &spent)
    }

    /// The same with the fee in satoshis; the rest goes to the payee.
    pub(super) fn settle_with_fee(
        &self,
        stream: &Stream,
        paid: u64,
        fee: u64,
    ) -> Result<Transaction, BuildError> {
        let parts = self.parts(&[(stream, paid)])?;
        let value = paid.div_euclid(1_000).saturating_sub(fee);
        let payee = vec![output(value, &self.wallet()?)];
        let settlement = Settlement::with_outputs(parts, &[], payee)?;
        self.finish(&[(stream, paid)], &[], settlement)
    }

    /// The channel that a settlement of `stream` rolls over into.
    pub(super) fn rolled_over(
        &self,
        stream: &Stream,
        settlement: &Transaction,
    ) -> Result<Stream, BuildError> {
        let first = settlement.output.first().ok_or(BuildError::Taproot)?;
        let channel = Channel::new(
            OutPoint { txid: settlement.compute_txid(), vout: 0 },
            Sat::new(first.value.to_sat())?,
            stream.channel.output().clone(),
            ChangeScript::Own,
        )?;
        let payer = stream.payer.tweaked(&self.context, [0; 32])?;
        let payee = stream.payee.tweaked(&self.context, [0; 32])?;
        Ok(Stream { channel, payer, payee })
    }

    /// The payer's refund with this fee in satoshis.
    pub(super) fn refund(&self, stream: &Stream, fee: u64) -> Result<Transaction, BuildError> {
        let refund = Refund::with_fee(
            stream.channel.outpoint(),
            stream.channel.capacity(),
            stream.channel.output().clone(),
            self.wallet()?,
            Sat::new(fee)?,
        )?;
        let signature = self.signature(&stream.payer, refund.digest()?);
        Ok(refund.finish(&signature)?)
    }

    /// A cooperative close at `paid` millisatoshis with this fee in satoshis.
    pub(super) fn close(
        &self,
        stream: &Stream,
        paid: u64,
        fee: u64,
    ) -> Result<Transaction, BuildError> {
        let channel = stream.channel.clone();
        let (payer, payee) = (self.wallet()?, self.wallet()?);
        let close = JointSpend::close(channel, Msat::new(paid)?, payer, payee, Sat::new(fee)?)?;
        self.join(stream, &[], close)
    }

    /// A top-up at `paid` millisatoshis by `coin`, which leaves this fee; the payee is paid out.
    pub(super) fn top_up(
        &self,
        stream: &Stream,
        paid: u64,
        coin: &LabCoin,
        fee: u64,
    ) -> Result<Transaction, BuildError> {
        let kept = CAPACITY.saturating_sub(paid.div_euclid(1_000));
        self.enlarge(stream, paid, coin, kept.saturating_sub(fee), Some(self.wallet()?))
    }

    /// The same, but the larger channel carries the balance.
    pub(super) fn top_up_carrying(
        &self,
        stream: &Stream,
        paid: u64,
        coin: &LabCoin,
        fee: u64,
    ) -> Result<Transaction, BuildError> {
        self.enlarge(stream, paid, coin, CAPACITY.saturating_sub(fee), None)
    }

    /// A top-up to `kept` satoshis and what `coin` is worth.
    fn enlarge(
        &self,
        stream: &Stream,
        paid: u64,
        coin: &LabCoin,
        kept: u64,
        payout: Option<ScriptBuf>,
    ) -> Result<Transaction, BuildError> {
        let capacity = Sat::new(kept.saturating_add(coin.output.value.to_sat()))?;
        let coins = core::slice::from_ref(coin);
        let channel = stream.channel.clone();
        let inputs = fee_inputs(coins)?;
        let joint = JointSpend::top_up(channel, Msat::new(paid)?, &inputs, capacity, payout)?;
        self.join(stream, coins, joint)
    }

    fn parts(&self, streams: &[(&Stream, u64)]) -> Result<Vec<Settled>, BuildError> {
        let part = |(stream, paid): &(&Stream, u64)| {
            let aux = Entropy::new([0; 32]);
            let paid = Msat::new(*paid)?;
            let voucher = stream.channel.sign(&self.context, &stream.payer, paid, &aux)?;
            let checked = stream.channel.verify(&self.context, voucher)?;
            Ok(Settled::new(stream.channel.clone(), checked)?)
        };
        streams.iter().map(part).collect()
    }

    fn finish(
        &self,
        streams: &[(&Stream, u64)],
        fee_coins: &[LabCoin],
        settlement: Settlement,
    ) -> Result<Transaction, BuildError> {
        let signatures = (0..)
            .zip(streams)
            .map(
                |(index, (stream, _))| Ok(self.signature(&stream.payee, settlement.digest(index)?)),
            )
            .collect::<Result<Vec<_>, BuildError>>()?;
        let (tx, spent) = (settlement.transaction(), settlement.spent());
        let witnesses = self.fee_witnesses(tx, spent, streams.len(), fee_coins)?;
        Ok(settlement.finish(&signatures, witnesses)?)
    }

    /// Signs a merged settlement by `bitcoin`'s own digests.
    fn sign_merged(
        &self,
        streams: &[(&Stream, u64)],
        fee_coins: &[LabCoin],
        mut tx: Transaction,
        spent: &[TxOut],
    ) -> Result<Transaction, BuildError> {
        let mut cache = SighashCache::new(&tx);
        let mut signatures = Vec::new();
        for (index, (stream, _)) in streams.iter().enumerate() {
            let leaf = stream.channel.output().settle_leaf_hash();
            let all = Prevouts::All(spent);
            let digest = cache
                .taproot_script_spend_signature_hash(index, &all, leaf, TapSighashType::Default)
                .map_err(|_| BuildError::Taproot)?;
            signatures.push(self.signature(&stream.payee, digest.to_byte_array()));
        }
        let fees = self.fee_witnesses(&tx, spent, streams.len(), fee_coins)?;
        for (input, signature) in tx.input.iter_mut().zip(signatures) {
            let mut items = input.witness.to_vec();
            if let Some(first) = items.first_mut() {
                *first = signature.serialize().to_vec();
            }
            input.witness = Witness::from_slice(&items);
        }
        for (input, witness) in tx.input.iter_mut().skip(streams.len()).zip(fees) {
            input.witness = witness;
        }
        Ok(tx)
    }

    fn join(
        &self,
        stream: &Stream,
        fee_coins: &[LabCoin],
        joint: JointSpend,
    ) -> Result<Transaction, BuildError> {
        let digest = joint.digest()?;
        let payer = self.signature(&stream.payer, digest);
        let payee = self.signature(&stream.payee, digest);
        let witnesses = self.fee_witnesses(joint.transaction(), joint.spent(), 1, fee_coins)?;
        Ok(joint.finish(&payer, &payee, witnesses)?)
    }

    pub(super) fn fee_witnesses(
        &self,
        tx: &Transaction,
        spent: &[TxOut],
        first: usize,
        coins: &[LabCoin],
    ) -> Result<Vec<Witness>, BuildError> {
        (first..).zip(coins).map(|(index, coin)| self.lab.witness(tx, spent, index, coin)).collect()
    }

    pub(super) fn signature(
        &self,
        key: &ChannelKey,
        digest: [u8; 32],
    ) -> bitcoin::secp256k1::schnorr::Signature {
        key.sign(&self.context, digest, &Entropy::new([0; 32]))
    }
}

pub(super) fn fee_inputs(coins: &[LabCoin]) -> Result<Vec<FeeInput>, BuildError> {
    coins.iter().map(|coin| Ok(FeeInput::new(coin.outpoint, coin.output.clone())?)).collect()
}

fn digest(name: &str) -> [u8; 32] {
    sha256::Hash::hash(name.as_bytes()).to_byte_array()
}
