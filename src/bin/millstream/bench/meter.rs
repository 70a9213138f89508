//! Ticks of a metered session on one core: metered, claimed, checked and paid.

use std::error::Error;

use super::Args;
use super::clock::{Clock, Plan, compare};
use super::meters::{Meters, TICKS};
use super::row::{Goal, Row};
use super::stage::Stage;

/// What this file gives.
pub(crate) const NAMES: &[&str] = &["session_ticks_per_s", "meter_ticks_per_s"];

/// Ticks a second of this thread's CPU time, with and without their vouchers.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut stage = Stage::own(1)?;
    let mut paid = Meters::start(stage.view.now)?;
    let mut unpaid = Meters::start(stage.view.now)?;
    let (mut rounds, mut bare_rounds) = (0_u64, 0_u64);
    let plan = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 16, operations: 16 };
    let cost = compare(
        plan,
        &mut || {
            for _ in 0..TICKS {
                paid.tick()?;
            }
            rounds += 1;
            paid.pay(|more| stage.pay(0, more).map(drop))
        },
        &mut || {
            for _ in 0..TICKS {
                unpaid.tick()?;
            }
            bare_rounds += 1;
            unpaid.pay(|_| Ok(()))
        },
    )?;
    stage.check(rounds)?;
    paid.check(rounds * u64::from(TICKS))?;
    unpaid.check(bare_rounds * u64::from(TICKS))?;
    let ticks = f64::from(TICKS);
    Ok(vec![
        Row::new("session_ticks_per_s", ticks / cost.ours, "1/s")
            .goal(Goal::AtLeast(500_000.0))
            .against("the same without vouchers, 1/s", ticks / cost.bare)
            .note("both sides on one core, each tick a reading on the wire, a voucher each 64"),
        Row::new("meter_ticks_per_s", ticks / cost.bare, "1/s"),
    ])
}
