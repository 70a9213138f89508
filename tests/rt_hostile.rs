//! What a hostile peer costs: its own link. Each test has an honest pair beside it.

mod rt_support;

use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::constants::ChainHash;
use millstream::rt::{LinkEnd, Told};
use millstream::store::MemoryStore;
use millstream::wire::{
    Ack, Bytes, FrameReader, Init, Message, Networks, Ping, TermsQuery, WireError, write_frame,
};
use rt_support::{Chain, Machine, NETWORK, msat, options, parts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn greeting(chain: ChainHash, features: Vec<u8>) -> Message {
    let features = Bytes::new(features).unwrap();
    let networks = Some(Networks::new(vec![chain]).unwrap());
    Init { global_features: Bytes::default(), features, networks }.into()
}

fn frame(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(message, &mut bytes).unwrap();
    bytes
}

async fn stranger(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.unwrap()
}

/// A peer that greets as it should, and then does what the test says.
async fn greeted(to: SocketAddr) -> TcpStream {
    let mut stream = stranger(to).await;
    let chain = ChainHash::using_genesis_block_const(NETWORK);
    stream.write_all(&frame(&greeting(chain, Vec::new()))).await.unwrap();
    stream
}

/// Everything until the other side closes.
async fn rest(mut stream: TcpStream) -> Vec<Message> {
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes).await;
    let (mut reader, mut input) = (FrameReader::new(), bytes.as_slice());
    let mut messages = Vec::new();
    while let Ok(Some(bytes)) = reader.read(&mut input) {
        messages.extend(Message::decode(bytes).unwrap());
    }
    messages
}

