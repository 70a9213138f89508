//! The caller's handle: commands in, news out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::link::{Greeted, Peer};
use super::owner::{Arrival, Ask, Ending, Owner};
use super::{Options, Parts, RtError, Told};
use crate::node::{Command, LinkId, Node, ReceivedBatch, ReceivedBundle};
use crate::signer::Signer;

/// Messages of all links that wait for the owner, beside one in the hand of each link.
const ARRIVALS_MAX: usize = 256;
/// Commands that wait; a caller with more waits itself.
const ASKS_MAX: usize = 64;
/// 4,096 pieces of news that a slow listener may be behind.
const NEWS_MAX: usize = 4_096;
/// 64 batches or bundles, of at most 1 MiB, that a slow listener may be behind.
const BATCHES_MAX: usize = 64;
/// An eighth of the links is kept for the connections that this side makes: strangers must not keep
/// it from connecting.
const OWN_SHARE: usize = 8;
/// How long the listener rests when the operating system has no more files.
const REST: Duration = Duration::from_millis(100);

/// A running driver. Its clones are handles of the same; when the last is dropped it ends orderly.
///
/// ```no_run
/// # use millstream::rt::{Driver, Options, Parts};
/// # use millstream::signer::MemorySigner;
/// # async fn run(parts: Parts<MemorySigner>) -> Result<(), millstream::rt::RtError> {
/// let mut options = Options::new(bitcoin::Network::Regtest);
/// options.listen = Some(([127, 0, 0, 1], 0).into());
/// let driver = Driver::start(parts, options).await?;
/// println!("listening on {:?}", driver.address());
/// driver.stop().await
/// # }
/// ```
pub struct Driver<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    asks: mpsc::Sender<Ask<S>>,
    told: broadcast::Sender<Told>,
    shown: Shows,
    gate: Gate,
    address: Option<SocketAddr>,
    listener: Option<AbortHandle>,
}

/// To whom the items are shown that payers send.
#[derive(Clone)]
pub(super) struct Shows {
    pub(super) batches: broadcast::Sender<ReceivedBatch>,
    pub(super) bundles: broadcast::Sender<ReceivedBundle>,
}

impl Shows {
    fn new() -> Self {
        let (batches, _) = broadcast::channel(BATCHES_MAX);
        let (bundles, _) = broadcast::channel(BATCHES_MAX);
        Self { batches, bundles }
    }
}

/// What makes links of connections.
#[derive(Clone)]
struct Gate {
    arrivals: mpsc::Sender<Arrival>,
    options: Arc<Options>,
    links: Arc<Semaphore>,
    /// The part of them that peers may take.
    inbound: Arc<Semaphore>,
    next: Arc<AtomicU64>,
}

impl<S> Clone for Driver<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl<S> std::fmt::Debug for Parts<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("node", &self.node).finish_non_exhaustive()
    }
}

impl<S> Drop for Shared<S> {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl<S: Signer + Send + 'static> Driver<S> {
    /// Starts the owner on a thread of its own, and the listener if there shall be one.
    ///
    /// Must be called on a tokio runtime with I/O and time, which must run as long as the driver.
    ///
    /// # Errors
    /// [`RtError::NotLoopback`], [`RtError::PortInUse`], [`RtError::Listen`],
    /// [`RtError::NoThread`]. Nothing was written then.
    pub async fn start(parts: Parts<S>, options: Options) -> Result<Self, RtError> {
        let listener = match options.listen {
            Some(address) => Some(listen(address, &options).await?),
            None => None,
        };
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let options = Arc::new(options);
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (arrivals, arrived) = mpsc::channel(ARRIVALS_MAX);
        let (told, _) = broadcast::channel(NEWS_MAX);
        let shown = Shows::new();
        let owner = Owner::new(parts, Arc::clone(&options), told.clone(), shown.clone());
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("millstream-node".into())
            .spawn(move || {
                let Ending { result, waiting } = runtime.block_on(owner.run(asked, arrived));
                // Only now: the store is closed, and whoever waits may open it again.
                if let Some(waiting) = waiting {
                    let _gone = waiting.send(result);
                }
            })
            .map_err(RtError::NoThread)?;
        let max = options.links_max;
        let links = Arc::new(Semaphore::new(max));
        let inbound = Arc::new(Semaphore::new(max.saturating_sub(max / OWN_SHARE)));
        let gate = Gate { arrivals, options, links, inbound, next: Arc::new(AtomicU64::new(1)) };
        let listener = listener.map(|listener| {
            let taking = gate.clone().take_connections(listener, told.clone());
            tokio::spawn(taking).abort_handle()
        });
        Ok(Self { shared: Arc::new(Shared { asks, told, shown, gate, address, listener }) })
    }

