//! The machine against a model that counts every unit and every second one by one.

use proptest::prelude::*;

use super::*;

/// The document as plain numbers.
#[derive(Debug, Clone)]
struct Plain {
    base: Vec<(u64, u64, u64)>,
    weekly: bool,
    bands: Vec<(u64, u64, u64, u64)>,
    fixed: u64,
    min: u64,
    idle: (u64, u64, u64),
}

impl Plain {
    fn tariff(&self) -> Tariff {
        let base = self.base.iter().map(|&(from, amount, per)| tier(from, amount, per)).collect();
        let bands = self
            .bands
            .iter()
            .map(|&(from, to, amount, per)| band(from, to, &[tier(0, amount, per)]))
            .collect();
        let repeat = if self.weekly { Repeat::Weekly } else { Repeat::Daily };
        let (amount, per, grace) = self.idle;
        flat()
            .with_tiers(base)
            .and_then(|tariff| tariff.with_bands(repeat, bands))
            .and_then(|tariff| tariff.with_fees(msat(self.fixed), msat(self.min)))
            .and_then(|tariff| tariff.with_idle(price(amount, per), secs(grace)))
            .unwrap()
    }

    /// The price of one unit at place `place` (from 0) stamped `at`.
    fn unit(&self, at: u64, place: u64) -> (u64, u64) {
        let weekday = (at / 86_400 + 3) % 7;
        let offset = if self.weekly { weekday * 86_400 } else { 0 } + at % 86_400;
        let band = self.bands.iter().find(|band| band.0 <= offset && offset < band.1);
        if let Some(&(_, _, amount, per)) = band {
            return (amount, per);
        }
        let tier = self.base.iter().rfind(|tier| tier.0 <= place).unwrap();
        (tier.1, tier.2)
    }

    /// What is owed after `readings` of (stamp, total), the first at the start.
    fn owed(&self, readings: &[(u64, u64)]) -> u64 {
        // Over the product of the denominators that occur: not the smallest, but simple.
        let pers = [1, 2, 3, 7, 1_000, 3_600_000_u128];
        let whole: u128 = pers.iter().product();
        let mut parts = u128::from(self.fixed) * whole;
        let (mut last, mut before) = (readings[0].0, 0);
        let mut quiet = last;
        for &(at, total) in readings {
            for place in before..total {
                let (amount, per) = self.unit(at, place);
                parts += u128::from(amount) * (whole / u128::from(per));
            }
            if total > before {
                quiet = at;
            } else {
                let (amount, per, grace) = self.idle;
                let idle = (last..at).filter(|&second| second >= quiet + grace).count();
                parts += idle as u128 * u128::from(amount) * (whole / u128::from(per));
            }
            (last, before) = (at, total);
        }
        u64::try_from(parts / whole).unwrap().max(self.min)
    }
}

fn per() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1_u64, 2, 3, 7, 1_000, 3_600_000])
}

fn plain() -> impl Strategy<Value = Plain> {
    let steps = prop::collection::vec((1_u64..60, 0_u64..5_000, per()), 1..4);
    let bands = prop::collection::vec((0_u64..200, 1_u64..200, 0_u64..5_000, per()), 0..4);
    let idle = (0_u64..500, per(), 0_u64..40);
    (steps, any::<bool>(), bands, 0_u64..500, 0_u64..5_000, idle).prop_map(
        |(steps, weekly, gaps, fixed, min, idle)| {
            let mut from = 0;
            let mut base = Vec::new();
            for (gap, amount, per) in steps {
                base.push((from, amount, per));
                from += gap;
            }
            // Around the time of the test: Friday from 10:00 UTC on.
            let mut free = 36_000 + if weekly { 4 * 86_400 } else { 0 };
            let mut bands = Vec::new();
            for (gap, length, amount, per) in gaps {
                bands.push((free + gap, free + gap + length, amount, per));
                free += gap + length;
            }
            Plain { base, weekly, bands, fixed, min, idle }
        },
    )
}

