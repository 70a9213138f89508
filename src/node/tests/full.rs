//! A buyer that holds as many channels as a node may, and whose payee settles one of them; and
//! where a payee believes its payers to be.

use super::payer::SUCCEEDING_MAX;
use super::*;
use crate::stream::payer::PayerPhase;
use crate::tx::seen::Spend;

fn phantom(n: usize) -> OutPoint {
    let mut txid = [7; 32];
    txid[..8].copy_from_slice(&u64::try_from(n).unwrap().to_be_bytes());
    OutPoint { txid: Txid::from_byte_array(txid), vout: 0 }
}

/// A buyer of `count` channels; the funded one is settled, and what the chain shows of it then.
fn full(count: usize) -> (Stage, OutPoint, OutputStatus) {
    let mut stage = Scene::Running.build();
    stage.run(SELLER, scenes::settle(stage.outpoint));
    let tx = stage.flush(SELLER).broadcasts.remove(0).remove(0);
    let buyer = &mut stage.nodes[BUYER];
    let machine = buyer.payers[&stage.outpoint].machine.clone();
    for n in 1..count {
        let alias = ChannelAlias::new(u32::try_from(n).unwrap()).unwrap();
        buyer.payers.insert(phantom(n), PayerSlot::new(machine.clone(), alias));
    }
    assert_eq!(buyer.channels(), count);
    let next = OutPoint { txid: tx.compute_txid(), vout: 0 };
    let spent = Some(Spend { tx, confirmed: None });
    let status = OutputStatus { spent, ..stage.status() };
    (stage, next, status)
}

#[test]
fn full_node_follows_what_its_payee_makes_of_a_channel() {
    let (mut stage, next, status) = full(CHANNELS_MAX);
    let outpoint = stage.outpoint;
    stage.handle(BUYER, Input::Output(outpoint, Some(status))).unwrap();
    assert!(stage.nodes[BUYER].payer(next).is_some());
}

#[test]
fn successor_that_found_no_room_is_taken_when_there_is_some() {
    let (mut stage, next, status) = full(SUCCEEDING_MAX);
    let outpoint = stage.outpoint;
    let confirmed = |at| {
        let spent =
            status.spent.clone().map(|spend| Spend { confirmed: Some(height(at)), ..spend });
        OutputStatus { spent, ..status.clone() }
    };
    for seen in [status.clone(), confirmed(DEEP), confirmed(DEEP - 10)] {
        let refused = stage.handle(BUYER, Input::Output(outpoint, Some(seen)));
        let (what, max) = ("channels", SUCCEEDING_MAX);
        assert_eq!(refused, Err(NodeError::TooMany { what, max }));
        let phase = stage.nodes[BUYER].payer(outpoint).unwrap().record().phase();
        assert_eq!(phase, PayerPhase::Open);
    }
    stage.nodes[BUYER].payers.remove(&phantom(1));
    stage.handle(BUYER, Input::Output(outpoint, Some(confirmed(DEEP)))).unwrap();
    assert!(stage.nodes[BUYER].payer(next).is_some());
    let stated = stage.nodes[BUYER].session_on(next);
    assert_eq!(stated, Some(id(7)));
}

#[test]
fn line_that_ends_takes_the_places_of_its_payers_and_of_no_others() {
    let mut stage = Scene::Running.build();
    let outpoint = stage.outpoint;
    let place = |stage: &Stage| {
        let seller = &stage.nodes[SELLER];
        let slot = &seller.payees[&outpoint];
        let placed = |(link, at): (&LinkId, &BTreeSet<OutPoint>)| (*link, at.len());
        let placed: Vec<(LinkId, usize)> = seller.placed.iter().map(placed).collect();
        (slot.at.map(|(link, _)| link), slot.proved, placed)
    };
    assert_eq!(place(&stage), (Some(LINK), Some(LINK), [(LINK, 1)].into()));
    let (other, alias) = (LinkId(2), ChannelAlias::new(9).unwrap());
    stage.handle(SELLER, Input::Connected(other)).unwrap();
    // A name proves nothing.
    stage.nodes[SELLER].name(other, alias, outpoint).unwrap();
    assert_eq!(place(&stage), (Some(LINK), Some(LINK), [(LINK, 1)].into()));
    stage.nodes[SELLER].payer_is_at(other, alias, outpoint);
    let moved = (Some(other), Some(other), [(LINK, 0), (other, 1)].into());
    assert_eq!(place(&stage), moved);
    stage.handle(SELLER, Input::Disconnected(LINK)).unwrap();
    assert_eq!(place(&stage), (Some(other), Some(other), [(other, 1)].into()));
    stage.handle(SELLER, Input::Disconnected(other)).unwrap();
    assert_eq!(place(&stage), (None, None, Vec::new()));
}
