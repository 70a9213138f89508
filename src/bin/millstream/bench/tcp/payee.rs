//! The child: takes windows and visits their items until its input is closed.

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;

use cpu_time::ProcessTime;
use millstream::rt::{Driver, RtError};
use serde::{Deserialize, Serialize};

use super::ends::{self, PAYEE};

/// What it says at its end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// Items that it visited.
    pub(super) visited: u64,
    /// What they cost together, msat.
    pub(super) sum: u64,
    /// Seconds of processor time since it listened.
    pub(super) cpu: f64,
}

/// Listens, says where, and says what it saw.
pub(crate) fn run(dir: &Path) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(dir))
}

async fn serve(dir: &Path) -> Result<(), Box<dyn Error>> {
    let funded = ends::funded()?;
    let driver = Driver::start(ends::parts(PAYEE, &funded, dir)?, ends::options(true)).await?;
    let mut batches = driver.batches();
    let visits = tokio::spawn(async move {
        let (mut visited, mut sum) = (0_u64, 0_u64);
        loop {
            match batches.next().await {
                Ok(batch) => {
                    let seen = batch.visit(|_, amount| {
                        visited += 1;
                        sum += amount.to_msat();
                    });
                    seen.map_err(|error| error.to_string())?;
                }
                Err(RtError::Ended) => return Ok::<_, String>((visited, sum)),
                Err(error) => return Err(error.to_string()),
            }
        }
    });
    let address = driver.address().ok_or("no address")?;
    println!("{address}");
    std::io::stdout().flush()?;
    let began = ProcessTime::now();
    // The parent closes it, or is gone.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    let cpu = began.elapsed().as_secs_f64();
    driver.stop().await?;
    let (visited, sum) = visits.await??;
    println!("{}", serde_json::to_string(&Said { visited, sum, cpu })?);
    Ok(())
}
