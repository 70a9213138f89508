//! The buyer: opens a channel by the seller's terms, pays for a session, and comes back after a
//! power cut with its seed, its sealed backup and its budgets.

use millstream::keys::Context;
use millstream::meter::tariff::Tariff;
use millstream::meter::{Input, Session};
use millstream::signer::{KeyName, Past, PeerId, Signer};
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{Backup, Payer, Terms};
use millstream::tx::{ChangeScript, Voucher};
use millstream::units::Msat;
use millstream::wire::{self, Refusal};

use crate::signer::OneChannel;
use crate::{Bench, Done, End, Failed, Or, Page, Pages, Port, agreed, apart};

impl<P: Port, S: Pages, B: Bench> End<P, S, B> {
    /// Opens a channel and buys a session over it; what was paid.
    ///
    /// # Errors
    /// [`Failed`] with the step that did not come out as it should.
    #[inline(never)]
    pub fn buy(&mut self, channel: u8) -> Done<Msat> {
        let terms = self.ask_terms()?;
        let context = &Context::new();
        let mut signer = OneChannel::new(context, self.seed());
        let mut payer = self.open(&terms, &mut signer, channel)?;
        open_budget(&payer, &mut signer)?;

        let offer = self.line.receive::<wire::SessionOffer>()?;
        let tariff = offer.tariff.as_ref().or_fail("no tariff")?;
        let tariff = apart(|| Tariff::parse(tariff.as_slice())).or_fail("a tariff")?;
        if offer.tariff_hash != tariff.hash().0 || offer.tariff_hash != terms.tariff {
            return Err(Failed("another tariff"));
        }
        let (session, alias, time) = (offer.session, agreed::alias()?, agreed::clock(0)?);
        let start = wire::SessionStart { session, alias, offer: offer.hash(), time };
        self.line.send(&start)?;
        let at = self.line.receive::<wire::SessionStart>()?.time;
        let mut meter = Session::offer(session, agreed::buyer()?, agreed::window()?, tariff);
        let start = Input::Start { at, tariff: meter.tariff().hash() };
        let step = apart(|| meter.decide(time, start)).or_fail("a start")?;
        meter.apply(&step.record).or_fail("a start")?;

        for second in 1..=agreed::TICKS {
            let reading = self.line.receive::<wire::Reading>()?;
            let now = agreed::clock(second)?;
            meter.measure(now, reading.quantity).or_fail("an own reading")?;
            let before = meter.record().quantity();
            let step = reading.quantity.sub(before).or_fail("a reading that falls")?;
            self.bench.time("claim", || meter.tick(now, reading.time, step)).or_fail("a claim")?;
            let voucher = self.pay(&mut payer, &mut signer, meter.pay_to(), second)?;
            if second == 1 {
                self.lie(voucher)?;
            }
            let paid = Input::Paid { total: voucher.paid };
            let step = apart(|| meter.decide(now, paid)).or_fail("a payment")?;
            meter.apply(&step.record).or_fail("a payment")?;
        }
        Ok(payer.signed())
    }

    /// Takes the channel up again from the backup, and pays once more; what is paid now.
    ///
    /// # Errors
    /// As [`Self::buy`].
    #[inline(never)]
    pub fn buy_again(&mut self, channel: u8) -> Done<Msat> {
        let sealed = self.store.read(Page::Backup).or_fail("no backup")?;
        let backup = apart(|| Backup::open(&sealed, &self.seed(), agreed::NETWORK));
        let backup = backup.or_fail("a backup opened")?;
        let terms = self.ask_terms()?;
        let context = &Context::new();
        let mut signer = OneChannel::new(context, self.seed());
        let key = signer.public(KeyName::Payer(backup.index)).or_fail("a key")?;
        let output = backup.output(&self.context, &self.seed()).or_fail("an output")?;
        let status = agreed::status(output.script().clone())?;
        let (terms, outpoint) = (Some(&terms), agreed::outpoint(channel));
        let record =
            apart(|| Payer::restore(&self.context, key, &backup, terms, outpoint, &status))
                .or_fail("a record restored")?;
        let payer = apart(|| Payer::load(&self.context, key, record));
        let mut payer = payer.or_fail("a payer")?;

        let resume = wire::Resume { alias: agreed::alias()?, outpoint: Some(outpoint) };
        self.line.send(&resume)?;
        let best = self.line.receive::<wire::Best>()?;
        let voucher = Voucher { paid: best.paid, signature: best.signature };
        let shown = Some((voucher, &ChangeScript::Own));
        let resumed = self.bench.time("resume", || payer.resume(context, &mut signer, shown));
        let resumed = resumed.or_fail("to resume")?;
        apart(|| payer.apply(resumed.record())).or_fail("to resume")?;

        open_budget(&payer, &mut signer)?;
        let more = Msat::new(agreed::AFTER_RESTART).or_fail("an amount")?;
        let paid = payer.signed().add(more).or_fail("an amount")?;
        self.pay(&mut payer, &mut signer, paid, agreed::TICKS)?;
        Ok(payer.signed())
    }