/// Seconds and units since the reading before.
fn readings() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0_u64..60, prop_oneof![Just(0), 1_u64..40]), 1..30).prop_map(|gaps| {
        let mut all = vec![(T0, 0)];
        for (time, quantity) in gaps {
            let &(at, total) = all.last().unwrap();
            all.push((at + time, total + quantity));
        }
        all
    })
}

/// A session in which no window and no budget stands in the way.
fn wide(role: Role, tariff: Tariff) -> Session {
    let role = match role {
        Role::Seller => Role::Seller,
        Role::Buyer { .. } => Role::Buyer {
            meter_ppm: Ppm::new(0).unwrap(),
            meter_slack: Quantity::ZERO,
            skew: Seconds::MIN,
            budget: Msat::MAX,
        },
    };
    let window = Window { credit: Msat::MAX, prepay: Msat::ZERO };
    let mut session = Session::offer(SessionId::new(7).unwrap(), role, window, tariff);
    let tariff = session.tariff().hash();
    step(&mut session, T0, Input::Start { at: utc(T0), tariff }).unwrap();
    session
}

proptest! {
    #[test]
    fn both_sides_owe_exactly_what_the_model_counts(plain in plain(), all in readings()) {
        let mut seller = wide(Role::Seller, plain.tariff());
        let mut payer = wide(buyer(), plain.tariff());
        for (count, &(at, total)) in all.iter().enumerate() {
            meter(&mut seller, at, total).unwrap();
            meter(&mut payer, at, total).unwrap();
            step(&mut payer, at, seller.claim().unwrap()).unwrap();
            let owed = msat(plain.owed(&all[..=count]));
            prop_assert_eq!(seller.owed(), owed);
            prop_assert_eq!(payer.owed(), owed);
            prop_assert_eq!(payer.record().idle(), seller.record().idle());
        }
    }

    #[test]
    fn total_does_not_depend_on_how_readings_are_cut(
        plain in plain(),
        all in readings(),
        cuts in prop::collection::vec(1_u64..40, 1..20),
    ) {
        let mut whole = wide(Role::Seller, plain.tariff());
        let mut cut = wide(Role::Seller, plain.tariff());
        let mut sizes = cuts.iter().cycle();
        for &(at, total) in &all {
            meter(&mut whole, at, total).unwrap();
            let mut done = cut.record().quantity().to_u64();
            if done == total {
                meter(&mut cut, at, total).unwrap();
            }
            while done < total {
                let part = (*sizes.next().unwrap()).min(total - done);
                done += part;
                cut.tick(utc(at), utc(at), units(part)).unwrap();
            }
            prop_assert_eq!(cut.record(), whole.record());
        }
    }

    #[test]
    fn tick_is_decide_and_apply(
        plain in plain(),
        is_buyer in any::<bool>(),
        credit in 0_u64..20_000,
        budget in 0_u64..200_000,
        acts in prop::collection::vec((0_u8..12, 0_u64..40, 1_u64..6, 0_u64..3), 1..120),
    ) {
        let role = if is_buyer {
            let Role::Buyer { meter_ppm, meter_slack, .. } = buyer() else { return Ok(()) };
            Role::Buyer { meter_ppm, meter_slack, skew: secs(2), budget: msat(budget + 5_000) }
        } else {
            Role::Seller
        };
        let window = Window { credit: msat(credit), prepay: msat(50) };
        let mut fast = Session::offer(SessionId::new(7).unwrap(), role, window, plain.tariff());
        let tariff = fast.tariff().hash();
        step(&mut fast, T0, Input::Start { at: utc(T0), tariff }).unwrap();
        let mut slow = fast.clone();
        let mut now = T0;
        let mut size = 1;
        for (act, time, next_size, skew) in acts {
            match act {
                0 => size = next_size - 1,
                1 => now += time,
                2 => {
                    let total = fast.pay_to().to_msat();
                    paid(&mut fast, now, total).unwrap();
                    paid(&mut slow, now, total).unwrap();
                }
                3 if is_buyer => {
                    let total = units(fast.record().quantity().to_u64() + time);
                    let got = fast.measure(utc(now), total);
                    let want = step(&mut slow, now, Input::Meter { total });
                    prop_assert_eq!(got.err(), want.err());
                }
                _ => {
                    let at = if act == 4 { now + skew } else { now };
                    let total = units(slow.record().quantity().to_u64() + size);
                    let idle = slow.record().idle();
                    let before = *fast.record();
                    let got = fast.tick(utc(now), utc(at), units(size));
                    let input = if is_buyer {
                        Input::Claim { at: utc(at), total, idle }
                    } else {
                        Input::Meter { total }
                    };
                    if !is_buyer && at != now {
                        prop_assert!(got.is_err());
                        prop_assert_eq!(*fast.record(), before);
                        continue;
                    }
                    let want = step(&mut slow, now, input).map(|_| slow.record().state());
                    prop_assert_eq!(got, want);
                    if got.is_err() {
                        prop_assert_eq!(*fast.record(), before);
                    }
                }
            }
            prop_assert_eq!(fast.record(), slow.record());
        }
    }

    #[test]
    fn neither_side_is_ahead_by_more_than_the_window_and_one_tick(
        plain in plain(),
        credit in 0_u64..20_000,
        prepay in 0_u64..20_000,
        acts in prop::collection::vec((0_u8..8, 0_u64..40, 1_u64..20), 1..120),
    ) {
        let window = Window { credit: msat(credit), prepay: msat(prepay) };
        let role = Role::Buyer {
            meter_ppm: Ppm::MIN,
            meter_slack: Quantity::ZERO,
            skew: Seconds::MIN,
            budget: Msat::MAX,
        };
        let id = SessionId::new(7).unwrap();
        let mut seller = Session::offer(id, Role::Seller, window, plain.tariff());
        let mut payer = Session::offer(id, role, window, plain.tariff());
        let start = Input::Start { at: utc(T0), tariff: seller.tariff().hash() };
        step(&mut seller, T0, start).unwrap();
        step(&mut payer, T0, start).unwrap();
        let upfront = plain.tariff().upfront();
        let mut now = T0;
        for (act, time, size) in acts {
            let (debt, served) = (seller.debt(), seller.record().state() == State::Active);
            match act {
                // A voucher is signed, and arrives only in the next round's act 1.
                0 => {
                    let total = payer.pay_to().to_msat();
                    paid(&mut payer, now, total).unwrap();
                    let more = paid(&mut payer, now, total + 1);
                    let refused = matches!(more, Err(MeterError::PrepayExceeded { .. }));
                    prop_assert!(refused);
                }
                1 => {
                    let total = payer.record().paid().to_msat();
                    paid(&mut seller, now, total).unwrap();
                }
                _ => {
                    now += time;
                    let total = seller.record().quantity().to_u64() + size;
                    let owed = seller.owed_after(utc(now), units(size)).unwrap();
                    let may = seller.may_deliver(utc(now), units(size)).unwrap();
                    let result = meter(&mut seller, now, total);
                    prop_assert_eq!(result.is_ok(), served);
                    if served {
                        prop_assert_eq!(seller.owed(), owed);
                        prop_assert_eq!(may, seller.record().state() == State::Active);
                        // One tick above the credit, never two.
                        let tick = owed.to_msat() - (owed.to_msat().min(
                            seller.record().paid().to_msat() + debt.to_msat()));
                        prop_assert!(debt <= window.credit);
                        prop_assert!(seller.debt().to_msat() <= credit + tick);
                        meter(&mut payer, now, total).unwrap();
                        step(&mut payer, now, seller.claim().unwrap()).unwrap();
                    }
                }
            }
            prop_assert_eq!(seller.owed(), payer.owed());
            prop_assert!(payer.ahead() <= window.prepay);
            prop_assert!(payer.record().paid().to_msat()
                <= payer.owed().max(upfront).to_msat() + prepay);
        }
        // No wedge: what the payer signs next resumes the service.
        let total = payer.pay_to().to_msat();
        paid(&mut payer, now, total).unwrap();
        paid(&mut seller, now, total).unwrap();
        prop_assert_eq!(seller.record().state(), State::Active);
    }
}
