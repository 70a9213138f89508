//! What the tests of this room share: one payer, one payee, and what the chain shows of them.

mod accept;
mod backup;
mod chain;
mod held;
mod held_bundle;
mod held_chain;
mod held_matrix;
mod held_model;
mod held_resume;
mod joint;
mod matrix;
mod open;
mod pair;
mod records;
mod resume;
mod settle;
mod spend;
mod terms;

use alloc::vec::Vec;

use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxOut, Txid, Witness,
    XOnlyPublicKey,
};

use super::payee::{Accepted, PayeeRecord, SettlementPlan};
use super::payer::{Ending, Opening, PayerRecord};
use super::*;
use crate::keys::{Context, Entropy, Seed};
use crate::signer::budget::Policy;
use crate::signer::{MemorySigner, Past, PeerId, Request, Role, Signer};
use crate::store::{MemoryStore, Store};
use crate::tx::seen::{OutputStatus, Spend, Tip};
use crate::tx::{
    ChangeScript, Channel, Delay, FeeInput, JointSpend, Settlement, Voucher, WalletScript,
};
use crate::units::{Blocks, FeeRate, Height, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds};

pub(super) const AUX: Entropy = Entropy::new([0; 32]);
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const CAPACITY: u64 = 100_000;
/// Where the funding confirms; with a delay of 144 the deadline is 244, the last call 234.
pub(super) const CONFIRMED: u32 = 100;
pub(super) const DELAY: u16 = 144;
pub(super) const LAST_CALL: u32 = 234;
/// A tip under which the funding is deep enough.
pub(super) const DEEP: u32 = 110;
/// What the terms allow on a shallow output.
pub(super) const ZERO_CONF_SAT: u64 = 1_000;

pub(super) fn sat(amount: u64) -> Sat {
    Sat::new(amount).unwrap()
}

pub(super) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

pub(super) fn at(height: u32) -> Height {
    Height::new(height).unwrap()
}

pub(super) fn blocks(count: u32) -> Blocks {
    Blocks::new(count).unwrap()
}

pub(super) fn rate(sat_per_kvb: u64) -> FeeRate {
    FeeRate::new(sat_per_kvb).unwrap()
}

pub(super) fn session() -> SessionId {
    SessionId::new(1).unwrap()
}

pub(super) fn view(height: u32) -> View {
    let now = UtcSeconds::new(NOW).unwrap();
    View { tip: tip(height), now, tip_age_max: Seconds::new(7_200).unwrap() }
}

pub(super) fn tip(height: u32) -> Tip {
    let time = UtcSeconds::new(NOW).unwrap();
    Tip { height: at(height), hash: BlockHash::all_zeros(), time }
}

pub(super) fn seed(byte: u8) -> Seed {
    Seed::new([byte; 32])
}

pub(super) fn signer(byte: u8) -> MemorySigner {
    let policy = Policy { hour: Msat::MAX, day: Msat::MAX, peer: Msat::MAX, slice: Msat::MAX };
    let mut signer = MemorySigner::new(seed(byte), Network::Regtest, policy, None, &AUX).unwrap();
    signer.release_day_budget_without_record(UtcSeconds::new(NOW).unwrap()).unwrap();
    signer
}

/// A payer's signer with session 1 open and its budget reserved.
pub(super) fn payer_signer() -> MemorySigner {
    let mut signer = signer(1);
    signer.open_session(PeerId::new(base(2)), session(), Msat::MAX).unwrap();
    let next = signer.reserve(UtcSeconds::new(NOW).unwrap(), None).unwrap().unwrap();
    signer.apply(next.commit(&mut MemoryStore::default()).unwrap()).unwrap();
    signer
}

pub(super) fn base(byte: u8) -> XOnlyPublicKey {
    seed(byte).base_key(&Context::new(), Network::Regtest).unwrap().public()
}

pub(super) fn payer_key(index: u32) -> XOnlyPublicKey {
    let index = KeyIndex::new(index).unwrap();
    seed(1).payer_key(&Context::new(), Network::Regtest, index).unwrap().public()
}

pub(super) fn outpoint(byte: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([byte; 32]), 0)
}

/// A wallet's P2TR script.
pub(super) fn wallet(byte: u8) -> ScriptBuf {
    ScriptBuf::new_p2tr(Context::new().secp(), base(byte), None)
}

pub(super) fn wallet_change(byte: u8) -> ChangeScript {
    ChangeScript::Wallet(WalletScript::parse(wallet(byte)).unwrap())
}

