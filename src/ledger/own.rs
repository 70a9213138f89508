//! The worker's side of the risk: what its work should have brought, and when it stops.

use super::{Credit, Exact};
use crate::units::{Msat, Overflow};

/// What a worker has done for a pool, what it was paid, and how much it risks.
///
/// ```text
///   done    |=============================|...|
///   paid    |== earlier ==|== channel ==|
///                                       |=====|  at risk: above `risk_max` the worker stops
/// ```
///
/// The pool's window is its own: it pays no work before it was verified. The worker's loss in every
/// failure is what is at risk, at most `risk_max` and the shares that were on their way when it was
/// reached. A worker that is paid ahead risks nothing.
///
/// What is paid is read off the channel, as a cumulative amount, so that telling it twice is
/// telling it once. A restart must not open the window again: [`Self::to_bytes`] is small enough to
/// be stored whenever something else is.
///
/// ```
/// use millstream::ledger::{Credit, HashPrice, WorkWindow};
/// use millstream::units::{Msat, Work, WorkBits};
///
/// let price = HashPrice::per_bits(Msat::new(10)?, WorkBits::new(32)?)?;
/// let share = Credit::priced(Work::new(1 << 32), price)?;
/// let mut window = WorkWindow::new(Msat::new(25)?, Msat::ZERO);
/// while window.may_work() {
///     window.done(&share)?;
/// }
/// assert_eq!(window.at_risk(), Msat::new(30)?);
/// window.paid(Msat::new(20)?);
/// assert!(window.may_work());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkWindow {
    risk_max: Msat,
    done: Exact,
    /// Paid by channels that have gone on.
    earlier: Msat,
    /// What the channel had paid when it came to this work.
    from: Msat,
    /// What it has paid by now; at least `from`.
    paid: Msat,
}

impl WorkWindow {
    /// Length of the bytes.
    pub const LENGTH: usize = 44;

    /// A window in which nothing was done; the channel has paid `from` for other things.
    #[must_use]
    pub const fn new(risk_max: Msat, from: Msat) -> Self {
        Self { risk_max, done: Exact::ZERO, earlier: Msat::ZERO, from, paid: from }
    }

    /// A share was found and submitted: it counts whether the pool answers or not, since a pool
    /// that keeps silent has the work too.
    ///
    /// # Errors
    /// [`Overflow`] above all money; nothing changes.
    pub fn done(&mut self, share: &Credit) -> Result<(), Overflow> {
        self.done = self.done.plus(share.value())?;
        Ok(())
    }

    /// A share is not to be paid after all, by the worker's own judgement: it was late for the tip,
    /// say. A pool's word alone is no reason, or it could refuse for ever.
    pub fn take_back(&mut self, share: &Credit) {
        self.done = self.done.checked_sub(share.value()).unwrap_or(Exact::ZERO);
    }

    /// The channel's cumulative amount, as the worker holds it durably. Less is old news.
    pub fn paid(&mut self, paid: Msat) {
        self.paid = self.paid.max(paid);
    }

    /// The worker has settled `stated` of the channel, which goes on with `start`, or is followed
    /// by another that has paid so much for other things.
    pub fn goes_on(&mut self, stated: Msat, start: Msat) {
        self.earlier = self.earlier.saturating_add(stated.saturating_sub(self.from));
        (self.from, self.paid) = (start, start);
    }

    /// The whole millisatoshis that are done and not paid.
    #[must_use]
    pub fn at_risk(&self) -> Msat {
        let paid = self.earlier.saturating_add(self.paid.saturating_sub(self.from));
        self.done.floor_msat().saturating_sub(paid)
    }

    /// Whether to work on: the risk is within what was allowed.
    #[must_use]
    pub fn may_work(&self) -> bool {
        self.at_risk() <= self.risk_max
    }

