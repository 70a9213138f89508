//! One TCP connection: greeting, reading, writing, and the ways in which it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bitcoin::constants::ChainHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::owner::Arrival;
use super::{LinkEnd, Options};
use crate::node::LinkId;
use crate::wire::{
    Bytes, FrameReader, Init, Message, Networks, Padding, PeerError, PeerText, Ping, write_frame,
};

/// 8 kB: 70 vouchers in one read.
const READ_BYTES: usize = 8_192;
/// 256 kB: four of the largest messages, or 2,300 vouchers, that a peer has not read yet.
const QUEUE_BYTES_MAX: usize = 262_144;
/// Flushes whose frames wait for one peer; the bytes are the real limit.
const QUEUE_MAX: usize = 1_024;

/// Frames on their way to a peer.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) bytes: Vec<u8>,
    /// How many of them count against the peer's queue. Pings and this side's own batches do not:
    /// what of those may be on its way is bounded where they are paid.
    pub(super) counted: usize,
}

/// Why nothing more can be queued for a peer.
pub(super) struct Full;

/// The owner's end of a link's outgoing queue. Dropping it ends the link once the queue is written.
#[derive(Debug)]
pub(super) struct Out {
    frames: mpsc::Sender<Frames>,
    queued: Arc<AtomicUsize>,
}

impl Out {
    pub(super) fn push(&self, frames: Frames) -> Result<(), Full> {
        let before = self.queued.fetch_add(frames.counted, Ordering::Relaxed);
        if before.saturating_add(frames.counted) > QUEUE_BYTES_MAX {
            return Err(Full);
        }
        self.frames.try_send(frames).map_err(|_| Full)
    }
}

/// A connection whose peer has greeted, ready to run.
pub(super) struct Greeted {
    incoming: Incoming,
    write: OwnedWriteHalf,
    frames: mpsc::Receiver<Frames>,
    queued: Arc<AtomicUsize>,
    pings: mpsc::WeakSender<Frames>,
}

impl Greeted {
    /// Exchanges the first messages (BOLT-1, `init`), in either direction, within the time allowed.
    pub(super) async fn greet(
        stream: TcpStream,
        options: &Options,
    ) -> Result<(Self, Out), LinkEnd> {
        // A voucher must not wait for the next one to fill a packet.
        let _best_effort = stream.set_nodelay(true);
        let (read, mut write) = stream.into_split();
        let mut incoming = Incoming::new(read);
        let chain = ChainHash::using_genesis_block_const(options.network);
        let greeted = timeout(options.greeting_max, async {
            write.write_all(&own_greeting(chain)).await.map_err(broken)?;
            let Message::Init(init) = incoming.next().await? else {
                return Err(LinkEnd::NotGreeted);
            };
            check_greeting(&init, chain)
        });
        match greeted.await {
            Err(_) => return Err(LinkEnd::Silent),
            Ok(Err(why)) => {
                say_why(&mut write, why, options).await;
                return Err(why);
            }
            Ok(Ok(())) => {}
        }
        let (sender, frames) = mpsc::channel(QUEUE_MAX);
        let queued = Arc::new(AtomicUsize::new(0));
        let pings = sender.downgrade();
        let out = Out { frames: sender, queued: Arc::clone(&queued) };
        Ok((Self { incoming, write, frames, queued, pings }, out))
    }

    /// Carries messages until the link ends, and tells the owner why it did.
    pub(super) async fn run(
        self,
        link: LinkId,
        arrivals: mpsc::Sender<Arrival>,
        options: Arc<Options>,
        permits: Vec<OwnedSemaphorePermit>,
    ) {
        let Self { mut incoming, mut write, frames, queued, pings } = self;
        let why = tokio::select! {
            why = receive(&mut incoming, link, &arrivals, &pings, &options) => why,
            why = send(&mut write, frames, &queued, &options) => why,
        };
        say_why(&mut write, why, &options).await;
        drop((incoming, write, permits));
        // The owner may have ended before its links.
        let _owner_gone = arrivals.send(Arrival::Down(link, why)).await;
    }
}

/// What a connection's task tells about its peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) link: LinkId,
    pub(super) address: SocketAddr,
    pub(super) inbound: bool,
}

async fn receive(
    incoming: &mut Incoming,
    link: LinkId,
    arrivals: &mpsc::Sender<Arrival>,
    pings: &mpsc::WeakSender<Frames>,
    options: &Options,
) -> LinkEnd {
    // Counted from the last whole message: bytes that trickle in are no sign of life.
    let mut heard = Instant::now();
    let mut asked = false;
    loop {
        let patience = if asked { options.idle_max } else { options.ping_after };
        let deadline = heard.checked_add(patience).unwrap_or(heard);
        let message = match timeout_at(deadline, incoming.next()).await {
            Err(_) if asked => return LinkEnd::Silent,
            Err(_) => {
                asked = true;
                ping(pings);
                continue;
            }
            Ok(Err(why)) => return why,
            Ok(Ok(message)) => message,
        };
        asked = false;
        match message {
            Message::PeerError(_) => return LinkEnd::GivenUp,
            Message::Init(_) => return LinkEnd::NotGreeted,
            Message::Pong(_) | Message::PeerWarning(_) => {}
            message => {
                if arrivals.send(Arrival::Message(link, message)).await.is_err() {
                    return LinkEnd::Cut;
                }
            }
        }
        // After the wait for the owner, which is no fault of the peer's.
        heard = Instant::now();
    }
}

