//! The seller: shows its terms, takes a channel, delivers, takes vouchers, and presents the best
//! one after a power cut.

use millstream::meter::{Input, Role, Session};
use millstream::stream::payee::PayeeRecord;
use millstream::stream::{Payee, StreamError, Terms};
use millstream::tx::{FundingOutput, TxError, Voucher};
use millstream::units::Msat;
use millstream::wire::{self, Refusal, Standing};

use crate::{Bench, Done, End, Failed, Or, Page, Pages, Port, agreed, apart};

impl<P: Port, S: Pages, B: Bench> End<P, S, B> {
    /// Takes a channel and sells a session over it; what was paid.
    ///
    /// # Errors
    /// [`Failed`] with the step that did not come out as it should.
    #[inline(never)]
    pub fn sell(&mut self, channel: u8) -> Done<Msat> {
        let terms = self.tell_terms()?;
        let mut payee = self.take(&terms, channel)?;

        let offer = agreed::offer()?;
        let (session, hash, time) = (offer.session, offer.hash(), agreed::clock(0)?);
        self.line.send(&offer)?;
        let start = self.line.receive::<wire::SessionStart>()?;
        if start.offer != hash || start.session != session {
            return Err(Failed("another offer"));
        }
        let tariff = agreed::tariff()?;
        let mut meter = Session::offer(session, Role::Seller, agreed::window()?, tariff);
        let started = Input::Start { at: time, tariff: meter.tariff().hash() };
        let step = apart(|| meter.decide(time, started)).or_fail("a start")?;
        meter.apply(&step.record).or_fail("a start")?;
        self.line.send(&wire::SessionStart { time, ..start })?;

        for second in 1..=agreed::TICKS {
            let (now, step) = (agreed::clock(second)?, agreed::delivered()?);
            for what in ["first tick", "equal tick"] {
                self.bench.time(what, || meter.tick(now, now, step)).or_fail("a tick")?;
            }
            let (quantity, idle) = (meter.record().quantity(), None);
            self.line.send(&wire::Reading { session, time: now, quantity, idle })?;
            self.take_voucher(&mut payee, second)?;
            if second == 1 && self.take_voucher(&mut payee, second).is_ok() {
                return Err(Failed("a lie was taken"));
            }
            let paid = Input::Paid { total: payee.paid() };
            let step = apart(|| meter.decide(now, paid)).or_fail("a payment")?;
            meter.apply(&step.record).or_fail("a payment")?;
            if meter.record().debt() != Msat::ZERO {
                return Err(Failed("not all is paid"));
            }
        }
        Ok(payee.paid())
    }

    /// Presents the best voucher from the record, and takes one more; what is paid now.
    ///
    /// # Errors
    /// As [`Self::sell`].
    #[inline(never)]
    pub fn sell_again(&mut self, channel: u8) -> Done<Msat> {
        let terms = self.tell_terms()?;
        let resume = self.line.receive::<wire::Resume>()?;
        let outpoint = agreed::outpoint(channel);
        if resume.outpoint != Some(outpoint) {
            return Err(Failed("another channel"));
        }
        let key = PayeeRecord::key_of(outpoint).or_fail("a key")?;
        let bytes = self.store.read(Page::Payee).or_fail("no record")?;
        let record = apart(|| PayeeRecord::decode(&key, &bytes)).or_fail("a record")?;
        let payee = apart(|| Payee::load(&self.context, terms.base, record));
        let mut payee = payee.or_fail("a payee")?;
        let Voucher { paid, signature } = payee.best().or_fail("no voucher")?;
        let change = wire::Change::Own;
        self.line.send(&wire::Best { outpoint, paid, signature, change })?;
        self.take_voucher(&mut payee, agreed::TICKS)?;
        Ok(payee.paid())
    }

    #[inline(never)]
    fn tell_terms(&mut self) -> Done<Terms> {
        let _asked = self.line.receive::<wire::TermsQuery>()?;
        let base = self.seed().base_key(&self.context, agreed::NETWORK).or_fail("a key")?.public();
        let mut terms = Terms::new(agreed::NETWORK, base).or_fail("terms")?;
        let window = agreed::window()?;
        (terms.credit, terms.prepay) = (window.credit, window.prepay);
        terms.tariff = agreed::tariff()?.hash().0;
        let bytes = wire::Bytes::new(terms.encode()).or_fail("terms")?;
        self.line.send(&wire::Terms { terms: bytes })?;
        Ok(terms)
    }

    #[inline(never)]
    fn take(&mut self, terms: &Terms, channel: u8) -> Done<Payee> {
        let request = agreed::open_request(&self.line.receive::<wire::Open>()?)?;
        if request.outpoint != agreed::outpoint(channel) {
            return Err(Failed("another channel"));
        }
        let (context, payer, delay) = (&self.context, request.payer, request.delay);
        let output = apart(|| FundingOutput::new(context, payer, terms.base, delay));
        let status = agreed::status(output.or_fail("an output")?.script().clone())?;
        let view = agreed::view(0)?;
        let payee = apart(|| Payee::open(context, terms, &request, Some(&status), &view))
            .or_fail("a channel")?;
        self.store_payee(&payee)?;
        let (alias, paid, standing) = (agreed::alias()?, payee.paid(), Standing::Ready);
        self.line.send(&wire::Accepted { alias, paid, standing })?;
        Ok(payee)
    }

    /// Takes a voucher, or refuses it. P4: durable before it is acknowledged.
    #[inline(never)]
    fn take_voucher(&mut self, payee: &mut Payee, second: u64) -> Done<()> {
        let message = self.line.receive::<wire::Voucher>()?;
        let voucher = Voucher { paid: message.paid, signature: message.signature };
        let (alias, view) = (message.alias, agreed::view(second)?);
        let context = &self.context;
        match self.bench.time("accept", || payee.accept(context, voucher, &view)) {
            Ok(accepted) => {
                apart(|| payee.apply(accepted.record())).or_fail("a voucher")?;
                self.store_payee(payee)?;
                self.line.send(&wire::Ack { alias, paid: payee.paid() })?;
                Ok(())
            }
            Err(error) => {
                let code = match error {
                    StreamError::Tx(TxError::BadSignature { .. }) => Refusal::BadSignature,
                    _ => Refusal::NotAllowed,
                };
                let best = payee.paid();
                self.line.send(&wire::Refused { alias, code, best, session: None })?;
                Err(Failed("a voucher was refused"))
            }
        }
    }

    #[inline(never)]
    fn store_payee(&mut self, payee: &Payee) -> Done<()> {
        let record = apart(|| payee.record().encode()).or_fail("a record")?;
        self.keep(Page::Payee, &record)
    }
}
