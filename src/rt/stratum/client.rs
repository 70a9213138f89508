//! A miner's connection to a pool, made again when it ends.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::waits::Waits;
use super::{ConnectionEnd, broken};
use crate::stratum::client::{ClientSession, Find, Task, Told, Wanted};
use crate::stratum::message::{Label, Refusal};
use crate::stratum::{Allowance, LineReader};
use crate::wire::PeerText;

/// 80 KiB: a job whose coinbase has two parts of 16 KiB, in hexadecimal digits.
const LINE_MAX: usize = 81_920;
const READ_BYTES: usize = 8_192;
/// News that waits for whoever searches; the pool waits behind it.
const NEWS_MAX: usize = 64;
/// Finds that wait for the connection.
const FINDS_MAX: usize = 64;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The pool.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is asked of it.
    pub wanted: Wanted,
    /// Allows pools that are not on this machine, although nothing encrypts or authenticates them:
    /// whoever is on the way can take the work.
    pub expose_unencrypted_beyond_loopback: bool,
    /// How long a connection may take to be made, and to be ready.
    pub greeting_max: Duration,
    /// How long a line may take to end, or to be taken.
    pub stall_max: Duration,
    /// How long a pool may say nothing.
    pub idle_max: Duration,
    /// The first wait before it connects again; it doubles to a minute while no share is accepted.
    pub retry_after: Duration,
    /// How many connections in a row may end without an accepted share before it gives up.
    pub failures_max: u32,
}

impl ClientOptions {
    /// Loopback only; 30 s for everything, 10 min of silence; again after 1 s, 1,000 times.
    pub fn new(host: &str, port: u16, user: &str) -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            host: host.into(),
            port,
            wanted: Wanted::new(user),
            expose_unencrypted_beyond_loopback: false,
            greeting_max: half_a_minute,
            stall_max: half_a_minute,
            idle_max: Duration::from_secs(600),
            retry_after: Duration::from_secs(1),
            failures_max: 1_000,
        }
    }
}

/// What a client tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientNews {
    /// Search this from now on.
    Task(Arc<Task>),
    /// These bits of the version may be rolled from now on, also in tasks before.
    VersionMask(u32),
    /// A share was accepted, or not.
    Judged {
        /// The share.
        find: Find,
        /// The pool's words, if it was refused.
        answer: Result<(), Refusal>,
    },
    /// A share was not sent, or its answer never came: its connection has ended.
    Lost(Find),
    /// A text of the pool for whoever operates this miner.
    Message(PeerText),
    /// A connection has ended, or could not be made; the next one follows.
    Down(ConnectionEnd),
    /// Too many connections ended without an accepted share. This is the last piece of news.
    GaveUp,
}

/// A client that stays connected to a pool. When it is dropped, its connection ends.
#[derive(Debug)]
pub struct StratumClient {
    news: mpsc::Receiver<ClientNews>,
    finds: mpsc::Sender<(Arc<Task>, Find)>,
    running: AbortHandle,
}

impl Drop for StratumClient {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl StratumClient {
    /// Connects, and connects again whenever that ends, until it gives up.
    ///
    /// Must be called on a tokio runtime with I/O and time.
    pub fn start(options: ClientOptions) -> Self {
        let (told, news) = mpsc::channel(NEWS_MAX);
        let (finds, found) = mpsc::channel(FINDS_MAX);
        let running = tokio::spawn(Client::new(options, told, found).run()).abort_handle();
        Self { news, finds, running }
    }

    /// The next piece of news; `None` after the last. May be given up while it waits.
    pub async fn next(&mut self) -> Option<ClientNews> {
        self.news.recv().await
    }

    /// Sends a share of a task; what becomes of it is told. `false` if too many wait already, or
    /// the client has ended: it waits for nothing, so that whoever searches can take news
    /// meanwhile.
    #[must_use]
    pub fn submit(&self, task: &Arc<Task>, find: Find) -> bool {
        self.finds.try_send((Arc::clone(task), find)).is_ok()
    }
}

struct Client {
    options: ClientOptions,
    told: mpsc::Sender<ClientNews>,
    found: mpsc::Receiver<(Arc<Task>, Find)>,
    /// Where the pool wants this side at the next connection.
    sent_to: Option<SentTo>,
    /// Connections in a row without an accepted share.
    failures: u32,
    session: Option<Label>,
}

struct SentTo {
    host: String,
    port: u16,
    wait: Duration,
}

/// One connection of it.
struct Talk {
    session: ClientSession,
    /// Shares without an answer.
    sent: BTreeMap<u64, Find>,
    /// Tasks of this connection; those before are another extranonce's.
    tasks: Vec<std::sync::Weak<Task>>,
    began: Instant,
    bytes: Allowance,
    lines: Allowance,
    foreign: Allowance,
    out: String,
}

impl Client {
    fn new(
        options: ClientOptions,
        told: mpsc::Sender<ClientNews>,
        found: mpsc::Receiver<(Arc<Task>, Find)>,
    ) -> Self {
        Self { options, told, found, sent_to: None, failures: 0, session: None }
    }

