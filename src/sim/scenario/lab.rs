//! What the scenarios are built with: coins of the miner, scripts, signed transactions, a script.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::TapTweak;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::{LeafVersion, TapLeafHash, TaprootBuilder};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, taproot,
};

use crate::chain::Reason;
use crate::chain::regtest::{coinbase, miner_key};
use crate::sim::scenario::{BuildError, Scenario, Step, Verdict};
use crate::units::{Blocks, Height};

/// Blocks that every scenario mines first: the coinbases 1 to 11 can be spent in the next block.
pub(super) const START: u32 = 110;
/// A fee that is far above every minimum.
pub(super) const FEE: u64 = 10_000;

/// Keys and signing.
pub(super) struct Lab {
    pub(super) secp: Secp256k1<All>,
    miner: Keypair,
}

/// An output that a scenario can spend.
#[derive(Debug, Clone)]
pub(super) struct LabCoin {
    pub(super) outpoint: OutPoint,
    pub(super) output: TxOut,
    key: Keypair,
    leaf: Option<Leaf>,
}

/// The Taproot leaf through which a coin is spent.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    script: ScriptBuf,
    control: taproot::ControlBlock,
}

/// A transaction to be signed: what the scenarios vary.
pub(super) struct Draft {
    pub(super) version: i32,
    pub(super) lock_time: LockTime,
    pub(super) inputs: Vec<(LabCoin, Sequence)>,
    pub(super) outputs: Vec<TxOut>,
}

impl Draft {
    /// Spends `coin`, without locks, all to one output of `script` less `fee`.
    pub(super) fn sweep(coin: &LabCoin, script: &ScriptBuf, fee: u64) -> Self {
        let value = coin.output.value.to_sat().saturating_sub(fee);
        Self {
            version: 2,
            lock_time: LockTime::ZERO,
            inputs: vec![(coin.clone(), Sequence::ENABLE_RBF_NO_LOCKTIME)],
            outputs: vec![output(value, script)],
        }
    }

    pub(super) fn version(mut self, version: i32) -> Self {
        self.version = version;
        self
    }

    pub(super) fn sequence(mut self, sequence: Sequence) -> Self {
        for (_, own) in &mut self.inputs {
            *own = sequence;
        }
        self
    }

    pub(super) fn lock_time(mut self, lock_time: LockTime) -> Self {
        self.lock_time = lock_time;
        self
    }

    /// Adds an input whose value goes to the first output.
    pub(super) fn with(mut self, coin: &LabCoin) -> Self {
        self.inputs.push((coin.clone(), Sequence::ENABLE_RBF_NO_LOCKTIME));
        if let Some(first) = self.outputs.first_mut() {
            first.value = first.value.checked_add(coin.output.value).unwrap_or(Amount::MAX_MONEY);
        }
        self
    }

    /// Adds an output whose value comes off the first one.
    pub(super) fn and(mut self, value: u64, script: &ScriptBuf) -> Self {
        if let Some(first) = self.outputs.first_mut() {
            first.value = Amount::from_sat(first.value.to_sat().saturating_sub(value));
        }
        self.outputs.push(output(value, script));
        self
    }

    /// Adds an output of data so that the transaction grows by `bytes`; from 300 up.
    pub(super) fn padded(mut self, bytes: usize) -> Self {
        // Value 8, script length 3, OP_RETURN 1, OP_PUSHDATA2 3.
        let data = vec![0; bytes.saturating_sub(15)];
        let push = PushBytesBuf::try_from(data).unwrap_or_default();
        self.outputs
            .push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(push) });
        self
    }
}

impl Lab {
    pub(super) fn new() -> Result<Self, BuildError> {
        let secp = Secp256k1::new();
        let miner = miner_key(&secp)?;
        Ok(Self { secp, miner })
    }

    /// One of the keys of the scenarios' actors.
    pub(super) fn key(&self, name: &str) -> Result<Keypair, BuildError> {
        let secret = sha256::Hash::hash(name.as_bytes()).to_byte_array();
        Ok(Keypair::from_seckey_slice(&self.secp, &secret)?)
    }

    /// The coinbase output of the block at `height`, which must be one of the empty first blocks.
    pub(super) fn coin(&self, height: u32) -> Result<LabCoin, BuildError> {
        let tx = coinbase(Height::new(height)?);
        Ok(output_of(&tx, 0, &self.miner))
    }

