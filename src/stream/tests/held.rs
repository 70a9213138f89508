//! Conditional payments between payer and payee: what is accepted, what is refused, and what is at
//! risk meanwhile.

use alloc::vec;

use super::*;
use crate::stream::payee::PayeeHoldState;
use crate::stream::payer::{HoldStep, PayerHoldState};
use crate::tx::TxError;
use crate::tx::hold::{ClaimDelay, Held, Hold, PaymentHash, Preimage};
use crate::units::HoldId;

pub(super) const K: u16 = 12;
pub(super) const FEE: u64 = 300;
pub(super) const RULES: HoldRules = HoldRules {
    k: K,
    fee: match Sat::new(FEE) {
        Ok(fee) => fee,
        Err(_) => Sat::ZERO,
    },
    dust: match Sat::new(1_000) {
        Ok(dust) => dust,
        Err(_) => Sat::ZERO,
    },
    count: 4,
};
/// An expiry that can be enforced from [`DEEP`], and lies below the last call.
pub(super) const EXPIRY: u32 = 200;
/// Below this height a hold with that expiry must be settled: less k and the settle margin of 10.
pub(super) const SETTLE_BY: u32 = 178;

pub(super) fn preimage(number: u8) -> Preimage {
    Preimage::new([number; 32])
}

pub(super) fn id(number: u64) -> HoldId {
    HoldId::new(number).unwrap()
}

pub(super) fn hold(number: u8, amount: u64) -> Hold {
    Hold {
        id: id(number.into()),
        amount: sat(amount),
        hash: preimage(number).hash(),
        expiry: at(EXPIRY),
        delay: ClaimDelay::new(K).unwrap(),
    }
}

/// Sends nothing that is not durable.
pub(super) fn durable(step: HoldStep) -> HoldVoucher {
    step.commit(&mut MemoryStore::default()).unwrap()
}

/// When the payer's power goes: around the write of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) enum Cut {
    BeforeWrite,
    AfterWrite,
}

impl Pair {
    pub(super) fn holding() -> Self {
        Self::with(Choice { holds: RULES, ..Choice::default() })
    }

    /// The payer offers hold `number` until [`EXPIRY`].
    pub(super) fn offer(&mut self, number: u8, amount: u64) -> Result<HoldVoucher, StreamError> {
        self.offer_at(preimage(number).hash(), amount, EXPIRY, DEEP)
    }

    pub(super) fn offer_at(
        &mut self,
        hash: PaymentHash,
        amount: u64,
        expiry: u32,
        height: u32,
    ) -> Result<HoldVoucher, StreamError> {
        let (amount, expiry, view) = (sat(amount), at(expiry), view(height));
        let signer = &mut self.payer_signer;
        let step = self.payer.offer(
            &self.context,
            signer,
            hash,
            amount,
            expiry,
            session(),
            &view,
            &AUX,
        )?;
        self.take(step)
    }

    pub(super) fn grow(&mut self, number: u64, amount: u64) -> Result<HoldVoucher, StreamError> {
        let signer = &mut self.payer_signer;
        let (id, amount, view) = (id(number), sat(amount), view(DEEP));
        let step = self.payer.grow(&self.context, signer, id, amount, session(), &view, &AUX)?;
        self.take(step)
    }

    pub(super) fn fold(&mut self, number: u8) -> Result<HoldVoucher, StreamError> {
        self.fold_at(number.into(), preimage(number), DEEP)
    }

    pub(super) fn fold_at(
        &mut self,
        number: u64,
        preimage: Preimage,
        height: u32,
    ) -> Result<HoldVoucher, StreamError> {
        let (signer, view) = (&mut self.payer_signer, view(height));
        let id = id(number);
        let step = self.payer.fold(&self.context, signer, id, &preimage, session(), &view, &AUX)?;
        self.take(step)
    }

    pub(super) fn drop_holds(&mut self, height: u32) -> Result<HoldVoucher, StreamError> {
        let (signer, view) = (&mut self.payer_signer, view(height));
        let step = self.payer.drop_holds(&self.context, signer, session(), &view, &AUX)?;
        self.take(step)
    }

    pub(super) fn pay_held(&mut self, paid: u64) -> Result<HoldVoucher, StreamError> {
        let (signer, view) = (&mut self.payer_signer, view(DEEP));
        let paid = msat(paid);
        let step = self.payer.pay_held(&self.context, signer, paid, session(), &view, &AUX)?;
        self.take(step)
    }

