//! Fields of variable length, each with its limit in its type.

use alloc::vec::Vec;
use core::fmt;

use super::field::Field;
use super::{Reader, TEXT_MAX, WireError};

/// Bytes that mean nothing to this room, at most `MAX` of them (and at most 65,535).
///
/// On the wire: length (2), bytes.
///
/// ```
/// use millstream::wire::{Bytes, WireError};
///
/// assert!(Bytes::<2>::new(vec![1, 2]).is_ok());
/// assert!(matches!(Bytes::<2>::new(vec![1, 2, 3]), Err(WireError::TooLong { got: 3, .. })));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Bytes<MAX> {
    /// Checks the limit.
    pub fn new(bytes: Vec<u8>) -> Result<Self, WireError> {
        Self::check(bytes.len())?;
        Ok(Self(bytes))
    }

    /// Gives the bytes back.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    fn check(got: usize) -> Result<(), WireError> {
        let max = MAX.min(usize::from(u16::MAX));
        if got > max { Err(WireError::TooLong { what: "bytes", got, max }) } else { Ok(()) }
    }
}

/// Shows the length and the first bytes: a blob comes from a peer and may be long.
impl<const MAX: usize> fmt::Debug for Bytes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ", self.0.len())?;
        self.0.iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.len() > 16 { f.write_str("..") } else { Ok(()) }
    }
}

impl<const MAX: usize> Field for Bytes<MAX> {
    fn put(&self, out: &mut Vec<u8>) {
        // `check` keeps the length within two bytes.
        u16::try_from(self.0.len()).unwrap_or(u16::MAX).put(out);
        out.extend_from_slice(&self.0);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let length = usize::from(from.u16()?);
        Self::check(length)?;
        Ok(Self(from.take(length)?.to_vec()))
    }
}

/// A text of a peer. It is only ever shown escaped and cut to 256 characters, so that it can
/// neither forge a line of a log nor drive a terminal.
///
/// ```
/// use millstream::wire::PeerText;
///
/// let text = PeerText::new(b"no such channel\x1b[2J\n".to_vec())?;
/// assert_eq!(text.to_string(), "no such channel.[2J.");
/// # Ok::<(), millstream::wire::WireError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PeerText(Bytes<TEXT_MAX>);

impl PeerText {
    /// Checks the limit of [`TEXT_MAX`] bytes; the bytes may be anything.
    pub fn new(bytes: Vec<u8>) -> Result<Self, WireError> {
        Bytes::new(bytes).map(Self)
    }

    /// The bytes as the peer sent them: not for a log, a terminal or a file name.
    pub fn as_untrusted_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// 256: more than any implementation's messages, less than a screen.
        const SHOWN: usize = 256;
        for byte in self.0.as_slice().iter().take(SHOWN) {
            let shown = if matches!(byte, b' '..=b'~') { *byte } else { b'.' };
            fmt::Write::write_char(f, char::from(shown))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Field for PeerText {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Bytes::take(from).map(Self)
    }
}

/// Padding of a ping or a pong: only its length is kept, zeros are sent (BOLT-1: its content is
/// ignored).
///
/// On the wire: length (2), that many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding<const MAX: u16>(u16);

impl<const MAX: u16> Padding<MAX> {
    /// Padding of `length` bytes, at most `MAX`.
    pub fn new(length: u16) -> Result<Self, WireError> {
        if length > MAX {
            let (got, max) = (usize::from(length), usize::from(MAX));
            return Err(WireError::TooLong { what: "padding", got, max });
        }
        Ok(Self(length))
    }

    /// Its length in bytes.
    pub const fn length(self) -> u16 {
        self.0
    }
}

impl<const MAX: u16> Field for Padding<MAX> {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        out.resize(out.len().saturating_add(usize::from(self.0)), 0);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let padding = Self::new(from.u16()?)?;
        from.take(usize::from(padding.0))?;
        Ok(padding)
    }
}
