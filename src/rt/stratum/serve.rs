//! One miner's connection: reads lines, asks its worker, writes answers and jobs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::waits::Waits;
use super::worker::{NotIssued, Shelf, Worker};
use super::{ConnectionEnd, Credit, Job, ServerNews, ServerOptions, broken};
use crate::rt::clock::Clock;
use crate::stratum::message::Notice;
use crate::stratum::server::{Heard, Refused, ServerSession};
use crate::stratum::{Allowance, LineReader};
use crate::units::UtcSeconds;

/// 4,096: a share is some 150 bytes, a configuration some 300.
const LINE_MAX: usize = 4_096;
/// One read; as many lines as are in it are answered together.
const READ_BYTES: usize = 4_096;
/// How often a worker's difficulty is looked at when it finds nothing, and its silence.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What all connections of a server share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) options: Arc<ServerOptions>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) jobs: watch::Receiver<Option<Arc<Job>>>,
    pub(super) notices: broadcast::Sender<Notice>,
    pub(super) credits: mpsc::Sender<Credit>,
    pub(super) news: broadcast::Sender<ServerNews>,
}

/// The state of one connection.
struct Connection {
    shared: Shared,
    session: ServerSession,
    worker: Worker,
    clock: Clock,
    began: Instant,
    /// When the last job was given out.
    issued: Instant,
    bytes: Allowance,
    lines: Allowance,
    refusals: Allowance,
    /// What is written next.
    out: String,
}

impl Shared {
    /// Runs a connection to its end, and tells of it.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let news = self.news.clone();
        let why = match Connection::new(self) {
            Some(connection) => connection.run(stream, peer).await,
            None => ConnectionEnd::Ended,
        };
        let _nobody = news.send(ServerNews::Down { peer, why });
    }
}

impl Connection {
    /// None without randomness.
    fn new(shared: Shared) -> Option<Self> {
        let (offer, space) = shared.shelf.offer().ok()?;
        let mut clock = Clock::new();
        let options = &shared.options;
        let worker = Worker::new(Arc::clone(&shared.shelf), options, space, clock.time());
        let of = |(per_second, burst)| Allowance::new(per_second, burst);
        Some(Self {
            session: ServerSession::new(offer),
            worker,
            clock,
            began: Instant::now(),
            issued: Instant::now(),
            bytes: of(options.bytes),
            lines: of(options.lines),
            refusals: of(options.refusals),
            out: String::new(),
            shared,
        })
    }

    async fn run(mut self, mut stream: TcpStream, peer: SocketAddr) -> ConnectionEnd {
        // A share waits for nothing.
        let _best_effort = stream.set_nodelay(true);
        let why = match self.talk(&mut stream, peer).await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        // What was found before the end counts, whatever the end is.
        let _gone = self.hand_over().await;
        self.worker.shelve(self.session.offer());
        why
    }

