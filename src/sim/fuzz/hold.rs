//! Conditional payments between a payer and a payee whose every choice the bytes make.

use std::sync::OnceLock;

use crate::signer::MemorySigner;
use crate::sim::dice::Dice;
use crate::sim::hub::Flaw;
use crate::sim::hub::cast::{AUX, BEGIN, Cast, Line, session, view};
use crate::stream::bundle::{BundleSum, Bundling};
use crate::stream::payee::PayeeRecord;
use crate::stream::payer::HoldStep;
use crate::stream::{HoldVoucher, StreamError};
use crate::tx::hold::Preimage;
use crate::units::{Blocks, Height, HoldId, Msat, Sat};

/// 512 bytes: some 100 steps, beyond which a run only gets slower.
const BYTES_MAX: usize = 512;

/// The kinds of steps.
const OPS: u64 = 13;

/// A payer and its payee, and what was sent.
struct Pair<'a> {
    cast: &'a Cast,
    line: Line,
    signer: MemorySigner,
    sent: Vec<HoldVoucher>,
    height: Height,
}

/// Runs the pair that the bytes describe: each step a byte that names it, then its choices.
///
/// # Panics
/// If a machine breaks its invariants, the payee counts more than was signed or forgets a payment,
/// a voucher can cost more than the payer's exposure says, or a changed voucher is accepted.
pub fn hold_ops(data: &[u8]) {
    static CAST: OnceLock<Result<Cast, Flaw>> = OnceLock::new();
    let Some(data) = data.get(..data.len().min(BYTES_MAX)) else { return };
    let Ok(cast) = CAST.get_or_init(Cast::new) else { return };
    let Some(mut pair) = Pair::new(cast) else { return };
    let mut dice = Dice::of_bytes(data);
    while !dice.is_spent() {
        let before = pair.line.payee.paid();
        // What is refused changes nothing, which the check after it would show.
        let _refused = pair.step(&mut dice);
        assert!(pair.line.payee.paid() >= before, "the payee forgot a payment");
        pair.check();
    }
}

fn preimage(number: u64) -> Preimage {
    let mut bytes = [7; 32];
    for (to, from) in bytes.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    Preimage::new(bytes)
}

impl<'a> Pair<'a> {
    fn new(cast: &'a Cast) -> Option<Self> {
        let line = cast.into.first()?.clone();
        let mut signer = cast.sender_signer(0).ok()?;
        line.payer.register(&mut signer, crate::signer::Past::New).ok()?;
        Some(Self { cast, line, signer, sent: Vec::new(), height: Height::new(BEGIN).ok()? })
    }

    fn step(&mut self, dice: &mut Dice) -> Result<(), StreamError> {
        let op = dice.below(OPS);
        let id = HoldId::new(dice.below(8)).unwrap_or(HoldId::MIN);
        let known = preimage(dice.below(8));
        match op {
            0 | 1 => self.offer(known, op == 1, dice),
            2 => {
                let amount = Sat::new(dice.within(500, 20_000)).unwrap_or(Sat::ZERO);
                let view = view(self.height);
                let (payer, context) = (&self.line.payer, &self.cast.context);
                let signer = &mut self.signer;
                let step = payer.grow(context, signer, id, amount, session(0), &view, &AUX)?;
                self.send(step)
            }
            3 => {
                let more = Msat::new(dice.below(5_000_000)).unwrap_or(Msat::ZERO);
                let (payer, context) = (&self.line.payer, &self.cast.context);
                let paid = payer.signed().saturating_add(more);
                let (signer, view) = (&mut self.signer, view(self.height));
                let step = payer.pay_held(context, signer, paid, session(0), &view, &AUX)?;
                self.send(step)
            }
            4 => {
                let (payer, context) = (&self.line.payer, &self.cast.context);
                let (signer, view) = (&mut self.signer, view(self.height));
                let step = payer.fold(context, signer, id, &known, session(0), &view, &AUX)?;
                self.send(step)
            }
            5 => {
                let record = self.line.payee.fulfil(id, known, &view(self.height))?;
                self.line.payee.apply(&record)
            }
            6 => {
                let record = self.line.payee.release(id)?;
                self.line.payee.apply(&record)
            }
            7 => {
                let record = self.line.payer.released(id)?;
                self.line.payer.apply(&record)
            }
            8 => {
                let (payer, context) = (&self.line.payer, &self.cast.context);
                let (signer, view) = (&mut self.signer, view(self.height));
                let step = payer.drop_holds(context, signer, session(0), &view, &AUX)?;
                self.send(step)
            }
            9 | 10 => self.deliver(op == 10, dice),
            11 => {
                let blocks = u32::try_from(dice.within(1, 30)).unwrap_or(1);
                let blocks = Blocks::new(blocks).unwrap_or(Blocks::MIN);
                self.height = self.height.saturating_after(blocks);
                Ok(())
            }
            _ => self.restart(),
        }
    }

