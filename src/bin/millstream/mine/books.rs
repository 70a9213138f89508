//! What this miner did for its pool and what it was paid, kept in a file: a restart must not open
//! its window again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bitcoin::OutPoint;
use millstream::ledger::{Credit, WorkWindow};
use millstream::units::Msat;

use crate::failure::Failure;

/// The file's name in the folder of seed and store.
const NAME: &str = "work.txt";
/// Channels that are remembered: far more than can be alive, or come back by a reorg.
const CHANNELS_MAX: usize = 256;
/// Late shares are one of a hundred where blocks are minutes apart.
const LATE_SHARE: u64 = 16;

/// The window, and how far each channel is counted in it.
#[derive(Debug)]
pub(super) struct Books {
    path: PathBuf,
    window: WorkWindow,
    /// What the vouchers of each channel say, as far as it counts as earned.
    channels: BTreeMap<OutPoint, Msat>,
    earned: Msat,
    /// What was done in vain, ever.
    late: Msat,
    risk_max: Msat,
    /// What the file holds.
    written: String,
}

impl Books {
    /// Opens those of a folder; new ones, if it has none.
    pub(super) fn open(dir: &Path, risk_max: Msat) -> Result<Self, Failure> {
        let path = dir.join(NAME);
        let mut books = Self {
            window: WorkWindow::new(risk_max, Msat::ZERO),
            channels: BTreeMap::new(),
            earned: Msat::ZERO,
            late: Msat::ZERO,
            risk_max,
            written: String::new(),
            path,
        };
        let text = match fs::read_to_string(&books.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(books),
            Err(source) => return Err(Failure::File { path: books.path, source }),
        };
        let Some(read) = parse(&text, risk_max) else {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(Failure::File { path: books.path, source });
        };
        (books.window, books.channels, books.earned, books.late) = read;
        Ok(books)
    }

    /// A share was submitted.
    pub(super) fn done(&mut self, share: &Credit) {
        // Beyond all money it works for nothing, which the window shows.
        let _too_much = self.window.done(share);
    }

    /// A share came too late for a tip that was left.
    ///
    /// Which tip is left says the pool, so one that refuses all it gets and names a new tip each
    /// time would be worked for for ever: no more is taken back than was risked, and a 16th of what
    /// was earned.
    pub(super) fn take_back(&mut self, share: &Credit) {
        // One more, since a share may be worth less than one.
        let worth = share.value().floor_msat().to_msat().saturating_add(1);
        let late = self.late.to_msat().saturating_add(worth);
        let most = self.earned.to_msat() / LATE_SHARE;
        if late <= self.risk_max.to_msat().saturating_add(most) {
            self.late = Msat::new(late).unwrap_or(Msat::MAX);
            self.window.take_back(share);
        }
    }

    /// What the channels' vouchers say now. One that has come to its end is counted already.
    pub(super) fn hold(&mut self, channels: &[(OutPoint, Msat)]) {
        for (outpoint, paid) in channels {
            let counted = self.channels.entry(*outpoint).or_insert(Msat::ZERO);
            let more = paid.saturating_sub(*counted);
            *counted = (*counted).max(*paid);
            self.earned = self.earned.saturating_add(more);
        }
        while self.channels.len() > CHANNELS_MAX {
            let held = |at: &OutPoint| channels.iter().any(|(outpoint, _)| outpoint == at);
            let Some(old) = self.channels.keys().find(|at| !held(at)).copied() else { break };
            self.channels.remove(&old);
        }
        self.window.paid(self.earned);
    }

    /// All that vouchers ever brought.
    pub(super) const fn earned(&self) -> Msat {
        self.earned
    }

    /// What is done and not paid.
    pub(super) fn at_risk(&self) -> Msat {
        self.window.at_risk()
    }

    /// Whether to work on.
    pub(super) fn may_work(&self) -> bool {
        self.window.may_work()
    }

