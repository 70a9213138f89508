//! Both sides of a Stratum V1 session, without I/O: every message in every stage, and both sides
//! with each other.

use millstream::stratum::client::{ClientSession, Find, Follow, Task, Told, Wanted};
use millstream::stratum::message::{Extranonce, Label, Notice, Notify};
use millstream::stratum::server::{
    Claim, Heard, Issue, Judge, Offer, Refused, ServerSession, Verdict,
};
use millstream::stratum::{Difficulty, DifficultyError, StratumError, WorkerName};
use millstream::units::{JobId, Target, WorkBits};
use millstream::wire::PeerText;

/// The generator point's x: a key that everybody knows.
const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// Twice that.
const OTHER: &str = "c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

/// Says yes to one key, resumes one session, and remembers what it was asked.
#[derive(Default)]
struct Pool {
    claims: Vec<Claim>,
    wishes: Vec<Target>,
    verdict: Option<Verdict>,
}

impl Judge for Pool {
    fn resume(&mut self, session: &Label) -> Option<Offer> {
        (session.as_untrusted_str() == "before").then(|| offer("before", 0xbb))
    }

    fn authorize(&mut self, worker: &WorkerName) -> bool {
        worker.rig() != "banned"
    }

    fn version_of(&self, job: JobId) -> Option<u32> {
        (job == id(1)).then_some(0x2000_0000)
    }

    fn suggest(&mut self, target: Target) {
        self.wishes.push(target);
    }

    fn judge(&mut self, claim: &Claim) -> Verdict {
        self.claims.push(*claim);
        self.verdict.unwrap_or(Verdict::Good)
    }
}

fn offer(name: &str, byte: u8) -> Offer {
    Offer {
        session: Label::new(name).unwrap(),
        extranonce1: Extranonce::new(&[byte; 4]).unwrap(),
        size: 4,
        version_mask: 0x1fff_e000,
    }
}

fn job() -> Notify {
    Notify {
        job: Label::of_u32(0),
        previous: [7; 32],
        prefix: vec![1, 2],
        suffix: vec![3],
        branches: vec![[9; 32]],
        version: 0x2000_0000,
        bits: 0x1d00_ffff,
        time: 1_700_000_000,
        clean: false,
    }
}

fn issue(number: u32, target: Target) -> Issue {
    Issue { id: id(number), target, time: 1_700_000_060, clean: false }
}

fn id(number: u32) -> JobId {
    JobId::new(number).unwrap()
}

