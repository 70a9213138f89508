//! What a party does on its two chains: it looks, tells its swap, and sends what its monitors ask
//! for.

use millstream::monitor::{Act, Monitor};
use millstream::store::Batch;
use millstream::stream::payee::{PayeeHoldState, PayeePhase};
use millstream::swap::{End, Input, Role, Stage};
use millstream::units::{Blocks, HoldId};

use super::ends::{AUX, In, Verdict, look, seen, verdict};
use super::party::{Party, Sky, Stop};

impl Party {
    /// Both chains, as they are now.
    pub(crate) fn watch(&mut self, sky: &mut Sky<'_>) -> Result<(), Stop> {
        self.watch_out(sky)?;
        self.watch_in(sky)?;
        self.act(sky)
    }

    fn watch_out(&mut self, sky: &mut Sky<'_>) -> Result<(), Stop> {
        let chain = &mut sky.chains[self.pays_on];
        let status = chain.output(self.out.payer.outpoint());
        let noticed = self.out.payer.notice(status.as_ref(), &chain.tip())?;
        if noticed.record() != self.out.payer.record() {
            let record = noticed.record().clone();
            let mut batch = Batch::default();
            batch.put(record.key()?, &record.encode()?)?;
            self.commit(&batch)?;
            self.out.payer.apply(&record)?;
        }
        let acts = self.look(true, sky)?;
        self.send(true, acts, sky)?;
        let Some((swap, id)) = self.swap.and_then(|swap| Some((swap, swap.stage().outgoing()?)))
        else {
            return Ok(());
        };
        let chain = &sky.chains[self.pays_on];
        if let Some(preimage) = seen(&self.out.monitor, id)
            && matches!(swap.stage(), Stage::Open { .. })
        {
            self.say("takes the preimage off the chain");
            self.take(&Input::Preimage(preimage), Batch::default())?;
        }
        let input = match verdict(&self.out.monitor, chain, id) {
            Verdict::Pending | Verdict::Published => return Ok(()),
            Verdict::Unspent => Input::Unspent { tip: chain.height() },
            Verdict::Claimed => Input::Over(End::Claimed),
            Verdict::TimedOut => Input::Over(End::TimedOut),
            Verdict::Absent => Input::Over(End::Absent),
        };
        self.take(&input, Batch::default())
    }

    fn watch_in(&mut self, sky: &mut Sky<'_>) -> Result<(), Stop> {
        let chain = &mut sky.chains[self.paid_on()];
        let status = chain.output(self.inn.payee.outpoint());
        let noticed = self.inn.payee.notice(status.as_ref(), &chain.tip())?;
        let record = noticed.record().clone();
        if record != *self.inn.payee.record() {
            self.put_payee(&record, None)?;
        }
        let acts = self.look(false, sky)?;
        self.send(false, acts, sky)?;
        let Some((swap, id)) = self.swap.and_then(|swap| Some((swap, swap.stage().incoming()?)))
        else {
            return Ok(());
        };
        let chain = &sky.chains[self.paid_on()];
        let depth = Blocks::new(chain.kind.depth)?;
        let past = chain.height() >= swap.incoming().expiry.saturating_after(depth);
        let input = match verdict(&self.inn.monitor, chain, id) {
            Verdict::Claimed => Input::Paid,
            Verdict::TimedOut | Verdict::Absent => Input::Past,
            Verdict::Unspent if past => Input::Past,
            // Its payer is gone, and this party will not claim it.
            Verdict::Published if past && !self.claims(id) => Input::Past,
            Verdict::Unspent | Verdict::Published | Verdict::Pending => return Ok(()),
        };
        self.take(&input, Batch::default())
    }

    /// Whether the payee has the preimage of its hold.
    fn claims(&self, id: HoldId) -> bool {
        let fulfilled = |state| matches!(state, PayeeHoldState::Fulfilled(_));
        self.inn.payee.holds().iter().any(|held| held.hold.id == id && fulfilled(held.state))
    }

    fn monitor(&mut self, out: bool) -> &mut Monitor {
        if out { &mut self.out.monitor } else { &mut self.inn.monitor }
    }

    /// A monitor looks until there is nothing more to look up.
    fn look(&mut self, out: bool, sky: &Sky<'_>) -> Result<Vec<Act>, Stop> {
        let number = if out { self.pays_on } else { self.paid_on() };
        let (chain, till) = (&sky.chains[number], self.tills[number].clone());
        loop {
            let monitor = if out { &self.out.monitor } else { &self.inn.monitor };
            let before = monitor.watched();
            let (record, acts) = look(&self.context, monitor, chain, &till)?;
            if record != *monitor.record() {
                let mut batch = Batch::default();
                batch.put(record.key()?, &record.encode()?)?;
                self.commit(&batch)?;
                self.monitor(out).apply(&record)?;
            }
            if self.monitor(out).watched() == before {
                return Ok(acts);
            }
        }
    }

    /// Signs and sends what a monitor asks for.
    fn send(&mut self, out: bool, acts: Vec<Act>, sky: &mut Sky<'_>) -> Result<(), Stop> {
        let number = if out { self.pays_on } else { self.paid_on() };
        let now = sky.now()?;
        for act in acts {
            let (package, what) = match act {
                Act::Spend(spend) => {
                    let what = if spend.is_claim() { "claims" } else { "times out" };
                    let signer = if out { &mut self.out.signer } else { &mut self.inn.signer };
                    let monitor = if out { &self.out.monitor } else { &self.inn.monitor };
                    (vec![monitor.sign(spend, signer, now, &AUX)?], what)
                }
                Act::Bump(child) => {
                    let In { monitor, signer, .. } = &mut self.inn;
                    (vec![monitor.sign_child(child, signer, now, &AUX)?], "raises a fee")
                }
                Act::Settle(settlement, child) => {
                    let (record, _) = self.inn.payee.promise_held(&settlement)?;
                    self.put_payee(&record, None)?;
                    let mut package = vec![self.inn.sign(settlement, now)?];
                    if let Some(child) = child {
                        let In { monitor, signer, .. } = &mut self.inn;
                        package.push(monitor.sign_child(child, signer, now, &AUX)?);
                    }
                    (package, "settles with its hold")
                }
            };
            let chain = &mut sky.chains[number];
            if chain.send(&package) {
                let place = (chain.kind.name, chain.height().to_u32());
                self.say(&format!("{what} on the {} chain at {}", place.0, place.1));
            }
        }
        Ok(())
    }

    /// Against the rules: the settlement of a hold whose preimage it does not use.
    pub(super) fn publish(&mut self, sky: &mut Sky<'_>) -> Result<(), Stop> {
        let open = self.swap.is_some_and(|swap| match swap.role() {
            Role::Initiator { .. } => matches!(swap.stage(), Stage::Won { .. }),
            Role::Responder => matches!(swap.stage(), Stage::Open { .. }),
        });
        if !open || self.inn.payee.phase() != PayeePhase::Open {
            return Ok(());
        }
        let settlement = self.inn.payee.hold_settlement(&self.context, &[])?;
        let (record, _) = self.inn.payee.promise_held(&settlement)?;
        self.put_payee(&record, None)?;
        let tx = self.inn.sign(settlement, sky.now()?)?;
        let number = self.paid_on();
        if sky.chains[number].send(&[tx]) {
            self.say("publishes the hold, and claims nothing");
        }
        Ok(())
    }
}