    fn offer(
        &mut self,
        known: Preimage,
        is_bundle: bool,
        dice: &mut Dice,
    ) -> Result<(), StreamError> {
        let blocks = u32::try_from(dice.within(10, 80)).unwrap_or(10);
        let expiry = self.height.saturating_after(Blocks::new(blocks).unwrap_or(Blocks::MIN));
        let amount = dice.within(400, 30_000);
        let (payer, context) = (&self.line.payer, &self.cast.context);
        let (signer, view, hash) = (&mut self.signer, view(self.height), known.hash());
        let step = if is_bundle {
            let total = amount.saturating_mul(1_000).saturating_add(dice.below(1_000));
            let total = Msat::new(total).unwrap_or(Msat::ZERO);
            let mut bundling = Bundling::new(hash, expiry);
            bundling.push(total)?;
            let bundle = bundling.seal(BundleSum::new([1; 32], 1, total)?)?;
            payer.offer_bundle(context, signer, &bundle, session(0), &view, &AUX)?
        } else {
            let amount = Sat::new(amount).unwrap_or(Sat::ZERO);
            payer.offer(context, signer, hash, amount, expiry, session(0), &view, &AUX)?
        };
        self.send(step)
    }

    fn send(&mut self, step: HoldStep) -> Result<(), StreamError> {
        self.line.payer.apply(step.record())?;
        self.sent.push(step.commit(&mut crate::store::MemoryStore::default())?);
        Ok(())
    }

    /// Any voucher that was sent arrives; or one that was changed on the way.
    fn deliver(&mut self, is_changed: bool, dice: &mut Dice) -> Result<(), StreamError> {
        let count = u64::try_from(self.sent.len()).unwrap_or(0);
        // Zero names the newest.
        let back = usize::try_from(dice.below(count)).unwrap_or(0);
        let Some(mut voucher) = self.sent.iter().rev().nth(back).cloned() else { return Ok(()) };
        if is_changed {
            change(&mut voucher, dice);
        }
        let is_signed = self.sent.iter().any(|sent| signs_the_same(sent, &voucher));
        let heard =
            self.line.payee.accept_held(&self.cast.context, &voucher, &view(self.height))?;
        assert!(is_signed, "a changed voucher is accepted: {voucher:?}");
        self.line.payee.apply(heard.record())
    }

    /// Both come back from their stores, and the payer from what the payee shows.
    fn restart(&mut self) -> Result<(), StreamError> {
        let record = self.line.payee.record();
        let (key, bytes) = (record.key()?, record.encode()?);
        let read = PayeeRecord::decode(&key, &bytes)?;
        assert_eq!(read, *record, "a record is read as another");
        let record = self.line.payer.record();
        let (key, bytes) = (record.key()?, record.encode()?);
        let again = crate::stream::payer::PayerRecord::decode(&key, &bytes)?.encode()?;
        assert_eq!(again, bytes, "a record is written as another");
        let (payer, context) = (&self.line.payer, &self.cast.context);
        let resumed = match self.line.payee.best_held() {
            Some(best) => payer.resume_held(context, &mut self.signer, &best)?,
            None => payer.resume(context, &mut self.signer, None)?,
        };
        self.line.payer.apply(resumed.record())
    }

    fn check(&self) {
        let Line { payer, payee } = &self.line;
        assert_eq!(payer.check_invariants(), Ok(()));
        assert_eq!(payee.check_invariants(&self.cast.context), Ok(()));
        assert!(payee.paid() <= payer.signed(), "more is counted than was signed");
        for voucher in &self.sent {
            let live = voucher.holds.iter().filter(|hold| hold.expiry >= self.height);
            let cost =
                live.fold(voucher.paid, |sum, hold| sum.saturating_add(hold.amount.to_msat()));
            assert!(cost <= payer.exposure_at(self.height), "{voucher:?}");
        }
    }
}

/// Whether both have one signature: the ids are not signed, only the order that they make.
fn signs_the_same(one: &HoldVoucher, other: &HoldVoucher) -> bool {
    let outputs = |voucher: &HoldVoucher| {
        let holds = voucher.holds.iter();
        holds.map(|hold| (hold.amount, hold.hash, hold.expiry)).collect::<Vec<_>>()
    };
    one.paid == other.paid && outputs(one) == outputs(other)
}

/// Another amount, another hold, another order.
fn change(voucher: &mut HoldVoucher, dice: &mut Dice) {
    let kind = dice.below(6);
    let one = Msat::new(1).unwrap_or(Msat::ZERO);
    match (kind, voucher.holds.last_mut()) {
        (0, _) => voucher.paid = voucher.paid.saturating_add(one),
        (1, _) => voucher.paid = voucher.paid.saturating_sub(one),
        (2, Some(hold)) => hold.amount = Sat::new(dice.below(40_000)).unwrap_or(Sat::ZERO),
        (3, Some(hold)) => hold.id = HoldId::new(dice.below(9)).unwrap_or(HoldId::MIN),
        (4, Some(hold)) => hold.hash = preimage(dice.below(9)).hash(),
        (_, Some(_)) if kind == 5 => {
            voucher.holds.pop();
        }
        _ => voucher.holds.reverse(),
    }
}