    /// Sends nothing that is not durable; a power cut on either side of the write sends nothing.
    pub(super) fn take(&mut self, step: HoldStep) -> Result<HoldVoucher, StreamError> {
        let cut = self.cut.take();
        let record = step.record().clone();
        if cut != Some(Cut::BeforeWrite) {
            let voucher = step.commit(&mut self.payer_store)?;
            if cut.is_none() {
                self.payer.apply(&record)?;
                self.payer.check_invariants().unwrap();
                return Ok(voucher);
            }
        }
        self.power_cut();
        Err(StreamError::MustResume { at_least: self.payer.signed() })
    }

    /// The payer as its store has it, and a signer that knows nothing.
    pub(super) fn power_cut(&mut self) {
        let key = self.payer.record().key().unwrap();
        let bytes = self.payer_store.get(&key).unwrap().unwrap();
        self.reload_payer(PayerRecord::decode(&key, &bytes).unwrap());
    }

    pub(super) fn hear(&mut self, voucher: &HoldVoucher) -> Result<Accepted, StreamError> {
        self.hear_at(voucher, DEEP)
    }

    /// The payee accepts, or stays as it was.
    pub(super) fn hear_at(
        &mut self,
        voucher: &HoldVoucher,
        height: u32,
    ) -> Result<Accepted, StreamError> {
        let before = self.payee.clone();
        let step = self.payee.accept_held(&self.context, voucher, &view(height));
        assert_eq!(self.payee, before);
        let step = step?;
        self.payee.apply(step.record())?;
        self.payee.check_invariants(&self.context).unwrap();
        Ok(step)
    }

    /// Both have hold `number`.
    pub(super) fn held(&mut self, number: u8, amount: u64) -> HoldVoucher {
        let voucher = self.offer(number, amount).unwrap();
        let _accepted = self.hear(&voucher).unwrap();
        voucher
    }

    pub(super) fn fulfil(&mut self, number: u8) {
        let record = self.payee.fulfil(id(number.into()), preimage(number), &view(DEEP)).unwrap();
        self.payee.apply(&record).unwrap();
    }

    pub(super) fn release(&mut self, number: u64) {
        let record = self.payee.release(id(number)).unwrap();
        self.payee.apply(&record).unwrap();
        let record = self.payer.released(id(number)).unwrap();
        self.payer.apply(&record).unwrap();
    }

    /// What a payer could sign that keeps no rule.
    pub(super) fn forge(&self, paid: u64, holds: Vec<Hold>) -> HoldVoucher {
        let key = seed(1).payer_key(&self.context, Network::Regtest, KeyIndex::new(0).unwrap());
        let (key, paid) = (key.unwrap(), msat(paid));
        let channel = self.payer.channel().clone();
        let signature = if holds.is_empty() {
            channel.sign(&self.context, &key, paid, &AUX).unwrap().signature
        } else {
            let held = Held::new(&self.context, channel, paid, sat(FEE), holds.clone());
            held.unwrap().sign(&self.context, &key, &AUX).unwrap()
        };
        HoldVoucher { paid, holds, bundles: Vec::new(), signature }
    }

    fn refused(&mut self, voucher: &HoldVoucher) -> StreamError {
        self.hear(voucher).map(|step| step.paid()).unwrap_err()
    }
}

#[test]
fn hold_is_offered_grown_fulfilled_and_folded() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    assert_eq!(pair.payer.exposure(), msat(25_000_000));
    let grown = pair.grow(1, 7_000).unwrap();
    assert_eq!(grown.holds, [hold(1, 7_000)]);
    assert!(pair.hear(&grown).unwrap().is_new());
    assert!(!pair.hear(&grown).unwrap().is_new(), "the same again is idempotent");
    pair.fulfil(1);
    assert_eq!(pair.payee.holds()[0].state, PayeeHoldState::Fulfilled(preimage(1)));
    assert_eq!(pair.payee.settle_by(), Some(at(SETTLE_BY)));

    let folded = pair.fold(1).unwrap();
    assert_eq!((folded.paid, &folded.holds[..]), (msat(27_000_000), &[][..]));
    let accepted = pair.hear(&folded).unwrap();
    assert_eq!((accepted.paid(), accepted.gained()), (msat(27_000_000), msat(7_000_000)));
    assert_eq!(pair.payee.settle_by(), Some(at(LAST_CALL)));
    // Nothing is left to watch: no old voucher brings more than is paid.
    assert!(pair.payer.holds().is_empty());
    assert_eq!(pair.payer.exposure(), msat(27_000_000));
    pair.pay(28_000_000);
}

