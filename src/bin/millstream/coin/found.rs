//! Which outputs of a channel's script are the payer's coin: anybody can pay to a script.

use std::collections::BTreeSet;
use std::fmt;

use bitcoin::OutPoint;
use millstream::tx::seen::OutputStatus;

/// Where an output of the script comes from, the least trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// A replaced funding, another channel of the same key, or a stranger's dust.
    Other,
    /// Made by a spend of the funding, of such an output again, and so on: a rollover, a top-up.
    Descendant,
    /// The funding that the backup names.
    Funding,
}

/// An output of the script that no block spends.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) outpoint: OutPoint,
    /// Without a spend in the mempool, which may still be replaced.
    pub(crate) status: OutputStatus,
    origin: Origin,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Other => "not descended from the backup's funding",
            Origin::Descendant => "descended from the backup's funding",
            Origin::Funding => "the backup's funding",
        };
        write!(f, "{}, {}, ", self.outpoint, self.status.value)?;
        match self.status.confirmed {
            Some(height) => write!(f, "confirmed at height {height}, {origin}"),
            None => write!(f, "not confirmed, {origin}"),
        }
    }
}

/// What of the script's outputs is there, the likeliest coin first: the funding that the backup
/// names, then what descends from it, then the rest; of each the confirmed before the unconfirmed,
/// and the largest first.
pub(super) fn ranked(funding: OutPoint, outputs: Vec<(OutPoint, OutputStatus)>) -> Vec<Found> {
    let family = family(funding, &outputs);
    let mut found = Vec::new();
    for (outpoint, mut status) in outputs {
        if status.spent.take().is_some_and(|spend| spend.confirmed.is_some()) {
            continue;
        }
        let origin = match family.contains(&outpoint) {
            _ if outpoint == funding => Origin::Funding,
            true => Origin::Descendant,
            false => Origin::Other,
        };
        found.push(Found { outpoint, status, origin });
    }
    found.sort_by_key(|Found { outpoint, status, origin }| {
        (*origin, status.confirmed.is_some(), status.value, *outpoint)
    });
    found.reverse();
    found
}

/// The funding and every output of the script that spends of it lead to.
fn family(funding: OutPoint, outputs: &[(OutPoint, OutputStatus)]) -> BTreeSet<OutPoint> {
    let (mut family, mut next) = (BTreeSet::new(), vec![funding]);
    while let Some(outpoint) = next.pop() {
        if !family.insert(outpoint) {
            continue;
        }
        let here = outputs.iter().filter(|(at, _)| *at == outpoint);
        for spend in here.filter_map(|(_, status)| status.spent.as_ref()) {
            let txid = spend.tx.compute_txid();
            next.extend(outputs.iter().map(|(at, _)| *at).filter(|at| at.txid == txid));
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::hashes::Hash;
    use bitcoin::transaction::Version;
    use bitcoin::{ScriptBuf, Transaction, TxIn, Txid};
    use millstream::tx::seen::Spend;
    use millstream::units::{Height, Sat};

    use super::*;

    fn at(byte: u8) -> OutPoint {
        OutPoint { txid: Txid::from_byte_array([byte; 32]), vout: 0 }
    }

    fn status(sat: u64, confirmed: Option<u32>) -> OutputStatus {
        OutputStatus {
            value: Sat::new(sat).unwrap(),
            script: ScriptBuf::new(),
            confirmed: confirmed.map(|height| Height::new(height).unwrap()),
            truc: true,
            spent: None,
        }
    }

    fn spending(outpoint: OutPoint) -> Transaction {
        let input = vec![TxIn { previous_output: outpoint, ..TxIn::default() }];
        Transaction { version: Version(3), lock_time: LockTime::ZERO, input, output: Vec::new() }
    }

    fn spent(status: OutputStatus, by: &Transaction, confirmed: Option<u32>) -> OutputStatus {
        let confirmed = confirmed.map(|height| Height::new(height).unwrap());
        OutputStatus { spent: Some(Spend { tx: by.clone(), confirmed }), ..status }
    }

    fn order(funding: OutPoint, outputs: Vec<(OutPoint, OutputStatus)>) -> Vec<OutPoint> {
        ranked(funding, outputs).into_iter().map(|found| found.outpoint).collect()
    }

    #[test]
    fn funding_comes_before_newer_larger_and_unconfirmed_outputs_of_strangers() {
        let funding = (at(1), status(1_000, Some(100)));
        let larger = (at(2), status(9_000, Some(200)));
        let unconfirmed = (at(3), status(9_999, None));
        assert_eq!(order(at(1), vec![unconfirmed, larger, funding]), [at(1), at(2), at(3)]);
    }

    #[test]
    fn rollover_of_a_rollover_comes_before_a_strangers_larger_output() {
        let (first, second) = (spending(at(1)), spending(at(7)));
        let (one, two) = (first.compute_txid(), second.compute_txid());
        let (one, two) = (OutPoint { txid: one, vout: 2 }, OutPoint { txid: two, vout: 0 });
        let outputs = vec![
            (at(1), spent(status(1_000, Some(100)), &first, Some(110))),
            (one, spent(status(900, Some(110)), &second, Some(120))),
            (two, status(800, Some(120))),
            (at(9), status(9_000, Some(130))),
        ];
        assert_eq!(order(at(1), outputs), [two, at(9)]);
    }

    #[test]
    fn spend_in_the_mempool_leaves_the_funding_first_and_takes_it_for_unspent() {
        let settlement = spending(at(1));
        let change = OutPoint { txid: settlement.compute_txid(), vout: 0 };
        let funding = (at(1), spent(status(1_000, Some(100)), &settlement, None));
        let outputs = vec![(change, status(900, None)), funding];
        let found = ranked(at(1), outputs);
        assert_eq!(found[0].outpoint, at(1));
        assert_eq!(found[0].status.spent, None);
        assert_eq!((found.len(), found[1].outpoint), (2, change));
    }

    #[test]
    fn largest_confirmed_output_stands_for_a_funding_that_was_replaced() {
        let replaced = (at(4), status(1_000, Some(100)));
        let dust = (at(5), status(10, Some(300)));
        let unconfirmed = (at(6), status(5_000, None));
        assert_eq!(order(at(1), vec![dust, unconfirmed, replaced]), [at(4), at(5), at(6)]);
    }
}
