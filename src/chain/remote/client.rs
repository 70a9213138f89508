//! The other end: a chain source whose chain is in another process.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::{OutPoint, Script, ScriptBuf, Transaction};

use super::RemoteError;
use super::protocol::{LINE_MAX, Request, Words, is_none, is_ok, refused};
use crate::chain::{ChainError, ChainSource};
use crate::tx::seen::{ChainEvent, OutputStatus, Tip};
use crate::units::{Blocks, FeeRate, Height, Sat};

/// For a whole answer. On one machine it takes microseconds; mining two weeks of blocks, a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// A simulated chain that another process of this machine offers.
///
/// It connects again by itself. While it cannot, it says that it is cut off; and once more after
/// that, because it may have missed events.
#[derive(Debug)]
pub struct RemoteChain {
    address: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<BufReader<TcpStream>>,
    /// The connection broke since the last event was asked for.
    broke: bool,
}

impl RemoteChain {
    /// Connects to a host.
    ///
    /// # Errors
    /// [`RemoteError::NotLoopback`], [`RemoteError::Unreachable`].
    pub fn connect(address: SocketAddr) -> Result<Self, RemoteError> {
        if !address.ip().is_loopback() {
            return Err(RemoteError::NotLoopback { address });
        }
        let chain = Self { address, state: Mutex::default() };
        chain.tip().map_err(|source| RemoteError::Unreachable { address, source })?;
        Ok(chain)
    }

    /// Has the host mine.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn mine(&self, blocks: Blocks) -> Result<Height, ChainError> {
        let line = self.ask(&Request::Mine(blocks.to_u32()))?;
        self.read(&line, Words::height)
    }

    /// Has the host fund an output: a signed transaction that is not broadcast, its output 0.
    ///
    /// # Errors
    /// [`ChainError::Refused`] for missing inputs if its coins do not suffice.
    pub fn fund(&self, script: ScriptBuf, value: Sat) -> Result<Transaction, ChainError> {
        let line = self.ask(&Request::Fund(script, value))?;
        self.read(&line, Words::transaction)
    }

    /// One line there, one line back.
    fn ask(&self, request: &Request) -> Result<String, ChainError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.link.is_none() {
            state.link = self.dial().ok();
        }
        let answer = state.link.as_mut().and_then(|link| exchange(link, request).ok());
        let Some(answer) = answer else {
            state.link = None;
            state.broke = true;
            return Err(ChainError::Unavailable);
        };
        match refused(&answer) {
            Some(reason) => Err(ChainError::Refused(reason)),
            None => Ok(answer),
        }
    }

    fn dial(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }

    /// Reads an answer; one that makes no sense is as good as none.
    fn read<'l, T>(
        &self,
        line: &'l str,
        read: impl FnOnce(&mut Words<'l>) -> Option<T>,
    ) -> Result<T, ChainError> {
        read(&mut Words::new(line)).ok_or_else(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = State { link: None, broke: true };
            ChainError::Unavailable
        })
    }
}

fn exchange(link: &mut BufReader<TcpStream>, request: &Request) -> io::Result<String> {
    let deadline = Deadline::after(PATIENCE);
    let line = request.to_line() + "\n";
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        link.get_ref().set_write_timeout(Some(deadline.left()?))?;
        let written = link.get_mut().write(rest)?;
        rest = rest.get(written..).filter(|_| written > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    let mut answer = Vec::new();
    loop {
        link.get_ref().set_read_timeout(Some(deadline.left()?))?;
        let some = link.fill_buf()?;
        let end = some.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(some.len());
        answer.extend_from_slice(some.get(..taken).unwrap_or_default());
        if some.is_empty() || u64::try_from(answer.len()).map_or(true, |len| len >= LINE_MAX) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        link.consume(taken.saturating_add(usize::from(end.is_some())));
        if end.is_some() {
            return String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

/// When a whole exchange must be over, however its bytes drip.
struct Deadline(Instant, Duration);

impl Deadline {
    fn after(patience: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "it waits for another process")]
        Self(Instant::now(), patience)
    }

    /// What is left; never zero, which a socket takes for for ever.
    fn left(&self) -> io::Result<Duration> {
        let left = self.1.saturating_sub(self.0.elapsed());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl ChainSource for RemoteChain {
    fn next_event(&mut self) -> Result<Option<ChainEvent>, ChainError> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.broke) {
            return Err(ChainError::Unavailable);
        }
        let line = self.ask(&Request::Event)?;
        if is_none(&line) {
            return Ok(None);
        }
        self.read(&line, Words::event).map(Some)
    }

    fn broadcast(&mut self, package: &[Transaction]) -> Result<(), ChainError> {
        let line = self.ask(&Request::Broadcast(package.to_vec()))?;
        self.read(&line, |words| is_ok(words).then_some(()))
    }

    fn tip(&self) -> Result<Tip, ChainError> {
        let line = self.ask(&Request::Tip)?;
        self.read(&line, Words::tip)
    }

    fn fee_rate(&self, _target: Blocks) -> Result<FeeRate, ChainError> {
        let line = self.ask(&Request::Rate)?;
        self.read(&line, |words| FeeRate::new(words.value()?).ok())
    }

    fn output(&self, outpoint: OutPoint) -> Result<Option<OutputStatus>, ChainError> {
        let line = self.ask(&Request::Output(outpoint))?;
        if is_none(&line) {
            return Ok(None);
        }
        self.read(&line, Words::status).map(Some)
    }

    fn outputs_of(&self, script: &Script) -> Result<Vec<(OutPoint, OutputStatus)>, ChainError> {
        let line = self.ask(&Request::Outputs(script.to_owned()))?;
        self.read(&line, |words| {
            let mut found = Vec::new();
            while let Some(outpoint) = words.word() {
                found.push((outpoint.parse().ok()?, words.status()?));
            }
            Some(found)
        })
    }
}
