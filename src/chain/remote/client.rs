//! The other end: a chain source whose chain is in another process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bitcoin::{OutPoint, Script, ScriptBuf, Transaction};

use super::RemoteError;
use super::protocol::{LINE_MAX, Request, Words, is_none, refused};
use crate::chain::{ChainError, ChainSource};
use crate::tx::seen::{ChainEvent, OutputStatus, Tip};
use crate::units::{Blocks, FeeRate, Height, Sat};

/// On one machine an answer takes microseconds; mining two weeks of blocks, a second.
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

    fn dial(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
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

fn exchange(link: &mut BufReader<TcpStream>, request: &Request) -> std::io::Result<String> {
    let line = request.to_line() + "\n";
    link.get_mut().write_all(line.as_bytes())?;
    let mut answer = String::new();
    link.by_ref().take(LINE_MAX).read_line(&mut answer)?;
    match answer.strip_suffix('\n') {
        Some(answer) => Ok(answer.to_owned()),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
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
        self.ask(&Request::Broadcast(package.to_vec())).map(|_| ())
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