fn errors(messages: &[Message]) -> Vec<String> {
    let texts = messages.iter().filter_map(|message| match message {
        Message::PeerError(error) => Some(error.text.to_string()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_its_own_link_while_others_pay_on() {
    let mut chain = Chain::new();
    let mut car = Machine::start(1, &chain).await;
    let mut house = Machine::start(2, &chain).await;
    let address = house.driver.address().unwrap();
    let link = car.connect(&house).await;
    let outpoint = car.open(link, &mut house, &mut chain).await;
    car.open_session(outpoint).await;

    let mut hostile = greeted(address).await;
    // A frame of one byte, which no message has.
    hostile.write_all(&[0, 1, 7]).await.unwrap();
    let garbage = LinkEnd::Garbage(WireError::FrameTooShort { got: 1 });
    assert_eq!(house.until_down().await, garbage);
    assert_eq!(errors(&rest(hostile).await), ["garbage: frame of 1 bytes"]);

    // Refused one after the other: acknowledgements of a channel that is not there.
    let mut hostile = greeted(address).await;
    let alias = millstream::units::ChannelAlias::new(77).unwrap();
    let ack = frame(&Ack { alias, paid: msat(1) }.into());
    hostile.write_all(&ack.repeat(63)).await.unwrap();
    hostile.write_all(&frame(&Ping::default().into())).await.unwrap();
    car.pay(outpoint, msat(500)).await;
    car.until_acknowledged(msat(500)).await;
    // What anybody may ask in between makes up for nothing.
    hostile.write_all(&ack).await.unwrap();
    assert_eq!(house.until_down().await, LinkEnd::Refused);

    car.pay(outpoint, msat(500)).await;
    car.until_acknowledged(msat(1_000)).await;
}

#[tokio::test]
async fn refusals_of_a_stranger_push_no_other_news_out() {
    let chain = Chain::new();
    let mut house = Machine::start(2, &chain).await;
    let mut hostile = greeted(house.driver.address().unwrap()).await;
    let alias = millstream::units::ChannelAlias::new(77).unwrap();
    let refused = frame(&Ack { alias, paid: msat(1) }.into());
    let ping = frame(&Ping::default().into());
    hostile.write_all(&[refused, ping].concat().repeat(64)).await.unwrap();
    let (mut told, mut all) = (Vec::new(), 0);
    let counted = |news: &Told| {
        all += 1;
        match news {
            Told::Refused { link: Some(_), count, .. } => {
                told.push(*count);
                None
            }
            Told::LinkDown { why, .. } => Some(*why),
            _ => None,
        }
    };
    assert_eq!(house.until(counted).await, LinkEnd::Refused);
    assert!(all < 20, "{all} pieces of news");
    assert_eq!(told, [1, 2, 4, 8, 16, 32, 64]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_that_is_not_read_back_ends_its_own_link() {
    let mut chain = Chain::new();
    let mut car = Machine::start(1, &chain).await;
    let mut house = Machine::start(2, &chain).await;
    let link = car.connect(&house).await;
    let outpoint = car.open(link, &mut house, &mut chain).await;
    car.open_session(outpoint).await;

    // Each asks for the largest answer, and none is read.
    let mut hostile = greeted(house.driver.address().unwrap()).await;
    let wanted = Ping { wanted: 65_000, ..Ping::default() };
    let flood = frame(&wanted.into()).repeat(100_000);
    let flooding = tokio::spawn(async move {
        let _reset = hostile.write_all(&flood).await;
        hostile
    });
    assert_eq!(house.until_down().await, LinkEnd::Slow);
    for n in 1..=20 {
        car.pay(outpoint, msat(100)).await;
        car.until_acknowledged(msat(100 * n)).await;
    }
    flooding.abort();
}

#[tokio::test]
async fn silence_trickle_and_wrong_greetings_end_in_time() {
    let chain = Chain::new();
    let mut quick = options();
    quick.greeting_max = Duration::from_millis(300);
    quick.ping_after = Duration::from_millis(200);
    quick.idle_max = Duration::from_millis(600);
    let mut house = Machine::with(parts(2, MemoryStore::default(), &chain), quick).await;
    let address = house.driver.address().unwrap();

    // Never greets: it is greeted, and let go without ever having been a link.
    let messages = rest(stranger(address).await).await;
    assert!(matches!(messages[..], [Message::Init(_)]), "{messages:?}");

    // Greets for another chain, or requires what nobody has.
    let here = ChainHash::using_genesis_block_const(NETWORK);
    let mainnet = ChainHash::using_genesis_block_const(bitcoin::Network::Bitcoin);
    for (greeting, words) in [
        (greeting(mainnet, Vec::new()), "the peer is on another network"),
        (greeting(here, vec![0x10, 0x00]), "the peer requires feature 12"),
        (TermsQuery {}.into(), "no greeting first"),
    ] {
        let mut hostile = stranger(address).await;
        hostile.write_all(&frame(&greeting)).await.unwrap();
        assert_eq!(errors(&rest(hostile).await), [words]);
    }

    // Optional features are none of our business; then silence: asked once, then let go.
    let mut silent = stranger(address).await;
    silent.write_all(&frame(&greeting(here, vec![0x20, 0x00]))).await.unwrap();
    assert_eq!(house.until_down().await, LinkEnd::Silent);
    let messages = rest(silent).await;
    assert!(matches!(messages[..], [Message::Init(_), Message::Ping(_)]), "{messages:?}");

    // A byte now and then of a frame that never ends is silence too.
    let mut trickle = greeted(address).await;
    trickle.write_all(&[0xff, 0xff]).await.unwrap();
    let dripping = tokio::spawn(async move {
        while trickle.write_all(&[7]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(house.until_down().await, LinkEnd::Silent);
    dripping.abort();
}

#[tokio::test]
async fn strangers_leave_links_for_the_connections_that_this_side_makes() {
    let chain = Chain::new();
    let mut few = options();
    few.links_max = 8;
    let mut house = Machine::with(parts(2, MemoryStore::default(), &chain), few).await;
    let other = Machine::start(3, &chain).await;
    let address = house.driver.address().unwrap();
    let mut strangers = Vec::new();
    for _ in 0..8 {
        strangers.push(greeted(address).await);
    }
    for _ in 0..7 {
        house.until_inbound().await;
    }
    house.connect(&other).await;
    // The eighth waits for a stranger to go.
    drop(strangers.remove(0));
    house.until_inbound().await;
}

#[tokio::test]
async fn links_beyond_the_limit_wait_or_are_refused() {
    let chain = Chain::new();
    let mut few = options();
    few.links_max = 1;
    let mut house = Machine::with(parts(2, MemoryStore::default(), &chain), few).await;
    let address = house.driver.address().unwrap();
    let first = greeted(address).await;
    house.until_inbound().await;
    let refused = house.driver.connect(address).await.unwrap_err();
    assert_eq!(refused.to_string(), "more than 1 links");
    // The second waits in the operating system's queue until the first has gone.
    let _second = greeted(address).await;
    drop(first);
    // Reset, because what it was greeted with was never read.
    let why = house.until_down().await;
    assert!(matches!(why, LinkEnd::Closed | LinkEnd::Broken(_)), "{why}");
    house.until_inbound().await;
}