#[test]
fn hold_released_is_dropped_and_stays_at_risk_until_its_expiry() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    pair.release(1);
    let repeated = pair.payer.pay_held(
        &pair.context,
        &mut pair.payer_signer,
        msat(20_000_000),
        session(),
        &view(DEEP),
        &AUX,
    );
    let repeated = durable(repeated.unwrap());
    assert!(!pair.hear(&repeated).unwrap().is_new(), "a released hold may still be there");
    let dropped = pair.drop_holds(DEEP).unwrap();
    assert!(dropped.holds.is_empty());
    assert!(pair.hear(&dropped).unwrap().is_new());
    assert!(pair.payee.holds().is_empty());

    assert_eq!(pair.payer.holds()[0].state, PayerHoldState::GivenUp);
    assert_eq!(pair.payer.exposure_at(at(EXPIRY)), msat(25_000_000));
    assert_eq!(pair.payer.exposure_at(at(EXPIRY + 1)), msat(20_000_000));
    let signer = &pair.payer_signer;
    assert_eq!(signer.exposure_at(outpoint(1), at(EXPIRY)), Some(msat(25_000_000)));
    assert_eq!(signer.exposure_at(outpoint(1), at(EXPIRY + 1)), Some(msat(20_000_000)));
    // Paying above what the old voucher could bring makes it harmless.
    let _voucher = pair.sign(24_999_999).unwrap();
    assert_eq!(pair.payer.holds().len(), 1);
    let step = pair.pay_held(25_000_000).unwrap();
    assert!(step.holds.is_empty() && pair.payer.holds().is_empty());
}

#[test]
fn hold_dropped_shrunk_or_changed_is_refused() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    pair.held(2, 6_000);
    let (one, two) = (hold(1, 5_000), hold(2, 6_000));
    let other = |change: fn(&mut Hold)| {
        let mut hold = one;
        change(&mut hold);
        vec![hold, two]
    };
    let dropped = pair.forge(20_000_000, vec![two]);
    let want = StreamError::NotFolded { want: msat(5_000_000), got: Msat::ZERO };
    assert_eq!(pair.refused(&dropped), want);
    for holds in [
        other(|hold| hold.amount = sat(4_999)),
        other(|hold| hold.hash = preimage(9).hash()),
        other(|hold| hold.expiry = at(EXPIRY + 1)),
        other(|hold| hold.expiry = at(EXPIRY - 1)),
        other(|hold| hold.delay = ClaimDelay::new(K + 1).unwrap()),
    ] {
        let changed = pair.forge(20_000_000, holds);
        assert_eq!(pair.refused(&changed), StreamError::HoldChanged { id: id(1) });
    }
    let all = pair.forge(20_000_000, vec![]);
    let want = StreamError::NotFolded { want: msat(11_000_000), got: Msat::ZERO };
    assert_eq!(pair.refused(&all), want);
    // The plain door is the same one.
    assert_eq!(pair.accept(all.voucher()).unwrap_err(), want);
}

#[test]
fn hold_folded_for_less_than_its_amount_is_refused() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    let short = pair.forge(24_999_999, vec![]);
    let want = StreamError::NotFolded { want: msat(5_000_000), got: msat(4_999_999) };
    assert_eq!(pair.refused(&short), want);
    // In full it needs no preimage: what is paid is paid.
    let full = pair.forge(25_000_000, vec![]);
    assert_eq!(pair.hear(&full).unwrap().paid(), msat(25_000_000));
}

#[test]
fn hold_folded_twice_is_paid_once() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    pair.fulfil(1);
    let folded = pair.fold(1).unwrap();
    assert_eq!(pair.fold(1).unwrap_err(), StreamError::NoSuchHold { id: id(1) });
    let _accepted = pair.hear(&folded).unwrap();
    assert!(!pair.hear(&folded).unwrap().is_new());
    assert_eq!(pair.payee.paid(), msat(5_000_000));
}

#[test]
fn holds_out_of_order_or_with_a_used_id_are_refused() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    pair.held(2, 6_000);
    let mut voucher = pair.forge(20_000_000, vec![hold(1, 5_000), hold(2, 6_000)]);
    voucher.holds.reverse();
    let want = TxError::HoldOrder { before: id(2), after: id(1) };
    assert_eq!(pair.refused(&voucher), StreamError::Tx(want));
    let folded = pair.forge(31_000_000, vec![]);
    let _accepted = pair.hear(&folded).unwrap();
    for used in [1, 2] {
        let again = pair.forge(31_000_000, vec![hold(used, 5_000)]);
        let want = StreamError::HoldReused { id: id(used.into()), last: id(2) };
        assert_eq!(pair.refused(&again), want);
    }
    let fresh = pair.forge(31_000_000, vec![hold(3, 5_000)]);
    assert!(pair.hear(&fresh).is_ok());
}

