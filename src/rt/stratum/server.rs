//! The listener, and the caller's handle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::places::Places;
use super::serve::Shared;
use super::worker::Shelf;
use super::{ConnectionEnd, Credit, Job, ServerNews, ServerOptions};
use crate::rt::RtError;
use crate::rt::driver::bind;
use crate::shares::JobError;
use crate::stratum::message::Notice;

/// Credits that wait for whoever pays; connections with more wait themselves.
const CREDITS_MAX: usize = 1_024;
/// Messages to all miners that a slow connection may be behind.
const NOTICES_MAX: usize = 16;
/// News that a slow listener may be behind.
const NEWS_MAX: usize = 1_024;
/// How long the listener rests when the operating system has no more files.
const REST: Duration = Duration::from_millis(100);

/// A running server. When it is dropped, its connections end.
///
/// ```no_run
/// # use millstream::rt::stratum::{Job, ServerOptions, StratumServer};
/// # async fn run(job: Job) -> Result<(), Box<dyn std::error::Error>> {
/// let options = ServerOptions::new(([127, 0, 0, 1], 3_333).into());
/// let (server, mut credits) = StratumServer::start(options).await?;
/// server.publish(job)?;
/// while let Some(credit) = credits.next().await {
///     println!("{} is owed {}", credit.worker, credit.good.work());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StratumServer {
    address: SocketAddr,
    extranonce2_size: u8,
    jobs: watch::Sender<Option<Arc<Job>>>,
    notices: broadcast::Sender<Notice>,
    news: broadcast::Sender<ServerNews>,
    listener: AbortHandle,
}

impl Drop for StratumServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl StratumServer {
    /// Listens. What is found comes out of the [`Credits`]: while nobody takes them, miners wait.
    ///
    /// Must be called on a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`RtError::NotLoopback`], [`RtError::PortInUse`], [`RtError::Listen`],
    /// [`RtError::NoEntropy`].
    pub async fn start(options: ServerOptions) -> Result<(Self, Credits), RtError> {
        let address = options.listen;
        if !address.ip().is_loopback() && !options.expose_unencrypted_beyond_loopback {
            return Err(RtError::NotLoopback { address });
        }
        let listener = bind(address).await?;
        let address = listener.local_addr().unwrap_or(options.listen);
        let (jobs, newest) = watch::channel(None);
        let (credits, taken) = mpsc::channel(CREDITS_MAX);
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        let (news, _) = broadcast::channel(NEWS_MAX);
        let extranonce2_size = options.extranonce2_size;
        let shared = Shared {
            shelf: Arc::new(Shelf::new(&options)?),
            options: Arc::new(options),
            jobs: newest,
            notices: notices.clone(),
            credits,
            news: news.clone(),
        };
        let listener = tokio::spawn(take_connections(listener, shared)).abort_handle();
        let server = Self { address, extranonce2_size, jobs, notices, news, listener };
        Ok((server, Credits { taken }))
    }

    /// Where it takes connections.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a job to every miner, those that come later included. Where it builds on another
    /// block than the one before, earlier jobs are stale from now on.
    ///
    /// A [`Credit`] names the same `Arc`: by it its price is found, which is fixed when a job is
    /// given out.
    ///
    /// # Errors
    /// [`JobError::SpaceMisfit`]: its room for miners is not of the options' size.
    pub fn publish(&self, job: impl Into<Arc<Job>>) -> Result<(), JobError> {
        let job = job.into();
        let (got, room) = (self.extranonce2_size, job.pool().extranonce_size());
        if got != room {
            return Err(JobError::SpaceMisfit { got, room });
        }
        self.jobs.send_replace(Some(job));
        Ok(())
    }

    /// Says something to every miner: [`Notice::ShowMessage`], [`Notice::Reconnect`],
    /// [`Notice::Ping`], [`Notice::GetVersion`]. Others would contradict what the server itself
    /// says; `false` for those, and nothing is said.
    #[must_use]
    pub fn tell(&self, notice: Notice) -> bool {
        let is_word = matches!(
            notice,
            Notice::ShowMessage(_) | Notice::Reconnect { .. } | Notice::Ping | Notice::GetVersion
        );
        if is_word {
            let _nobody = self.notices.send(notice);
        }
        is_word
    }

    /// What happens to connections from now on.
    pub fn news(&self) -> Connections {
        Connections { told: self.news.subscribe() }
    }
}

async fn take_connections(listener: TcpListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(shared.options.connections_max));
    let addresses = Places::new(shared.options.connections_of_address_max);
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        // Without a free place nobody is taken off the operating system's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(REST).await;
            continue;
        };
        let Some(of_address) = addresses.take(peer.ip()) else {
            let _nobody = shared.news.send(ServerNews::Down { peer, why: ConnectionEnd::Crowded });
            continue;
        };
        let shared = shared.clone();
        connections.spawn(async move {
            shared.serve(stream, peer).await;
            drop((place, of_address));
        });
    }
}

/// The work that miners are to be paid for, in the order in which each of them did it.
#[derive(Debug)]
pub struct Credits {
    taken: mpsc::Receiver<Credit>,
}

impl Credits {
    /// The next one; `None` when the server has ended. May be given up while it waits: nothing is
    /// lost by that.
    pub async fn next(&mut self) -> Option<Credit> {
        self.taken.recv().await
    }
}

/// What a server tells of its connections, in order.
#[derive(Debug)]
pub struct Connections {
    told: broadcast::Receiver<ServerNews>,
}

impl Connections {
    /// The next piece of news; `None` when the server has ended. May be given up while it waits.
    pub async fn next(&mut self) -> Option<ServerNews> {
        match self.told.recv().await {
            Ok(news) => Some(news),
            Err(RecvError::Lagged(missed)) => Some(ServerNews::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
