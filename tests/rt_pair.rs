//! Two drivers over TCP: they pay each other, lose their link in the middle, stop and start again.

mod rt_support;

use millstream::db::RedbStore;
use millstream::node::{Command, Event};
use millstream::rt::{Driver, LinkEnd, RtError};
use rt_support::{Chain, Machine, msat, options, parts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_drivers_pay_each_other_over_one_link() {
    let mut chain = Chain::new();
    let mut car = Machine::start(1, &chain).await;
    let mut house = Machine::start(2, &chain).await;
    let out = car.connect(&house).await;
    let back = house.until_inbound().await;

    let charging = car.open(out, &mut house, &mut chain).await;
    let feeding = house.open(back, &mut car, &mut chain).await;
    for (payer, outpoint) in [(&car, charging), (&house, feeding)] {
        payer.open_session(outpoint).await;
    }
    for _ in 0..100 {
        car.pay(charging, msat(1_001)).await;
        house.pay(feeding, msat(2_003)).await;
    }
    car.until_acknowledged(msat(100_100)).await;
    house.until_acknowledged(msat(200_300)).await;
    assert_eq!(house.paid_to(charging).await, msat(100_100));
    assert_eq!(car.paid_to(feeding).await, msat(200_300));
    let whole = |node: &mut millstream::node::Node<_>| node.check_invariants();
    for machine in [car, house] {
        assert_eq!(machine.driver.look(whole).await.unwrap(), Ok(()));
        machine.driver.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payment_under_way_when_the_link_is_cut_arrives_after_the_next_attach() {
    let mut chain = Chain::new();
    let mut car = Machine::start(1, &chain).await;
    let mut house = Machine::start(2, &chain).await;
    let link = car.connect(&house).await;
    let outpoint = car.open(link, &mut house, &mut chain).await;
    car.open_session(outpoint).await;
    car.pay(outpoint, msat(5_000)).await;
    car.until_acknowledged(msat(5_000)).await;

    // Signed, but the link goes before it is sent.
    car.driver.disconnect(link).await.unwrap();
    assert_eq!(car.until_down().await, LinkEnd::Cut);
    car.pay(outpoint, msat(7_000)).await;
    assert_eq!(house.until_down().await, LinkEnd::Closed);
    assert_eq!(house.paid_to(outpoint).await, msat(5_000));

    let link = car.connect(&house).await;
    car.driver.command(Command::Attach { link, outpoint }).await.unwrap();
    let behind = msat(7_000);
    car.until_event(|event| matches!(event, Event::Ready { behind: b, .. } if *b == behind)).await;
    car.until_acknowledged(msat(12_000)).await;
    assert_eq!(house.paid_to(outpoint).await, msat(12_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_stopped_and_started_again_pay_on_from_their_stores() {
    let mut chain = Chain::new();
    let dir = tempfile::tempdir().unwrap();
    let files = [dir.path().join("car.redb"), dir.path().join("house.redb")];
    let start = async |chain: &Chain| {
        let [car, house] = files.each_ref().map(|file| RedbStore::open(file).unwrap());
        let car = Machine::with(parts(1, car, chain), options()).await;
        (car, Machine::with(parts(2, house, chain), options()).await)
    };
    let (mut car, mut house) = start(&chain).await;
    let link = car.connect(&house).await;
    let outpoint = car.open(link, &mut house, &mut chain).await;
    car.open_session(outpoint).await;
    car.pay(outpoint, msat(5_000)).await;
    car.until_acknowledged(msat(5_000)).await;
    // Stopping closes the stores, so that they can be opened at once.
    car.driver.stop().await.unwrap();
    house.driver.stop().await.unwrap();

    let (mut car, house) = start(&chain).await;
    let link = car.connect(&house).await;
    car.driver.command(Command::Attach { link, outpoint }).await.unwrap();
    let signed = msat(5_000);
    car.until_event(|event| matches!(event, Event::Ready { signed: s, .. } if *s == signed)).await;
    car.open_session(outpoint).await;
    car.pay(outpoint, msat(1)).await;
    car.until_acknowledged(msat(5_001)).await;
    assert_eq!(house.paid_to(outpoint).await, msat(5_001));
}

#[tokio::test]
async fn port_in_use_and_addresses_beyond_loopback_are_refused_by_name() {
    let chain = Chain::new();
    let first = Machine::start(1, &chain).await;
    let taken = first.driver.address().unwrap();
    let parts_of = |seed| parts(seed, millstream::store::MemoryStore::default(), &chain);
    let mut second = options();
    second.listen = Some(taken);
    let refused = Driver::start(parts_of(2), second).await.err().unwrap();
    assert!(matches!(refused, RtError::PortInUse { address } if address == taken));
    assert_eq!(refused.to_string(), format!("{taken} is in use by another program"));

    let mut open = options();
    open.listen = Some(([0, 0, 0, 0], 0).into());
    let refused = Driver::start(parts_of(2), open.clone()).await.err().unwrap();
    assert!(refused.to_string().contains("expose_unencrypted_beyond_loopback"), "{refused}");
    let afar = ([192, 0, 2, 1], 9).into();
    let refused = first.driver.connect(afar).await.unwrap_err();
    assert!(matches!(refused, RtError::NotLoopback { address } if address == afar));
    // The last good value: the same with the caller's word.
    open.expose_unencrypted_beyond_loopback = true;
    Driver::start(parts_of(2), open).await.unwrap().stop().await.unwrap();
}