    /// The script of the key path of `key` (BIP86).
    pub(super) fn p2tr(&self, key: &Keypair) -> ScriptBuf {
        ScriptBuf::new_p2tr(&self.secp, key.x_only_public_key().0, None)
    }

    /// An output script with one leaf, `lock OP_DROP <key> OP_CHECKSIG`, and how to spend it.
    pub(super) fn locked(
        &self,
        key: &Keypair,
        lock: Builder,
    ) -> Result<(ScriptBuf, Leaf), BuildError> {
        let script = lock
            .push_opcode(bitcoin::opcodes::all::OP_DROP)
            .push_x_only_key(&key.x_only_public_key().0)
            .push_opcode(bitcoin::opcodes::all::OP_CHECKSIG)
            .into_script();
        let internal = self.key("internal")?.x_only_public_key().0;
        let spend = TaprootBuilder::new()
            .add_leaf(0, script.clone())
            .ok()
            .and_then(|tree| tree.finalize(&self.secp, internal).ok())
            .ok_or(BuildError::Taproot)?;
        let control = spend
            .control_block(&(script.clone(), LeafVersion::TapScript))
            .ok_or(BuildError::Taproot)?;
        Ok((ScriptBuf::new_p2tr_tweaked(spend.output_key()), Leaf { script, control }))
    }

    /// Signs every input of a draft.
    pub(super) fn sign(&self, draft: Draft) -> Result<Transaction, BuildError> {
        let mut tx = Transaction {
            version: Version(draft.version),
            lock_time: draft.lock_time,
            input: Vec::new(),
            output: draft.outputs,
        };
        for (coin, sequence) in &draft.inputs {
            tx.input.push(TxIn {
                previous_output: coin.outpoint,
                script_sig: ScriptBuf::new(),
                sequence: *sequence,
                witness: Witness::new(),
            });
        }
        let spent: Vec<TxOut> = draft.inputs.iter().map(|(coin, _)| coin.output.clone()).collect();
        let witnesses = draft
            .inputs
            .iter()
            .enumerate()
            .map(|(index, (coin, _))| self.witness(&tx, &spent, index, coin))
            .collect::<Result<Vec<Witness>, _>>()?;
        for (input, witness) in tx.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        Ok(tx)
    }

    /// The witness of input `index`, which spends `coin` by its key path or its leaf.
    ///
    /// `spent`: what each input of `tx` spends.
    pub(super) fn witness(
        &self,
        tx: &Transaction,
        spent: &[TxOut],
        index: usize,
        coin: &LabCoin,
    ) -> Result<Witness, BuildError> {
        let all = Prevouts::All(spent);
        let mut cache = SighashCache::new(tx);
        let sighash = match &coin.leaf {
            None => cache.taproot_key_spend_signature_hash(index, &all, TapSighashType::Default),
            Some(leaf) => {
                let hash = TapLeafHash::from_script(&leaf.script, LeafVersion::TapScript);
                cache.taproot_script_spend_signature_hash(
                    index,
                    &all,
                    hash,
                    TapSighashType::Default,
                )
            }
        };
        let digest = sighash.map_err(|_| BuildError::Taproot)?.to_byte_array();
        let key = match &coin.leaf {
            None => coin.key.tap_tweak(&self.secp, None).to_keypair(),
            Some(_) => coin.key,
        };
        let message = Message::from_digest(digest);
        let signature = self.secp.sign_schnorr_no_aux_rand(&message, &key);
        let mut witness = Witness::from_slice(&[signature.serialize().as_slice()]);
        if let Some(leaf) = &coin.leaf {
            witness.push(&leaf.script);
            witness.push(leaf.control.serialize());
        }
        Ok(witness)
    }
}

/// Output `vout` of `tx`, which pays the key path of `key`.
pub(super) fn output_of(tx: &Transaction, vout: u32, key: &Keypair) -> LabCoin {
    let at = usize::try_from(vout).unwrap_or(usize::MAX);
    let output = tx.output.get(at).cloned().unwrap_or(TxOut::NULL);
    let outpoint = OutPoint { txid: tx.compute_txid(), vout };
    LabCoin { outpoint, output, key: *key, leaf: None }
}

