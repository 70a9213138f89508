//! The file of blocks, a line each: of one that the host mined its time and its transactions,
//! since the chain makes the rest of it again; of one that was mined outside all of it, in hex,
//! behind the word `block`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, Transaction};

use super::RemoteError;
use crate::units::UtcSeconds;

/// The word before a block that was mined outside.
const WHOLE: &str = "block ";

/// A block of the file.
#[derive(Debug)]
pub(super) enum Kept {
    /// The host's own: its time, and its transactions without the coinbase.
    Own(UtcSeconds, Vec<Transaction>),
    /// One that was mined outside.
    Whole(Box<Block>),
}

/// A file that only whole lines stay in.
///
/// A cut in the middle of a write leaves part of a line, which the next start takes off. A write
/// that fails is taken back, and its block is written before the next one is mined: the file has no
/// hole.
#[derive(Debug)]
pub(super) struct BlockFile {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    len: u64,
    /// The line of a block that is connected and not written.
    waiting: String,
}

impl BlockFile {
    /// Shows every block of the file at `path`, made if there is none, to `connect`.
    ///
    /// # Errors
    /// [`RemoteError::File`], [`RemoteError::BadBlock`] for a whole line that is no block, or whose
    /// block `connect` does not take.
    pub(super) fn open(
        path: &Path,
        mut connect: impl FnMut(&Kept) -> bool,
    ) -> Result<Self, RemoteError> {
        let failed = |source| RemoteError::File { path: path.to_path_buf(), source };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(failed)?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut len, mut text) = (1_usize, 0_u64, Vec::new());
        while reader.read_until(b'\n', &mut text).map_err(failed)? > 0 && text.ends_with(b"\n") {
            let block = std::str::from_utf8(&text).ok().and_then(Kept::parse);
            if !block.is_some_and(|block| connect(&block)) {
                return Err(RemoteError::BadBlock { path: path.to_path_buf(), line });
            }
            line = line.saturating_add(1);
            len = len.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
            text.clear();
        }
        file.set_len(len).map_err(failed)?;
        Ok(Self { file, path: path.to_path_buf(), len, waiting: String::new() })
    }

    /// Takes up a block, to be written.
    pub(super) fn push(&mut self, time: UtcSeconds, txs: &[Transaction]) {
        self.waiting.push_str(&line(time, txs));
    }

    /// Takes up a block that was mined outside, to be written.
    pub(super) fn push_whole(&mut self, block: &Block) {
        self.waiting.push_str(&whole_line(block));
    }

    /// Writes what waits; all of it, or none.
    ///
    /// # Errors
    /// [`RemoteError::File`]; what waits is written by the next call.
    pub(super) fn write(&mut self) -> Result<(), RemoteError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match append(&mut self.file, self.len, self.waiting.as_bytes()) {
            Ok(len) => {
                self.len = len;
                self.waiting.clear();
                Ok(())
            }
            Err(source) => {
                // Should this fail too, the next start takes it off.
                let _torn = self.file.set_len(self.len);
                Err(RemoteError::File { path: self.path.clone(), source })
            }
        }
    }
}

/// The file's length behind `line`, which then stands at `len`.
fn append(file: &mut File, len: u64, line: &[u8]) -> io::Result<u64> {
    file.seek(SeekFrom::Start(len))?;
    file.write_all(line)?;
    file.stream_position()
}

impl Kept {
    fn parse(line: &str) -> Option<Self> {
        match line.strip_prefix(WHOLE) {
            Some(hex) => {
                deserialize_hex(hex.trim_end()).ok().map(|block| Self::Whole(Box::new(block)))
            }
            None => parse(line).map(|(time, txs)| Self::Own(time, txs)),
        }
    }
}

fn whole_line(block: &Block) -> String {
    WHOLE.to_owned() + &serialize_hex(block) + "\n"
}

/// A block as a line: its time, and its transactions without the coinbase.
pub(crate) fn line(time: UtcSeconds, txs: &[Transaction]) -> String {
    let words = txs.iter().skip(1).map(serialize_hex);
    words.fold(time.to_u64().to_string(), |line, tx| line + " " + &tx) + "\n"
}

/// The block of a line.
pub(crate) fn parse(line: &str) -> Option<(UtcSeconds, Vec<Transaction>)> {
    let mut words = line.split_whitespace();
    let time = UtcSeconds::new(words.next()?.parse().ok()?).ok()?;
    let txs = words.map(|hex| deserialize_hex(hex).ok()).collect::<Option<_>>()?;
    Some((time, txs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UtcSeconds {
        UtcSeconds::new(seconds).unwrap()
    }

    /// Opens the file at `path`, and says the times of its blocks.
    fn read(path: &Path) -> Result<(BlockFile, Vec<u64>), RemoteError> {
        let mut times = Vec::new();
        let file = BlockFile::open(path, |block| {
            times.push(match block {
                Kept::Own(time, _) => time.to_u64(),
                Kept::Whole(block) => u64::from(block.header.time),
            });
            true
        })?;
        Ok((file, times))
    }

    fn add(file: &mut BlockFile, time: u64) {
        file.push(at(time), &[]);
        file.write().unwrap();
    }

    #[test]
    fn line_torn_at_any_byte_costs_that_block_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.txt");
        let (mut file, _) = read(&path).unwrap();
        (1..=3).for_each(|time| add(&mut file, 1_000_000_000 + time));
        let whole = std::fs::read(&path).unwrap();
        let line = whole.len() / 3;
        for cut in 1..line {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut file, times) = read(&path).unwrap();
            assert_eq!(times, [1_000_000_001, 1_000_000_002], "cut of {cut}");
            add(&mut file, 1_000_000_009);
            let (_, times) = read(&path).unwrap();
            assert_eq!(times, [1_000_000_001, 1_000_000_002, 1_000_000_009], "cut of {cut}");
        }
    }

    #[test]
    fn whole_line_that_is_no_block_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.txt");
        for bad in ["x", "-1", "1000000000 zz", "1000000000 0200", "block", "block 00", ""] {
            let text = format!("1000000000\n{bad}\n1000000002\n");
            std::fs::write(&path, &text).unwrap();
            let refused = read(&path).unwrap_err();
            assert!(matches!(refused, RemoteError::BadBlock { line: 2, .. }), "{bad}: {refused}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn block_that_was_mined_outside_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.txt");
        let (mut file, _) = read(&path).unwrap();
        let mined = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        file.push_whole(&mined);
        file.write().unwrap();
        add(&mut file, 1_300_000_000);
        let mut blocks = Vec::new();
        BlockFile::open(&path, |block| {
            blocks.push(format!("{block:?}"));
            true
        })
        .unwrap();
        let own = format!("{:?}", Kept::Own(at(1_300_000_000), Vec::new()));
        assert_eq!(blocks, [format!("{:?}", Kept::Whole(Box::new(mined))), own]);
    }

    #[test]
    fn block_that_could_not_be_written_is_written_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.txt");
        let (mut file, _) = read(&path).unwrap();
        add(&mut file, 1_000_000_001);
        // A descriptor that takes no byte stands for a disk that is full.
        let full = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        file.push(at(1_000_000_002), &[]);
        assert!(matches!(file.write(), Err(RemoteError::File { .. })));
        assert!(matches!(file.write(), Err(RemoteError::File { .. })));
        assert_eq!(read(&path).unwrap().1, [1_000_000_001]);
        file.file = full;
        add(&mut file, 1_000_000_003);
        assert_eq!(read(&path).unwrap().1, [1_000_000_001, 1_000_000_002, 1_000_000_003]);
    }
}