    /// Where it takes connections.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.address
    }

    /// The news from now on. A listener that falls behind misses the oldest, and is told so.
    pub fn news(&self) -> News {
        News { told: self.shared.told.subscribe() }
    }

    /// The batches that payers send from now on, each with its items. Without a listener they are
    /// counted all the same.
    pub fn batches(&self) -> Shown<ReceivedBatch> {
        Shown { received: self.shared.shown.batches.subscribe() }
    }

    /// The bundles that payers hold for from now on, each with its items; a merged one comes whole
    /// again. Without a listener they are held all the same.
    pub fn bundles(&self) -> Shown<ReceivedBundle> {
        Shown { received: self.shared.shown.bundles.subscribe() }
    }

    /// Connects to a peer, and greets it.
    ///
    /// # Errors
    /// [`RtError::NotLoopback`], [`RtError::TooManyLinks`], [`RtError::Connect`],
    /// [`RtError::Greeting`], [`RtError::Ended`].
    pub async fn connect(&self, address: SocketAddr) -> Result<LinkId, RtError> {
        let gate = &self.shared.gate;
        gate.options.check(address)?;
        let max = gate.options.links_max;
        let permit = Arc::clone(&gate.links).try_acquire_owned();
        let permit = permit.map_err(|_| RtError::TooManyLinks { max })?;
        let stream = timeout(gate.options.greeting_max, TcpStream::connect(address)).await;
        let stream = stream
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
            .and_then(|connected| connected)
            .map_err(|source| RtError::Connect { address, source })?;
        let greeted = Greeted::greet(stream, &gate.options).await;
        let (greeted, out) = greeted.map_err(|why| RtError::Greeting { address, why })?;
        let link = gate.name();
        let (known, wait) = oneshot::channel();
        let peer = Peer { link, address, inbound: false };
        let up = Arrival::Up { peer, out, known: Some(known) };
        gate.arrivals.send(up).await.map_err(|_| RtError::Ended)?;
        let (arrivals, options) = (gate.arrivals.clone(), Arc::clone(&gate.options));
        tokio::spawn(greeted.run(link, arrivals, options, vec![permit]));
        // Commands overtake arrivals: the node must know the link before the caller uses it.
        wait.await.map_err(|_| RtError::Ended)?;
        Ok(link)
    }

    /// Ends a link; a link that is gone already is no error.
    ///
    /// # Errors
    /// [`RtError::Ended`].
    pub async fn disconnect(&self, link: LinkId) -> Result<(), RtError> {
        self.ask(Ask::Cut(link)).await
    }

    /// Has the node do something; when this returns, what it decided is durable and on its way.
    ///
    /// # Errors
    /// [`RtError::Node`] as the node refused, [`RtError::Ended`].
    pub async fn command(&self, command: Command) -> Result<(), RtError> {
        let (reply, done) = oneshot::channel();
        self.ask(Ask::Do(command, reply)).await?;
        Ok(done.await.map_err(|_| RtError::Ended)??)
    }

    /// Runs `look` on the node, between two inputs: to read its state, or to set its signer's
    /// budgets. It must not take long, since everything else waits.
    ///
    /// # Errors
    /// [`RtError::Ended`].
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Node<S>) -> T + Send + 'static,
    ) -> Result<T, RtError> {
        let (reply, seen) = oneshot::channel();
        let look = move |node: &mut Node<S>| {
            // The caller may have given up waiting.
            let _gone = reply.send(look(node));
        };
        self.ask(Ask::Look(Box::new(look))).await?;
        seen.await.map_err(|_| RtError::Ended)
    }

    /// Ends orderly: what was committed lazily becomes durable, links are closed, the store is
    /// dropped. Without it, as after a power cut, lazy commits since the last barrier are lost.
    ///
    /// # Errors
    /// [`RtError::Node`] if the last barrier fails, [`RtError::Ended`] if it had ended before.
    pub async fn stop(self) -> Result<(), RtError> {
        if let Some(listener) = &self.shared.listener {
            listener.abort();
        }
        let (reply, ended) = oneshot::channel();
        self.ask(Ask::Stop(reply)).await?;
        ended.await.map_err(|_| RtError::Ended)?
    }

    async fn ask(&self, ask: Ask<S>) -> Result<(), RtError> {
        self.shared.asks.send(ask).await.map_err(|_| RtError::Ended)
    }
}

