//! Conditional payments as the payer makes them: offered, grown, folded after the preimage, given
//! up after release or expiry; timed out on the chain.
//!
//! ```text
//!            offer              payee: preimage
//!   (none) ---------> Open ------------------------ fold ------> paid
//!                     | ^ |                                        ^ claim on the chain
//!                grow '-' |-- payee: release --> Released          |
//!                         |                        | drop_holds    |
//!                         |                        '--> GivenUp ---+-- timeout on the chain
//!                         '-- expiry passed, drop_holds --> Expired '
//! ```

use alloc::vec::Vec;

use bitcoin::{ScriptBuf, Transaction};

use super::pay::Resumed;
use super::{Payer, PayerHold, PayerHoldState, PayerPhase, PayerRecord};
use crate::keys::{Context, Entropy, tagged_hash};
use crate::signer::{Past, Request, Signer};
use crate::store::{Batch, Durability, Store};
use crate::stream::bundle::{Bundle, BundleSum, due};
use crate::stream::channel;
use crate::stream::error::StreamError;
use crate::stream::hold::{HoldVoucher, coins, sign_spend};
use crate::stream::view::View;
use crate::tx::TxError;
use crate::tx::hold::{Held, Hold, HoldCoin, HoldSpend, PaymentHash, Preimage};
use crate::units::{FeeRate, Height, HoldId, Msat, Sat, SessionId};

/// Tag of the auxiliary randomness of bundles.
const SALT: &[u8] = b"millstream/bundle/aux";

/// A signed state with holds, or the one that ends them. S9: the voucher comes out only after the
/// record is durable, by [`Self::commit`] or by [`Self::stage`] into the batch of a drain.
///
/// Dropping it is safe: the voucher never left, though the signer counts it as if it had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the voucher is not sent before its record is durable"]
pub struct HoldStep {
    record: PayerRecord,
    voucher: HoldVoucher,
}

/// A step whose record stands in a batch and is not durable yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the voucher is not sent before the batch is committed"]
pub struct HoldStaged {
    voucher: HoldVoucher,
}

impl HoldStep {
    /// The record after it, for [`Payer::apply`].
    pub const fn record(&self) -> &PayerRecord {
        &self.record
    }

    /// The holds of the state that it signs, in the order of their ids: what was offered by it is
    /// known by its id from here on.
    pub fn holds(&self) -> &[Hold] {
        &self.voucher.holds
    }

    /// Makes the record durable in a commit of its own, and gives what to send.
    ///
    /// # Errors
    /// [`StreamError::Store`] as the store says; nothing may be sent.
    pub fn commit(self, store: &mut dyn Store) -> Result<HoldVoucher, StreamError> {
        let mut batch = Batch::default();
        let staged = self.stage(&mut batch)?;
        store.commit(&batch, Durability::Barrier)?;
        Ok(staged.after_barrier())
    }

    /// Adds the record to a drain's batch.
    ///
    /// # Errors
    /// [`StreamError::Store`] if the batch is full; it is as it was.
    pub fn stage(self, batch: &mut Batch) -> Result<HoldStaged, StreamError> {
        batch.put(self.record.key()?, &self.record.encode()?)?;
        Ok(HoldStaged { voucher: self.voucher })
    }
}

impl HoldStaged {
    /// Says that the batch was committed with a barrier, and gives what to send. P4: only the
    /// driver's answer to that commit may lead here.
    #[must_use]
    pub fn after_barrier(self) -> HoldVoucher {
        self.voucher
    }
}

/// What a step with holds is made under.
#[derive(Debug, Clone, Copy)]
struct Moment<'a> {
    context: &'a Context,
    session: SessionId,
    view: &'a View,
    aux: &'a Entropy,
}

/// The holds of the next state, and what is new about them.
#[derive(Debug)]
struct Next {
    open: Vec<Hold>,
    /// The hold that this state pays.
    folded: Option<HoldId>,
    /// The hold that this state gives another bundle.
    bundle: Option<(HoldId, BundleSum)>,
}

impl Next {
    const fn of(open: Vec<Hold>) -> Self {
        Self { open, folded: None, bundle: None }
    }
}