    /// Writes what has changed, as a whole or not at all.
    pub(super) fn keep(&mut self) -> Result<(), Failure> {
        let text = self.text();
        if text == self.written {
            return Ok(());
        }
        let next = self.path.with_extension("new");
        // Synced before it takes the other's name: a power cut must not leave an empty file there.
        let written = write_synced(&next, &text).and_then(|()| fs::rename(&next, &self.path));
        written.map_err(|source| Failure::File { path: self.path.clone(), source })?;
        self.written = text;
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::from("window ");
        // Writing to a text does not fail.
        for byte in self.window.to_bytes() {
            let _written = write!(text, "{byte:02x}");
        }
        let _written = writeln!(text, "\nearned {}", self.earned.to_msat());
        let _written = writeln!(text, "late {}", self.late.to_msat());
        for (outpoint, paid) in &self.channels {
            let _written = writeln!(text, "channel {outpoint} {}", paid.to_msat());
        }
        text
    }
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The window, the channels, what they have brought, and what was late.
fn parse(text: &str, risk_max: Msat) -> Option<(WorkWindow, BTreeMap<OutPoint, Msat>, Msat, Msat)> {
    let msat = |word: &str| word.parse().ok().and_then(|msat| Msat::new(msat).ok());
    let mut lines = text.lines().peekable();
    let window = bytes(lines.next()?.strip_prefix("window ")?)?;
    let window = WorkWindow::from_bytes(risk_max, &window).ok()?;
    let earned = msat(lines.next()?.strip_prefix("earned ")?)?;
    let late = match lines.next_if(|line| line.starts_with("late ")) {
        Some(line) => msat(line.strip_prefix("late ")?)?,
        None => Msat::ZERO,
    };
    let channels = lines.map(|line| {
        let (outpoint, paid) = line.strip_prefix("channel ")?.split_once(' ')?;
        Some((outpoint.parse().ok()?, msat(paid)?))
    });
    Some((window, channels.collect::<Option<_>>()?, earned, late))
}

fn bytes(hex: &str) -> Option<[u8; WorkWindow::LENGTH]> {
    if hex.len() != 2 * WorkWindow::LENGTH || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; WorkWindow::LENGTH];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use millstream::ledger::HashPrice;
    use millstream::units::{Work, WorkBits};

    use super::*;

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    fn outpoint(vout: u32) -> OutPoint {
        OutPoint { vout, ..OutPoint::null() }
    }

    /// A share that is worth so much.
    fn share(worth: u64) -> Credit {
        let price = HashPrice::per_bits(msat(worth), WorkBits::new(8).unwrap()).unwrap();
        Credit::priced(Work::new(256), price).unwrap()
    }

    #[test]
    fn books_go_on_after_a_restart_and_count_no_voucher_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut books = Books::open(dir.path(), msat(100)).unwrap();
        (0..3).for_each(|_| books.done(&share(50)));
        books.hold(&[(outpoint(0), msat(40))]);
        assert_eq!((books.earned(), books.at_risk()), (msat(40), msat(110)));
        assert!(!books.may_work());
        books.keep().unwrap();

        let mut books = Books::open(dir.path(), msat(100)).unwrap();
        assert_eq!((books.earned(), books.at_risk()), (msat(40), msat(110)));
        assert!(!books.may_work(), "a restart opens no window");
        books.hold(&[(outpoint(0), msat(45))]);
        // The channel goes on elsewhere, comes back by a reorg, and both end.
        books.hold(&[(outpoint(1), msat(7))]);
        books.hold(&[(outpoint(0), msat(45))]);
        books.hold(&[]);
        assert_eq!((books.earned(), books.at_risk()), (msat(52), msat(98)));
        books.take_back(&share(50));
        assert_eq!(books.at_risk(), msat(48));
    }

    #[test]
    fn pool_that_calls_every_share_late_is_worked_for_within_the_risk() {
        let dir = tempfile::tempdir().unwrap();
        let mut books = Books::open(dir.path(), msat(100)).unwrap();
        let mut worked = 0;
        while books.may_work() && worked < 1_000 {
            books.done(&share(10));
            books.take_back(&share(10));
            worked += 1;
            books.keep().unwrap();
            // Nor does a restart help.
            books = Books::open(dir.path(), msat(100)).unwrap();
        }
        assert_eq!(worked, 9 + 11, "taken back, and at risk");
        // One that pays may be late with a few.
        books.hold(&[(outpoint(0), msat(16_000))]);
        let before = books.at_risk();
        books.done(&share(20_000));
        books.done(&share(1_000));
        books.take_back(&share(1_000));
        assert_eq!(books.at_risk(), msat(20_000 + 110 - 16_000));
        assert_eq!(before, Msat::ZERO);
    }

    #[test]
    fn file_that_was_never_written_so_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut books = Books::open(dir.path(), msat(100)).unwrap();
        books.hold(&[(outpoint(0), msat(40))]);
        books.keep().unwrap();
        let path = dir.path().join(NAME);
        let good = fs::read_to_string(&path).unwrap();
        for bad in [good.replace("window", "widow"), good.replace(" 40\n", " -1\n"), "x".into()] {
            fs::write(&path, bad).unwrap();
            let refused = Books::open(dir.path(), msat(100)).unwrap_err();
            assert!(refused.to_string().contains(NAME) && refused.is_input(), "{refused}");
        }
    }
}