    async fn talk(
        &mut self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Result<std::convert::Infallible, ConnectionEnd> {
        let mut notices = self.shared.notices.subscribe();
        let mut jobs = self.shared.jobs.clone();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reader = LineReader::new(LINE_MAX);
        let mut buffer = vec![0; READ_BYTES];
        let mut waits = Waits::new(self.began, Instant::now());
        let mut was_mining = false;
        loop {
            let end = self.end(&waits);
            tokio::select! {
                biased;
                changed = jobs.changed() => {
                    changed.map_err(|_| ConnectionEnd::Ended)?;
                    self.issue(&mut jobs)?;
                }
                notice = notices.recv() => match notice {
                    Ok(notice) => self.session.tell(&notice, &mut self.out),
                    // Too slow for so many notices: they are only words.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Err(ConnectionEnd::Ended),
                },
                () = sleep_until(end.0) => return Err(end.1),
                _ = look.tick() => self.adjust(&mut jobs)?,
                read = stream.read(&mut buffer) => {
                    let count = read.map_err(broken)?;
                    let input = buffer.get(..count).unwrap_or_default();
                    let line_ended = self.hear(&mut reader, input, peer)?;
                    // Before the answers: whoever pays knows of a share when its miner does. And
                    // before the clock is read: that wait is no fault of the miner's.
                    self.hand_over().await?;
                    waits.read(Instant::now(), line_ended, reader.held_bytes() > 0);
                    if !was_mining && self.session.is_mining() {
                        was_mining = true;
                        self.tell_up(peer);
                        self.issue(&mut jobs)?;
                    }
                    self.adjust(&mut jobs)?;
                }
            }
            self.write(stream).await?;
        }
    }

    /// When the connection ends if nothing happens, and why.
    fn end(&self, waits: &Waits) -> (Instant, ConnectionEnd) {
        let ServerOptions { greeting_max, idle_max, stall_max, .. } = *self.shared.options;
        let greeting_max = (!self.session.is_mining()).then_some(greeting_max);
        waits.end(greeting_max, idle_max, stall_max)
    }

    /// Takes what was read; whether a line was in it.
    fn hear(
        &mut self,
        reader: &mut LineReader,
        mut input: &[u8],
        peer: SocketAddr,
    ) -> Result<bool, ConnectionEnd> {
        if input.is_empty() {
            return Err(ConnectionEnd::Closed);
        }
        let now = self.began.elapsed();
        self.worker.now = self.time();
        let count = u32::try_from(input.len()).unwrap_or(u32::MAX);
        if !self.bytes.take(now, count) {
            return Err(ConnectionEnd::Flood);
        }
        let mut any = false;
        while let Some(line) = reader.read(&mut input).map_err(ConnectionEnd::Garbage)? {
            any = true;
            if !self.lines.take(now, 1) {
                return Err(ConnectionEnd::Flood);
            }
            let heard = self.session.receive(line, &mut self.worker, &mut self.out);
            let heard = heard.map_err(ConnectionEnd::Garbage)?;
            if let (Heard::Refused(Refused::Share(why)), Some(key)) = (&heard, self.session.key()) {
                let _nobody = self.shared.news.send(ServerNews::Refused { peer, key, why: *why });
            }
            let refused = matches!(heard, Heard::Refused(_));
            let is_blameless = std::mem::take(&mut self.worker.is_blameless);
            if refused && !is_blameless && !self.refusals.take(now, 1) {
                return Err(ConnectionEnd::Refused);
            }
        }
        Ok(any)
    }

    /// Gives out the newest job, if there is one and the miner is ready.
    fn issue(&mut self, jobs: &mut watch::Receiver<Option<Arc<Job>>>) -> Result<(), ConnectionEnd> {
        let job = jobs.borrow_and_update().clone();
        let Some(job) = job else { return Ok(()) };
        self.issued = Instant::now();
        self.worker.now = self.time();
        match self.worker.issue(&mut self.session, &job, &mut self.out) {
            Ok(()) => Ok(()),
            Err(NotIssued::Broken) => Err(ConnectionEnd::Ended),
            Err(NotIssued::WentBack) => {
                let offer = self.shared.shelf.offer();
                let (offer, space) = offer.map_err(|_| ConnectionEnd::Ended)?;
                if !self.session.move_to(offer, &mut self.out) {
                    return Err(ConnectionEnd::WentBack);
                }
                self.worker.move_to(space);
                let again = self.worker.issue(&mut self.session, &job, &mut self.out);
                again.map_err(|_| ConnectionEnd::Ended)
            }
        }
    }

    /// Another difficulty, if the worker has become faster or slower or has asked for one; the same
    /// job at the present time, if there was none for long.
    fn adjust(
        &mut self,
        jobs: &mut watch::Receiver<Option<Arc<Job>>>,
    ) -> Result<(), ConnectionEnd> {
        self.worker.now = self.time();
        let is_old = self.issued.elapsed() >= self.shared.options.repeat_after;
        if is_old || self.worker.wants_other_target(&self.session) {
            return self.issue(jobs);
        }
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), ConnectionEnd> {
        for credit in self.worker.take_found() {
            self.shared.credits.send(credit).await.map_err(|_| ConnectionEnd::Ended)?;
        }
        Ok(())
    }

    async fn write(&mut self, stream: &mut TcpStream) -> Result<(), ConnectionEnd> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = stream.write_all(self.out.as_bytes());
        let written = timeout(self.shared.options.stall_max, written).await;
        written.map_err(|_| ConnectionEnd::Slow)?.map_err(broken)?;
        // A job may have been long.
        if self.out.capacity() > READ_BYTES {
            self.out = String::new();
        } else {
            self.out.clear();
        }
        Ok(())
    }

    fn tell_up(&self, peer: SocketAddr) {
        if let Some(key) = self.session.key() {
            let _nobody = self.shared.news.send(ServerNews::Up { peer, key });
        }
    }

    fn time(&mut self) -> UtcSeconds {
        self.clock.time()
    }
}
