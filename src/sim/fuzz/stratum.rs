//! Lines of miners and of pools against both sides of a Stratum session.

use crate::stratum::client::{ClientSession, Told, Wanted};
use crate::stratum::message::{Extranonce, FromMiner, FromPool, Label, Notify};
use crate::stratum::server::{Claim, Heard, Issue, Judge, Offer, ServerSession, Verdict};
use crate::stratum::{LineReader, WorkerName};
use crate::units::{JobId, Target};

/// Takes every worker and every share, and counts.
#[derive(Default)]
struct Pool {
    claims: usize,
}

impl Judge for Pool {
    fn resume(&mut self, _: &Label) -> Option<Offer> {
        None
    }

    fn authorize(&mut self, _: &WorkerName) -> bool {
        true
    }

    fn version_of(&self, _: JobId) -> Option<u32> {
        Some(0x2000_0000)
    }

    fn suggest(&mut self, _: Target) {}

    fn judge(&mut self, _: &Claim) -> Verdict {
        self.claims = self.claims.saturating_add(1);
        Verdict::Good
    }
}

/// Hands the lines of `data` to a server if its first byte is even, else to a client.
///
/// # Panics
/// If a message is read otherwise than it was printed, if what is refused leaves something behind,
/// is counted or is not answered, or if an answer is longer than it may be.
pub fn stratum_lines(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let is_miner = first.is_multiple_of(2);
    let max = if is_miner { 4_096 } else { 81_920 };
    let (mut reader, mut input, mut lines) = (LineReader::new(max), data, Vec::new());
    while let Ok(Some(line)) = reader.read(&mut input) {
        assert!(line.len() <= max && !line.is_empty());
        lines.push(line.to_vec());
    }
    for line in &lines {
        read_again(line);
    }
    if is_miner { serve(&lines) } else { mine(&lines) }
}

/// What is printed is read as what it was printed of.
fn read_again(line: &[u8]) {
    let mut printed = String::new();
    if let Ok(FromMiner::Request { id, request }) = FromMiner::parse(line) {
        request.print(&id, &mut printed);
        if let Ok(FromMiner::Request { request: again, .. }) =
            FromMiner::parse(printed.trim_end().as_bytes())
        {
            // An agent is printed as it is shown.
            assert!(again == request || printed.contains("mining.subscribe"), "{printed}");
        }
    }
    printed.clear();
    if let Ok(FromPool::Notice { id, notice }) = FromPool::parse(line) {
        notice.print(&id, &mut printed);
        if let Ok(FromPool::Notice { notice: again, .. }) =
            FromPool::parse(printed.trim_end().as_bytes())
        {
            assert!(again == notice || printed.contains("client.show_message"), "{printed}");
        }
    }
}

fn serve(lines: &[Vec<u8>]) {
    let Ok(extranonce1) = Extranonce::new(&[1; 4]) else { return };
    let (session, version_mask) = (Label::of_u32(1), 0x1fff_e000);
    let offer = Offer { session, extranonce1, size: 4, version_mask };
    let (mut session, mut pool) = (ServerSession::new(offer), Pool::default());
    let id = JobId::MIN;
    for line in lines {
        let (before, claims) = (format!("{session:?}"), pool.claims);
        let mut out = String::new();
        let heard = session.receive(line, &mut pool, &mut out);
        assert!(out.len() <= 4_096 && out.matches('\n').count() <= 1, "{out}");
        match heard {
            Err(_) => assert!(out.is_empty()),
            Ok(Heard::Refused(_)) => assert!(out.contains("\"error\":[2"), "{out}"),
            Ok(Heard::Good) => {
                assert!(session.is_mining());
                assert_eq!(pool.claims, claims.saturating_add(1));
                continue;
            }
            Ok(Heard::Ready) => {
                assert!(session.is_mining() && session.key().is_some());
                let (target, time) = (Target::DIFFICULTY_ONE, 1_700_000_001);
                let issue = Issue { id, target, time, clean: true };
                assert!(session.issue(&issue, &job(), &mut out));
                continue;
            }
            Ok(_) => continue,
        }
        assert_eq!(format!("{session:?}"), before, "a refused line left something");
        assert_eq!(pool.claims, claims, "a refused line was counted");
    }
}

fn job() -> Notify {
    Notify {
        job: Label::of_u32(0),
        previous: [1; 32],
        prefix: vec![2],
        suffix: vec![3],
        branches: vec![[4; 32]],
        version: 0x2000_0000,
        bits: 0x1d00_ffff,
        time: 1_700_000_000,
        clean: true,
    }
}

fn mine(lines: &[Vec<u8>]) {
    let mut out = String::new();
    let mut session = ClientSession::new(Wanted::new("user"), "host");
    session.start(&mut out);
    for line in lines {
        out.clear();
        let before = format!("{session:?}");
        match session.receive(line, &mut out) {
            Err(_) => {
                assert_eq!(format!("{session:?}"), before, "a refused line left something");
                assert!(out.is_empty());
            }
            Ok(Told::Task(task)) => {
                assert!(session.is_mining() && (1..=8).contains(&task.size));
                let id = JobId::MIN;
                let (roll, expires) =
                    (crate::miner::job::TimeRoll::Free(0), crate::units::UtcSeconds::MAX);
                assert!(task.job(id, roll, expires).is_ok());
            }
            Ok(_) => {}
        }
        assert!(out.len() <= 4_096, "{out}");
    }
}
