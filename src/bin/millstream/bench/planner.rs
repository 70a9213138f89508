//! The settlement planner over a large fleet, and what its plan costs on the chain.

use std::collections::BTreeSet;
use std::error::Error;

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Txid, Weight, WitnessProgram, WitnessVersion};
use millstream::keys::tagged_hash;
use millstream::node::plan::{Candidate, Forecast, Outlook, Plan as Settling, Policy};
use millstream::units::{Blocks, FeeRate, Height, Sat};

use super::Args;
use super::clock::{Clock, Plan, compare};
use super::row::{Goal, Row};

/// What this file gives.
pub(crate) const NAMES: &[&str] = &["plan_us_per_channel", "plan_vbytes_per_channel"];

const CHANNELS: u32 = 10_000;
const TIP: u32 = 900_000;
/// 5 sat a virtual byte.
const RATE: u64 = 5_000;
/// An input on the settle leaf, and a P2TR change.
const PART: u64 = 431 + 172;

/// One plan of 10,000 channels, all within a week of their deadlines, in a cheap night: most
/// settle, a few are late, and some are not worth their fee.
pub(crate) fn rows(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let candidates = fleet()?;
    let till = ScriptBuf::new_witness_program(&WitnessProgram::new(WitnessVersion::V1, &[7; 32])?);
    let (tip, rate) = (Height::new(TIP)?, FeeRate::new(RATE)?);
    // The cheap time is now, so that nearly all of them settle: the dearest plan there is.
    let forecast = Some(Forecast { from: tip, rate });
    let (outlook, policy) = (Outlook { tip, rate, forecast }, Policy::new(till));
    let planned = || Settling::of(&candidates, &[], &[], &outlook, &policy);
    let plan = planned();
    check(&plan, &candidates)?;
    let mut ours = || {
        if planned() == plan { Ok(()) } else { Err("another plan".into()) }
    };
    // A deadline and an outpoint each, put in order: what no planner does without.
    let mut keys: Vec<_> = Vec::new();
    let mut bare = || {
        keys = candidates.iter().map(|one| (one.deadline, one.outpoint)).collect();
        keys.sort_unstable();
        Ok(())
    };
    let measured = Plan { clock: Clock::Cpu, rounds: args.rounds, turns: 2, operations: 1 };
    let compared = compare(measured, &mut ours, &mut bare)?;
    let each = |seconds: f64| seconds * 1e6 / f64::from(CHANNELS);
    let settled: usize = plan.groups.iter().map(|group| group.outpoints.len()).sum();
    let weight: u64 = plan.groups.iter().map(|group| group.weight.to_wu()).sum();
    let vbytes = u32::try_from(weight.div_ceil(4))?;
    let note = format!(
        "{CHANNELS} channels: {settled} settle in {} transactions, {} wait, {} are not worth it",
        plan.groups.len(),
        plan.waiting.len(),
        plan.unworthy.len()
    );
    Ok(vec![
        Row::new("plan_us_per_channel", each(compared.ours), "us")
            .against("sorting them by deadline", each(compared.bare))
            .note(note),
        Row::new(
            "plan_vbytes_per_channel",
            f64::from(vbytes) / f64::from(u32::try_from(settled)?),
            "vB",
        )
        .goal(Goal::AtMost(205.0))
        .against("each settled alone", 204.25),
    ])
}

/// Balances of nothing to 100,000 sat; deadlines from one that is missed to a week away.
fn fleet() -> Result<Vec<Candidate>, Box<dyn Error>> {
    let mut fleet = Vec::new();
    for number in 0..CHANNELS {
        let bytes = tagged_hash(b"millstream/bench/planner", &[&number.to_le_bytes()]);
        let (balance, left) = (u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]), bytes[3]);
        fleet.push(Candidate {
            outpoint: OutPoint { txid: Txid::from_byte_array(bytes), vout: 0 },
            balance: Sat::new(u64::from(balance % 100_000))?,
            weight: Weight::from_wu(PART),
            pinnable: false,
            deadline: Some(Height::new(TIP + u32::from(left) * 4)?),
            margin: Blocks::new(20)?,
            child_of: None,
            rival: None,
        });
    }
    Ok(fleet)
}

/// Every channel is in exactly one place, and no group above what mempools take.
fn check(plan: &Settling, candidates: &[Candidate]) -> Result<(), Box<dyn Error>> {
    let grouped = plan.groups.iter().flat_map(|group| &group.outpoints);
    let waiting = plan.waiting.iter().map(|waiting| &waiting.outpoint);
    let all: Vec<_> = grouped.chain(waiting).chain(&plan.in_flight).chain(&plan.unworthy).collect();
    let places: BTreeSet<_> = all.iter().copied().collect();
    let wanted: BTreeSet<_> = candidates.iter().map(|candidate| &candidate.outpoint).collect();
    if all.len() != candidates.len() || places != wanted {
        return Err("a channel without its place".into());
    }
    if plan.groups.iter().any(|group| group.weight.to_wu() > 40_000) {
        return Err("a group above the limit of version 3".into());
    }
    Ok(())
}