impl Gate {
    fn name(&self) -> LinkId {
        // 2^64 connections are never made.
        LinkId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    async fn take_connections(self, listener: TcpListener, told: broadcast::Sender<Told>) {
        loop {
            // Without a free link nobody is taken off the operating system's queue.
            let Ok(share) = Arc::clone(&self.inbound).acquire_owned().await else { return };
            let Ok(permit) = Arc::clone(&self.links).acquire_owned().await else { return };
            let (stream, address) = match listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    let _nobody = told.send(Told::NotAccepted { why: error.kind() });
                    sleep(REST).await;
                    continue;
                }
            };
            let gate = self.clone();
            tokio::spawn(async move {
                // A stranger that does not greet is not worth telling of.
                let Ok((greeted, out)) = Greeted::greet(stream, &gate.options).await else {
                    return;
                };
                let link = gate.name();
                let peer = Peer { link, address, inbound: true };
                let up = Arrival::Up { peer, out, known: None };
                if gate.arrivals.send(up).await.is_ok() {
                    greeted.run(link, gate.arrivals, gate.options, vec![share, permit]).await;
                }
            });
        }
    }
}

async fn listen(address: SocketAddr, options: &Options) -> Result<TcpListener, RtError> {
    options.check(address)?;
    bind(address).await
}

/// Listens, and says by name if another program does.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, RtError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => RtError::PortInUse { address },
        _ => RtError::Listen { address, source },
    })
}

/// What a driver tells, in order.
#[derive(Debug)]
pub struct News {
    told: broadcast::Receiver<Told>,
}

impl News {
    /// The next piece of news; `None` when the driver has ended and everything was told.
    ///
    /// May be given up while it waits: nothing is lost by that.
    pub async fn next(&mut self) -> Option<Told> {
        match self.told.recv().await {
            Ok(told) => Some(told),
            Err(RecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next piece of news that is there already.
    pub fn now(&mut self) -> Option<Told> {
        match self.told.try_recv() {
            Ok(told) => Some(told),
            Err(TryRecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

/// The batches or bundles that a driver's node takes, in order. Everything in them is durable.
#[derive(Debug)]
pub struct Shown<T> {
    received: broadcast::Receiver<T>,
}

impl<T: Clone> Shown<T> {
    /// The next one. May be given up while it waits: nothing is lost by that.
    ///
    /// # Errors
    /// [`RtError::NotShown`] if this listener was too slow, [`RtError::Ended`].
    pub async fn next(&mut self) -> Result<T, RtError> {
        self.received.recv().await.map_err(|error| match error {
            RecvError::Lagged(count) => RtError::NotShown { count },
            RecvError::Closed => RtError::Ended,
        })
    }
}
