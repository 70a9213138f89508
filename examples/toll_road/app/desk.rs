//! A machine with channels that take holds: its key, its store, its signer. And what a bundle of
//! tolls is in bytes.

use bitcoin::{OutPoint, XOnlyPublicKey};
use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::batch::lanes::Lanes;
use millstream::batch::{Batch as Items, Builder, Channel, Claim, Sealed};
use millstream::keys::{Context, Entropy, Seed};
use millstream::signer::budget::Policy;
use millstream::signer::{MemorySigner, PeerId, Signer};
use millstream::store::fault::FaultStore;
use millstream::store::{Batch, Durability, Store};
use millstream::stream::bundle::{Bundle, BundleSum, Bundling};
use millstream::stream::payee::{Payee, PayeeRecord};
use millstream::stream::payer::{HoldStep, Payer, PayerRecord};
use millstream::stream::{HoldVoucher, View};
use millstream::tx::hold::PaymentHash;
use millstream::units::{Height, ItemId, KeyIndex, Lane, Msat, SessionId, UtcSeconds};

use crate::common::Error;
use crate::common::dice::Dice;
use crate::common::stage::NETWORK;

/// Zeros, so that runs repeat.
pub(crate) const AUX: Entropy = Entropy::new([0; 32]);
/// The lane of the tolls in a bundle; what the hub is paid for it is in the next one.
pub(crate) const TOLLS: Lane = Lane::MIN;
/// What leaves a bundle's item room for a car's number in its id.
const CARS_BITS: u32 = 20;

/// A machine.
pub(crate) struct Desk {
    /// Its seed.
    pub(crate) secret: [u8; 32],
    /// What is durable.
    pub(crate) store: FaultStore,
    /// What signs.
    pub(crate) signer: MemorySigner,
    /// Whom it pays.
    peers: Vec<XOnlyPublicKey>,
    /// Vouchers signed.
    pub(crate) signed: u64,
}

impl Desk {
    /// A machine that may pay `peers`, each out of the session of its place.
    pub(crate) fn new(
        dice: &mut Dice,
        peers: Vec<XOnlyPublicKey>,
        now: UtcSeconds,
    ) -> Result<Self, Error> {
        let (secret, store) = (dice.secret(), FaultStore::default());
        let signer = signer(secret, &peers, now)?;
        Ok(Self { secret, store, signer, peers, signed: 0 })
    }

    /// Where it is paid.
    pub(crate) fn base(&self, context: &Context) -> Result<XOnlyPublicKey, Error> {
        Ok(Seed::new(self.secret).base_key(context, NETWORK)?.public())
    }

    /// The key of its payer's channel.
    pub(crate) fn key(&self, context: &Context, index: u32) -> Result<XOnlyPublicKey, Error> {
        let index = KeyIndex::new(index)?;
        Ok(Seed::new(self.secret).payer_key(context, NETWORK, index)?.public())
    }

    /// The power is back: what was not durable is gone, and the signer knows nothing.
    pub(crate) fn restart(&mut self, now: UtcSeconds) -> Result<(), Error> {
        self.store.cut();
        self.store.restart(0);
        self.signer = signer(self.secret, &self.peers, now)?;
        Ok(())
    }

    /// Budgets for the time that has come.
    pub(crate) fn reserve(&mut self, now: UtcSeconds) -> Result<(), Error> {
        if let Some(reservation) = self.signer.reserve(now, None)? {
            let reserved = reservation.commit(&mut self.store)?;
            self.signer.apply(reserved)?;
        }
        Ok(())
    }

    /// Makes a batch durable.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        Ok(self.store.commit(batch, Durability::Barrier)?)
    }

    /// A payee's next record, with whatever else is in `batch`.
    pub(crate) fn commit_payee(
        &mut self,
        payee: &mut Payee,
        record: &PayeeRecord,
        mut batch: Batch,
    ) -> Result<(), Error> {
        batch.put(record.key()?, &record.encode()?)?;
        self.commit(&batch)?;
        Ok(payee.apply(record)?)
    }

    /// A payer's next state, with whatever else is in `batch`; gives what to send.
    pub(crate) fn commit_payer(
        &mut self,
        payer: &mut Payer,
        step: HoldStep,
        mut batch: Batch,
    ) -> Result<HoldVoucher, Error> {
        self.signed += 1;
        let record = step.record().clone();
        let staged = step.stage(&mut batch)?;
        self.commit(&batch)?;
        payer.apply(&record)?;
        Ok(staged.after_barrier())
    }

    /// A payer's record as the store has it.
    pub(crate) fn payer(
        &self,
        context: &Context,
        of: OutPoint,
        index: u32,
    ) -> Result<Payer, Error> {
        let key = PayerRecord::key_of(of)?;
        let bytes = self.store.get(&key)?.ok_or("no record of a payer")?;
        let record = PayerRecord::decode(&key, &bytes)?;
        Ok(Payer::load(context, self.key(context, index)?, record)?)
    }

    /// A payee's record as the store has it.
    pub(crate) fn payee(&self, context: &Context, of: OutPoint) -> Result<Payee, Error> {
        let key = PayeeRecord::key_of(of)?;
        let bytes = self.store.get(&key)?.ok_or("no record of a payee")?;
        let record = PayeeRecord::decode(&key, &bytes)?;
        Ok(Payee::load(context, self.base(context)?, record)?)
    }

    /// A payer's machine goes on from what its payee shows.
    pub(crate) fn resume(
        &mut self,
        context: &Context,
        payer: &mut Payer,
        payee: &Payee,
    ) -> Result<(), Error> {
        let resumed = match payee.best_held() {
            Some(best) => payer.resume_held(context, &mut self.signer, &best)?,
            None => payer.resume(context, &mut self.signer, None)?,
        };
        let mut batch = Batch::default();
        batch.put(resumed.record().key()?, &resumed.record().encode()?)?;
        self.commit(&batch)?;
        Ok(payer.apply(resumed.record())?)
    }

    /// The same state once more, because it was not answered.
    pub(crate) fn repeat(
        &mut self,
        context: &Context,
        payer: &mut Payer,
        session: SessionId,
        view: &View,
    ) -> Result<HoldVoucher, Error> {
        let paid = payer.signed();
        let step = payer.pay_held(context, &mut self.signer, paid, session, view, &AUX)?;
        self.commit_payer(payer, step, Batch::default())
    }
}

