//! The map is true: every file that ARCHITECTURE.md, README.md and SECURITY.md name exists, every
//! word that the map places in a file stands there, every room is in the picture, and every promise
//! of SECURITY.md has its row.
//!
//! Run it alone with `cargo test --test map -- --nocapture`.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands between backticks in a text, with the words before it since the last such span.
struct Span<'a> {
    before: &'a str,
    code: &'a str,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The code spans of one line, in order.
fn spans(line: &str) -> Vec<Span<'_>> {
    let parts: Vec<&str> = line.split('`').collect();
    parts.chunks_exact(2).map(|pair| Span { before: pair[0], code: pair[1] }).collect()
}

/// A path of this repository: our own folders, or a Rust file.
fn is_path(code: &str) -> bool {
    let ours = ["src/", "tests/", "examples/", "benches/", "fuzz/", ".ci/"];
    !code.contains(' ') && ours.iter().any(|folder| code.starts_with(folder))
}

/// The text of a file, or of all Rust files of a folder.
fn text_of(path: &Path) -> String {
    if path.is_file() {
        return fs::read_to_string(path).unwrap_or_default();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| text_of(&entry.path())).collect()
}

/// What a code span names inside a file: the last part of a path, without its call brackets.
fn word(code: &str) -> &str {
    let name = code.rsplit("::").next().unwrap_or(code);
    name.split('(').next().unwrap_or(name).trim()
}

/// Claims "`word` in `file`" and "`file` `word`" of a line, as (word, file).
fn claims(line: &str) -> Vec<(&str, &str)> {
    let spans = spans(line);
    let mut claims = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        if !is_path(span.code) {
            // A word directly behind its file.
            let file = index.checked_sub(1).and_then(|last| spans.get(last));
            if let Some(file) = file.filter(|file| is_path(file.code) && span.before == " ") {
                claims.push((word(span.code), file.code));
            }
        } else if matches!(span.before.trim(), "in" | "of" | ", input") || span.before == " in " {
            let named = index.checked_sub(1).and_then(|last| spans.get(last));
            if let Some(named) = named.filter(|named| !is_path(named.code)) {
                claims.push((word(named.code), span.code));
            }
        }
    }
    claims
}

#[test]
fn every_file_that_the_pages_name_exists() {
    let mut named = 0;
    for name in ["ARCHITECTURE.md", "README.md", "SECURITY.md"] {
        for line in page(name).lines() {
            for span in spans(line).into_iter().filter(|span| is_path(span.code)) {
                named += 1;
                let path = root().join(span.code);
                assert!(path.exists(), "{name} names {}, which is not there", span.code);
            }
        }
    }
    println!("{named} files named");
    assert!(named > 30, "only {named} files were found in the pages");
}

/// Whether a text defines the word: an item of that name, and not a comment or a use of it.
fn defines(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.into_iter().any(|line| {
        line.match_indices(word).any(|(at, _)| {
            let (before, rest) = (&line[..at], &line[at + word.len()..]);
            let keyword = before.trim_end().rsplit(|c| !part(c) && c != '!').next();
            let item = ["fn", "const", "struct", "enum", "type", "trait", "macro_rules!"];
            before.ends_with(' ')
                && !rest.starts_with(part)
                && keyword.is_some_and(|keyword| item.contains(&keyword))
        })
    })
}

#[test]
fn every_word_that_the_map_places_is_defined_in_its_file() {
    let map = page("ARCHITECTURE.md");
    let (mut checked, mut missing) = (0, Vec::new());
    for line in map.lines() {
        for (word, file) in claims(line) {
            checked += 1;
            if !defines(&text_of(&root().join(file)), word) {
                missing.push(format!("{word} in {file}"));
            }
        }
    }
    println!("{checked} words placed");
    assert!(missing.is_empty(), "the map places what is not defined there: {missing:?}");
    assert!(checked >= 15, "only {checked} claims were read");
}

#[test]
fn definition_is_told_from_a_comment_and_a_use() {
    for text in
        ["pub(super) fn pay(", "    pub const fn pay<T>(", "struct pay;", "macro_rules! pay {"]
    {
        assert!(defines(text, "pay"), "{text}");
    }
    for text in
        ["// fn pay(", "self.pay(", "fn payer(", "fn repay(", "let pay = 1", "/// struct pay"]
    {
        assert!(!defines(text, "pay"), "{text}");
    }
}

#[test]
fn every_room_is_in_the_picture_and_in_the_table() {
    let map = page("ARCHITECTURE.md");
    let picture: String = map.split("```").nth(1).unwrap_or_default().into();
    let mut rooms = 0;
    for entry in fs::read_dir(root().join("src")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name == "bin" || !entry.path().is_dir() {
            continue;
        }
        rooms += 1;
        let shown = picture.split(|c: char| !c.is_alphanumeric()).any(|part| part == name);
        assert!(shown, "room {name} is not in ARCHITECTURE.md's picture");
        assert!(map.contains(&format!("\n| `{name}` | ")), "room {name} has no row in the table");
    }
    assert!(rooms >= 13, "only {rooms} rooms were found");
}

#[test]
fn every_promise_has_its_line_and_its_test() {
    let (map, security) = (page("ARCHITECTURE.md"), page("SECURITY.md"));
    let promises: Vec<&str> = security
        .lines()
        .filter_map(|line| line.strip_prefix("- **P"))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    assert_eq!(promises, ["1", "2", "3", "4", "5", "6", "7"]);
    for promise in promises {
        let row = map.lines().find(|line| line.starts_with(&format!("| P{promise} ")));
        let row = row.unwrap_or_else(|| panic!("P{promise} has no row in ARCHITECTURE.md"));
        let cells: Vec<&str> = row.split('|').collect();
        assert!(cells.len() == 5, "P{promise}: {row}");
        let line = cells.get(2).copied().unwrap_or_default();
        assert!(line.contains(".rs`"), "P{promise} names no file that keeps it");
        // The file says so itself, so that whoever edits the line knows what it keeps.
        let marked = spans(line).iter().any(|span| {
            is_path(span.code) && text_of(&root().join(span.code)).contains(&format!("P{promise}:"))
        });
        assert!(marked, "no file in the row of P{promise} marks its line with \"P{promise}:\"");
    }
}

#[test]
fn claims_are_read_in_both_forms_and_others_are_not() {
    assert_eq!(claims("x `commit` in `src/a.rs` and"), [("commit", "src/a.rs")]);
    assert_eq!(claims("| `src/a.rs` `Node::pay` |"), [("pay", "src/a.rs")]);
    assert_eq!(claims("`src/a.rs`, `tests/b.rs`"), []);
}