#[test]
fn hold_with_an_expiry_too_near_or_too_far_is_refused_by_both() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let near = DEEP + u32::from(K) + 10;
    for (expiry, good) in
        [(near, false), (near + 1, true), (LAST_CALL - 1, true), (LAST_CALL, false)]
    {
        let mut twin = Pair::holding();
        twin.pay(20_000_000);
        let offered = twin.offer_at(preimage(1).hash(), 5_000, expiry, DEEP);
        let forged = pair.forge(20_000_000, vec![Hold { expiry: at(expiry), ..hold(1, 5_000) }]);
        let heard = twin.hear(&forged).map(|_| ());
        assert_eq!(heard.is_ok(), good, "{expiry}");
        assert_eq!(offered.map(|_| ()), heard, "{expiry}: payer and payee agree");
    }
}

#[test]
fn hold_below_the_terms_dust_or_above_their_count_is_refused_by_both() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let below = pair.offer(1, 999).unwrap_err();
    let (amount, dust) = (sat(999), sat(1_000));
    assert_eq!(below, TxError::HoldBelowDust { id: id(1), amount, dust }.into());
    let forged = pair.forge(20_000_000, vec![hold(1, 999)]);
    assert_eq!(pair.refused(&forged), below);
    for number in 1..=4 {
        pair.held(number, 1_000);
    }
    let before = pair.payer_signer.snapshot();
    let fifth = pair.offer(5, 1_000).unwrap_err();
    assert_eq!(fifth, TxError::TooManyHolds { got: 5, max: 4 }.into());
    assert_eq!(pair.payer_signer.snapshot(), before);
    let forged = pair.forge(20_000_000, (1..=5).map(|number| hold(number, 1_000)).collect());
    assert_eq!(pair.refused(&forged), fifth);
}

#[test]
fn hold_on_a_shallow_or_unconfirmed_output_is_refused_by_both_and_by_the_signer() {
    for confirmed in [None, Some(DEEP), Some(DEEP - 1)] {
        let mut pair = Pair::with(Choice { holds: RULES, confirmed, ..Choice::default() });
        let offered = pair.offer(1, 5_000).unwrap_err();
        assert!(matches!(offered, StreamError::NotDeepEnough { .. }), "{offered}");
        let forged = pair.forge(0, vec![hold(1, 5_000)]);
        assert_eq!(pair.refused(&forged), offered);
    }
    let mut pair = Pair::holding();
    let holds = vec![hold(1, 5_000)];
    let channel = pair.payer.channel().clone();
    let held = Held::new(&pair.context, channel, Msat::ZERO, sat(FEE), holds).unwrap();
    for confirmed in [None, Some(at(DEEP + 1))] {
        let (session, tip) = (session(), at(DEEP));
        let request = Request::Held { held: &held, session, tip, confirmed };
        let before = pair.payer_signer.snapshot();
        let refused = pair.payer_signer.sign(&request, UtcSeconds::new(NOW).unwrap(), &AUX);
        let want = crate::signer::SignerError::Unconfirmed { outpoint: outpoint(1) };
        assert_eq!(refused.unwrap_err(), want);
        assert_eq!(pair.payer_signer.snapshot(), before);
    }
}

#[test]
fn hold_on_a_wallets_change_or_without_rules_is_refused() {
    let change = wallet_change(5);
    let mut pair = Pair::with(Choice { holds: RULES, change, ..Choice::default() });
    let want = TxError::HoldsNeedOwnChange { outpoint: outpoint(1) };
    assert_eq!(pair.offer(1, 5_000).unwrap_err(), want.into());
    let mut pair = Pair::open();
    let want = TxError::TooManyHolds { got: 1, max: 0 };
    assert_eq!(pair.offer(1, 5_000).unwrap_err(), want.into());
    let forged = pair.forge(0, vec![hold(1, 5_000)]);
    assert_eq!(pair.refused(&forged), want.into());
}

