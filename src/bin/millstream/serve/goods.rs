//! What the demo delivers against holds: one thing a hash, with the preimages that it knows.
//!
//! The preimages stand in a file of their own before their hashes are told, one a line, so that a
//! restart in the middle of a delivery can still be paid for it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bitcoin::OutPoint;
use bitcoin::hex::{DisplayHex, FromHex};
use millstream::node::{Command, Node};
use millstream::signer::MemorySigner;
use millstream::stream::payee::PayeeHoldState;
use millstream::tx::hold::{Hold, PaymentHash, Preimage};

use crate::failure::Failure;
use crate::machine;

/// The preimages of everything that was offered for sale.
#[derive(Debug)]
pub(super) struct Goods {
    path: PathBuf,
    known: Vec<[u8; 32]>,
}

impl Goods {
    /// Reads the file, if there is one.
    pub(super) fn load(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join("preimages");
        let failed = |source| Failure::File { path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        // A line that a power cut left half was never told.
        let lines = bytes.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
        let known = lines.filter_map(|line| <[u8; 32]>::from_hex(&line).ok()).collect();
        Ok(Self { path, known })
    }

    /// The hash of one more thing that is for sale; its preimage is durable first.
    pub(super) fn offer(&mut self) -> Result<PaymentHash, Failure> {
        let mut bytes = [0; 32];
        machine::randomize(&mut bytes)?;
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            // Of its own, whatever a power cut left of the line before.
            writeln!(file, "\n{}", bytes.to_lower_hex_string())?;
            file.sync_all()
        };
        write().map_err(|source| Failure::File { path: self.path.clone(), source })?;
        self.known.push(bytes);
        Ok(Preimage::new(bytes).hash())
    }

    /// Deliver what is known, release the rest.
    pub(super) fn answer(&self, outpoint: OutPoint, hold: &Hold) -> Command {
        let known = self.known.iter().map(|bytes| Preimage::new(*bytes));
        match known.into_iter().find(|preimage| preimage.hash() == hold.hash) {
            Some(preimage) => Command::FulfilHold { outpoint, id: hold.id, preimage },
            None => Command::ReleaseHold { outpoint, id: hold.id },
        }
    }
}

/// The holds that wait for an answer, those of an earlier start among them.
pub(super) fn waiting(node: &mut Node<MemorySigner>) -> Vec<(OutPoint, Hold)> {
    let payees = node.payees();
    let open = payees.flat_map(|payee| {
        let open = payee.holds().iter().filter(|held| held.state == PayeeHoldState::Open);
        open.map(|held| (payee.outpoint(), held.hold))
    });
    open.collect()
}
