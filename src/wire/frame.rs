//! Frames over a byte stream: a two-byte big-endian length, then the message.
//!
//! Used by `rt` on a TCP stream and by `sim` on its links. A frame holds one message; an encrypted
//! transport replaces this file and keeps the messages.

use alloc::vec::Vec;

use super::{Message, WireError};

/// 65,535: the largest length that two bytes state (BOLT-1 and BOLT-8 have the same limit).
pub const MESSAGE_MAX: usize = 65_535;

/// Bytes of the length prefix.
const HEADER: usize = 2;
/// A message starts with its two-byte type.
const MESSAGE_MIN: usize = 2;
/// 4,096: a buffer above it is given back once its message was read, so that a peer that sent one
/// large message does not hold 64 kB for the life of its connection.
const KEPT_CAPACITY: usize = 4_096;

/// Appends `message` with its length prefix to `out`. Allocates only if `out` has to grow.
///
/// # Errors
/// [`WireError::MessageTooLong`] above [`MESSAGE_MAX`]; `out` is as it was. The limits of the
/// messages' fields keep every message below it.
pub fn write_frame(message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    message.encode(out);
    let got = out.len().saturating_sub(start).saturating_sub(HEADER);
    let header = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<HEADER>());
    if let (Some(header), Ok(length)) = (header, u16::try_from(got)) {
        *header = length.to_be_bytes();
        return Ok(());
    }
    out.truncate(start);
    Err(WireError::MessageTooLong { got })
}

/// Cuts a byte stream into messages, as the bytes arrive.
///
/// Holds at most one unfinished frame: never more than twice what the peer sent of it, and never
/// above 65,537 bytes, whatever length the frame states. A frame that lies whole in the input is
/// handed out without a copy.
///
/// ```
/// use millstream::wire::FrameReader;
///
/// let mut reader = FrameReader::new();
/// let mut first = &[0, 4, 0, 19][..];
/// assert_eq!(reader.read(&mut first)?, None);
/// let mut second = &[0, 0, 0, 2][..];
/// assert_eq!(reader.read(&mut second)?, Some(&[0, 19, 0, 0][..]));
/// assert_eq!(reader.read(&mut second)?, None);
/// # Ok::<(), millstream::wire::WireError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The front of a frame, its header included. A whole frame only after it was handed out.
    held: Vec<u8>,
}

impl FrameReader {
    /// Starts between two frames.
    pub const fn new() -> Self {
        Self { held: Vec::new() }
    }

    /// Takes bytes from the front of `input` up to the end of a message, and returns the message;
    /// `None` when all of `input` was taken and the message is not whole yet. Call it until it
    /// returns `None`.
    ///
    /// # Errors
    /// [`WireError::FrameTooShort`]: the stream has lost its frames and cannot be read on. The
    /// caller closes the connection; calling again returns the same error.
    pub fn read<'m, 'i: 'm>(
        &'m mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'m [u8]>, WireError> {
        if self.missing()? == 0 {
            self.forget();
        }
        if self.held.is_empty()
            && let Some(message) = take_whole(input)
        {
            return Ok(Some(message));
        }
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                return Ok(self.held.get(HEADER..));
            }
            let (taken, rest) = input.split_at(missing.min(input.len()));
            if taken.is_empty() {
                return Ok(None);
            }
            *input = rest;
            self.hold(taken, missing);
        }
    }

    /// Bytes that are held of an unfinished message.
    pub const fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Bytes that the buffer takes.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Bytes until the held header or, after it, the held frame is whole.
    fn missing(&self) -> Result<usize, WireError> {
        let end = match self.held.first_chunk::<HEADER>() {
            Some(header) => HEADER.saturating_add(stated_length(*header)?),
            None => HEADER,
        };
        Ok(end.saturating_sub(self.held.len()))
    }

    /// Appends `taken`. Grows by doubling, but never past what the frame still needs.
    fn hold(&mut self, taken: &[u8], missing: usize) {
        if self.held.capacity().saturating_sub(self.held.len()) < taken.len() {
            self.held.reserve_exact(taken.len().max(self.held.len()).min(missing));
        }
        self.held.extend_from_slice(taken);
    }

    fn forget(&mut self) {
        if self.held.capacity() > KEPT_CAPACITY {
            self.held = Vec::new();
        } else {
            self.held.clear();
        }
    }
}

/// Takes the message at the front of `input`, if all of it is there. A wrong length is left to the
/// way by the buffer, where it stays.
fn take_whole<'i>(input: &mut &'i [u8]) -> Option<&'i [u8]> {
    let (header, body) = input.split_first_chunk::<HEADER>()?;
    let (message, rest) = body.split_at_checked(stated_length(*header).ok()?)?;
    *input = rest;
    Some(message)
}

fn stated_length(header: [u8; HEADER]) -> Result<usize, WireError> {
    let got = usize::from(u16::from_be_bytes(header));
    if got < MESSAGE_MIN { Err(WireError::FrameTooShort { got }) } else { Ok(got) }
}
