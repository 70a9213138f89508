//! Lines of a byte stream, each of a bounded length.

use alloc::vec::Vec;

use super::StratumError;

/// 4,096: a buffer above it is given back once its line was read, so that a peer that sent one long
/// line does not hold its memory for the life of the connection.
const KEPT_CAPACITY: usize = 4_096;

/// Cuts a byte stream into lines, as the bytes arrive.
///
/// Holds at most one unfinished line, never above its limit. Ends of lines are LF or CR LF and are
/// not handed out; empty lines are passed over. What is in a line is not looked at.
///
/// ```
/// use millstream::stratum::LineReader;
///
/// let mut reader = LineReader::new(16);
/// let mut input = &b"one\r\n\ntw"[..];
/// assert_eq!(reader.read(&mut input)?, Some(&b"one"[..]));
/// assert_eq!(reader.read(&mut input)?, None);
/// let mut input = &b"o\n"[..];
/// assert_eq!(reader.read(&mut input)?, Some(&b"two"[..]));
/// # Ok::<(), millstream::stratum::StratumError>(())
/// ```
#[derive(Debug)]
pub struct LineReader {
    /// The front of a line, or a whole one after it was handed out.
    held: Vec<u8>,
    /// Whether what is held was handed out.
    is_whole: bool,
    max: usize,
}

impl LineReader {
    /// Lines of at most `max` bytes, their end not counted.
    pub const fn new(max: usize) -> Self {
        Self { held: Vec::new(), is_whole: false, max }
    }

    /// Takes bytes from the front of `input` up to the end of a line, and returns the line; `None`
    /// when all of `input` was taken and the line is not whole yet. Call it until it returns
    /// `None`.
    ///
    /// # Errors
    /// [`StratumError::LineTooLong`]: the caller closes the connection. Nothing was taken.
    pub fn read<'m, 'i: 'm>(
        &'m mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'m [u8]>, StratumError> {
        if self.is_whole {
            self.forget();
        }
        loop {
            let end = input.iter().position(|byte| *byte == b'\n');
            let (part, rest) = input.split_at(end.unwrap_or(input.len()));
            let length = self.held.len().saturating_add(part.len());
            // A CR before an LF that may still come is not counted.
            let counted = match part.last().or(self.held.last()) {
                Some(b'\r') => length.saturating_sub(1),
                _ => length,
            };
            if counted > self.max {
                return Err(StratumError::LineTooLong { max: self.max });
            }
            if end.is_none() {
                *input = rest;
                self.held.extend_from_slice(part);
                return Ok(None);
            }
            *input = rest.get(1..).unwrap_or_default();
            if self.held.is_empty() {
                let part = without_return(part);
                if part.is_empty() {
                    continue;
                }
                return Ok(Some(part));
            }
            self.held.extend_from_slice(part);
            if without_return(&self.held).is_empty() {
                self.forget();
                continue;
            }
            self.is_whole = true;
            return Ok(Some(without_return(&self.held)));
        }
    }

    /// Bytes that are held of an unfinished line.
    pub const fn held_bytes(&self) -> usize {
        if self.is_whole { 0 } else { self.held.len() }
    }

    fn forget(&mut self) {
        self.is_whole = false;
        if self.held.capacity() > KEPT_CAPACITY {
            self.held = Vec::new();
        } else {
            self.held.clear();
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// All lines of a stream that arrives in parts of `step` bytes.
    fn lines(bytes: &[u8], step: usize, max: usize) -> Result<Vec<Vec<u8>>, StratumError> {
        let mut reader = LineReader::new(max);
        let mut lines = Vec::new();
        for mut part in bytes.chunks(step) {
            while let Some(line) = reader.read(&mut part)? {
                lines.push(line.to_vec());
            }
            assert!(part.is_empty());
            assert!(reader.held_bytes() <= max + 1);
        }
        Ok(lines)
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_arrive(
            words in vec(vec(prop_oneof![Just(b'\r'), Just(b'a'), any::<u8>()], 0..9), 0..9),
            step in 1_usize..12,
        ) {
            let bytes: Vec<u8> = words.join(&b'\n');
            let whole = lines(&bytes, bytes.len().max(1), 1_000).unwrap();
            prop_assert_eq!(lines(&bytes, step, 1_000).unwrap(), whole.clone());
            let cut = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let model = bytes[..cut].split(|byte| *byte == b'\n');
            let model: Vec<_> = model
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                .filter(|line| !line.is_empty())
                .collect();
            prop_assert_eq!(whole, model);
        }
    }

    #[test]
    fn line_of_the_limit_is_read_and_one_byte_more_is_refused_before_its_end() {
        let too_long = Err(StratumError::LineTooLong { max: 8 });
        for step in [1, 3, 100] {
            assert_eq!(lines(b"12345678\n", step, 8).unwrap(), [b"12345678"]);
            assert_eq!(lines(b"12345678\r\n", step, 8).unwrap(), [b"12345678"]);
            assert_eq!(lines(b"123456789", step, 8), too_long);
            assert_eq!(lines(b"12345678\rx", step, 8), too_long);
        }
    }

    #[test]
    fn long_line_does_not_hold_its_memory_after_it_was_read() {
        let mut reader = LineReader::new(100_000);
        let long = vec![b'x'; 50_000];
        assert_eq!(reader.read(&mut &long[..]), Ok(None));
        let mut end = &b"\n"[..];
        assert_eq!(reader.read(&mut end).unwrap().unwrap().len(), 50_000);
        assert_eq!(reader.held_bytes(), 0);
        assert_eq!(reader.read(&mut end), Ok(None));
        assert!(reader.held.capacity() <= KEPT_CAPACITY);
    }
}
