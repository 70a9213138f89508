//! Targets that settle, and counts that add up. Floats draw the chances and judge them; the code
//! under test has none.

use super::*;

/// A generator for draws that are the same on every machine: xorshift64*.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (drawn as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Seconds until the next share of a worker that finds one each `mean` seconds.
    fn wait(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }
}

fn floating(start: u8, now: f64) -> Vardiff {
    let bits = |bits| WorkBits::new(bits).unwrap();
    Vardiff::new(bits(8), bits(60), bits(start), seconds(60), at(now))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn at(seconds: f64) -> UtcSeconds {
    UtcSeconds::new(1_800_000_000 + seconds as u64).unwrap()
}

/// Plays a worker of so many hashes a second; returns the bits that held, by seconds.
fn played(
    mut vardiff: Vardiff,
    rate: f64,
    seed: u64,
    from: f64,
    until: f64,
) -> (Vardiff, [f64; 64]) {
    let (mut dice, mut now, mut held) = (Dice(seed), from, [0.0; 64]);
    while now < until {
        let work = vardiff.target().work();
        let bits = usize::try_from(work.hashes().ilog2()).unwrap();
        // A share, or the time to look.
        let wait = dice.wait(work.hashes() as f64 / rate);
        let step = wait.min(60.0);
        held[bits] += step;
        now += step;
        let changed =
            if wait <= 60.0 { vardiff.found(at(now), work) } else { vardiff.wake(at(now)) };
        if let Some(target) = changed {
            let next = usize::try_from(target.work().hashes().ilog2()).unwrap();
            assert_eq!(next.abs_diff(bits), 1, "one bit at a time");
        }
    }
    (vardiff, held)
}

/// 300 kH/s at a share a minute: 2^24 hashes, difficulty 0.0039.
#[test]
fn vardiff_of_a_microcontroller_settles_near_difficulty_four_thousandths() {
    const DAY: f64 = 86_400.0;
    for start in [8, 20, 24, 32] {
        for seed in 1..=20 {
            let (settled, way) = played(floating(start, 0.0), 300_000.0, seed, 0.0, DAY / 4.0);
            let (_, held) = played(settled, 300_000.0, seed + 100, DAY / 4.0, 8.0 * DAY);
            let all: f64 = held.iter().sum();
            let near: f64 = held[23..=25].iter().sum();
            assert!(near > 0.999 * all, "from {start}: {held:?}, on its way {way:?}");
            assert!(held[24] > 0.75 * all, "from {start}: {held:?}");
        }
    }
    let difficulty = 2_f64.powi(24) / 4_295_032_833.0;
    assert!((difficulty - 0.004).abs() < 0.000_1);
}

#[test]
fn vardiff_of_any_worker_settles_within_a_bit_of_its_rate() {
    for rate in [1e3, 1e5, 5e6, 1e9, 1e12, 1e14] {
        let ideal = (rate * 60.0_f64).log2();
        let (settled, _) = played(floating(30, 0.0), rate, 7, 0.0, 86_400.0);
        let (_, held) = played(settled, rate, 8, 86_400.0, 400_000.0);
        let mean: f64 = held.iter().enumerate().map(|(bits, time)| bits as f64 * time).sum::<f64>()
            / held.iter().sum::<f64>();
        assert!((mean - ideal).abs() < 1.0, "{rate}: {mean}, not {ideal}");
    }
}

#[test]
fn vardiff_moves_at_its_bounds_and_not_beside_them() {
    let start = floating(20, 0.0);
    let work = Work::new(1 << 20);
    let found = |times: u32, seconds: f64| {
        let mut vardiff = start;
        let when = |n| at(seconds * f64::from(n) / f64::from(times));
        let answers: Vec<_> = (1..=times).map(|n| vardiff.found(when(n), work)).collect();
        let (last, before) = answers.split_last().unwrap();
        assert!(before.iter().all(Option::is_none));
        *last
    };
    let (harder, easier) = (Some(bits(21)), Some(bits(19)));
    // 8 shares within 60 s, 16 within 300, 32 within 960.
    assert_eq!([found(7, 60.0), found(8, 60.0), found(8, 61.0)], [None, harder, None]);
    assert_eq!([found(15, 300.0), found(16, 300.0), found(16, 301.0)], [None, harder, None]);
    assert_eq!([found(31, 960.0), found(32, 960.0), found(32, 961.0)], [None, harder, None]);
    // No share in 480 s, 4 in 960, 15 in 1,920.
    let waits = |shares: u32, seconds: f64| {
        let mut vardiff = start;
        // One after the other, so that there are never too many.
        (0..shares).for_each(|n| assert_eq!(vardiff.found(at(f64::from(n) * 59.0), work), None));
        vardiff.wake(at(seconds))
    };
    assert_eq!([waits(0, 479.0), waits(0, 480.0), waits(1, 480.0)], [None, easier, None]);
    assert_eq!([waits(4, 959.0), waits(4, 960.0), waits(5, 960.0)], [None, easier, None]);
    assert_eq!([waits(15, 1_919.0), waits(15, 1_920.0), waits(16, 1_920.0)], [None, easier, None]);
}

#[test]
fn vardiff_counts_late_shares_of_older_jobs_by_their_worth() {
    let mut vardiff = floating(20, 0.0);
    for _ in 0..8 {
        let _new = vardiff.found(at(0.0), Work::new(1 << 20));
    }
    assert_eq!(vardiff.target(), bits(21));
    // Fifteen of the old target are seven and a half of the new one.
    for _ in 0..15 {
        assert_eq!(vardiff.found(at(1.0), Work::new(1 << 20)), None);
    }
    assert_eq!(vardiff.found(at(1.0), Work::new(1 << 20)), Some(bits(22)));
}

#[test]
fn vardiff_stays_within_its_bounds() {
    let of = |least, most, start| {
        let [least, most, start] = [least, most, start].map(|n| WorkBits::new(n).unwrap());
        Vardiff::new(least, most, start, seconds(60), at(0.0))
    };
    assert_eq!(of(10, 12, 5).target(), bits(10));
    assert_eq!(of(10, 12, 50).target(), bits(12));
    assert_eq!(of(10, 5, 50).target(), bits(10));
    let mut vardiff = of(10, 10, 10);
    assert_eq!(vardiff.found(at(0.0), Work::MAX), None);
    assert_eq!(vardiff.wake(at(1e9)), None);
    // No aim is less than a second.
    let [least, most] = [10, 12].map(|n| WorkBits::new(n).unwrap());
    let mut quick = Vardiff::new(least, most, least, Seconds::MIN, at(0.0));
    assert_eq!(quick.wake(at(7.0)), None);
    assert_eq!(quick.found(at(0.0), Work::new(8 << 10)), Some(bits(11)));
}

#[test]
fn target_that_is_asked_for_is_kept_within_the_bounds() {
    let mut vardiff = floating(20, 0.0);
    let asked = Target::from_compact(0x1f00_abcd).unwrap();
    assert_eq!(vardiff.suggest(asked), asked);
    for n in 0..1_000 {
        assert_eq!(vardiff.found(at(f64::from(n)), Work::new(1 << 30)), None);
    }
    assert_eq!(vardiff.wake(at(1e9)), None);
    assert_eq!(vardiff.target(), asked);
    assert_eq!(vardiff.suggest(Target::MAX), bits(8));
    assert_eq!(vardiff.suggest(Target::MIN), bits(60));
}

#[test]
fn tally_counts_each_answer_once_in_its_place() {
    let mut desk = desk();
    let mut tally = Tally::new(utc(START));
    let now = utc(START + 30);
    let mut mining = mined_all(&desk, share(1, 0));
    let (first, block) = (mining.next().unwrap(), mining.find(Good::is_block).unwrap());
    drop(mining);
    let answers = [first.share(), first.share(), block.share()];
    for share in answers {
        tally.count(now, &desk.take(now, share));
    }
    let low = (0..99).map(|nonce| desk.check(now, &share(1, nonce))).find(Result::is_err).unwrap();
    tally.count(now, &low);
    let wrong = Share { version: 0, ..share(1, 0) };
    let foreign = [
        share(9, 0),
        wrong,
        Share { time: 0, ..share(1, 0) },
        Share { extranonce: 1, ..share(1, 0) },
    ];
    for share in &foreign {
        tally.count(now, &desk.check(now, share));
    }
    desk.new_tip([1; 32], now).unwrap();
    tally.count(now, &desk.check(now, first.share()));
    tally.count(now, &Err(Refused::OverBudget { limit: 1, span: "tip" }));
    let counts = tally.counts();
    assert_eq!((counts.good, counts.blocks, counts.duplicate, counts.low), (2, 1, 1, 1));
    assert_eq!((counts.stale, counts.over_budget, counts.foreign), (1, 1, 4));
    assert_eq!(tally.work(), Work::new(32));
    // Two of 16 hashes where a block takes 65,537.
    assert_eq!(tally.expected_millionths(), 32_000_000 / 65_537);
    assert_eq!(tally.hash_rate(utc(START + 32)), 1);
    assert_eq!(tally.hash_rate(utc(START + 33)), 0);
}

#[test]
fn hash_rate_is_that_of_the_last_ten_minutes() {
    let desk = desk();
    let good = mined(&desk, share(1, 0));
    // 16 hashes each second from a full minute on.
    let from = START - START % 60;
    let mut tally = Tally::new(utc(from));
    for second in 0..3_600 {
        let now = utc(from + second);
        tally.count(now, &Ok(good));
        if second > 0 {
            assert!((16..=32).contains(&tally.hash_rate(now)), "{second}");
        }
        if second > 60 {
            assert_eq!(tally.hash_rate(now), 16, "{second}");
        }
    }
    assert_eq!(tally.hash_rate(utc(from + 3_600 + 599)), 0);
    let quiet = tally.hash_rate(utc(from + 3_600 + 299));
    assert!((7..=9).contains(&quiet), "{quiet}");
    // A clock that goes back changes nothing that was counted.
    assert!(tally.hash_rate(utc(from)) > 0);
}
