//! The other end of the device's serial line: runs an image in the emulator, trades with it, cuts
//! its power, and trades with it again.
//!
//! `host FOLDER EMULATOR ARGUMENT..`: FOLDER is where the device's page of flash is. What the device
//! reports is printed, and at the end what both sides agree on.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use scene::agreed::{BOUGHT, SOLD};
use scene::{Bench, Done, End, Failed, Or, Page, Pages, Port};

/// The secret of this end.
const SEED: [u8; 32] = [0x05; 32];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, emulator, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: host FOLDER EMULATOR ARGUMENT..");
        return ExitCode::from(2);
    };
    match trade(Path::new(folder), emulator, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(what)) => {
            eprintln!("this end failed at: {what}");
            ExitCode::FAILURE
        }
    }
}

fn trade(folder: &Path, emulator: &str, arguments: &[String]) -> Done<()> {
    let mut store = Disk::default();
    let mut totals = Vec::new();
    for boot in ["first", "again"] {
        let mut device = boot_device(folder, emulator, arguments)?;
        let line = Pipe(
            device.stdout.take().or_fail("an output")?,
            device.stdin.take().or_fail("an input")?,
        );
        let mut end = End::new(SEED, line, store, Unmeasured);
        // The device buys what this end sells, and the other way round.
        let (sold, bought) = if boot == "first" {
            (end.sell(BOUGHT)?, end.buy(SOLD)?)
        } else {
            (end.sell_again(BOUGHT)?, end.buy_again(SOLD)?)
        };
        // A power cut at this end too: only the store is left.
        store = end.into_store();
        if !device.wait().or_fail("the device's end")?.success() {
            return Err(Failed("the device failed"));
        }
        println!("{boot}: the device paid {sold}, and was paid {bought}");
        totals.push((sold, bought));
    }
    let grew =
        matches!(totals.as_slice(), [first, again] if again.0 > first.0 && again.1 > first.1);
    if grew { Ok(()) } else { Err(Failed("nothing was paid after the power cut")) }
}

fn boot_device(folder: &Path, emulator: &str, arguments: &[String]) -> Done<Child> {
    let mut command = Command::new(emulator);
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().or_fail("the emulator")
}

/// The emulator's serial line.
struct Pipe(ChildStdout, ChildStdin);

impl Port for Pipe {
    fn read(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    fn write(&mut self, bytes: &[u8]) {
        // A device that is gone is noticed by the next read.
        let _ = self.1.write_all(bytes).and_then(|()| self.1.flush());
    }
}

/// The pages of this end.
#[derive(Default)]
struct Disk(BTreeMap<Page, Vec<u8>>);

impl Pages for Disk {
    fn read(&self, page: Page) -> Option<Vec<u8>> {
        self.0.get(&page).cloned()
    }

    fn write(&mut self, page: Page, record: &[u8]) -> bool {
        self.0.insert(page, record.to_vec());
        true
    }
}

/// This end is not measured here.
struct Unmeasured;

impl Bench for Unmeasured {
    fn time<T>(&mut self, _: &'static str, act: impl FnOnce() -> T) -> T {
        act()
    }
}
