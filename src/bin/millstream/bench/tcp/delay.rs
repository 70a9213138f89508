//! A line that holds every byte back, in both directions.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// 64 kB at a time, and as many of them as 256 MB under way take.
const CHUNK: usize = 65_536;
const CHUNKS_MAX: usize = 4_096;

/// Takes one connection and carries it to `to`; returns where to connect.
pub(super) fn line(to: SocketAddr, one_way: Duration) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let Ok((near, _)) = listener.accept() else { return };
        let Ok(far) = TcpStream::connect(to) else { return };
        let _best_effort = (near.set_nodelay(true), far.set_nodelay(true));
        if let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) {
            carry(near, far, one_way);
            carry(far_too, near_too, one_way);
        }
    });
    Ok(address)
}

/// One direction: a thread reads and stamps, another writes when it is time.
fn carry(mut from: TcpStream, to: TcpStream, one_way: Duration) {
    let (out, under_way) = sync_channel(CHUNKS_MAX);
    thread::spawn(move || read(&mut from, &out));
    thread::spawn(move || write(to, &under_way, one_way));
}

#[expect(clippy::disallowed_methods, reason = "a line has a length in time")]
fn read(from: &mut TcpStream, out: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if out.send((Instant::now(), bytes)).is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a line has a length in time")]
fn write(mut to: TcpStream, under_way: &Receiver<(Instant, Vec<u8>)>, one_way: Duration) {
    while let Ok((read, bytes)) = under_way.recv() {
        thread::sleep((read + one_way).saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _gone = to.shutdown(std::net::Shutdown::Both);
}