    /// Until it gives up, or nobody listens.
    async fn run(mut self) {
        while self.failures <= self.options.failures_max {
            let to = self.sent_to.take();
            let (host, port, wait) = match to {
                Some(SentTo { host, port, wait }) => (host, port, wait),
                None => (self.options.host.clone(), self.options.port, Duration::ZERO),
            };
            if !self.rest(wait).await {
                return;
            }
            let mut talk = Talk::new(&self.options, &host, self.session.clone());
            self.failures = self.failures.saturating_add(1);
            let why = match self.connect(&host, port).await {
                Ok(mut stream) => match self.talk(&mut talk, &mut stream, port).await {
                    Ok(never) => match never {},
                    Err(why) => why,
                },
                Err(why) => why,
            };
            self.session = talk.session.session().cloned().or(self.session.take());
            for find in std::mem::take(&mut talk.sent).into_values() {
                if !self.tell(ClientNews::Lost(find)).await {
                    return;
                }
            }
            if why == ConnectionEnd::Ended || !self.tell(ClientNews::Down(why)).await {
                return;
            }
        }
        self.tell(ClientNews::GaveUp).await;
    }

    /// Waits before the next connection; finds that come meanwhile are lost. `false` if nobody
    /// listens any more.
    async fn rest(&mut self, wait: Duration) -> bool {
        const LONGEST: Duration = Duration::from_secs(60);
        let doubled = 1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let backoff = match self.failures {
            0 => Duration::ZERO,
            _ => self.options.retry_after.saturating_mul(doubled).min(LONGEST),
        };
        let end = Instant::now().checked_add(wait.max(backoff)).unwrap_or_else(Instant::now);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(end) => return true,
                found = self.found.recv() => {
                    let Some((_, find)) = found else { return false };
                    if !self.tell(ClientNews::Lost(find)).await {
                        return false;
                    }
                }
            }
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ConnectionEnd> {
        let connecting = async {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in lookup_host((host, port)).await? {
                let exposed = self.options.expose_unencrypted_beyond_loopback;
                if !address.ip().is_loopback() && !exposed {
                    last = io::Error::from(io::ErrorKind::PermissionDenied);
                    continue;
                }
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let connected = timeout(self.options.greeting_max, connecting).await;
        connected.map_err(|_| ConnectionEnd::NotGreeted)?.map_err(broken)
    }

    async fn talk(
        &mut self,
        talk: &mut Talk,
        stream: &mut TcpStream,
        port: u16,
    ) -> Result<Infallible, ConnectionEnd> {
        // A share waits for nothing.
        let _best_effort = stream.set_nodelay(true);
        let mut reader = LineReader::new(LINE_MAX);
        let mut buffer = vec![0; READ_BYTES];
        let mut waits = Waits::new(talk.began, Instant::now());
        talk.session.start(&mut talk.out);
        loop {
            talk.write(stream, self.options.stall_max).await?;
            let end = self.end(talk, &waits);
            tokio::select! {
                biased;
                () = sleep_until(end.0) => return Err(end.1),
                read = stream.read(&mut buffer) => {
                    let count = read.map_err(broken)?;
                    let input = buffer.get(..count).unwrap_or_default();
                    let line_ended = self.hear(talk, &mut reader, input, port).await?;
                    waits.read(Instant::now(), line_ended, reader.held_bytes() > 0);
                }
                found = self.found.recv() => {
                    let (task, find) = found.ok_or(ConnectionEnd::Ended)?;
                    if !talk.submit(&task, find) && !self.tell(ClientNews::Lost(find)).await {
                        return Err(ConnectionEnd::Ended);
                    }
                }
            }
        }
    }

    /// When the connection ends if nothing happens, and why.
    fn end(&self, talk: &Talk, waits: &Waits) -> (Instant, ConnectionEnd) {
        let ClientOptions { greeting_max, idle_max, stall_max, .. } = self.options;
        let greeting_max = (!talk.session.is_mining()).then_some(greeting_max);
        waits.end(greeting_max, idle_max, stall_max)
    }

    /// Takes what was read; whether a line was in it.
    async fn hear(
        &mut self,
        talk: &mut Talk,
        reader: &mut LineReader,
        mut input: &[u8],
        port: u16,
    ) -> Result<bool, ConnectionEnd> {
        if input.is_empty() {
            return Err(ConnectionEnd::Closed);
        }
        let now = talk.began.elapsed();
        if !talk.bytes.take(now, u32::try_from(input.len()).unwrap_or(u32::MAX)) {
            return Err(ConnectionEnd::Flood);
        }
        let mut any = false;
        while let Some(line) = reader.read(&mut input).map_err(ConnectionEnd::Garbage)? {
            any = true;
            if !talk.lines.take(now, 1) {
                return Err(ConnectionEnd::Flood);
            }
            let told = talk.session.receive(line, &mut talk.out);
            let told = told.map_err(ConnectionEnd::Garbage)?;
            let Some(news) = self.understand(talk, told, port)? else { continue };
            if !self.tell(news).await {
                return Err(ConnectionEnd::Ended);
            }
        }
        Ok(any)
    }

    fn understand(
        &mut self,
        talk: &mut Talk,
        told: Told,
        port: u16,
    ) -> Result<Option<ClientNews>, ConnectionEnd> {
        Ok(Some(match told {
            Told::Nothing => return Ok(None),
            Told::Task(task) => {
                let task = Arc::from(task);
                talk.tasks.retain(|known| known.strong_count() > 0);
                talk.tasks.push(Arc::downgrade(&task));
                ClientNews::Task(task)
            }
            Told::VersionMask(mask) => ClientNews::VersionMask(mask),
            Told::Judged { share, answer } => {
                let Some(find) = talk.sent.remove(&share) else { return Ok(None) };
                if answer.is_ok() {
                    self.failures = 0;
                }
                ClientNews::Judged { find, answer }
            }
            Told::Message(text) => ClientNews::Message(text),
            Told::Reconnect { host, port: to, wait_s } => {
                let host = host.unwrap_or_else(|| talk.host().to_owned());
                let wait = Duration::from_secs(wait_s.into());
                self.sent_to = Some(SentTo { host, port: to.unwrap_or(port), wait });
                return Err(ConnectionEnd::SentAway);
            }
            Told::NotFollowed => return Err(ConnectionEnd::SentElsewhere),
            Told::Foreign => {
                let may_pass = talk.foreign.take(talk.began.elapsed(), 1);
                return if may_pass { Ok(None) } else { Err(ConnectionEnd::Refused) };
            }
        }))
    }

    /// `false` if nobody listens any more.
    async fn tell(&self, news: ClientNews) -> bool {
        self.told.send(news).await.is_ok()
    }
}

impl Talk {
    fn new(options: &ClientOptions, host: &str, resume: Option<Label>) -> Self {
        let wanted = Wanted { resume, ..options.wanted.clone() };
        Self {
            session: ClientSession::new(wanted, host),
            sent: BTreeMap::new(),
            tasks: Vec::new(),
            began: Instant::now(),
            // A job of the longest kind each second, and sixteen at once.
            bytes: Allowance::new(81_920, 1_310_720),
            lines: Allowance::new(256, 2_048),
            foreign: Allowance::new(1, 32),
            out: String::new(),
        }
    }

    fn host(&self) -> &str {
        self.session.host()
    }

    /// `false` if the task is not this connection's, or cannot be submitted.
    fn submit(&mut self, task: &Arc<Task>, find: Find) -> bool {
        let is_ours = self.tasks.iter().any(|known| known.as_ptr() == Arc::as_ptr(task));
        let share = is_ours.then(|| self.session.submit(task, &find, &mut self.out)).flatten();
        share.is_some_and(|share| self.sent.insert(share, find).is_none())
    }

    async fn write(&mut self, stream: &mut TcpStream, max: Duration) -> Result<(), ConnectionEnd> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(max, stream.write_all(self.out.as_bytes())).await;
        written.map_err(|_| ConnectionEnd::Slow)?.map_err(broken)?;
        self.out.clear();
        Ok(())
    }
}