/// Output `vout` of `tx`, which is spent by `leaf` and a signature of `key`.
pub(super) fn leaf_of(tx: &Transaction, vout: u32, key: &Keypair, leaf: &Leaf) -> LabCoin {
    LabCoin { leaf: Some(leaf.clone()), ..output_of(tx, vout, key) }
}

/// An output of `value` satoshis.
pub(super) fn output(value: u64, script: &ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(value), script_pubkey: script.clone() }
}

/// The same transaction with one bit of its first signature changed.
pub(super) fn forged(tx: &Transaction) -> Transaction {
    let mut forged = tx.clone();
    if let Some(input) = forged.input.first_mut() {
        let mut items = input.witness.to_vec();
        if let Some(byte) = items.first_mut().and_then(|signature| signature.last_mut()) {
            *byte ^= 1;
        }
        input.witness = Witness::from_slice(&items);
    }
    forged
}

/// A scenario as it is written down, step by step.
pub(super) struct Tale {
    name: &'static str,
    steps: Vec<Step>,
}

impl Tale {
    /// Begins with [`START`] empty blocks.
    pub(super) fn new(name: &'static str) -> Result<Self, BuildError> {
        Self { name, steps: Vec::new() }.mine(START)
    }

    pub(super) fn submit(mut self, what: &'static str, tx: &Transaction) -> Self {
        self.steps.push(Step::Submit { what, tx: tx.clone(), expect: Verdict::Accept });
        self
    }

    pub(super) fn refuse(mut self, what: &'static str, tx: &Transaction, why: Reason) -> Self {
        self.steps.push(Step::Submit { what, tx: tx.clone(), expect: Verdict::Refuse(why) });
        self
    }

    pub(super) fn package(mut self, what: &'static str, txs: &[&Transaction]) -> Self {
        self.steps.push(Step::Package { what, txs: owned(txs), expect: Verdict::Accept });
        self
    }

    pub(super) fn refuse_package(
        mut self,
        what: &'static str,
        txs: &[&Transaction],
        why: Reason,
    ) -> Self {
        self.steps.push(Step::Package { what, txs: owned(txs), expect: Verdict::Refuse(why) });
        self
    }

    pub(super) fn connect(mut self, what: &'static str, txs: &[&Transaction]) -> Self {
        self.steps.push(Step::Connect { what, txs: owned(txs), expect: Verdict::Accept });
        self
    }

    pub(super) fn refuse_block(
        mut self,
        what: &'static str,
        txs: &[&Transaction],
        why: Reason,
    ) -> Self {
        self.steps.push(Step::Connect { what, txs: owned(txs), expect: Verdict::Refuse(why) });
        self
    }

    pub(super) fn block(mut self, what: &'static str, block: &Block) -> Self {
        self.steps.push(Step::Block { what, block: block.clone(), expect: Verdict::Accept });
        self
    }

    pub(super) fn wrong(mut self, what: &'static str, block: &Block, why: Reason) -> Self {
        self.steps.push(Step::Block { what, block: block.clone(), expect: Verdict::Refuse(why) });
        self
    }

    pub(super) fn mine(mut self, blocks: u32) -> Result<Self, BuildError> {
        self.steps.push(Step::Mine { blocks: Blocks::new(blocks)? });
        Ok(self)
    }

    /// Replaces `depth` blocks by `branch`.
    pub(super) fn reorg(
        mut self,
        depth: u32,
        branch: &[&[&Transaction]],
    ) -> Result<Self, BuildError> {
        let branch = branch.iter().map(|txs| owned(txs)).collect();
        self.steps.push(Step::Reorg { depth: Blocks::new(depth)?, branch });
        Ok(self)
    }

    pub(super) fn present(self, what: &'static str, tx: &Transaction) -> Self {
        self.in_mempool(what, tx.compute_txid(), true)
    }

    pub(super) fn absent(self, what: &'static str, tx: &Transaction) -> Self {
        self.in_mempool(what, tx.compute_txid(), false)
    }

    pub(super) fn end(self) -> Scenario {
        Scenario { name: self.name, steps: self.steps }
    }

    fn in_mempool(mut self, what: &'static str, txid: Txid, expect: bool) -> Self {
        self.steps.push(Step::InMempool { what, txid, expect });
        self
    }
}

fn owned(txs: &[&Transaction]) -> Vec<Transaction> {
    txs.iter().copied().cloned().collect()
}
