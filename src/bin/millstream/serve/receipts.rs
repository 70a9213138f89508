//! Receipts of the batches that come in: a file for each item, that `verify-receipt` checks.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use millstream::node::{Node, ReceivedBatch};
use millstream::rt::Driver;
use millstream::signer::MemorySigner;
use millstream::units::Msat;

use crate::failure::Failure;
use crate::machine;

/// Of a larger batch the first so many items have their files: each is the work of the whole tree.
const FILES_MAX: usize = 100;

/// What came in on each lane is told, and receipted if there is a folder for it.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) folder: Option<PathBuf>,
    pub(super) tariff: [u8; 32],
}

impl Counter {
    /// Takes one batch.
    pub(super) async fn take(
        &self,
        batch: ReceivedBatch,
        driver: &Driver<MemorySigner>,
    ) -> Result<(), Failure> {
        let mut lanes: BTreeMap<_, (u32, Msat)> = BTreeMap::new();
        let mut items = Vec::new();
        batch.visit(|item, amount| {
            let (count, sum) = lanes.entry(item.lane).or_insert((0, Msat::ZERO));
            (*count, *sum) = (*count + 1, sum.saturating_add(amount));
            if items.len() < FILES_MAX {
                items.push((item.lane, item.id));
            }
        })?;
        for (lane, (count, sum)) in lanes {
            println!("lane {lane}: {count} items, {sum}, on {}", batch.outpoint());
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        let failed = |source| Failure::File { path: folder.clone(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let (outpoint, tariff, now) = (batch.outpoint(), self.tariff, machine::now()?);
        let sign = move |node: &mut Node<MemorySigner>| node.sign_receipts(batch, tariff, &now);
        let receipts = driver.look(sign).await??;
        for (at, (lane, id)) in (0..).zip(items) {
            let (txid, vout) = (outpoint.txid, outpoint.vout);
            let name = format!("{txid}-{vout}-{lane}-{id}.receipt");
            fs::write(folder.join(name), receipts.at(at)?.encode()).map_err(failed)?;
        }
        Ok(())
    }
}
