//! What the hour and the night came to, and whether every millisatoshi is where it should be.

use super::night::{Night, night};
use super::relay::Relay;
use super::road::{CREDIT, LANES, OWNERS, worth};
use super::rush::{Rush, Sample, Stage};
use crate::common::books::Books;
use crate::common::stage::wrong;
use crate::common::{Error, Sabotage};

/// 1,000 sat: a channel with less than its own settlement costs stays open, and none with much more.
const UNSETTLED_MAX: u64 = 1_000_000;

/// All of it in numbers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) cars: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) payments: u64,
    /// Worth of all metres; paid; received by each owner; kept by the hub and by the gantry: msat.
    pub(crate) worth: u64,
    pub(crate) paid: u64,
    pub(crate) owners: [u64; OWNERS.len()],
    pub(crate) hub: u64,
    pub(crate) gantry: u64,
    /// Metres that nobody paid, msat, of how many cars.
    pub(crate) unpaid: (u64, u64),
    pub(crate) windows: u64,
    pub(crate) items: u64,
    pub(crate) bundles: u64,
    pub(crate) tolls: u64,
    pub(crate) signatures: u64,
    pub(crate) wire: (u64, u64),
    pub(crate) bundle_bytes: u64,
    pub(crate) commits: (u64, u64),
    pub(crate) faults: u64,
    pub(crate) lost: u64,
    pub(crate) night: Night,
    pub(crate) checks: u64,
    pub(crate) broken: Vec<String>,
}

/// What cars have paid, msat.
struct Paid {
    /// Each of them.
    each: Vec<u64>,
    /// All of them in each lane.
    lanes: [u64; LANES],
    worth: u64,
    unpaid: (u64, u64),
}

