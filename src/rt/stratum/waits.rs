//! How long the other end of a connection is waited for: for its greeting, a word, the end of a
//! line. Both ends of a line use it; the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::ConnectionEnd;

/// Since when what is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    began: Instant,
    /// When a line ended last. Parts of one are no word, or a peer could drip for ever.
    heard_at: Instant,
    /// When the line began that is held now.
    unfinished_since: Option<Instant>,
}

impl Waits {
    /// A connection that is greeted from `began` on, and was made at `now`.
    pub(super) const fn new(began: Instant, now: Instant) -> Self {
        Self { began, heard_at: now, unfinished_since: None }
    }

    /// Something was read: whether a line ended in it, and whether there is a part of one now.
    pub(super) fn read(&mut self, now: Instant, line_ended: bool, holds_part: bool) {
        if line_ended {
            // What is held now began after that line.
            (self.heard_at, self.unfinished_since) = (now, None);
        }
        self.unfinished_since = holds_part.then(|| self.unfinished_since.unwrap_or(now));
    }

    /// When the connection ends if nothing happens, and why; the greeting only while it is awaited.
    pub(super) fn end(
        &self,
        greeting_max: Option<Duration>,
        idle_max: Duration,
        stall_max: Duration,
    ) -> (Instant, ConnectionEnd) {
        let after = |from: Instant, time: Duration| from.checked_add(time).unwrap_or(from);
        let silent = (after(self.heard_at, idle_max), ConnectionEnd::Silent);
        let greeting = greeting_max.map(|max| (after(self.began, max), ConnectionEnd::NotGreeted));
        let unfinished =
            self.unfinished_since.map(|since| (after(since, stall_max), ConnectionEnd::Unfinished));
        let ends = [Some(silent), greeting, unfinished];
        ends.into_iter().flatten().min_by_key(|end| end.0).unwrap_or(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: u64 = 20;
    const IDLE: u64 = 600;
    const STALL: u64 = 30;

    /// A connection whose seconds are counted.
    struct Scene {
        start: Instant,
        waits: Waits,
    }

    impl Scene {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, waits: Waits::new(start, start) }
        }

        fn read(&mut self, second: u64, line_ended: bool, holds_part: bool) {
            let now = self.start + Duration::from_secs(second);
            self.waits.read(now, line_ended, holds_part);
        }

        /// In which second it ends, and why.
        fn end(&self, is_greeted: bool) -> (u64, ConnectionEnd) {
            let secs = Duration::from_secs;
            let greeting = (!is_greeted).then_some(secs(GREETING));
            let (at, why) = self.waits.end(greeting, secs(IDLE), secs(STALL));
            ((at - self.start).as_secs(), why)
        }
    }

    #[test]
    fn silence_is_counted_from_the_last_line() {
        let mut scene = Scene::new();
        assert_eq!(scene.end(true), (IDLE, ConnectionEnd::Silent));
        scene.read(100, true, false);
        assert_eq!(scene.end(true), (100 + IDLE, ConnectionEnd::Silent));
    }

    #[test]
    fn line_that_drips_ends_by_its_first_byte() {
        let mut scene = Scene::new();
        for second in 5..5 + STALL {
            scene.read(second, false, true);
            assert_eq!(scene.end(true), (5 + STALL, ConnectionEnd::Unfinished));
        }
    }

    #[test]
    fn line_that_drips_is_no_word_that_ends_a_silence() {
        let mut scene = Scene::new();
        for second in IDLE - STALL + 1..IDLE {
            scene.read(second, false, true);
            assert_eq!(scene.end(true), (IDLE, ConnectionEnd::Silent));
        }
    }

    #[test]
    fn part_behind_a_line_began_when_that_line_ended() {
        let mut scene = Scene::new();
        scene.read(1, false, true);
        // For longer than a line may take: each read ends a line and begins another.
        for second in 2..3 * STALL {
            scene.read(second, true, true);
            assert_eq!(scene.end(true), (second + STALL, ConnectionEnd::Unfinished));
        }
        scene.read(3 * STALL, true, false);
        assert_eq!(scene.end(true), (3 * STALL + IDLE, ConnectionEnd::Silent));
    }

    #[test]
    fn greeting_is_counted_from_the_beginning_whatever_is_read() {
        let mut scene = Scene::new();
        for second in 1..GREETING {
            scene.read(second, true, second % 2 == 0);
            assert_eq!(scene.end(false), (GREETING, ConnectionEnd::NotGreeted));
        }
        assert_eq!(scene.end(true), (GREETING - 1 + IDLE, ConnectionEnd::Silent));
        // It began before the connection was made.
        let made = scene.start + Duration::from_secs(7);
        scene.waits = Waits::new(scene.start, made);
        assert_eq!(scene.end(false), (GREETING, ConnectionEnd::NotGreeted));
        assert_eq!(scene.end(true), (7 + IDLE, ConnectionEnd::Silent));
    }
}
