//! `millstream verify-receipt`: a receipt that one process wrote, checked by another from its file.
//!
//! The receipts are those of the frozen vectors.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use bitcoin::{Network, XOnlyPublicKey};
use hex::FromHex;
use millstream::keys::{Context, Seed};
use millstream::stream::Terms;
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_millstream");
const CASE: &str = "tariff and signed meter statement";

/// A folder with a receipt, and the key of the payee who signed it.
struct Desk {
    root: tempfile::TempDir,
    bytes: Vec<u8>,
    payee: XOnlyPublicKey,
}

impl Desk {
    /// The receipt of the item at `at` of the case.
    fn new(at: u64) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/batch_v1.json");
        let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let cases = document["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["name"] == CASE).unwrap();
        let receipts = case["receipts"].as_array().unwrap();
        let receipt = receipts.iter().find(|receipt| receipt["at"] == at).unwrap();
        let bytes = Vec::from_hex(receipt["bytes"].as_str().unwrap()).unwrap();
        let desk = Self { root: tempfile::tempdir().unwrap(), bytes, payee: base_key(2) };
        desk.write("receipt", &desk.bytes);
        desk
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.root.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Checks the file `name`, with more arguments.
    fn verify(&self, name: &str, more: &[&str]) -> Output {
        let mut command = Command::new(BIN);
        let command = command.arg("verify-receipt").arg(self.root.path().join(name)).args(more);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The sentence of a receipt that stands.
    fn good(&self, more: &[&str]) -> String {
        let out = self.verify("receipt", more);
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
        one_line(&text(&out.stdout))
    }

    /// Why it is refused.
    fn bad(&self, name: &str, more: &[&str]) -> String {
        let out = self.verify(name, more);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()), "{more:?}");
        one_line(&text(&out.stderr)).strip_prefix("millstream: ").unwrap().to_owned()
    }
}

fn base_key(seed: u8) -> XOnlyPublicKey {
    Seed::new([seed; 32]).base_key(&Context::new(), Network::Regtest).unwrap().public()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn one_line(text: &str) -> String {
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

#[test]
fn receipt_is_verified_by_another_process_with_the_payees_key_or_terms() {
    let desk = Desk::new(1);
    let payee = desk.payee.to_string();
    let sentence = desk.good(&["--payee", &payee]);
    for part in [
        "2750 msat were paid for item 2 of lane 4 (22000 units at 450000 msat per 3600000)",
        "one of 5 items of 8250 msat together",
        "in channel 0707070707070707070707070707070707070707070707070707070707070707:1",
        "by tariff ",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    assert!(sentence.ends_with(&format!("signed by the payee {payee}")), "{sentence}");
    let terms = Terms::new(Network::Regtest, desk.payee).unwrap();
    for bytes in [terms.to_text().into_bytes(), terms.encode()] {
        let file = desk.write("terms", &bytes);
        assert_eq!(desk.good(&["--terms", &file]), sentence);
    }
    let unknown = desk.good(&[]);
    let end = format!("signed by {payee}: not verified against a known payee");
    assert!(unknown.ends_with(&end), "{unknown}");
    // An item that costs nothing shows the document that it is for.
    assert!(Desk::new(4).good(&["--payee", &payee]).contains("which refers to document "));
}

#[test]
fn receipt_of_another_payee_is_refused_by_the_command() {
    let desk = Desk::new(1);
    let other = base_key(3);
    let why = format!("the receipt is refused: signed by {}, not by {other}", desk.payee);
    assert_eq!(desk.bad("receipt", &["--payee", &other.to_string()]), why);
    let terms = Terms::new(Network::Regtest, other).unwrap();
    let file = desk.write("terms", terms.to_text().as_bytes());
    assert_eq!(desk.bad("receipt", &["--terms", &file]), why);
}

#[test]
fn receipt_with_a_bit_changed_is_refused_by_the_command_with_the_reason() {
    let desk = Desk::new(4);
    let payee = desk.payee.to_string();
    // One bit of each byte: that every bit counts is shown where the receipt is read.
    for (at, bit) in (0..desk.bytes.len()).zip((0..8).cycle()) {
        let mut changed = desk.bytes.clone();
        changed[at] ^= 1 << bit;
        desk.write("changed", &changed);
        let why = desk.bad("changed", &["--payee", &payee]);
        assert!(why.starts_with("the receipt is refused: "), "byte {at}: {why}");
        // Whoever trusts the signer that the receipt itself names is not fooled either.
        desk.bad("changed", &[]);
    }
    println!("{} changed receipts refused, with a known payee and without", desk.bytes.len());
}

#[test]
fn file_that_is_no_receipt_is_refused_by_the_command() {
    let desk = Desk::new(1);
    let short = "the receipt is refused: not a receipt: bytes end too early";
    for (name, bytes) in [("empty", &[][..]), ("cut", &desk.bytes[..desk.bytes.len() - 1])] {
        desk.write(name, bytes);
        assert_eq!(desk.bad(name, &[]), short);
    }
    desk.write("long", &[desk.bytes.clone(), vec![0; 100_000]].concat());
    assert!(desk.bad("long", &[]).contains("bytes too many"));
    assert!(desk.bad("absent", &[]).contains("cannot be used"));
    let file = desk.write("terms", b"no terms");
    assert!(!desk.bad("receipt", &["--terms", &file]).is_empty());
    // Neither both, nor a key that is none.
    let payee = desk.payee.to_string();
    let both = desk.verify("receipt", &["--payee", &payee, "--terms", &file]);
    let none = desk.verify("receipt", &["--payee", "00"]);
    assert_eq!((both.status.code(), none.status.code()), (Some(2), Some(2)));
}