impl Rush<'_> {
    /// The night, and every sum.
    pub(super) fn outcome(mut self) -> Result<Outcome, Error> {
        let paid = self.check_cars()?;
        self.check_relay(&paid);
        self.screen.line("the night settles every channel");
        let reorg = self.chaos >= 1;
        self.faults += u64::from(reorg);
        let night = night(&mut self.road, &self.relay, reorg)?;
        self.check_chain(&paid.each, &night);
        let Relay { sender, middle, owners, bundles, bytes, lost, .. } = &self.relay;
        let desks = [&sender.desk, &middle.desk].into_iter().chain(owners.iter().map(|o| &o.desk));
        let (mut commits, mut signed) = (self.road.crowd.commits(), 0);
        for desk in desks {
            commits.0 += desk.store.commits();
            commits.1 += desk.store.barriers();
            signed += desk.signed;
        }
        let on_chain = |books: &Books| -> u64 {
            books.kinds.iter().map(|(kind, kept)| kept.channels * kind.signatures()).sum()
        };
        let total: u64 = paid.each.iter().sum();
        let onward: u64 = middle.payers.iter().map(|payer| payer.signed().to_msat()).sum();
        let hub = middle.payee.paid().to_msat();
        Ok(Outcome {
            cars: self.cars.len() as u64,
            payments: self.payments,
            worth: paid.worth,
            paid: total,
            owners: std::array::from_fn(|owner| {
                owners.get(owner).map_or(0, |owner| owner.payee.paid().to_msat())
            }),
            hub: hub.saturating_sub(onward),
            gantry: total.saturating_sub(hub),
            unpaid: paid.unpaid,
            windows: self.road.windows,
            items: self.road.items,
            bundles: *bundles,
            tolls: owners.iter().map(|owner| owner.items).sum(),
            signatures: self.road.windows + signed + on_chain(&night.cars) + on_chain(&night.relay),
            wire: self.road.crowd.wire(),
            bundle_bytes: *bytes,
            commits,
            faults: self.faults,
            lost: *lost,
            night,
            checks: self.checks,
            samples: self.samples,
            broken: self.broken,
        })
    }

    /// Each car: its metres, its lanes, its vouchers, and what every owner has got of it.
    fn check_cars(&mut self) -> Result<Paid, Error> {
        let each = self.road.paid()?;
        let mut paid = Paid { each, lanes: [0; LANES], worth: 0, unpaid: (0, 0) };
        for number in 0..self.cars.len() {
            self.checks += 1;
            let held = self.road.held(number)?;
            let Some(car) = self.cars.get(number) else { continue };
            let (cost, due) = (car.gantry.cost(), worth(car.from, car.driven));
            let (metered, got): (u64, u64) = (cost.iter().sum(), held.iter().sum());
            let (stage, vouchers) = (car.stage, paid.each.get(number).copied().unwrap_or(0));
            paid.worth += due;
            for (sum, held) in paid.lanes.iter_mut().zip(held) {
                *sum += held;
            }
            if metered != due || vouchers != got {
                self.fail(format!("car {number}: {metered} of {due} msat, {vouchers} of {got}"));
            }
            if stage == Stage::TurnedOff {
                paid.unpaid = (paid.unpaid.0 + due - got, paid.unpaid.1 + 1);
                if due - got > CREDIT {
                    self.fail(format!("car {number} owes {} msat", due - got));
                }
            } else if got != due {
                self.fail(format!("car {number} paid {got} msat for metres of {due}"));
            }
            for (at, owner) in self.relay.owners.iter().enumerate() {
                let (toll, lane) =
                    (owner.tolls.get(&number).copied().unwrap_or(0), held.get(at).copied());
                if Some(toll) != lane {
                    self.broken.push(format!("car {number}: {toll} msat, not {lane:?}"));
                }
            }
        }
        Ok(paid)
    }

    /// What has gone on, from voucher to voucher.
    fn check_relay(&mut self, paid: &Paid) {
        let off = u64::from(self.sabotage == Some(Sabotage::Statement));
        let Relay { sender, middle, owners, .. } = &self.relay;
        let (signed, taken) = (sender.payer.signed(), middle.payee.paid());
        let mut wrong = Vec::new();
        if signed != taken {
            wrong.push(format!("the gantry signed {signed}, the hub has {taken}"));
        }
        let sides = owners.iter().zip(&middle.payers).zip(paid.lanes).zip(OWNERS);
        for (((owner, payer), lane), name) in sides {
            let (got, signed) = (owner.payee.paid().to_msat(), payer.signed().to_msat());
            if got != signed || got + off != lane {
                wrong.push(format!("{name}: {got} msat of {signed}, its lanes hold {lane}"));
            }
        }
        let onward: u64 = middle.payers.iter().map(|payer| payer.signed().to_msat()).sum();
        let total: u64 = paid.each.iter().sum();
        if onward > taken.to_msat() || taken.to_msat() > total {
            wrong.push(format!("{onward} msat went on of {taken} of {total} msat"));
        }
        self.checks += 5;
        for wrong in wrong {
            self.fail(wrong);
        }
    }

    /// What the chain pays is what the vouchers say, in whole satoshis.
    fn check_chain(&mut self, paid: &[u64], night: &Night) {
        let mut due = 0;
        let mut left = Vec::new();
        for (outpoint, paid) in self.road.crowd.fundings.iter().zip(paid) {
            if night.settled.contains(outpoint) {
                due += paid / 1_000;
            } else if *paid > UNSETTLED_MAX {
                left.push(format!("a channel with {paid} msat did not settle"));
            }
        }
        let relay: u64 = core::iter::once(&self.relay.middle.payee)
            .chain(self.relay.owners.iter().map(|owner| &owner.payee))
            .map(|payee| payee.paid().to_msat() / 1_000)
            .sum();
        self.checks += 4;
        let books = [(&night.cars, due), (&night.relay, relay)];
        left.extend(wrong(&self.road.crowd.world, &books, self.sabotage));
        for left in left {
            self.fail(left);
        }
    }
}
