//! The listener, and what all connections have in common.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::session::Session;
use super::{Credit, Sv2Error, Sv2Options, random};
use crate::chain::template::BlockPlan;
use crate::shares::Space;

/// Credits that wait for whoever pays: then miners wait.
const CREDITS_MAX: usize = 1_024;
/// How long the listener rests when the operating system has no more files.
const REST: Duration = Duration::from_millis(100);
/// Bytes of a channel's part of the coinbase.
const SPACE_SIZE: usize = 4;

/// A pool's end: takes miners until it is dropped.
#[derive(Debug)]
pub struct Sv2Server {
    address: SocketAddr,
    plans: watch::Sender<Option<Arc<BlockPlan>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Sv2Server {
    /// Listens, and hands out what miners find. Within a runtime of tokio.
    ///
    /// # Errors
    /// [`Sv2Error::Listen`], [`Sv2Error::NoEntropy`].
    pub async fn start(options: Sv2Options) -> Result<(Self, mpsc::Receiver<Credit>), Sv2Error> {
        let address = options.listen;
        let failed = |source| Sv2Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (plans, newest) = watch::channel(None);
        let (credits, receiver) = mpsc::channel(CREDITS_MAX);
        let spaces = Arc::new(Spaces::new()?);
        let options = Arc::new(options);
        let accepting = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(options.connections_max));
            let mut sessions = JoinSet::new();
            loop {
                while sessions.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else {
                    sleep(REST).await;
                    continue;
                };
                // Beyond the limit a connection is closed at once.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (options, spaces) = (Arc::clone(&options), Arc::clone(&spaces));
                let session = Session::new(options, spaces, newest.clone(), credits.clone());
                sessions.spawn(async move {
                    // Why a miner left is its own matter.
                    let _ended = session.run(stream).await;
                    drop(place);
                });
            }
        });
        Ok((Self { address, plans, accepting }, receiver))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives every channel a job of this plan, which has room for 4 bytes of the pool's.
    ///
    /// # Errors
    /// [`Sv2Error::Job`] if the plan's layout or template does not fit; nothing has changed then.
    pub fn publish(&self, plan: Arc<BlockPlan>) -> Result<(), Sv2Error> {
        let space = Space::new(&[0; SPACE_SIZE])?;
        let _fits = plan.fixed_job(&space, u32::MAX.into(), crate::units::Seconds::MIN)?;
        self.plans.send_replace(Some(plan));
        Ok(())
    }
}

impl Drop for Sv2Server {
    fn drop(&mut self) {
        // Its sessions go with it.
        self.accepting.abort();
    }
}

/// Gives each channel a part of the coinbase of its own.
#[derive(Debug)]
pub(super) struct Spaces(AtomicU32);

impl Spaces {
    /// Begins anywhere: a server that starts again on the same tip must not meet those that it gave
    /// out before.
    fn new() -> Result<Self, Sv2Error> {
        let [a, b, c, d, ..] = random()?;
        Ok(Self(AtomicU32::new(u32::from_be_bytes([a, b, c, d]))))
    }

    /// One that no other channel has: 2^32 until one comes again.
    pub(super) fn next(&self) -> Result<Space, Sv2Error> {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Ok(Space::new(&number)?)
    }
}
