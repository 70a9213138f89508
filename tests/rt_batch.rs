//! Windows of items over TCP, between two drivers.

mod rt_support;

use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::node::{Command, Event};
use millstream::units::{ItemId, Lane, Msat, SessionId};
use rt_support::{Chain, Machine, SESSION, msat};

#[tokio::test]
async fn windows_over_tcp_are_shown_item_by_item_and_acknowledged() {
    let mut chain = Chain::new();
    let mut payer = Machine::start(1, &chain).await;
    let mut payee = Machine::start(2, &chain).await;
    let link = payer.connect(&payee).await;
    let outpoint = payer.open(link, &mut payee, &mut chain).await;
    payer.open_session(outpoint).await;
    let mut batches = payee.driver.batches();
    let lane = Lane::new(4).unwrap();
    let (limit, session) = (msat(900_000_000), SessionId::new(SESSION).unwrap());
    let open = Command::OpenLane { outpoint, lane, limit, session };
    payer.driver.command(open).await.unwrap();
    let mut front = payer.driver.look(move |node| node.front(outpoint)).await.unwrap().unwrap();
    let (mut total, mut number) = (0, 0);
    for _ in 0..3 {
        let mut builder = front.build(LeafSize::new(16).unwrap()).unwrap();
        for _ in 0..50_000 {
            number += 1;
            let amount = number * 7_919 % 101;
            total += amount;
            let (id, charge) = (ItemId::new(number).unwrap(), Charge::Amount(msat(amount)));
            builder.push(&Item { lane, id, charge, hash: None }).unwrap();
        }
        let batch = Box::new(builder.seal().unwrap());
        front = front.after(&batch).unwrap();
        let session = SessionId::new(SESSION).unwrap();
        payer.driver.command(Command::PayBatch { outpoint, batch, session }).await.unwrap();
    }
    let (mut shown, mut items) = (0, 0);
    for _ in 0..3 {
        let batch = batches.next().await.unwrap();
        assert_eq!((batch.outpoint(), batch.claim().items), (outpoint, 50_000));
        batch
            .visit(|item, amount| {
                assert_eq!(item.lane, lane);
                (shown, items) = (shown + amount.to_msat(), items + 1);
            })
            .unwrap();
    }
    assert_eq!((shown, items), (total, 150_000));
    let whole = msat(total);
    payer
        .until_event(|event| matches!(event, Event::Acknowledged { paid, .. } if *paid == whole))
        .await;
    let at_risk = payer.driver.look(move |node| node.at_risk(outpoint)).await.unwrap();
    assert_eq!(at_risk, Some(Msat::ZERO));
    assert_eq!(payee.paid_to(outpoint).await, whole);
}
