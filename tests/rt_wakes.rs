//! What the node asks to be woken for happens by the clock alone: nobody speaks, and the chain is
//! not asked.

mod rt_support;

use std::time::Duration;

use bitcoin::constants::ChainHash;
use millstream::store::MemoryStore;
use millstream::wire::{Bytes, FrameReader, Init, Message, Networks, write_frame};
use rt_support::{Chain, Machine, NETWORK, options, parts, terms};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// A payee that greets, and then only listens.
async fn silent(listener: TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let chain = ChainHash::using_genesis_block_const(NETWORK);
    let networks = Some(Networks::new(vec![chain]).unwrap());
    let (global_features, features) = (Bytes::default(), Bytes::default());
    let mut frame = Vec::new();
    write_frame(&Init { global_features, features, networks }.into(), &mut frame).unwrap();
    stream.write_all(&frame).await.unwrap();
    stream
}

/// When each of the next `count` questions after the channel came: it is shown once, and then asked
/// for.
async fn requests(stream: &mut TcpStream, count: usize) -> Vec<Instant> {
    let (mut reader, mut came, mut buffer) = (FrameReader::new(), Vec::new(), [0; 4_096]);
    while came.len() < count {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the payer has gone");
        let mut input = &buffer[..read];
        while let Some(bytes) = reader.read(&mut input).unwrap() {
            let message = Message::decode(bytes).unwrap();
            if matches!(message, Some(Message::Open(_) | Message::Resume(_))) {
                came.push(Instant::now());
            }
        }
    }
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_nobody_answers_is_repeated_at_the_time_that_the_node_asked_for() {
    let mut chain = Chain::new();
    let mut deaf = options();
    // Nothing but the wake-up can make the driver turn.
    (deaf.listen, deaf.chain_interval) = (None, Duration::from_secs(3_600));
    (deaf.ping_after, deaf.idle_max) = (Duration::from_secs(3_600), Duration::from_secs(7_200));
    let car = Machine::with(parts(1, MemoryStore::default(), &chain), deaf).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let payee = tokio::spawn(silent(listener));
    let link = car.driver.connect(address).await.unwrap();
    let mut payee = payee.await.unwrap();

    car.fund(link, terms(2), &mut chain).await;
    let came = timeout(Duration::from_secs(60), requests(&mut payee, 3)).await;
    let came = came.expect("it was not asked again");
    // After one second and then two, by a clock of whole seconds.
    let (first, second) = (came[1] - came[0], came[2] - came[1]);
    println!("repeated after {first:?}, then after {second:?}");
    assert!(second >= Duration::from_millis(900), "{second:?} is too early");
    assert!(first + second >= Duration::from_millis(1_900), "{first:?} and {second:?}");
}