fn ping(pings: &mpsc::WeakSender<Frames>) {
    let mut frame = Vec::new();
    let ping = Ping { wanted: 0, padding: Padding::default() };
    if let (Some(pings), Ok(())) = (pings.upgrade(), write_frame(&ping.into(), &mut frame)) {
        // A full queue has its own end.
        let _full = pings.try_send(Frames { bytes: frame, counted: 0 });
    }
}

async fn send(
    write: &mut OwnedWriteHalf,
    mut frames: mpsc::Receiver<Frames>,
    queued: &AtomicUsize,
    options: &Options,
) -> LinkEnd {
    while let Some(Frames { bytes, counted }) = frames.recv().await {
        match timeout(options.idle_max, write.write_all(&bytes)).await {
            Err(_) => return LinkEnd::Slow,
            Ok(Err(error)) => return broken(error),
            Ok(Ok(())) => {}
        }
        // Never below zero: it was added when the frames were pushed.
        queued.fetch_sub(counted, Ordering::Relaxed);
    }
    LinkEnd::Cut
}

/// Tells the peer why its link ends, if that is its own doing and it still reads.
async fn say_why(write: &mut OwnedWriteHalf, why: LinkEnd, options: &Options) {
    let fault = match why {
        LinkEnd::Garbage(_)
        | LinkEnd::NotGreeted
        | LinkEnd::OtherNetwork
        | LinkEnd::UnknownFeature { .. } => true,
        LinkEnd::Cut
        | LinkEnd::Closed
        | LinkEnd::Broken(_)
        | LinkEnd::GivenUp
        | LinkEnd::Silent
        | LinkEnd::Slow
        | LinkEnd::Refused => false,
    };
    let last = async {
        if fault && let Ok(text) = PeerText::new(why.to_string().into_bytes()) {
            let mut frame = Vec::new();
            let error = PeerError { channel: [0; 32], text };
            if write_frame(&error.into(), &mut frame).is_ok() {
                let _gone = write.write_all(&frame).await;
            }
        }
        let _gone = write.shutdown().await;
    };
    let _late = timeout(options.greeting_max, last).await;
}

fn own_greeting(chain: ChainHash) -> Vec<u8> {
    let init = Init {
        global_features: Bytes::default(),
        features: Bytes::default(),
        networks: Networks::new(vec![chain]).ok(),
    };
    let mut frame = Vec::new();
    // It has a hundred bytes; without them the peer would close.
    let _fits = write_frame(&init.into(), &mut frame);
    frame
}

fn check_greeting(init: &Init, chain: ChainHash) -> Result<(), LinkEnd> {
    if !init.may_serve(chain) {
        return Err(LinkEnd::OtherNetwork);
    }
    let required = [&init.global_features, &init.features].into_iter().find_map(required_feature);
    required.map_or(Ok(()), |bit| Err(LinkEnd::UnknownFeature { bit }))
}

/// The lowest even bit that is set: a feature that the peer insists on (BOLT-9); we have none.
fn required_feature<const MAX: usize>(features: &Bytes<MAX>) -> Option<usize> {
    let bytes = features.as_slice().iter().rev();
    (0..).step_by(8).zip(bytes).find_map(|(first, byte): (usize, &u8)| {
        let even = [0, 2, 4, 6].into_iter().find(|bit| (byte >> bit) & 1 == 1)?;
        Some(first.saturating_add(even))
    })
}

/// A socket's bytes, cut into messages.
struct Incoming {
    read: OwnedReadHalf,
    frames: FrameReader,
    buffer: Vec<u8>,
    /// What of `buffer` was read and not taken yet.
    from: usize,
    to: usize,
}

impl Incoming {
    fn new(read: OwnedReadHalf) -> Self {
        Self { read, frames: FrameReader::new(), buffer: vec![0; READ_BYTES], from: 0, to: 0 }
    }

    /// The next message of a known type. May be given up while it waits, and called again.
    async fn next(&mut self) -> Result<Message, LinkEnd> {
        loop {
            let mut input = self.buffer.get(self.from..self.to).unwrap_or_default();
            let found = match self.frames.read(&mut input) {
                Err(error) => return Err(LinkEnd::Garbage(error)),
                Ok(found) => found.map(Message::decode),
            };
            self.from = self.to.saturating_sub(input.len());
            match found {
                Some(Err(error)) => return Err(LinkEnd::Garbage(error)),
                Some(Ok(Some(message))) => return Ok(message),
                // An unknown odd type is passed over (BOLT-1).
                Some(Ok(None)) => {}
                None => {
                    self.from = 0;
                    self.to = 0;
                    match self.read.read(&mut self.buffer).await.map_err(broken)? {
                        0 => return Err(LinkEnd::Closed),
                        count => self.to = count,
                    }
                }
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn broken(error: std::io::Error) -> LinkEnd {
    LinkEnd::Broken(error.kind())
}