pub(super) fn terms() -> Terms {
    let mut terms = Terms::new(Network::Regtest, base(2)).unwrap();
    terms.delay = (Delay::new(50).unwrap(), Delay::new(1_000).unwrap());
    terms.capacity = (sat(10_000), sat(1_000_000));
    terms.confirmation_depth = blocks(3);
    terms.settle_margin = blocks(10);
    terms.zero_conf_limit = sat(ZERO_CONF_SAT);
    terms.credit = msat(10_000);
    terms.expiry = UtcSeconds::new(NOW + 1_000).unwrap();
    terms
}

/// What the chain shows of a channel's output.
pub(super) fn status(channel: &Channel, confirmed: Option<u32>) -> OutputStatus {
    let output = channel.to_txout();
    OutputStatus {
        value: channel.capacity(),
        script: output.script_pubkey,
        confirmed: confirmed.map(at),
        truc: true,
        spent: None,
    }
}

pub(super) fn spent(channel: &Channel, tx: &Transaction, confirmed: Option<u32>) -> OutputStatus {
    let spend = Spend { tx: tx.clone(), confirmed: confirmed.map(at) };
    OutputStatus { spent: Some(spend), ..status(channel, Some(CONFIRMED)) }
}

/// The coin that pays for a top-up.
pub(super) fn coin(value: u64) -> FeeInput {
    let output = TxOut { value: Amount::from_sat(value), script_pubkey: wallet(7) };
    FeeInput::new(outpoint(0xcc), output).unwrap()
}

/// One channel seen from both sides, each with its signer.
pub(super) struct Pair {
    pub(super) context: Context,
    pub(super) payer: Payer,
    pub(super) payee: Payee,
    pub(super) payer_signer: MemorySigner,
    pub(super) payee_signer: MemorySigner,
    /// Where the payer's steps with holds are written before their vouchers leave.
    pub(super) payer_store: MemoryStore,
    /// When the payer's power goes next.
    pub(super) cut: Option<held::Cut>,
}

/// What the payer chose when it opened.
pub(super) struct Choice {
    pub(super) change: ChangeScript,
    pub(super) confirmed: Option<u32>,
    pub(super) truc: bool,
    pub(super) capacity: u64,
    pub(super) holds: HoldRules,
}

impl Default for Choice {
    fn default() -> Self {
        let (change, confirmed) = (ChangeScript::Own, Some(CONFIRMED));
        Self { change, confirmed, truc: true, capacity: CAPACITY, holds: HoldRules::NONE }
    }
}

pub(super) fn opening(change: ChangeScript, capacity: u64) -> Opening {
    opening_by(&terms(), change, capacity)
}

fn opening_by(terms: &Terms, change: ChangeScript, capacity: u64) -> Opening {
    let (context, index) = (Context::new(), KeyIndex::new(0).unwrap());
    let (key, delay) = (payer_key(0), Delay::new(DELAY).unwrap());
    Opening::new(&context, terms, index, key, delay, sat(capacity), change, &view(90)).unwrap()
}

impl Pair {
    /// A channel that is deep enough, with the own script as its change.
    pub(super) fn open() -> Self {
        Self::with(Choice::default())
    }

    pub(super) fn with(choice: Choice) -> Self {
        let context = Context::new();
        let terms = Terms { holds: choice.holds, ..terms() };
        let opening = opening_by(&terms, choice.change, choice.capacity);
        let (record, _, request) = opening.funded(outpoint(1));
        let payer = Payer::load(&context, payer_key(0), record).unwrap();
        let mut status = status(payer.channel(), choice.confirmed);
        status.truc = choice.truc;
        let payee = Payee::open(&context, &terms, &request, Some(&status), &view(DEEP)).unwrap();
        let (payer_signer, payee_signer) = (payer_signer(), signer(2));
        let (payer_store, cut) = (MemoryStore::default(), None);
        let mut pair = Self { context, payer, payee, payer_signer, payee_signer, payer_store, cut };
        pair.payer.register(&mut pair.payer_signer, Past::New).unwrap();
        pair.register_payee();
        pair.notice(&status, DEEP);
        pair
    }

    pub(super) fn register_payee(&mut self) {
        let role = Role::Payee { stated: None };
        self.payee_signer.register(self.payee.channel(), role).unwrap();
    }

    /// Both look at the chain and take over what they see.
    pub(super) fn notice(&mut self, status: &OutputStatus, height: u32) {
        let seen = self.payer.notice(Some(status), &tip(height)).unwrap();
        self.payer.apply(seen.record()).unwrap();
        let seen = self.payee.notice(Some(status), &tip(height)).unwrap();
        self.payee.apply(seen.record()).unwrap();
    }

