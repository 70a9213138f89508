//! `pool` and `mine` together as users drive them: shares become vouchers, vouchers become a coin.

mod cli_support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use cli_support::{BIN, Dirs, bad, good, path};

/// 2^12 hashes a share, which brings 10,000 msat; every fourth is a block.
const SHARE: [&str; 6] =
    ["--share-bits", "12", "--msat-per-mhash", "2560000", "--block-bits", "14"];
const SHARE_MSAT: u64 = 10_000;
/// Long on a busy machine, short against a hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// The generator point's x: a key that everybody knows.
const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// A running pool, at any free ports; a block of its own every 100 ms.
struct Pool {
    child: Child,
    lines: Receiver<String>,
    stratum: String,
    channels: String,
    chain: String,
}

impl Pool {
    fn open(dir: &Path, more: &[&str]) -> Self {
        let free = "127.0.0.1:0";
        let args = ["pool", "--listen", free, "--channels", free, "--chain", free];
        let mut command = Command::new(BIN);
        command.args(args).args(["--block-ms", "100", "--dir"]).arg(dir);
        // Few shares are worth a channel here, unless a test says what is.
        if !more.contains(&"--channel-at-msat") {
            command.args(["--channel-at-msat", "1"]);
        }
        command.args(more);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (out, lines) = (child.stdout.take().unwrap(), mpsc::channel());
        thread::spawn(move || {
            let printed = BufReader::new(out).lines().map_while(Result::ok);
            // The test may have ended.
            printed.map_while(|line| lines.0.send(line).ok()).for_each(drop);
        });
        let lines = lines.1;
        let [stratum, channels, chain] = ["stratum ", "channels ", "chain "].map(|word| {
            let line = lines.recv_timeout(PATIENCE).unwrap();
            line.strip_prefix(word).unwrap_or_else(|| panic!("{word}: {line:?}")).to_owned()
        });
        Self { child, lines, stratum, channels, chain }
    }

    /// A miner that is paid here, until it ends.
    fn mine(&self, dir: &Path, more: &[&str]) -> String {
        let base = ["mine", "--pool", &self.stratum, "--channels", &self.channels];
        let base = [&base[..], &["--chain", &self.chain, "--dir", path(dir)]].concat();
        good(&[&base[..], more].concat())
    }

