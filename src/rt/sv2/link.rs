//! One connection: the handshake, then frames, each within its limits.

use std::time::Duration;

use binary_sv2::{GetSize, Serialize};
use codec_sv2::{
    Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, Transport,
    TransportDecryptState, TransportEncryptState,
};
use noise_sv2::{
    ELLSWIFT_ENCODING_SIZE, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator, Responder,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Authority, Sv2Error};

/// 4 KiB: the longest message of a standard channel is a greeting of 1.3 KiB.
pub(super) const FRAME_BYTES_MAX: usize = 4_096;
/// What the encryption adds to a frame of that size: one chunk and the header.
const OVERHEAD: usize = 38;
/// Frames that wait to be handled.
const WAITING_MAX: usize = 16;
/// One day: a certificate is made for each connection.
const CERTIFICATE: Duration = Duration::from_secs(86_400);

/// A frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

/// Frames as they come; the last is why there are no more.
pub(super) struct Frames(mpsc::Receiver<Result<Frame, Sv2Error>>);

impl Frames {
    /// The next frame; why there is none. May be given up at any time.
    pub(super) async fn next(&mut self) -> Result<Frame, Sv2Error> {
        self.0.recv().await.unwrap_or(Err(Sv2Error::Closed))
    }
}

/// The writing half.
pub(super) struct Writer {
    half: OwnedWriteHalf,
    encoder: NoiseEncoder,
    state: TransportEncryptState,
    stall_max: Duration,
}

/// The miner's handshake. Without a key, any pool is taken: then nothing is authenticated.
pub(super) async fn initiate(
    stream: TcpStream,
    authority: Option<[u8; 32]>,
    stall_max: Duration,
) -> Result<(Frames, Writer), Sv2Error> {
    let mut stream = stream;
    let role = match authority {
        Some(key) => Initiator::from_raw_k(key),
        None => Initiator::without_pk(),
    };
    let handshake = Handshake::initiator(role.map_err(|_| Sv2Error::Noise)?);
    let (first, handshake) = handshake.step_0().map_err(|_| Sv2Error::Noise)?;
    stream.write_all(first.payload()).await?;
    let mut answer = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    stream.read_exact(&mut answer).await?;
    let transport = handshake.step_2(answer).map_err(|_| Sv2Error::Noise)?;
    Ok(open(stream, transport, stall_max))
}

/// The pool's handshake.
pub(super) async fn respond(
    stream: TcpStream,
    authority: &Authority,
    stall_max: Duration,
) -> Result<(Frames, Writer), Sv2Error> {
    let mut stream = stream;
    let mut first = [0; ELLSWIFT_ENCODING_SIZE];
    stream.read_exact(&mut first).await?;
    let role = Responder::from_authority_kp(&authority.public, &authority.secret, CERTIFICATE);
    let handshake = Handshake::responder(role.map_err(|_| Sv2Error::Noise)?);
    let (answer, transport) = handshake.step_1(first).map_err(|_| Sv2Error::Noise)?;
    stream.write_all(answer.payload()).await?;
    Ok(open(stream, transport, stall_max))
}

fn open(stream: TcpStream, transport: Transport, stall_max: Duration) -> (Frames, Writer) {
    let (reading, writing) = stream.into_split();
    let (encrypt, decrypt) = transport.split();
    let (sender, frames) = mpsc::channel(WAITING_MAX);
    // A task of its own: a read that is given up in the middle would lose bytes.
    tokio::spawn(async move {
        let Err(end) = read(reading, decrypt, &sender).await;
        // Who does not listen any more has no need to know.
        let _ = sender.send(Err(end)).await;
    });
    (
        Frames(frames),
        Writer { half: writing, encoder: NoiseEncoder::new(), state: encrypt, stall_max },
    )
}

/// Reads until the connection ends or nobody listens.
async fn read(
    mut from: OwnedReadHalf,
    mut state: TransportDecryptState,
    to: &mpsc::Sender<Result<Frame, Sv2Error>>,
) -> Result<std::convert::Infallible, Sv2Error> {
    let mut decoder = NoiseDecoder::new();
    let mut taken = 0_usize;
    loop {
        let place = decoder.writable();
        taken = taken.saturating_add(place.len());
        if taken > FRAME_BYTES_MAX.saturating_add(OVERHEAD) {
            return Err(Sv2Error::FrameTooLong { limit: FRAME_BYTES_MAX });
        }
        tokio::select! {
            read = from.read_exact(place) => read?,
            () = to.closed() => return Err(Sv2Error::Closed),
        };
        match decoder.next_transport_frame(state).map_err(|_| Sv2Error::Noise)? {
            Decrypted::Incomplete(_, next) => state = next,
            Decrypted::Frame(mut frame, next) => {
                (state, taken) = (next, 0);
                let kind = frame.header().msg_type();
                // Extensions that were not agreed on are not for us.
                if frame.header().ext_type_without_channel_msg() != 0 {
                    return Err(Sv2Error::Unexpected { kind });
                }
                let payload = frame.payload().to_vec();
                to.send(Ok(Frame { kind, payload })).await.map_err(|_| Sv2Error::Closed)?;
            }
        }
    }
}

impl Writer {
    /// Sends one message; `of_channel` as the protocol has it for its type.
    pub(super) async fn send<T: Serialize + GetSize>(
        &mut self,
        message: T,
        kind: u8,
        of_channel: bool,
    ) -> Result<(), Sv2Error> {
        let malformed = Sv2Error::Malformed { kind };
        let frame = MessageFrame::from_message(message, kind, 0, of_channel);
        let Ok(frame) = frame else { return Err(malformed) };
        let bytes = self.encoder.encode_transport(frame, &mut self.state);
        let Ok(bytes) = bytes else { return Err(malformed) };
        let sent = timeout(self.stall_max, self.half.write_all(bytes.as_ref())).await;
        sent.map_err(|_| Sv2Error::TooSlow)??;
        Ok(())
    }
}