    /// The payer signs; whether the voucher arrives is another matter.
    pub(super) fn sign(&mut self, paid: u64) -> Result<Voucher, StreamError> {
        self.sign_at(paid, Ending::KeepsChange, DEEP)
    }

    pub(super) fn sign_at(
        &mut self,
        paid: u64,
        ending: Ending,
        height: u32,
    ) -> Result<Voucher, StreamError> {
        let signer = &mut self.payer_signer;
        let step = self.payer.pay(signer, msat(paid), ending, session(), &view(height), &AUX)?;
        self.payer.apply(step.record())?;
        Ok(step.voucher())
    }

    pub(super) fn accept(&mut self, voucher: Voucher) -> Result<Accepted, StreamError> {
        self.accept_at(voucher, DEEP)
    }

    /// The payee accepts, or stays as it was.
    pub(super) fn accept_at(
        &mut self,
        voucher: Voucher,
        height: u32,
    ) -> Result<Accepted, StreamError> {
        let before = self.payee.clone();
        let step = self.payee.accept(&self.context, voucher, &view(height));
        assert_eq!(self.payee, before);
        let step = step?;
        self.payee.apply(step.record())?;
        self.payee.check_invariants(&self.context).unwrap();
        Ok(step)
    }

    pub(super) fn pay(&mut self, paid: u64) -> Voucher {
        let voucher = self.sign(paid).unwrap();
        let _accepted = self.accept(voucher).unwrap();
        voucher
    }

    pub(super) fn settlement(&self, sat_per_kvb: u64) -> Settlement {
        let plan = SettlementPlan::new(&self.context, [&self.payee]).unwrap();
        plan.build(&[], wallet(9), rate(sat_per_kvb)).unwrap()
    }

    /// The payee promises and signs; the record of the successor comes with the transaction.
    pub(super) fn settle(&mut self, sat_per_kvb: u64) -> (Transaction, Option<PayeeRecord>) {
        let settlement = self.settlement(sat_per_kvb);
        let (record, successor) = self.payee.promise(&settlement).unwrap();
        self.payee.apply(&record).unwrap();
        let request = Request::Settlement { settlement: &settlement, index: 0 };
        let now = UtcSeconds::new(NOW).unwrap();
        let signature = self.payee_signer.sign(&request, now, &AUX).unwrap();
        (settlement.finish(&[signature], Vec::new()).unwrap(), successor)
    }

    /// The payer's refund, which it can sign at any height.
    pub(super) fn refund(&mut self) -> Transaction {
        let signer = &mut self.payer_signer;
        let view = view(10_000);
        let payer = &self.payer;
        payer.refund(signer, wallet(8), rate(1_000), &view, &AUX).unwrap().transaction().clone()
    }

    /// What a payer restarted from its stored record starts with.
    pub(super) fn restart_payer(&mut self) {
        let key = self.payer.record().key().unwrap();
        let bytes = self.payer.record().encode().unwrap();
        self.reload_payer(PayerRecord::decode(&key, &bytes).unwrap());
    }

    /// The payer and a signer without memory, from a record.
    pub(super) fn reload_payer(&mut self, record: PayerRecord) {
        self.payer = Payer::load(&self.context, payer_key(0), record).unwrap();
        self.payer_signer = payer_signer();
    }

    /// What a payee restarted from its stored record starts with.
    pub(super) fn restart_payee(&mut self) {
        let key = self.payee.record().key().unwrap();
        let bytes = self.payee.record().encode().unwrap();
        let record = PayeeRecord::decode(&key, &bytes).unwrap();
        assert_eq!(record, *self.payee.record());
        self.payee = Payee::load(&self.context, base(2), record).unwrap();
    }

    /// Resumes from what the payee presents.
    pub(super) fn resume(&mut self) -> Result<Msat, StreamError> {
        let change = self.payee.channel().change().clone();
        let best = self.payee.best().map(|best| (best, &change));
        let resumed = self.payer.resume(&self.context, &mut self.payer_signer, best)?;
        self.payer.apply(resumed.record())?;
        Ok(resumed.behind())
    }
}

/// A joint spend with both signatures, the fee inputs' witnesses being placeholders of their size.
pub(super) fn finish_joint(
    spend: &JointSpend,
    payer: &bitcoin::secp256k1::schnorr::Signature,
    payee: &bitcoin::secp256k1::schnorr::Signature,
) -> Transaction {
    let inputs = spend.transaction().input.len() - 1;
    let witnesses = (0..inputs).map(|_| Witness::from_slice(&[[0; 64]])).collect();
    spend.clone().finish(payer, payee, witnesses).unwrap()
}
