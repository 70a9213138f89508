//! The hub's house: its store, its table, and its machine of each channel. Whatever it does is one
//! commit first; a power cut leaves the commit's whole, or nothing of it.

use std::ops::ControlFlow;

use super::Flaw;
use super::cast::{Cast, session, view};
use crate::hub::{Hub, HubError, HubStaged, Input, Policy};
use crate::signer::{MemorySigner, Past};
use crate::store::fault::FaultStore;
use crate::store::{Batch, Durability, Store, StoreError};
use crate::stream::payee::PayeeRecord;
use crate::stream::payer::{HoldStep, PayerRecord};
use crate::stream::{HoldVoucher, Payee, Payer, StreamError};
use crate::units::Height;

/// Why something was not done to its end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// The power failed at a commit.
    PowerLost,
    /// A promise is broken.
    Flaw(Flaw),
}

impl<E: Into<Flaw>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Flaw(error.into())
    }
}

pub(super) struct House<'a> {
    cast: &'a Cast,
    pub(super) store: FaultStore,
    pub(super) hub: Hub,
    /// Of the channels into the hub, and out of it.
    pub(super) payees: Vec<Payee>,
    pub(super) payers: Vec<Payer>,
    pub(super) signer: MemorySigner,
}

impl<'a> House<'a> {
    pub(super) fn open(
        cast: &'a Cast,
        policy: Policy,
        into: usize,
        out: usize,
    ) -> Result<Self, Flaw> {
        let payees: Vec<_> = cast.into.iter().take(into).map(|line| line.payee.clone()).collect();
        let payers: Vec<_> = cast.out.iter().take(out).map(|line| line.payer.clone()).collect();
        let mut batch = Batch::default();
        for payee in &payees {
            batch.put(payee.record().key()?, &payee.record().encode()?)?;
        }
        for payer in &payers {
            batch.put(payer.record().key()?, &payer.record().encode()?)?;
        }
        let mut before = crate::store::MemoryStore::default();
        before.commit(&batch, Durability::Barrier)?;
        let mut signer = cast.hub_signer()?;
        for payer in &payers {
            payer.register(&mut signer, Past::New)?;
        }
        let (store, hub) = (FaultStore::new(before), Hub::new(policy)?);
        Ok(Self { cast, store, hub, payees, payers, signer })
    }

    /// Everything from the store, as after a power cut.
    pub(super) fn restart(&mut self) -> Result<(), Flaw> {
        self.store.restart(0);
        let (mut payees, mut payers) = (Vec::new(), Vec::new());
        self.store.scan(&PayeeRecord::PREFIX, &mut |key, bytes| {
            payees.push(PayeeRecord::decode(key, bytes));
            ControlFlow::Continue(())
        })?;
        self.store.scan(&PayerRecord::PREFIX, &mut |key, bytes| {
            payers.push(PayerRecord::decode(key, bytes));
            ControlFlow::Continue(())
        })?;
        self.payees =
            payees.into_iter().map(|one| self.cast.load_payee(one?)).collect::<Result<_, _>>()?;
        self.payers =
            payers.into_iter().map(|one| self.cast.load_payer(one?)).collect::<Result<_, _>>()?;
        self.signer = self.cast.hub_signer()?;
        for payer in &self.payers {
            payer.register(&mut self.signer, Past::Unknown { from: None })?;
        }
        self.hub = Hub::load(*self.hub.policy(), &self.store)?;
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Stop> {
        match self.store.commit(batch, Durability::Barrier) {
            Ok(()) => Ok(()),
            Err(StoreError::PowerLost { .. }) => Err(Stop::PowerLost),
            Err(error) => Err(error.into()),
        }
    }

    /// Decides and stages; a hold that is not forwarded any more is no matter.
    fn stage(&self, input: &Input, batch: &mut Batch) -> Result<Option<HubStaged>, Stop> {
        match self.hub.decide(input) {
            Ok(step) if step.is_empty() => Ok(None),
            Ok(step) => Ok(Some(step.stage(batch)?)),
            Err(HubError::NoForward { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the table; whether anything changed.
    pub(super) fn tell(&mut self, input: Input) -> Result<bool, Stop> {
        let mut batch = Batch::default();
        let Some(staged) = self.stage(&input, &mut batch)? else { return Ok(false) };
        self.commit(&batch)?;
        self.hub.apply(&staged)?;
        Ok(true)
    }

    /// A payee's record, and what it means for the table, in one commit.
    pub(super) fn keep_payee(
        &mut self,
        number: usize,
        record: &PayeeRecord,
        inputs: &[Input],
    ) -> Result<(), Stop> {
        let mut batch = Batch::default();
        batch.put(record.key().map_err(Flaw::from)?, &record.encode().map_err(Flaw::from)?)?;
        let staged = inputs.iter().map(|input| self.stage(input, &mut batch));
        let staged = staged.collect::<Result<Vec<_>, _>>()?;
        self.commit(&batch)?;
        self.payees.get_mut(number).ok_or(Flaw::Stage)?.apply(record)?;
        for staged in staged.iter().flatten() {
            self.hub.apply(staged)?;
        }
        Ok(())
    }

    pub(super) fn keep_payer(&mut self, number: usize, record: &PayerRecord) -> Result<(), Stop> {
        let mut batch = Batch::default();
        batch.put(record.key().map_err(Flaw::from)?, &record.encode().map_err(Flaw::from)?)?;
        self.commit(&batch)?;
        Ok(self.payers.get_mut(number).ok_or(Flaw::Stage)?.apply(record)?)
    }

    /// A payer's step, and what it means for the table, in one commit; then the voucher may leave.
    pub(super) fn keep_step(
        &mut self,
        number: usize,
        step: HoldStep,
        input: Option<Input>,
    ) -> Result<HoldVoucher, Stop> {
        let mut batch = Batch::default();
        let record = step.record().clone();
        let voucher = step.stage(&mut batch)?;
        let staged = input.map(|input| self.stage(&input, &mut batch)).transpose()?.flatten();
        self.commit(&batch)?;
        self.payers.get_mut(number).ok_or(Flaw::Stage)?.apply(&record)?;
        if let Some(staged) = &staged {
            self.hub.apply(staged)?;
        }
        Ok(voucher.after_barrier())
    }

    pub(super) fn payer(&self, number: usize) -> Result<&Payer, Flaw> {
        self.payers.get(number).ok_or(Flaw::Stage)
    }

    pub(super) fn payee(&self, number: usize) -> Result<&Payee, Flaw> {
        self.payees.get(number).ok_or(Flaw::Stage)
    }

    /// What the payer machine of channel `number` says to a step; the signer is the hub's.
    pub(super) fn step_of(
        &mut self,
        number: usize,
        height: Height,
        make: impl FnOnce(
            &Payer,
            &crate::keys::Context,
            &mut MemorySigner,
            crate::units::SessionId,
            &crate::stream::View,
        ) -> Result<HoldStep, StreamError>,
    ) -> Result<Result<HoldStep, StreamError>, Flaw> {
        let payer = self.payers.get(number).ok_or(Flaw::Stage)?;
        let context = &self.cast.context;
        Ok(make(payer, context, &mut self.signer, session(number), &view(height)))
    }
}
