//! The listener: a thread a connection, a few of them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::host::is_short;
use super::protocol::{
    LINE_MAX, OK, Request, event_line, none, refused_line, status_line, tip_line,
};
use super::{ChainHost, RemoteError};
use crate::chain::regtest::Source;
use crate::chain::{ChainError, ChainSource, Reason};
use crate::units::Blocks;

/// 32 clients at once: each is a thread.
const CLIENTS_MAX: usize = 32;
/// A client asks once a second; one that is silent for a minute has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the listener rests when the operating system has no more files.
const REST: Duration = Duration::from_millis(100);
/// A request must not mine for ever: two weeks of blocks.
const MINE_MAX: u32 = 2_016;

/// Offers a simulated chain until it is dropped.
#[derive(Debug)]
pub struct ChainServer {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl ChainServer {
    /// Listens on a loopback address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`RemoteError::NotLoopback`], [`RemoteError::PortInUse`], [`RemoteError::Listen`].
    pub fn start(host: Arc<ChainHost>, address: SocketAddr) -> Result<Self, RemoteError> {
        if !address.ip().is_loopback() {
            return Err(RemoteError::NotLoopback { address });
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => RemoteError::PortInUse { address },
            _ => RemoteError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        std::thread::Builder::new()
            .name("millstream-chain".into())
            .spawn(move || take_clients(listener.incoming(), &host, &stop))
            .map_err(failed)?;
        Ok(Self { address, stopping })
    }

    /// Where it is offered.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ChainServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the listener, which then sees that it shall stop.
        let _woken = TcpStream::connect(self.address);
    }
}

fn take_clients(
    incoming: impl Iterator<Item = io::Result<TcpStream>>,
    host: &Arc<ChainHost>,
    stop: &AtomicBool,
) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in incoming {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else {
            rest();
            continue;
        };
        if clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS_MAX {
            clients.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (host, left) = (Arc::clone(host), Arc::clone(&clients));
        let work = move || {
            // A client that breaks off has broken nothing here.
            let _gone = answer_all(stream, &host);
            left.fetch_sub(1, Ordering::AcqRel);
        };
        if std::thread::Builder::new().spawn(work).is_err() {
            clients.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which only waits")]
fn rest() {
    std::thread::sleep(REST);
}

fn answer_all(stream: TcpStream, host: &ChainHost) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    stream.set_nodelay(true)?;
    let mut source = host.chain().source_from_now();
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.by_ref().take(LINE_MAX).read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        let request = Request::parse(&line).ok_or(io::ErrorKind::InvalidData)?;
        let mut reply = answer(request, host, &mut source).unwrap_or_else(refused_line);
        reply.push('\n');
        writer.write_all(reply.as_bytes())?;
    }
}

fn answer(request: Request, host: &ChainHost, source: &mut Source) -> Result<String, Reason> {
    let refused = |error| match error {
        ChainError::Refused(reason) => reason,
        // A source in the process is never cut off.
        ChainError::Unavailable => Reason::Malformed,
    };
    Ok(match request {
        Request::Tip => tip_line(&source.tip().map_err(refused)?),
        Request::Rate => {
            source.fee_rate(Blocks::MIN).map_err(refused)?.to_sat_per_kvb().to_string()
        }
        Request::Output(outpoint) => {
            source.output(outpoint).map_err(refused)?.map_or_else(none, |s| status_line(&s))
        }
        Request::Outputs(script) => {
            let found = source.outputs_of(&script).map_err(refused)?;
            let lines = found.iter().map(|(at, status)| format!("{at} {}", status_line(status)));
            lines.collect::<Vec<_>>().join(" ")
        }
        Request::Broadcast(txs) => {
            source.broadcast(&txs).map_err(refused)?;
            OK.into()
        }
        Request::Event => {
            source.next_event().map_err(refused)?.map_or_else(none, |event| event_line(&event))
        }
        Request::Mine(blocks) => {
            let blocks = Blocks::new(blocks.min(MINE_MAX)).unwrap_or(Blocks::MIN);
            let tip = host.mine(blocks).map_err(|_| Reason::BadBlock)?;
            tip.height.to_u32().to_string()
        }
        Request::Fund(script, value) => {
            let short = |error: RemoteError| {
                if is_short(&error) { Reason::MissingInputs } else { Reason::Malformed }
            };
            bitcoin::consensus::encode::serialize_hex(&host.fund(script, value).map_err(short)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::regtest::Regtest;

    #[test]
    fn listener_that_gets_no_connection_rests_between_its_tries() {
        let host = Arc::new(ChainHost::new(Regtest::new().unwrap()).unwrap());
        let stop = AtomicBool::new(false);
        #[expect(clippy::disallowed_methods, reason = "it is the rest that is measured")]
        let start = std::time::Instant::now();
        let failed = || Err(io::ErrorKind::OutOfMemory.into());
        take_clients(std::iter::repeat_with(failed).take(3), &host, &stop);
        assert!(start.elapsed() >= REST * 3);
    }
}