fn signer(
    secret: [u8; 32],
    peers: &[XOnlyPublicKey],
    now: UtcSeconds,
) -> Result<MemorySigner, Error> {
    let all = Msat::MAX;
    let policy = Policy { hour: all, day: all, peer: all, slice: all };
    let mut signer = MemorySigner::new(Seed::new(secret), NETWORK, policy, None, &AUX)?;
    signer.release_day_budget_without_record(now)?;
    for (at, peer) in peers.iter().enumerate() {
        signer.open_session(PeerId::new(*peer), session(at)?, all)?;
    }
    Ok(signer)
}

/// The session of a peer's place.
pub(crate) fn session(at: usize) -> Result<SessionId, Error> {
    Ok(SessionId::new(u64::try_from(at)? + 1)?)
}

/// A bundle's batch stands alone: what it pays counts from nothing, whatever the channel has paid.
struct Alone(OutPoint, XOnlyPublicKey);

impl Channel for Alone {
    fn outpoint(&self) -> OutPoint {
        self.0
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.1
    }

    fn paid(&self) -> Msat {
        Msat::ZERO
    }

    fn room(&self) -> Msat {
        Msat::MAX
    }
}

/// What a car owes, by its number.
pub(crate) type Toll = (usize, u64);

fn lanes() -> Result<Lanes, Error> {
    let mut lanes = Lanes::new(Msat::ZERO);
    lanes.open(TOLLS, Msat::MAX)?;
    lanes.open(Lane::new(1)?, Msat::MAX)?;
    Ok(lanes)
}

/// Tolls in the order of their cars, of the bundle of number `round`; and the hub's fee, if any.
pub(crate) fn seal(
    (outpoint, payee): (OutPoint, XOnlyPublicKey),
    round: u64,
    tolls: &[Toll],
    fee: Option<u64>,
) -> Result<Sealed, Error> {
    let mut builder = Builder::new(&Alone(outpoint, payee), &lanes()?, LeafSize::new(16)?)?;
    for (car, toll) in tolls {
        let id = ItemId::new((round << CARS_BITS) + u64::try_from(*car)? + 1)?;
        let charge = Charge::Amount(Msat::new(*toll)?);
        builder.push(&Item { lane: TOLLS, id, charge, hash: None })?;
    }
    if let Some(fee) = fee {
        let (lane, id) = (Lane::new(1)?, ItemId::new(round + 1)?);
        let charge = Charge::Amount(Msat::new(fee)?);
        builder.push(&Item { lane, id, charge, hash: None })?;
    }
    Ok(builder.seal()?)
}

/// Every toll in `bytes`, if they are what `sum` says, to the root.
pub(crate) fn check(
    (outpoint, payee): (OutPoint, XOnlyPublicKey),
    bytes: &[u8],
    sum: &BundleSum,
) -> Result<Vec<Toll>, Error> {
    let (start, paid) = (Msat::ZERO, sum.total());
    let claim = Claim { start, paid, items: sum.items(), root: *sum.root() };
    let mut tolls = Vec::new();
    let _lanes = Items::parse(bytes)?.check(
        &Alone(outpoint, payee),
        &lanes()?,
        &claim,
        |item, amount| tolls.extend(toll(item, amount)),
    )?;
    Ok(tolls)
}

/// Every toll in a bundle that was checked before.
pub(crate) fn tolls(bytes: &[u8]) -> Result<Vec<Toll>, Error> {
    let mut tolls = Vec::new();
    Items::parse(bytes)?.visit(|item, amount| tolls.extend(toll(item, amount)))?;
    Ok(tolls)
}

fn toll(item: &Item, amount: Msat) -> Option<Toll> {
    let car = (item.id.to_u64() - 1) % (1 << CARS_BITS);
    (item.lane == TOLLS).then_some((usize::try_from(car).ok()?, amount.to_msat()))
}

/// A sealed batch behind one hash.
pub(crate) fn bundle(sealed: &Sealed, hash: PaymentHash, expiry: Height) -> Result<Bundle, Error> {
    let claim = sealed.credited.claim;
    let mut bundling = Bundling::new(hash, expiry);
    let mut full = Ok(());
    Items::parse(&sealed.bytes)?.visit(|_, amount| {
        if let Err(error) = bundling.push(amount) {
            full = Err(error);
        }
    })?;
    full?;
    Ok(bundling.seal(BundleSum::new(claim.root, claim.items, claim.paid)?)?)
}