/// A message of a miner.
fn line(method: &str, params: &str) -> String {
    format!(r#"{{"id":9,"method":"{method}","params":{params}}}"#)
}

/// The lines that bring a fresh session to each stage.
fn stages() -> [(&'static str, Vec<String>); 4] {
    let subscribe = line("mining.subscribe", r#"["agent"]"#);
    let authorize = line("mining.authorize", &format!(r#"["{KEY}.roof","x"]"#));
    [
        ("fresh", vec![]),
        ("subscribed", vec![subscribe.clone()]),
        ("authorized", vec![authorize.clone()]),
        ("mining", vec![subscribe, authorize]),
    ]
}

fn session_in(lines: &[String], pool: &mut Pool) -> ServerSession {
    let mut session = ServerSession::new(offer("first", 0xaa));
    let mut out = String::new();
    for line in lines {
        session.receive(line.as_bytes(), pool, &mut out).unwrap();
    }
    if session.is_mining() {
        assert!(session.issue(&issue(1, Target::DIFFICULTY_ONE), &job(), &mut out));
    }
    session
}

/// What a line comes to, in a word.
fn word(heard: &Result<Heard, StratumError>, out: &str) -> String {
    let code = out.split("\"error\":[").nth(1).and_then(|rest| rest.split(',').next());
    match (heard, code) {
        (Err(_), _) => "end".into(),
        (Ok(Heard::Refused(_)), Some(code)) => code.into(),
        (Ok(Heard::Refused(refused)), None) => panic!("{refused:?} without an answer"),
        (Ok(_), Some(code)) => panic!("{code} without a refusal"),
        (Ok(Heard::Answered), None) if out.is_empty() => "-".into(),
        (Ok(Heard::Answered), None) => "yes".into(),
        (Ok(Heard::Ready), None) => "ready".into(),
        (Ok(Heard::Good), None) => "good".into(),
        (Ok(other), None) => format!("{other:?}"),
    }
}

#[test]
fn every_message_of_a_miner_in_every_stage_has_its_one_answer() {
    let share = format!(r#"["{KEY}.roof","00000001","00000001","65538800","0000002a"]"#);
    let other_rig = share.replace("roof", "shed");
    let foreign = share.replace("00000001\",\"00000001", "00000002\",\"00000001");
    let unnamed = share.replace("\"00000001\",\"00000001", "\"job\",\"00000001");
    let short = share.replace(",\"00000001\",\"6553", ",\"0001\",\"6553");
    let rolled = share.replace("2a\"]", "2a\",\"00002000\"]");
    let rows: Vec<(&str, String, [&str; 4])> = vec![
        ("subscribe", line("mining.subscribe", "[]"), ["yes", "20", "ready", "20"]),
        ("resume", line("mining.subscribe", r#"["a","before"]"#), ["yes", "20", "ready", "20"]),
        ("resume none", line("mining.subscribe", r#"["a","x"]"#), ["yes", "20", "ready", "20"]),
        (
            "authorize",
            line("mining.authorize", &format!(r#"["{KEY}.roof",""]"#)),
            ["yes", "ready", "yes", "yes"],
        ),
        (
            "another rig",
            line("mining.authorize", &format!(r#"["{KEY}.shed",""]"#)),
            ["yes", "ready", "yes", "yes"],
        ),
        (
            "another key",
            line("mining.authorize", &format!(r#"["{OTHER}",""]"#)),
            ["yes", "ready", "24", "24"],
        ),
        ("banned", line("mining.authorize", &format!(r#"["{KEY}.banned",""]"#)), ["24"; 4]),
        ("no key", line("mining.authorize", r#"["bob","x"]"#), ["24"; 4]),
        ("configure", line("mining.configure", r#"[["version-rolling"],{}]"#), ["yes"; 4]),
        ("extranonce", line("mining.extranonce.subscribe", "[]"), ["yes"; 4]),
        ("suggest", line("mining.suggest_difficulty", "[0.5]"), ["yes"; 4]),
        ("suggest zero", line("mining.suggest_difficulty", "[0]"), ["20"; 4]),
        ("ping", line("mining.ping", "[]"), ["yes"; 4]),
        ("unknown", line("mining.get_transactions", r#"["00000001"]"#), ["20"; 4]),
        ("share", line("mining.submit", &share), ["25", "24", "25", "good"]),
        ("another's share", line("mining.submit", &other_rig), ["25", "24", "25", "24"]),
        ("foreign job", line("mining.submit", &foreign), ["25", "24", "25", "21"]),
        ("unnamed job", line("mining.submit", &unnamed), ["25", "24", "25", "21"]),
        ("short extranonce", line("mining.submit", &short), ["25", "24", "25", "20"]),
        ("rolled without mask", line("mining.submit", &rolled), ["25", "24", "25", "20"]),
        ("half a share", line("mining.submit", r#"["u","j"]"#), ["20"; 4]),
        ("answer", r#"{"id":7,"result":true,"error":null}"#.into(), ["-"; 4]),
        ("garbage", "garbage".into(), ["end"; 4]),
        ("a pool's notice", line("mining.set_difficulty", "[1]"), ["20"; 4]),
    ];
    for (name, line, expected) in &rows {
        let mut found = Vec::new();
        for (stage, before) in stages() {
            let mut pool = Pool::default();
            let mut session = session_in(&before, &mut pool);
            let (was, mut out) = (format!("{session:?}"), String::new());
            let heard = session.receive(line.as_bytes(), &mut pool, &mut out);
            let word = word(&heard, &out);
            if word.parse::<u8>().is_ok() || word == "end" {
                assert_eq!(format!("{session:?}"), was, "{name} in {stage} left something");
                assert!(pool.claims.is_empty(), "{name} in {stage} was counted");
            }
            assert!(out.is_empty() || out.contains("\"id\":9"), "{out}");
            found.push(word);
        }
        println!("{name:>20} {found:?}");
        assert_eq!(&found, expected, "{name}");
    }
}

#[test]
fn every_verdict_has_its_number_and_is_told_to_the_caller() {
    for (verdict, code) in [
        (Verdict::Stale, 21),
        (Verdict::Duplicate, 22),
        (Verdict::Low, 23),
        (Verdict::Other("time out of range"), 20),
    ] {
        let mut pool = Pool { verdict: Some(verdict), ..Pool::default() };
        let mut session = session_in(&stages()[3].1, &mut pool);
        let share = format!(r#"["{KEY}.roof","00000001","00000001","65538800","0000002a"]"#);
        let mut out = String::new();
        let heard = session.receive(line("mining.submit", &share).as_bytes(), &mut pool, &mut out);
        assert_eq!(heard, Ok(Heard::Refused(Refused::Share(verdict))));
        assert!(out.contains(&format!("\"error\":[{code},")), "{out}");
    }
}

#[test]
fn share_becomes_a_claim_with_the_version_that_was_agreed_on() {
    let mut pool = Pool::default();
    let mut session = session_in(&stages()[3].1, &mut pool);
    let mut send = |params: &str, method: &str| {
        let mut out = String::new();
        let heard = session.receive(line(method, params).as_bytes(), &mut pool, &mut out);
        (heard.unwrap(), out)
    };
    let (_, answer) = send(
        r#"[["version-rolling","info"],{"version-rolling.mask":"0000ffff"}]"#,
        "mining.configure",
    );
    assert!(answer.contains(r#""version-rolling":true,"version-rolling.mask":"0000e000""#));
    assert!(answer.contains(r#""info":false"#), "{answer}");
    let share =
        |bits: &str| format!(r#"["{KEY}.roof","00000001","000000ff","65538800","0000002a"{bits}]"#);
    assert_eq!(send(&share(""), "mining.submit").0, Heard::Good);
    assert_eq!(send(&share(r#","0000a000""#), "mining.submit").0, Heard::Good);
    // A bit beside the mask, which the pool itself allows.
    assert!(matches!(send(&share(r#","00010000""#), "mining.submit").0, Heard::Refused(_)));
    let claim = |version| {
        let (job, extranonce, time, nonce) = (id(1), 255, 0x6553_8800, 42);
        Claim { job, extranonce, version, time, nonce }
    };
    assert_eq!(pool.claims, [claim(0x2000_0000), claim(0x2000_a000)]);
}

#[test]
fn fewer_version_bits_than_the_miner_needs_are_none() {
    for (bits, agreed) in [(3, true), (4, false)] {
        let mut session = ServerSession::new(offer("first", 1));
        let (mask, least) = ("version-rolling.mask", "version-rolling.min-bit-count");
        let params = format!(r#"[["version-rolling"],{{"{mask}":"0000ffff","{least}":{bits}}}]"#);
        let mut out = String::new();
        let line = line("mining.configure", &params);
        session.receive(line.as_bytes(), &mut Pool::default(), &mut out).unwrap();
        assert_eq!(out.contains("\"version-rolling\":true"), agreed, "{out}");
        assert_eq!(session.version_mask(), if agreed { 0xe000 } else { 0 });
    }
}

#[test]
fn difficulty_is_stated_once_for_each_target_and_before_its_job() {
    let mut pool = Pool::default();
    let mut session = session_in(&stages()[3].1, &mut pool);
    let mut issued = |number, target: &str| {
        let mut out = String::new();
        let target = target.parse::<Difficulty>().unwrap().target();
        assert!(session.issue(&issue(number, target), &job(), &mut out));
        let lines: Vec<String> = out.lines().map(String::from).collect();
        assert!(lines.last().unwrap().contains(&format!("\"{number:08x}\"")));
        lines[..lines.len() - 1].to_vec()
    };
    let stated = |number: &str| {
        vec![format!(r#"{{"id":null,"method":"mining.set_difficulty","params":[{number}]}}"#)]
    };
    // Difficulty 1 was stated with the first job.
    assert_eq!(issued(2, "1"), Vec::<String>::new());
    assert_eq!(issued(3, "0.25"), stated("0.25"));
    assert_eq!(issued(4, "0.25"), Vec::<String>::new());
    assert_eq!(issued(5, "1024"), stated("1024"));
}

#[test]
fn wishes_come_from_suggestions_and_from_the_password() {
    let mut pool = Pool::default();
    let mut session = ServerSession::new(offer("first", 1));
    let half = "0.5".parse::<Difficulty>().unwrap().target();
    let target = Target::DIFFICULTY_ONE;
    for line in [
        line("mining.suggest_difficulty", "[5e-1]"),
        line("mining.suggest_target", &format!("[\"{target}\"]")),
        line("mining.authorize", &format!(r#"["{KEY}","x,d=0.5"]"#)),
        line("mining.authorize", &format!(r#"["{KEY}.a","d=-1"]"#)),
    ] {
        session.receive(line.as_bytes(), &mut pool, &mut String::new()).unwrap();
    }
    assert_eq!(pool.wishes, [half, target, half]);
    // The least is kept beside them: harder than what the pool would give, or nothing.
    let least = r#"[["minimum-difficulty"],{"minimum-difficulty.value":2}]"#;
    let line = line("mining.configure", least);
    session.receive(line.as_bytes(), &mut pool, &mut String::new()).unwrap();
    let two = "2".parse::<Difficulty>().unwrap().target();
    assert_eq!(session.hardened(half), two);
    assert_eq!(session.hardened(Target::MIN), Target::MIN);
    // Zero takes it back, and the rest of what is asked beside it is answered still.
    for zero in ["0", "0.0", "0e9", "1e-40"] {
        session.receive(line.as_bytes(), &mut pool, &mut String::new()).unwrap();
        let none = format!(
            r#"{{"id":1,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],{{"version-rolling.mask":"1fffe000","minimum-difficulty.value":{zero}}}]}}"#
        );
        let mut out = String::new();
        session.receive(none.as_bytes(), &mut pool, &mut out).unwrap();
        assert!(out.contains(r#""minimum-difficulty":true"#), "{out}");
        assert!(out.contains(r#""version-rolling":true"#), "{out}");
        assert_eq!(session.hardened(half), half);
        let one_hash = Target::of_work_bits(WorkBits::new(1).unwrap());
        assert_eq!(session.hardened(one_hash), one_hash);
    }
}

#[test]
fn names_behind_one_connection_are_bounded() {
    let mut pool = Pool::default();
    let mut session = session_in(&stages()[1].1, &mut pool);
    let mut named = |rig: u32| {
        let line = line("mining.authorize", &format!(r#"["{KEY}.{rig}",""]"#));
        session.receive(line.as_bytes(), &mut pool, &mut String::new()).unwrap()
    };
    assert_eq!(named(0), Heard::Ready);
    for rig in 1..16 {
        assert_eq!(named(rig), Heard::Answered);
    }
    assert_eq!(named(16), Heard::Refused(Refused::NotAuthorized));
    // A name that is known takes no room.
    assert_eq!(named(3), Heard::Answered);
}

#[test]
fn resumed_session_keeps_its_extranonce() {
    let mut pool = Pool::default();
    let session = session_in(&[line("mining.subscribe", r#"["a","before"]"#)], &mut pool);
    assert_eq!(session.offer(), &offer("before", 0xbb));
    // A miner goes on with the job that it had before the cut, under its name.
    let mut resumed = ServerSession::new(offer("first", 0xaa));
    let share = format!(r#"["{KEY}","00000001","00000001","65538800","0000002a"]"#);
    let mut heard = Vec::new();
    for line in [
        line("mining.subscribe", r#"["a","before"]"#),
        line("mining.authorize", &format!("[\"{KEY}\"]")),
        line("mining.submit", &share),
    ] {
        let mut out = String::new();
        heard.push(resumed.receive(line.as_bytes(), &mut pool, &mut out).unwrap());
    }
    assert_eq!(heard, [Heard::Answered, Heard::Ready, Heard::Good]);
    let session = session_in(&[line("mining.subscribe", r#"["a","unknown"]"#)], &mut pool);
    assert_eq!(session.offer(), &offer("first", 0xaa));
}

/// Both sides, each line of one handed to the other.
struct Pair {
    client: ClientSession,
    server: ServerSession,
    pool: Pool,
    to_server: String,
    to_client: String,
    told: Vec<Told>,
}

impl Pair {
    fn new(wanted: Wanted) -> Self {
        let mut pair = Self {
            client: ClientSession::new(wanted, "pool.example"),
            server: ServerSession::new(offer("first", 0xaa)),
            pool: Pool::default(),
            to_server: String::new(),
            to_client: String::new(),
            told: Vec::new(),
        };
        pair.client.start(&mut pair.to_server);
        pair.run();
        pair
    }

    fn run(&mut self) {
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            for line in std::mem::take(&mut self.to_server).lines() {
                let heard =
                    self.server.receive(line.as_bytes(), &mut self.pool, &mut self.to_client);
                assert!(!matches!(heard.unwrap(), Heard::Refused(Refused::Malformed(_))), "{line}");
            }
            for line in std::mem::take(&mut self.to_client).lines() {
                let told = self.client.receive(line.as_bytes(), &mut self.to_server).unwrap();
                if told != Told::Nothing {
                    self.told.push(told);
                }
            }
        }
    }

    fn task(&mut self, number: u32, target: Target) -> Task {
        assert!(self.server.issue(&issue(number, target), &job(), &mut self.to_client));
        self.run();
        match self.told.pop() {
            Some(Told::Task(task)) => *task,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn both_sides_agree_from_the_greeting_to_the_verdict() {
    let mut pair = Pair::new(Wanted::new(&format!("{KEY}.roof")));
    assert!(pair.client.is_mining() && pair.server.is_mining());
    assert_eq!(pair.client.session(), Some(&Label::new("first").unwrap()));
    let target = "0.004".parse::<Difficulty>().unwrap().target();
    let task = pair.task(1, target);
    assert!(task.target <= target);
    assert_eq!((task.size, task.version_mask), (4, 0x1fff_e000));
    assert_eq!((task.job.time, task.job.clean), (1_700_000_060, false));
    assert_eq!(task.prefix, [1, 2, 0xaa, 0xaa, 0xaa, 0xaa]);
    let find =
        Find { extranonce2: 0xffff_ffff, version: 0x2000_4000, time: 1_700_000_001, nonce: 7 };
    let share = pair.client.submit(&task, &find, &mut pair.to_server).unwrap();
    pair.run();
    assert_eq!(pair.told, [Told::Judged { share, answer: Ok(()) }]);
    let Find { extranonce2: extranonce, version, time, nonce } = find;
    assert_eq!(pair.pool.claims, [Claim { job: id(1), extranonce, version, time, nonce }]);
    assert_eq!(pair.client.unanswered(), 0);
    // What cannot be said is not sent.
    let too_wide = Find { extranonce2: 1 << 32, ..find };
    let beside_the_mask = Find { version: 0x2000_0001, ..find };
    for wrong in [too_wide, beside_the_mask] {
        assert_eq!(pair.client.submit(&task, &wrong, &mut pair.to_server), None);
    }
    assert!(pair.to_server.is_empty());
}

#[test]
fn extranonce_mask_words_and_questions_travel() {
    let mut pair = Pair::new(Wanted::new(KEY));
    assert!(pair.server.move_to(offer("moved", 0xcc), &mut pair.to_client));
    pair.server.allow_versions(0x00ff_e000, &mut pair.to_client);
    let words = PeerText::new(b"hello\nworld".to_vec()).unwrap();
    pair.server.tell(&Notice::ShowMessage(words), &mut pair.to_client);
    pair.server.tell(&Notice::Ping, &mut pair.to_client);
    pair.server.tell(&Notice::GetVersion, &mut pair.to_client);
    pair.run();
    assert_eq!(pair.told.len(), 2, "{:?}", pair.told);
    assert_eq!(pair.told[0], Told::VersionMask(0x00ff_e000));
    let Told::Message(text) = &pair.told[1] else { panic!("{:?}", pair.told) };
    assert_eq!(text.to_string(), "hello.world");
    let task = pair.task(1, Target::DIFFICULTY_ONE);
    assert_eq!(task.prefix, [1, 2, 0xcc, 0xcc, 0xcc, 0xcc]);
    assert_eq!(task.version_mask, 0x00ff_e000);
    // A mask that stays the same is not told again.
    pair.server.allow_versions(0x00ff_e000, &mut pair.to_client);
    assert!(pair.to_client.is_empty());
}

#[test]
fn reconnects_are_followed_to_the_same_host_only_unless_allowed() {
    let to = |host: Option<&str>, port| Notice::Reconnect {
        host: host.map(String::from),
        port,
        wait_s: 1_000_000,
    };
    let told = |follow, notice: &Notice| {
        let mut wanted = Wanted::new(KEY);
        wanted.follow = follow;
        let mut pair = Pair::new(wanted);
        pair.server.tell(notice, &mut pair.to_client);
        pair.run();
        pair.told.pop().unwrap()
    };
    let reconnect = |host: Option<&str>, port| Told::Reconnect {
        host: host.map(String::from),
        port,
        wait_s: 3_600,
    };
    let here = to(Some("POOL.example"), Some(3_334));
    let away = to(Some("evil.example"), Some(3_334));
    assert_eq!(told(Follow::SameHost, &to(None, None)), reconnect(None, None));
    assert_eq!(told(Follow::SameHost, &here), reconnect(None, Some(3_334)));
    assert_eq!(told(Follow::SameHost, &away), Told::NotFollowed);
    assert_eq!(told(Follow::AnyHost, &away), reconnect(Some("evil.example"), Some(3_334)));
}

/// A client in each stage, what a pool may say, and what it comes to.
#[test]
fn every_line_of_a_pool_in_every_stage_has_its_one_outcome() {
    let hash = "0".repeat(64);
    let notify = line(
        "mining.notify",
        &format!(r#"["j","{hash}","","",[],"20000000","1d00ffff","65538800",true]"#),
    );
    let answer = |id: u32, result: &str| format!(r#"{{"id":{id},"result":{result},"error":null}}"#);
    let refusal = |id: u32| format!(r#"{{"id":{id},"result":null,"error":[20,"no",null]}}"#);
    // Ids: 1 configure, 2 subscribe, 3 authorize.
    let subscribed = answer(2, r#"[[],"aabb",4]"#);
    let stages: [(&str, Vec<String>); 3] = [
        ("greeting", vec![]),
        ("naming", vec![subscribed.clone()]),
        ("mining", vec![subscribed.clone(), answer(3, "true")]),
    ];
    let rows: Vec<(&str, String, [&str; 3])> = vec![
        ("subscribed", subscribed.clone(), ["ok", "foreign", "foreign"]),
        ("no room", answer(2, r#"[[],"aabb",0]"#), ["end", "foreign", "foreign"]),
        ("too much room", answer(2, r#"[[],"aabb",17]"#), ["end", "foreign", "foreign"]),
        ("nonsense", answer(2, "true"), ["end", "foreign", "foreign"]),
        ("not subscribed", refusal(2), ["end", "foreign", "foreign"]),
        ("configured", answer(1, r#"{"version-rolling":true}"#), ["ok"; 3]),
        ("not configured", refusal(1), ["ok"; 3]),
        ("authorized", answer(3, "true"), ["foreign", "ok", "foreign"]),
        ("not authorized", answer(3, "false"), ["foreign", "end", "foreign"]),
        ("nobody's answer", answer(77, "true"), ["foreign"; 3]),
        ("text as id", r#"{"id":"x","result":true}"#.into(), ["foreign"; 3]),
        ("notify", notify, ["end", "ok", "task"]),
        ("difficulty", line("mining.set_difficulty", "[0.1]"), ["ok"; 3]),
        ("difficulty 0", line("mining.set_difficulty", "[0]"), ["end"; 3]),
        ("difficulty -1", line("mining.set_difficulty", "[-1]"), ["end"; 3]),
        ("difficulty 1e400", line("mining.set_difficulty", "[1e400]"), ["end"; 3]),
        ("extranonce", line("mining.set_extranonce", r#"["cc",4]"#), ["end", "ok", "ok"]),
        ("no extranonce", line("mining.set_extranonce", r#"["cc",0]"#), ["end"; 3]),
        ("mask", line("mining.set_version_mask", r#"["00000000"]"#), ["mask"; 3]),
        ("unknown", line("mining.set_goal", "[]"), ["foreign"; 3]),
        ("garbage", "[]".into(), ["end"; 3]),
    ];
    for (name, line, expected) in &rows {
        let mut found = Vec::new();
        for (stage, before) in &stages {
            let mut client = ClientSession::new(Wanted::new(KEY), "host");
            let mut out = String::new();
            client.start(&mut out);
            for line in before {
                client.receive(line.as_bytes(), &mut out).unwrap();
            }
            let was = format!("{client:?}");
            out.clear();
            let told = client.receive(line.as_bytes(), &mut out);
            if told.is_err() {
                assert_eq!(format!("{client:?}"), was, "{name} in {stage} left something");
                assert!(out.is_empty());
            }
            found.push(match told {
                Err(_) => "end",
                Ok(Told::Nothing) => "ok",
                Ok(Told::Task(_)) => "task",
                Ok(Told::VersionMask(_)) => "mask",
                Ok(Told::Foreign) => "foreign",
                Ok(other) => panic!("{other:?}"),
            });
        }
        println!("{name:>16} {found:?}");
        assert_eq!(&found, expected, "{name}");
    }
}

#[test]
fn job_that_comes_before_the_name_is_accepted_is_taken_up_then() {
    let mut client = ClientSession::new(Wanted::new(KEY), "host");
    let mut out = String::new();
    client.start(&mut out);
    let mut tell = |line: &str| client.receive(line.as_bytes(), &mut out).unwrap();
    tell(r#"{"id":2,"result":[[],"aabb",12],"error":null}"#);
    tell(r#"{"id":null,"method":"mining.set_difficulty","params":[2]}"#);
    let mut early = String::new();
    Notice::Notify(job()).print(&millstream::stratum::message::RequestId::null(), &mut early);
    assert_eq!(tell(early.trim_end()), Told::Nothing);
    let Told::Task(task) = tell(r#"{"id":3,"result":true,"error":null}"#) else { panic!() };
    assert_eq!(task.target, "2".parse::<Difficulty>().unwrap().target());
    // Twelve bytes of room: four stay zero, eight are searched.
    assert_eq!((task.size, &task.prefix[2..]), (8, &[0xaa, 0xbb, 0, 0, 0, 0][..]));
    let find = Find { extranonce2: 1, version: 0x2000_0000, time: 1, nonce: 2 };
    out.clear();
    assert!(client.submit(&task, &find, &mut out).is_some());
    assert!(out.contains(r#""000000000000000000000001","00000001","00000002"]"#), "{out}");
}

#[test]
fn pool_that_never_answers_is_not_fed_for_ever() {
    let mut pair = Pair::new(Wanted::new(KEY));
    let task = pair.task(1, Target::DIFFICULTY_ONE);
    let mut sent = 0;
    for nonce in 0..2_000 {
        let find = Find { extranonce2: 0, version: 0x2000_0000, time: 1, nonce };
        sent += usize::from(pair.client.submit(&task, &find, &mut pair.to_server).is_some());
    }
    assert_eq!((sent, pair.client.unanswered()), (1_024, 1_024));
}

#[test]
fn refusals_carry_their_numbers() {
    let mut client = ClientSession::new(Wanted::new(KEY), "host");
    client.start(&mut String::new());
    let impossible = r#"{"method":"mining.set_difficulty","params":[1e-400]}"#;
    let refused = client.receive(impossible.as_bytes(), &mut String::new());
    assert_eq!(refused, Err(StratumError::Difficulty(DifficultyError::TooEasy)));
    let refusal = r#"{"id":2,"result":null,"error":[-7,"full",null]}"#;
    let refused = client.receive(refusal.as_bytes(), &mut String::new());
    assert_eq!(refused, Err(StratumError::Refused { code: -7 }));
}