#[test]
fn preimage_of_another_hash_is_refused_by_both() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    let want = StreamError::Tx(TxError::WrongPreimage { want: preimage(1).hash() });
    assert_eq!(pair.payee.fulfil(id(1), preimage(2), &view(DEEP)).unwrap_err(), want);
    assert_eq!(pair.fold_at(1, preimage(2), DEEP).unwrap_err(), want);
    let missing = StreamError::NoSuchHold { id: id(2) };
    assert_eq!(pair.payee.fulfil(id(2), preimage(2), &view(DEEP)).unwrap_err(), missing);
    assert_eq!(pair.fold_at(2, preimage(2), DEEP).unwrap_err(), missing);
}

#[test]
fn preimage_is_not_used_once_the_claim_could_be_late_nor_after_a_release() {
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    pair.held(2, 5_000);
    let late = pair.payee.fulfil(id(1), preimage(1), &view(SETTLE_BY)).unwrap_err();
    assert_eq!(late, StreamError::HoldPast { id: id(1), expiry: at(EXPIRY) });
    assert!(pair.payee.fulfil(id(1), preimage(1), &view(SETTLE_BY - 1)).is_ok());
    pair.fulfil(1);
    assert_eq!(pair.payee.release(id(1)).unwrap_err(), StreamError::HoldFulfilled { id: id(1) });
    pair.release(2);
    let released = pair.payee.fulfil(id(2), preimage(2), &view(DEEP)).unwrap_err();
    assert_eq!(released, StreamError::HoldReleased { id: id(2) });
    assert!(pair.fold_at(1, preimage(1), EXPIRY).is_ok());
    let mut pair = Pair::holding();
    pair.held(1, 5_000);
    let past = pair.fold_at(1, preimage(1), EXPIRY + 1).unwrap_err();
    assert_eq!(past, StreamError::HoldPast { id: id(1), expiry: at(EXPIRY) });
}

#[test]
fn hold_past_its_expiry_is_dropped_and_not_before() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    let voucher = pair.held(1, 5_000);
    assert_eq!(pair.drop_holds(EXPIRY).unwrap().holds, voucher.holds);
    let dropped = pair.drop_holds(EXPIRY + 1).unwrap();
    assert!(dropped.holds.is_empty());
    let early = pair.hear_at(&dropped, EXPIRY - 1).map(|step| step.paid()).unwrap_err();
    assert!(matches!(early, StreamError::NotFolded { .. }));
    // A payee whose tip is one below the payer's does not refuse it.
    assert!(pair.hear_at(&dropped, EXPIRY).is_ok());
    assert_eq!(pair.payer.holds()[0].state, PayerHoldState::Expired);
    // Its expiry has passed for the exposure, and an old settlement is watched for all the same.
    assert_eq!(pair.payer.exposure_at(at(EXPIRY + 1)), msat(20_000_000));
}

#[test]
fn plain_payment_close_and_shared_settlement_wait_while_holds_are_open() {
    let mut pair = Pair::holding();
    pair.pay(20_000_000);
    pair.held(1, 5_000);
    let open = StreamError::HoldsOpen { count: 1 };
    assert_eq!(pair.sign(21_000_000).unwrap_err(), open);
    assert_eq!(joint::propose_close(&mut pair, sat(300)).unwrap_err(), open);
    let plan = SettlementPlan::new(&pair.context, [&pair.payee]).unwrap_err();
    assert_eq!(plan, open);
    let paid = pair.pay_held(21_000_000).unwrap();
    assert_eq!(pair.hear(&paid).unwrap().gained(), msat(1_000_000));
    assert_eq!(pair.pay_held(20_999_999).unwrap_err(), {
        StreamError::Backwards { got: msat(20_999_999), signed: msat(21_000_000) }
    });
}

#[test]
fn more_than_the_capacity_leaves_is_not_held() {
    let mut pair = Pair::holding();
    // What is held must fit into a plain voucher, or it could not be folded.
    let limit = pair.payer.channel().largest_with_change();
    let most = limit.floor_to_sat().to_sat();
    let above = TxError::AboveCapacity { paid: msat((most + 1) * 1_000), limit };
    assert_eq!(pair.offer(1, most + 1).unwrap_err(), above.into());
    assert_eq!(pair.payer.spendable(), limit);
    let voucher = pair.offer(1, most).unwrap();
    assert!(pair.hear(&voucher).is_ok());
    assert_eq!(pair.payer.spendable(), Msat::ZERO);
    // The change is below its dust limit, so it goes to the miner, and counts.
    assert_eq!(pair.payer.exposure(), msat(CAPACITY * 1_000));
    pair.fulfil(1);
    let folded = pair.fold(1).unwrap();
    assert_eq!(pair.hear(&folded).unwrap().paid(), msat(most * 1_000));
}
