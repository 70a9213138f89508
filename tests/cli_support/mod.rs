//! The command line as users drive it: processes, ports, signals. What its tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_millstream");
/// Long on a busy machine, short against a hang.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn millstream(args: &[&str]) -> Output {
    Command::new(BIN).args(args).stdin(Stdio::null()).output().unwrap()
}

/// What a command that must work printed.
pub(crate) fn good(args: &[&str]) -> String {
    let out = millstream(args);
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{args:?}: {}\n{stdout}\n{stderr}", out.status);
    stdout
}

/// The one sentence of a command that must be refused.
pub(crate) fn bad(args: &[&str]) -> String {
    let out = millstream(args);
    let stderr = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {}\n{stderr}", text(&out.stdout));
    let lines: Vec<&str> = stderr.lines().collect();
    let [line] = lines[..] else { panic!("not one line: {stderr}") };
    assert!(!line.contains("panicked"), "{line}");
    line.strip_prefix("millstream: ").unwrap().to_owned()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running payee, stopped orderly when it goes.
pub(crate) struct Shop {
    child: Child,
    /// What it printed and nobody has read.
    lines: Receiver<String>,
    pub(crate) terms: String,
    pub(crate) address: String,
    pub(crate) chain: String,
}

impl Shop {
    /// Blocks every 50 ms, at any free ports.
    pub(crate) fn open(dir: &Path) -> Self {
        Self::with(dir, &[])
    }

    pub(crate) fn with(dir: &Path, more: &[&str]) -> Self {
        let free = "127.0.0.1:0";
        let args = ["serve", "--listen", free, "--chain", free, "--block-ms", "50", "--dir"];
        let mut command = Command::new(BIN);
        let command =
            command.args(args).arg(dir).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, lines) = (child.stdout.take().unwrap(), mpsc::channel());
        thread::spawn(move || {
            let printed = BufReader::new(out).lines().map_while(Result::ok);
            // The test may have ended.
            printed.map_while(|line| lines.0.send(line).ok()).for_each(drop);
        });
        let lines = lines.1;
        let [terms, address, chain] = ["terms ", "listening ", "chain "].map(|word| {
            let line = lines.recv_timeout(PATIENCE).unwrap();
            line.strip_prefix(word).unwrap_or_else(|| panic!("{word}: {line:?}")).to_owned()
        });
        Self { child, lines, terms, address, chain }
    }

    /// A payer that is still at it, to be ended by its caller.
    pub(crate) fn paying(&self, dir: &Path, more: &[&str]) -> Child {
        let base = ["pay", "--to", &self.address, "--chain", &self.chain, "--dir", path(dir)];
        let mut command = Command::new(BIN);
        command.args(base).args(more).stdin(Stdio::null()).spawn().unwrap()
    }

    /// What it prints next that `wanted` takes, and all before it.
    pub(crate) fn until(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            seen = seen + &line + "\n";
            if line.contains(wanted) {
                return seen;
            }
        }
        panic!("not printed: {wanted}; but {seen}");
    }

    pub(crate) fn pay(&self, dir: &Path, more: &[&str]) -> String {
        let base = ["pay", "--to", &self.address, "--chain", &self.chain, "--dir", path(dir)];
        good(&[&base[..], more].concat())
    }

    /// Ends as by an operator, and gives the rest of what it printed.
    pub(crate) fn close(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let rest: String = self.lines.iter().map(|line| line + "\n").collect();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

/// A test that fails leaves no process behind.
impl Drop for Shop {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) struct Dirs {
    root: tempfile::TempDir,
}

impl Dirs {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

pub(crate) fn channel_of(printed: &str) -> String {
    let line = printed.lines().find(|line| line.starts_with("channel ")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}
