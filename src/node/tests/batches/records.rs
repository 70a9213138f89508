//! The stored bytes of lanes.

use alloc::string::String;

use super::*;
use crate::node::batch;
use crate::node::lineage::Side;
use crate::store::{Batch, Durability, Store};

fn stored(pair: &Pair, node: usize, side: Side) -> Vec<u8> {
    let key = batch::key(side, pair.stage.outpoint).unwrap();
    pair.stage.stores[node].get(&key).unwrap().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    hex::DisplayHex::to_lower_hex_string(bytes)
}

/// Lane 0 closed after 100, lane 1 with 7, lane 3 fresh; 250 paid beside them.
fn paid() -> Pair {
    let mut pair = Pair::new();
    pair.open_lane(0, 1_000);
    pair.open_lane(1, 2_000);
    pair.pay(&[(0, 100), (1, 5)]).unwrap();
    pair.settle();
    let (outpoint, session, more) = (pair.stage.outpoint, id(BUDGET), msat(250));
    let ending = crate::stream::payer::Ending::KeepsChange;
    pair.stage.run(BUYER, Command::Pay { outpoint, more, session, ending });
    pair.settle();
    pair.close_lane(0);
    pair.open_lane(3, 3_000);
    pair.pay(&[(1, 2)]).unwrap();
    pair.settle();
    pair
}

#[test]
fn records_of_lanes_keep_their_golden_bytes() {
    let pair = paid();
    let lanes = concat!(
        "01",
        "000000000000015e",
        "0000000000000001",
        "02",
        "0001",
        "0000000000000002",
        "0000000000000007",
        "00000000000007d0",
        "0003",
        "0000000000000001",
        "0000000000000000",
        "0000000000000bb8",
    );
    for (node, side, session, crc) in [
        (BUYER, Side::Payer, "0000000000000003", PAYER_CRC),
        (SELLER, Side::Payee, "0000000000000000", PAYEE_CRC),
    ] {
        let bytes = stored(&pair, node, side);
        assert_eq!(hex(&bytes), format!("01{crc}{session}{lanes}"));
    }
}

/// The checksums of the envelope, which covers key and body.
const PAYER_CRC: &str = "6782d551";
const PAYEE_CRC: &str = "0adadc69";

#[test]
fn record_of_lanes_that_is_cut_or_flipped_is_refused() {
    let pair = paid();
    for (node, side) in [(BUYER, Side::Payer), (SELLER, Side::Payee)] {
        let key = batch::key(side, pair.stage.outpoint).unwrap();
        let bytes = stored(&pair, node, side);
        let mut bad: Vec<Vec<u8>> = (0..bytes.len()).map(|at| bytes[..at].to_vec()).collect();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            bad.push(flipped);
        }
        for bad in bad {
            let mut store = pair.stage.stores[node].clone();
            let mut batch = Batch::default();
            batch.put(key, &bad).unwrap();
            store.commit(&batch, Durability::Barrier).unwrap();
            let record = BudgetRecord::load(&store).unwrap();
            let policy =
                Policy { hour: Msat::MAX, day: Msat::MAX, peer: Msat::MAX, slice: msat(1) };
            let (seed, aux) = (seed(node), Entropy::new([0; 32]));
            let signer =
                MemorySigner::new(seed, Network::Regtest, policy, record.as_ref(), &aux).unwrap();
            let loaded = Node::load(config(node), Context::new(), signer, &store);
            let refused = matches!(loaded, Err(NodeError::Store(_)));
            assert!(refused, "{:?}", loaded.err());
        }
    }
}

#[test]
fn record_of_lanes_goes_with_its_channel() {
    let mut pair = paid();
    let outpoint = pair.stage.outpoint;
    let (lane, limit) = (lane(1), msat(9_000_000));
    pair.stage.run(BUYER, Command::LimitLane { outpoint, lane, limit });
    pair.pay(&[(1, 5_000_000)]).unwrap();
    pair.settle();
    pair.stage.run(SELLER, scenes::settle(outpoint));
    let tx = pair.stage.flush(SELLER).broadcasts.remove(0).remove(0);
    let spent = Some(crate::tx::seen::Spend { tx, confirmed: Some(height(DEEP - 5)) });
    let status = OutputStatus { spent, ..pair.stage.status() };
    for (side, of) in [(BUYER, Side::Payer), (SELLER, Side::Payee)] {
        let seen = Input::Output(outpoint, Some(status.clone()));
        pair.stage.handle(side, seen).unwrap();
        pair.flush(side);
        let key = batch::key(of, outpoint).unwrap();
        assert_eq!(pair.stage.stores[side].get(&key).unwrap(), None);
    }
}
