//! What one metered tick costs on each side: `cargo bench --bench meter`.
//!
//! Equal ticks, a payment after each 64 (which ends the shortcut, so that its slow tick is inside
//! the figure), and ticks of changing size, which price themselves anew each time.

use core::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream::meter::tariff::{Measure, Tariff};
use millstream::meter::{Input, Role, Session, State, Window};
use millstream::units::{Msat, Ppm, Price, Quantity, Seconds, SessionId, UnitError, UtcSeconds};

/// Ticks between two payments.
const TICKS: u64 = 64;
/// Watt-seconds of a tick: 22 kW for a second.
const STEP: u64 = 22_000;
const NOW: u64 = 1_700_000_000;

fn started(role: Role) -> Result<Session, Box<dyn std::error::Error>> {
    let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
    let tariff = Tariff::flat(Measure::WattSecond, price)?;
    let window = Window { credit: Msat::new(1_000_000)?, prepay: Msat::ZERO };
    let mut session = Session::offer(SessionId::new(1)?, role, window, tariff);
    let now = UtcSeconds::new(NOW)?;
    let start = Input::Start { at: now, tariff: session.tariff().hash() };
    let record = session.decide(now, start)?.record;
    session.apply(&record)?;
    if role != Role::Seller {
        session.measure(now, Quantity::new(1 << 62)?)?;
    }
    Ok(session)
}

fn buyer() -> Result<Role, UnitError> {
    Ok(Role::Buyer {
        meter_ppm: Ppm::new(20_000)?,
        meter_slack: Quantity::new(22_000)?,
        skew: Seconds::new(30)?,
        budget: Msat::MAX,
    })
}

/// `TICKS` ticks and their payment; the service must never pause.
fn round(session: &mut Session, size: impl Fn(u64) -> u64) {
    let now = UtcSeconds::new(NOW).unwrap();
    for tick in 0..TICKS {
        let step = Quantity::new(black_box(size(tick))).unwrap();
        let state = session.tick(now, now, step).unwrap();
        assert_eq!(state, State::Active);
    }
    let paid = Input::Paid { total: session.owed() };
    let record = session.decide(now, paid).unwrap().record;
    session.apply(&record).unwrap();
}

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("meter");
    group.throughput(Throughput::Elements(TICKS));
    for (side, role) in [("seller", Role::Seller), ("buyer", buyer().unwrap())] {
        let mut session = started(role).unwrap();
        group.bench_function(format!("{side}_64_equal_ticks_and_payment"), |bencher| {
            bencher.iter(|| round(&mut session, |_| STEP));
        });
        let mut session = started(role).unwrap();
        group.bench_function(format!("{side}_64_unequal_ticks_and_payment"), |bencher| {
            bencher.iter(|| round(&mut session, |tick| STEP + tick));
        });
    }
    group.finish();
}

criterion_group!(benches, ticks);
criterion_main!(benches);