    /// Ends as by an operator, and gives the rest of what it printed.
    fn close(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let rest: String = self.lines.iter().map(|line| line + "\n").collect();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

/// As by a power cut; and a test that fails leaves no process behind.
impl Drop for Pool {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The numbers of a line.
fn numbers<const N: usize>(line: &str) -> [u64; N] {
    let words = line.split([' ', ',', ':']).filter_map(|word| word.parse().ok());
    words.collect::<Vec<u64>>().try_into().unwrap_or_else(|_| panic!("{line}"))
}

fn line<'a>(printed: &'a str, start: &str) -> &'a str {
    let found = printed.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line {start}: {printed}"))
}

/// What a miner ended with: accepted, refused.
fn sum(printed: &str) -> (u64, u64) {
    let [_, accepted, refused, _] = numbers(printed.lines().last().unwrap());
    // A share may cross a new tip on its way; nothing else is wrong with one.
    let late = printed.matches("refused, code 21").count();
    assert_eq!(refused, u64::try_from(late).unwrap(), "{printed}");
    (accepted, refused)
}

/// What vouchers brought, and what is unpaid.
fn earned(printed: &str) -> [u64; 2] {
    numbers(line(printed, "earned "))
}

#[cfg(unix)]
#[test]
fn shares_are_paid_by_vouchers_to_the_msat_over_a_power_cut_and_settled_to_a_coin() {
    let dirs = Dirs::new();
    let (house, rig) = (dirs.at("house"), dirs.at("rig"));
    let price = ["--msat-per-mhash", "2560000"];
    let pool = Pool::open(&house, &SHARE);
    let first = pool.mine(&rig, &[&["--shares", "60"][..], &price].concat());
    let (accepted, _) = sum(&first);
    assert!(accepted >= 60, "{first}");
    assert_eq!(earned(&first), [accepted * SHARE_MSAT, 0], "{first}");
    // Nobody orderly ends it.
    drop(pool);

    let pool = Pool::open(&house, &SHARE);
    // Whoever has no payee is credited under its key.
    let alone = good(&["mine", "--pool", &pool.stratum, "--user", KEY, "--shares", "5"]);
    let kept = sum(&alone).0 * SHARE_MSAT;
    let second = pool.mine(&rig, &[&["--shares", "20", "--settle"][..], &price].concat());
    let all = accepted + sum(&second).0;
    assert_eq!(earned(&second), [all * SHARE_MSAT, 0], "{second}");
    let coin = line(&second, "coin ");
    assert!(coin.contains(" sat at height "), "{coin}");
    let printed = pool.close();
    let worker = line(&first, "worker ").strip_prefix("worker ").unwrap();
    let paid = all * SHARE_MSAT;
    let books = format!("worker {worker}: {all} shares, credited {paid} msat, paid {paid} msat");
    assert_eq!(line(&printed, &format!("worker {worker}")), books);
    let books = format!("credited {kept} msat, paid 0 msat");
    assert!(line(&printed, &format!("worker {KEY}")).ends_with(&books), "{printed}");
    // Of 25 shares: none of them is a block once in a thousand runs; of the chain's own there are
    // more than enough, so this is said and not demanded.
    let [blocks] = numbers(printed.lines().last().unwrap());
    assert_eq!(blocks, u64::try_from(printed.matches(" at height ").count()).unwrap());

    // The chain of the pool has its miners' blocks after another start too.
    Pool::open(&house, &SHARE).close();
}

#[cfg(unix)]
#[test]
fn miner_stops_when_its_pool_pays_too_little_and_says_so() {
    let dirs = Dirs::new();
    let pool = Pool::open(&dirs.at("house"), &SHARE);
    // It wants twice of what is paid, and risks ten shares of its own price.
    let price = ["--msat-per-mhash", "5120000", "--risk-msat", "200000", "--seconds", "4"];
    let printed = pool.mine(&dirs.at("rig"), &price);
    assert!(printed.contains("stopped: ") && printed.contains("more than is risked"), "{printed}");
    let ((accepted, _), [earned, unpaid]) = (sum(&printed), earned(&printed));
    assert_eq!(earned, accepted * SHARE_MSAT, "{printed}");
    // Above what it risks there is what was on its way, in each of two queues of 64.
    assert!((200_000..200_000 + 2 * SHARE_MSAT * 160).contains(&unpaid), "{printed}");
    pool.close();
}

#[cfg(unix)]
#[test]
fn worker_whose_channel_is_full_is_paid_on_in_the_next_one() {
    // A share brings 600 sat, so that a channel of 10,000 is full after sixteen.
    const MSAT: u64 = 600_000;
    let dirs = Dirs::new();
    let price = ["--msat-per-mhash", "153600000"];
    let dear = ["--share-bits", "12", "--block-bits", "40", "--capacity", "10000"];
    let pool = Pool::open(&dirs.at("house"), &[&dear[..], &price].concat());
    let more = [&["--shares", "36", "--risk-msat", "1000000000"][..], &price].concat();
    let printed = pool.mine(&dirs.at("rig"), &more);
    let paid = sum(&printed).0 * MSAT;
    assert_eq!(earned(&printed), [paid, 0], "{printed}");
    let told = pool.close();
    assert!(told.matches(" pays ").count() >= 3, "{told}");
    let worker = line(&printed, "worker ");
    let books = format!("credited {paid} msat, paid {paid} msat");
    assert!(line(&told, &format!("{worker}:")).ends_with(&books), "{told}");
}

#[cfg(unix)]
#[test]
fn worker_to_whom_little_is_owed_keeps_its_credit_and_gets_no_channel_yet() {
    let dirs = Dirs::new();
    let (house, rig) = (dirs.at("house"), dirs.at("rig"));
    let pool = Pool::open(&house, &[&SHARE[..], &["--channel-at-msat", "1000000000"]].concat());
    let price = ["--msat-per-mhash", "2560000"];
    let printed = pool.mine(&rig, &[&["--seconds", "2"][..], &price].concat());
    let owed = sum(&printed).0 * SHARE_MSAT;
    assert_eq!(earned(&printed), [0, owed], "{printed}");
    let told = pool.close();
    assert!(!told.lines().any(|line| line.starts_with("channel ")), "{told}");
    // With the pool's next rule it is owed enough.
    let pool = Pool::open(&house, &SHARE);
    let printed = pool.mine(&rig, &[&["--shares", "1"][..], &price].concat());
    let all = owed + sum(&printed).0 * SHARE_MSAT;
    assert_eq!(earned(&printed), [all, 0], "{printed}");
    pool.close();
}

#[test]
fn pool_and_miner_say_in_one_sentence_what_cannot_be() {
    let dirs = Dirs::new();
    let (house, rig) = (dirs.at("house"), dirs.at("rig"));
    let free = "127.0.0.1:0";
    let args = ["pool", "--dir", path(&house), "--channels", free, "--chain", free];
    let taken = std::net::TcpListener::bind(free).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = bad(&[&args[..], &["--listen", &address]].concat());
    assert!(refused.starts_with(&format!("{address} is in use")), "{refused}");
    assert!(!house.exists(), "made for a start that failed");
    let refused = bad(&[&args[..], &["--listen", free, "--msat-per-mhash", "0"]].concat());
    assert!(refused.contains("price"), "{refused}");
    // A miner that shall be paid needs the chain.
    let args = ["mine", "--dir", path(&rig), "--chain", &address, "--pool", "nowhere"];
    assert!(bad(&args).starts_with("nowhere is no pool"));
    assert!(!rig.exists(), "made for a start that failed");
}