impl Payer {
    /// Offers `amount` for the preimage of `hash` until height `expiry`.
    ///
    /// # Errors
    /// [`StreamError::HoldTooNear`], [`StreamError::HoldTooFar`], [`StreamError::NotDeepEnough`];
    /// [`StreamError::TooManyKept`]; [`TxError`] below dust, too many, above the capacity or on a
    /// wallet's change; those of every payment.
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payer")]
    pub fn offer(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        hash: PaymentHash,
        amount: Sat,
        expiry: Height,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<HoldStep, StreamError> {
        let moment = Moment { context, session, view, aux };
        self.offer_one(signer, (hash, amount, expiry), None, &moment)
    }

    /// Offers a bundle as one hold of its whole satoshis; or, where one of equal hash and expiry is
    /// open already, merges it into that, its items being those that were there and more.
    ///
    /// # Errors
    /// As [`Payer::offer`], [`TxError::HoldBelowDust`] above all: the bundle waits for more, or is
    /// given back. As [`Payer::grow`]; [`StreamError::WrongBundle`] if it is not more of the same.
    pub fn offer_bundle(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        bundle: &Bundle,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<HoldStep, StreamError> {
        let sum = *bundle.sum();
        // Growth by less than a satoshi signs the same digest, and a payee believes nothing new of
        // a signature that it has.
        let aux = Entropy::new(tagged_hash(SALT, &[aux.as_bytes(), sum.root()]));
        let moment = Moment { context, session, view, aux: &aux };
        let mut kept = self.record.holds.kept.iter();
        let open = kept.find(|kept| {
            kept.state == PayerHoldState::Open && kept.bundle.is_some() && bundle.fits(&kept.hold)
        });
        if let Some(kept) = open {
            return self.grow_one(signer, kept, sum.amount(), Some(sum), &moment);
        }
        let hold = (bundle.hash(), sum.amount(), bundle.expiry());
        self.offer_one(signer, hold, Some(sum), &moment)
    }

    /// Raises an open hold to `amount`.
    ///
    /// # Errors
    /// [`StreamError::NoSuchHold`], [`StreamError::HoldReleased`]; [`StreamError::HoldChanged`] if
    /// `amount` is smaller; [`StreamError::WrongBundle`] if it is a bundle, which grows by
    /// [`Payer::offer_bundle`]; as [`Payer::offer`].
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payer")]
    pub fn grow(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        id: HoldId,
        amount: Sat,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<HoldStep, StreamError> {
        let moment = Moment { context, session, view, aux };
        self.grow_one(signer, self.open_hold(id)?, amount, None, &moment)
    }

    /// Pays an open hold whose preimage the payee revealed: `paid` rises by its full amount, of a
    /// bundle by its total.
    ///
    /// # Errors
    /// [`StreamError::NoSuchHold`], [`StreamError::HoldPast`] after its expiry,
    /// [`TxError::WrongPreimage`]; those of every payment.
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payer")]
    pub fn fold(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        id: HoldId,
        preimage: &Preimage,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<HoldStep, StreamError> {
        let kept = self.record.holds.get(id)?;
        if !kept.state.is_present() {
            return Err(StreamError::NoSuchHold { id });
        }
        let (hold, due) = (kept.hold, due(&kept.hold, kept.bundle.as_ref()));
        preimage.check(hold.hash)?;
        if view.tip.height > hold.expiry {
            return Err(StreamError::HoldPast { id, expiry: hold.expiry });
        }
        let mut open = self.record.holds.open();
        open.retain(|hold| hold.id != id);
        let paid = self.record.signed.add(due).map_err(TxError::from)?;
        let moment = Moment { context, session, view, aux };
        self.hold_step(signer, paid, Next { folded: Some(id), ..Next::of(open) }, &moment)
    }

    /// Pays `paid` in all beside the open holds; the same amount again signs the same state, to be
    /// sent once more.
    ///
    /// # Errors
    /// Those of every payment.
    pub fn pay_held(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        paid: Msat,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<HoldStep, StreamError> {
        let moment = Moment { context, session, view, aux };
        self.hold_step(signer, paid, Next::of(self.record.holds.open()), &moment)
    }

    /// Leaves out every hold that the payee released, and every one whose expiry has passed.
    ///
    /// The older vouchers stay valid: the holds are kept, and the channel's outpoint is watched.
    ///
    /// # Errors
    /// Those of every payment.
    pub fn drop_holds(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        session: SessionId,
        view: &View,
        aux: &Entropy,
    ) -> Result<HoldStep, StreamError> {
        let tip = view.tip.height;
        let present = self.record.holds.kept.iter().filter(|kept| match kept.state {
            // A tip above the expiry: the payee may be a block behind.
            PayerHoldState::Open => kept.hold.expiry >= tip,
            PayerHoldState::Released | PayerHoldState::GivenUp | PayerHoldState::Expired => false,
        });
        let open = present.map(|kept| kept.hold).collect();
        let moment = Moment { context, session, view, aux };
        self.hold_step(signer, self.record.signed, Next::of(open), &moment)
    }

    /// The record after the payee released a hold. It is at risk until its expiry all the same.
    ///
    /// # Errors
    /// [`StreamError::NoSuchHold`].
    pub fn released(&self, id: HoldId) -> Result<PayerRecord, StreamError> {
        let kept = self.record.holds.get(id)?;
        let mut record = self.record.clone();
        if kept.state == PayerHoldState::Open {
            for kept in record.holds.kept.iter_mut().filter(|kept| kept.hold.id == id) {
                kept.state = PayerHoldState::Released;
            }
        }
        Ok(record)
    }

    /// The holds that this payer keeps, in the order of their ids.
    #[must_use]
    pub fn holds(&self) -> &[PayerHold] {
        &self.record.holds.kept
    }

    /// Takes the channel up again from a best voucher with holds that the payee presents.
    ///
    /// As [`Payer::resume`]: the payer checks its own signature. Where the record has another
    /// state at no smaller `paid`, the record stands, since it was durable before anything left,
    /// and [`Payer::pay_held`] sends it again. Where it has less, or has as much and does not know
    /// a hold of the voucher in its full amount, it is older than what was signed (a restored
    /// backup), and the presented holds are taken over.
    ///
    /// # Errors
    /// [`StreamError::Tx`] if the voucher is not this payer's; [`StreamError::WrongPhase`],
    /// [`StreamError::Signer`].
    pub fn resume_held(
        &self,
        context: &Context,
        signer: &mut dyn Signer,
        best: &HoldVoucher,
    ) -> Result<Resumed, StreamError> {
        if best.holds.is_empty() {
            let change = self.record.change.clone();
            return self.resume(context, signer, Some((best.voucher(), &change)));
        }
        match self.record.phase {
            PayerPhase::Open | PayerPhase::Unsure | PayerPhase::Leaving { .. } => {}
            PayerPhase::Spent { .. } | PayerPhase::Closed => {
                return Err(self.wrong_phase("resume"));
            }
        }
        let checked = best.check(context, &self.channel, &self.record.rules)?;
        let mut record = self.record.clone();
        // What is paid below the agreed fee goes into it, so that one signature fits each such
        // amount. Where it fits what this payer knows, that is what it signed.
        let known = HoldVoucher { paid: record.signed, ..best.clone() };
        let above = (best.paid > record.signed).then_some(&known);
        let fits = above.and_then(|k| k.check(context, &self.channel, &self.record.rules).ok());
        let (best, checked) = fits.map_or((best, checked), |checked| (&known, checked));
        if record.phase == PayerPhase::Unsure {
            record.phase = PayerPhase::Open;
        }
        let behind = record.signed.saturating_sub(best.paid);
        // What is paid only rises: a voucher of less is older than this record, whatever it holds.
        let is_newer = best.paid == record.signed && record.holds.is_older_than(&best.holds);
        if best.paid > record.signed || is_newer {
            best.check_bundles()?;
            record.holds = record.holds.after(checked.held(), None, Height::MAX)?;
            record.holds.bundle(&best.bundles);
            record.signed = record.signed.max(best.paid);
            record.start = record.start.min(record.signed);
        } else {
            record.holds.exposure = record.holds.exposure.with(checked.held());
        }
        self.register(signer, Past::Unknown { from: None })?;
        signer.resume_exposure(self.outpoint(), &record.holds.exposure)?;
        signer.resume_held(&checked)?;
        Ok(Resumed { record, behind })
    }

    /// The outputs of `settlement` that are holds this payer keeps: each is timed out after its
    /// expiry, unless the payee claims it first.
    ///
    /// # Errors
    /// [`StreamError::Tx`] for scripts that cannot be made, which nobody can provoke.
    pub fn published(
        &self,
        context: &Context,
        settlement: &Transaction,
    ) -> Result<Vec<(PayerHold, HoldCoin)>, StreamError> {
        let holds = self.record.holds.kept.iter().map(|kept| &kept.hold);
        let found = coins(context, &self.channel, holds, settlement)?;
        let with_kept =
            |(hold, coin): (Hold, HoldCoin)| Some((*self.record.holds.get(hold.id).ok()?, coin));
        Ok(found.into_iter().filter_map(with_kept).collect())
    }

    /// Takes a hold's output back to `script`, from the block after its expiry on.
    ///
    /// # Errors
    /// [`StreamError::TooEarly`], [`StreamError::Tx`], [`StreamError::Signer`].
    #[expect(clippy::too_many_arguments, reason = "each is one choice of the payer")]
    pub fn time_out(
        &self,
        signer: &mut dyn Signer,
        coin: HoldCoin,
        settled: Height,
        script: ScriptBuf,
        rate: FeeRate,
        view: &View,
        aux: &Entropy,
    ) -> Result<Transaction, StreamError> {
        let spend = HoldSpend::time_out(coin, script, rate)?;
        sign_spend(&self.channel, spend, settled, signer, view, aux)
    }

    pub(super) fn check_no_open_holds(&self) -> Result<(), StreamError> {
        match self.record.holds.open().len() {
            0 => Ok(()),
            count => Err(StreamError::HoldsOpen { count }),
        }
    }

    /// Refuses a close or top-up while the payee could still claim what it would void.
    pub(super) fn check_no_live_holds(&self, tip: Height) -> Result<(), StreamError> {
        let live = self
            .record
            .holds
            .kept
            .iter()
            .filter(|kept| kept.state == PayerHoldState::Open && kept.hold.expiry >= tip);
        match live.count() {
            0 => Ok(()),
            count => Err(StreamError::HoldsOpen { count }),
        }
    }

    fn open_hold(&self, id: HoldId) -> Result<&PayerHold, StreamError> {
        let kept = self.record.holds.get(id)?;
        match kept.state {
            PayerHoldState::Open => Ok(kept),
            PayerHoldState::Released | PayerHoldState::GivenUp => {
                Err(StreamError::HoldReleased { id })
            }
            PayerHoldState::Expired => Err(StreamError::HoldPast { id, expiry: kept.hold.expiry }),
        }
    }

    /// One more hold.
    fn offer_one(
        &self,
        signer: &mut dyn Signer,
        (hash, amount, expiry): (PaymentHash, Sat, Height),
        bundle: Option<BundleSum>,
        moment: &Moment<'_>,
    ) -> Result<HoldStep, StreamError> {
        let one = HoldId::new(1).map_err(TxError::from)?;
        let id = self.record.holds.last.add(one).map_err(TxError::from)?;
        let max = usize::from(self.record.rules.holds.count);
        let none = TxError::TooManyHolds { got: 1, max };
        let delay = self.record.rules.claim_delay().ok_or(none)?;
        let hold = Hold { id, amount, hash, expiry, delay };
        self.check_holdable(&hold, moment.view)?;
        let mut open = self.record.holds.open();
        open.push(hold);
        let bundle = bundle.map(|sum| (id, sum));
        self.hold_step(signer, self.record.signed, Next { bundle, ..Next::of(open) }, moment)
    }

    /// An open hold with another amount, and another bundle if it is one.
    fn grow_one(
        &self,
        signer: &mut dyn Signer,
        kept: &PayerHold,
        amount: Sat,
        bundle: Option<BundleSum>,
        moment: &Moment<'_>,
    ) -> Result<HoldStep, StreamError> {
        let id = kept.hold.id;
        let grown = Hold { amount, ..kept.hold };
        if kept.bundle.is_some_and(|sum| bundle.is_none_or(|now| !sum.may_grow_to(&now))) {
            return Err(StreamError::WrongBundle { id });
        }
        if !kept.hold.may_grow_to(&grown) {
            return Err(StreamError::HoldChanged { id });
        }
        self.check_holdable(&grown, moment.view)?;
        let mut open = self.record.holds.open();
        for hold in open.iter_mut().filter(|hold| hold.id == id) {
            *hold = grown;
        }
        let bundle = bundle.map(|sum| (id, sum));
        self.hold_step(signer, self.record.signed, Next { bundle, ..Next::of(open) }, moment)
    }

    /// What the payee would refuse: dust, depth, and an expiry that it could not enforce.
    fn check_holdable(&self, hold: &Hold, view: &View) -> Result<(), StreamError> {
        let rules = &self.record.rules;
        rules.check_dust(hold)?;
        let depth = channel::depth(self.record.confirmed, view.tip.height);
        if depth < rules.confirmation_depth {
            let (asked, limit) = (hold.amount.to_msat(), Msat::ZERO);
            return Err(StreamError::NotDeepEnough { asked, depth, limit });
        }
        let outpoint = self.outpoint();
        let last_call = self.last_call().ok_or(StreamError::Unconfirmed { outpoint })?;
        rules.check_expiry(hold.expiry, view.tip.height, last_call)
    }

    /// One state with holds, or the plain one that ends them: checked, signed, and the record that
    /// must be durable first.
    fn hold_step(
        &self,
        signer: &mut dyn Signer,
        paid: Msat,
        Next { open, folded, bundle }: Next,
        moment: &Moment<'_>,
    ) -> Result<HoldStep, StreamError> {
        let Moment { context, session, view, aux } = *moment;
        match self.record.phase {
            PayerPhase::Open => {}
            PayerPhase::Unsure => {
                return Err(StreamError::MustResume { at_least: self.record.signed });
            }
            PayerPhase::Leaving { .. } | PayerPhase::Spent { .. } | PayerPhase::Closed => {
                return Err(self.wrong_phase("hold"));
            }
        }
        if paid < self.record.signed {
            return Err(StreamError::Backwards { got: paid, signed: self.record.signed });
        }
        let tip = view.tip.height;
        if let Some(last_call) = self.last_call()
            && tip >= last_call
        {
            return Err(StreamError::TooLate { height: tip, last_call });
        }
        self.record.rules.check_count(open.len())?;
        let capacity = self.channel.capacity().to_msat();
        if open.is_empty() && paid == capacity && paid > self.record.signed {
            return Err(StreamError::LastNotAllowed { capacity });
        }
        let (signature, holds) = if open.is_empty() {
            let request = Request::Voucher { channel: &self.channel, paid, session };
            let holds = self.record.holds.after_plain(folded, paid, tip);
            (signer.sign(&request, view.now, aux)?, holds)
        } else {
            let (channel, fee) = (self.channel.clone(), self.record.rules.holds.fee);
            let held = Held::new(context, channel, paid, fee, open.clone())?;
            let mut holds = self.record.holds.after(&held, folded, tip)?;
            holds.bundle(bundle.as_slice());
            self.check_foldable(paid, holds.due())?;
            let confirmed = self.record.confirmed;
            let request = Request::Held { held: &held, session, tip, confirmed };
            (signer.sign(&request, view.now, aux)?, holds)
        };
        let record = PayerRecord { signed: paid, holds, ..self.record.clone() };
        let bundles = record.holds.bundles();
        Ok(HoldStep { record, voucher: HoldVoucher { paid, holds: open, bundles, signature } })
    }

    /// P3: what is held must fit into plain vouchers too, or a fulfilled hold could not be folded
    /// and had to go to the chain.
    fn check_foldable(&self, paid: Msat, due: Msat) -> Result<(), StreamError> {
        let limit = self.channel.largest_with_change();
        let paid = paid.saturating_add(due);
        if paid > limit { Err(TxError::AboveCapacity { paid, limit }.into()) } else { Ok(()) }
    }
}
