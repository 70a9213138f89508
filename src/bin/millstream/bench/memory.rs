//! What an idle channel holds in memory, by what the process grows when there are thousands.

use std::error::Error;
use std::hint::black_box;

use millstream::tx::{ChangeScript, Delay};

use super::Args;
use super::row::Row;
use super::stage::Stage;

/// What this file gives.
pub(crate) const NAMES: &[&str] = &["idle_payer_bytes", "idle_payee_bytes"];

/// Enough that pages and free lists do not matter.
const CHANNELS: u32 = 4_096;
/// PEERS: measured on LDK, which keeps two commitments, a monitor and its updates.
const PEER: &str = "an idle channel end of lightning 0.2.7, its own run";
const PEER_BYTES: f64 = 35_000.0;

/// The machine of a channel with its entry in the signer, cached key pair included.
pub(crate) fn rows(_: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let Some(before) = resident()? else {
        let missing = |name| Row::missing(name, "B", "needs /proc/self/status");
        return Ok(NAMES.iter().map(|name| missing(name)).collect());
    };
    let mut stage = Stage::own(0)?;
    let (mut payers, mut payees) = (Vec::new(), Vec::new());
    for number in 0..CHANNELS {
        payers.push(stage.open_payer(number, ChangeScript::Own, Delay::new(1_500)?)?.0);
    }
    let between = resident()?.unwrap_or_default();
    for payer in &payers {
        payees.push(stage.open_payee(payer)?);
    }
    let after = resident()?.unwrap_or_default();
    assert_eq!(black_box(&payers).len(), black_box(&payees).len());
    let each = |bytes: f64| bytes / f64::from(CHANNELS);
    let row = |name, value: f64| Row::new(name, value.round(), "B").against(PEER, PEER_BYTES);
    Ok(vec![
        row("idle_payer_bytes", each(between - before))
            .note(format!("resident growth over {CHANNELS} channels: machine and signer's entry")),
        row("idle_payee_bytes", each(after - between)),
    ])
}

/// Resident bytes of this process, where the system tells.
fn resident() -> Result<Option<f64>, Box<dyn Error>> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(None) };
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) else {
        return Ok(None);
    };
    let kibibytes: u32 = line.trim().trim_end_matches("kB").trim_end().parse()?;
    Ok(Some(f64::from(kibibytes) * 1_024.0))
}
