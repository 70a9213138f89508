//! Windows of items over TCP, between two drivers.

mod rt_support;

use millstream::batch::item::{Charge, Item, LeafSize};
use millstream::node::{Command, Event};
use millstream::stream::bundle::{BundleSum, Bundling};
use millstream::tx::hold::Preimage;
use millstream::units::{Height, ItemId, Lane, Msat, SessionId};
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

#[tokio::test]
async fn bundle_over_tcp_is_shown_with_its_items_and_paid_by_its_preimage() {
    let mut chain = Chain::new();
    let mut payer = Machine::start(1, &chain).await;
    let mut payee = Machine::start(2, &chain).await;
    let link = payer.connect(&payee).await;
    let outpoint = payer.open(link, &mut payee, &mut chain).await;
    payer.open_session(outpoint).await;
    let mut bundles = payee.driver.bundles();
    let (preimage, expiry) = (Preimage::new([7; 32]), Height::new(200).unwrap());
    let mut builder = BundleSum::builder(LeafSize::ONE).unwrap();
    let mut bundling = Bundling::new(preimage.hash(), expiry);
    for number in 1..=40_000 {
        let (id, charge) = (ItemId::new(number).unwrap(), Charge::Amount(msat(number % 200)));
        builder.push(&Item { lane: Lane::MIN, id, charge, hash: None }).unwrap();
        bundling.push(msat(number % 200)).unwrap();
    }
    let sealed = builder.seal().unwrap();
    let bundle = bundling.seal(BundleSum::of(&sealed).unwrap()).unwrap();
    let (items, session) = (sealed.bytes.clone(), SessionId::new(SESSION).unwrap());
    payer.driver.command(Command::OfferBundle { outpoint, bundle, items, session }).await.unwrap();
    let shown = bundles.next().await.unwrap();
    assert_eq!((shown.outpoint, &shown.items[..]), (outpoint, &sealed.bytes[..]));
    let id = shown.id;
    payee.driver.command(Command::FulfilHold { outpoint, id, preimage }).await.unwrap();
    let revealed =
        |event: &Event| matches!(event, Event::HoldRevealed { preimage: p, .. } if *p == preimage);
    payer.until_event(revealed).await;
    payee.until_event(|event| matches!(event, Event::HoldFolded { .. })).await;
    let whole = msat(200 * 199 * 100);
    assert_eq!(payee.paid_to(outpoint).await, whole);
}