    #[inline(never)]
    fn ask_terms(&mut self) -> Done<Terms> {
        self.line.send(&wire::TermsQuery {})?;
        let terms = self.line.receive::<wire::Terms>()?.terms;
        apart(|| Terms::parse(terms.as_slice())).or_fail("terms")
    }

    #[inline(never)]
    fn open(&mut self, terms: &Terms, signer: &mut OneChannel<'_>, channel: u8) -> Done<Payer> {
        let (index, view) = (agreed::index()?, agreed::view(0)?);
        let key = signer.public(KeyName::Payer(index)).or_fail("a key")?;
        let (delay, capacity, own) = (agreed::delay()?, agreed::capacity()?, ChangeScript::Own);
        let context: &Context = &self.context;
        let opening =
            apart(|| Opening::new(context, terms, index, key, delay, capacity, own, &view))
                .or_fail("an opening")?;
        let outpoint = agreed::outpoint(channel);
        let (_, backup, request) = apart(|| opening.funded(outpoint));
        // Durable before the funding is broadcast, or the coin would be lost with the memory.
        let sealed = apart(|| backup.seal(&self.seed().backup_key(agreed::NETWORK)));
        self.keep(Page::Backup, &sealed)?;

        let payer = apart(|| opening.machine(outpoint)).or_fail("a payer")?;
        apart(|| payer.register(signer, Past::New)).or_fail("a registration")?;
        self.line.send(&agreed::open_message(&request)?)?;
        let _accepted = self.line.receive::<wire::Accepted>()?;
        Ok(payer)
    }

    #[inline(never)]
    fn pay(
        &mut self,
        payer: &mut Payer,
        signer: &mut OneChannel<'_>,
        paid: Msat,
        second: u64,
    ) -> Done<Voucher> {
        let (session, view, aux) = (agreed::session()?, agreed::view(second)?, agreed::entropy());
        let ending = Ending::KeepsChange;
        let signed =
            self.bench.time("sign", || payer.pay(signer, paid, ending, session, &view, &aux));
        let signed = signed.or_fail("a voucher")?;
        apart(|| payer.apply(signed.record())).or_fail("a voucher")?;
        let Voucher { paid, signature } = signed.voucher();
        let alias = agreed::alias()?;
        self.line.send(&wire::Voucher { alias, paid, signature })?;
        let ack = self.line.receive::<wire::Ack>()?;
        if ack.paid == paid { Ok(signed.voucher()) } else { Err(Failed("another amount")) }
    }

    /// Claims more than was signed, and is refused.
    #[inline(never)]
    fn lie(&mut self, voucher: Voucher) -> Done<()> {
        let one = Msat::new(1).or_fail("an amount")?;
        let paid = voucher.paid.add(one).or_fail("an amount")?;
        let (alias, signature) = (agreed::alias()?, voucher.signature);
        self.line.send(&wire::Voucher { alias, paid, signature })?;
        match self.line.receive::<wire::Refused>()?.code {
            Refusal::BadSignature => Ok(()),
            _ => Err(Failed("a lie was refused for another reason")),
        }
    }
}

/// What the session may cost.
fn open_budget(payer: &Payer, signer: &mut OneChannel<'_>) -> Done<()> {
    let peer = PeerId::new(payer.record().base());
    signer.open_session(peer, agreed::session()?, agreed::budget()?).or_fail("a budget")
}