    /// | bytes | field, numbers big-endian |
    /// | --- | --- |
    /// | 8 + 12 | done: msat, 2^-96 parts |
    /// | 8 + 8 + 8 | paid earlier; what the channel had paid, and has |
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let amounts = [self.earlier, self.from, self.paid].map(|msat| msat.to_msat().to_be_bytes());
        let fields = self.done.to_bytes().into_iter().chain(amounts.into_iter().flatten());
        for (to, byte) in bytes.iter_mut().zip(fields) {
            *to = byte;
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] gives; `risk_max` is the worker's to choose anew.
    ///
    /// # Errors
    /// [`Overflow`] for bytes that were never written: an amount above all money, or a channel that
    /// has paid less than it had.
    pub fn from_bytes(risk_max: Msat, bytes: &[u8; Self::LENGTH]) -> Result<Self, Overflow> {
        let over = Overflow { unit: "WorkWindow" };
        let (done, amounts) = bytes.split_first_chunk::<{ Exact::LENGTH }>().ok_or(over)?;
        let mut amounts = amounts.chunks_exact(8).map(|bytes| {
            let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| over)?;
            Msat::new(u64::from_be_bytes(bytes)).map_err(|_| over)
        });
        let mut next = || amounts.next().ok_or(over)?;
        let (done, earlier, from, paid) = (Exact::from_bytes(done)?, next()?, next()?, next()?);
        if paid < from {
            return Err(over);
        }
        Ok(Self { risk_max, done, earlier, from, paid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::HashPrice;
    use crate::units::Work;

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    /// A share that is worth `parts` / 4 millisatoshis.
    fn share(parts: u128) -> Credit {
        let price = HashPrice::from_q96(1 << 94).unwrap();
        Credit::priced(Work::new(parts), price).unwrap()
    }

    #[test]
    fn worker_stops_above_its_risk_and_goes_on_when_it_is_paid() {
        let mut window = WorkWindow::new(msat(2), msat(100));
        for _ in 0..11 {
            window.done(&share(1)).unwrap();
            assert!(window.may_work(), "{window:?}");
        }
        window.done(&share(1)).unwrap();
        assert_eq!((window.at_risk(), window.may_work()), (msat(3), false));
        // What the channel had paid before it came to this is no pay.
        window.paid(msat(100));
        assert!(!window.may_work());
        window.paid(msat(101));
        window.paid(msat(99));
        assert_eq!((window.at_risk(), window.may_work()), (msat(2), true));
        // Paid ahead is no risk, and new work takes it up.
        window.paid(msat(110));
        assert_eq!(window.at_risk(), Msat::ZERO);
        window.done(&share(30)).unwrap();
        assert_eq!(window.at_risk(), Msat::ZERO);
        window.done(&share(2)).unwrap();
        assert_eq!(window.at_risk(), msat(1));
    }

    #[test]
    fn share_that_is_taken_back_is_no_risk_and_nothing_falls_below_zero() {
        let mut window = WorkWindow::new(Msat::ZERO, Msat::ZERO);
        window.done(&share(5)).unwrap();
        assert!(!window.may_work());
        window.take_back(&share(5));
        window.take_back(&share(5));
        assert_eq!(window, WorkWindow::new(Msat::ZERO, Msat::ZERO));
    }

    #[test]
    fn channel_that_goes_on_counts_what_was_settled_and_from_its_start() {
        let mut window = WorkWindow::new(msat(10), msat(50));
        window.done(&share(4_000)).unwrap();
        window.paid(msat(1_050));
        // 30 of it were not settled in time.
        window.goes_on(msat(1_020), msat(7));
        assert_eq!((window.at_risk(), window.may_work()), (msat(30), false));
        window.paid(msat(27));
        assert_eq!((window.at_risk(), window.may_work()), (msat(10), true));
        window.paid(msat(37));
        assert_eq!(window.at_risk(), Msat::ZERO);
    }

    #[test]
    fn window_is_read_as_it_was_written_and_nothing_else_is() {
        let mut window = WorkWindow::new(msat(10), msat(50));
        window.done(&share(4_001)).unwrap();
        window.goes_on(msat(1_020), msat(7));
        window.paid(msat(9));
        let bytes = window.to_bytes();
        assert_eq!(WorkWindow::from_bytes(msat(10), &bytes), Ok(window));
        let mut other = bytes;
        other[43] = 6;
        assert!(WorkWindow::from_bytes(msat(10), &other).is_err(), "paid less than it had");
        let mut other = bytes;
        other[20] = 0xff;
        assert!(WorkWindow::from_bytes(msat(10), &other).is_err(), "above all money");
    }

    #[test]
    fn work_above_all_money_is_refused_and_changes_nothing() {
        let mut window = WorkWindow::new(msat(10), Msat::ZERO);
        let price = HashPrice::from_q96(u128::MAX >> 1).unwrap();
        let much = Credit::priced(Work::new(900_000_000), price).unwrap();
        let before = loop {
            let before = window;
            if window.done(&much).is_err() {
                break before;
            }
        };
        assert_eq!(window, before);
        assert!(!window.may_work());
    }
}
