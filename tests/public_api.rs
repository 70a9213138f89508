//! The public API as text, compared with the committed `tests/public_api.txt`.
//!
//! Built from the sources by `syn`, so that it is the same under every compiler: for each public
//! module its items, re-exports followed to their definitions, then the public methods and the trait
//! implementations of its types. Macro calls that define items stand as they are written, beside the
//! macros. `MILLSTREAM_BLESS=1 cargo test --test public_api` rewrites the file.

#[path = "public_api/crate_tree.rs"]
mod crate_tree;
#[path = "public_api/print.rs"]
mod print;

use std::path::Path;

use crate_tree::Module;

const SNAPSHOT: &str = "tests/public_api.txt";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn public_api_is_the_committed_one() {
    let krate = Module::load(&root().join("src/lib.rs"));
    let api = print::api(&krate);
    let items = api.lines().filter(|line| !line.is_empty()).count();
    println!("{items} lines of public API");
    assert!(items > 50, "hardly anything was read");
    let path = root().join(SNAPSHOT);
    if std::env::var_os("MILLSTREAM_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &api).unwrap();
        println!("{SNAPSHOT} written");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let changes = changes(&committed, &api);
    assert!(
        committed == api,
        "the public API is not the one of {SNAPSHOT}:\n{}\nIf the change is meant, run \
         `MILLSTREAM_BLESS=1 cargo test --test public_api` and commit the file.",
        changes.join("\n")
    );
}

/// The lines that only one side has, at most 60 of them.
fn changes(old: &str, new: &str) -> Vec<String> {
    let only = |these: &str, those: &str, mark: char| {
        let those: std::collections::BTreeSet<&str> = those.lines().collect();
        let lines = these.lines().filter(|line| !those.contains(line));
        lines.map(|line| format!("{mark} {line}")).collect::<Vec<_>>()
    };
    let mut changes = only(old, new, '-');
    changes.extend(only(new, old, '+'));
    changes.truncate(60);
    changes
}

fn api_of(text: &str) -> String {
    print::api(&Module::parse("crate", text))
}

#[test]
fn api_shows_what_is_public_and_nothing_else() {
    let api = api_of(
        "pub mod room { mod inner {
            /// Doc.
            #[derive(Debug)]
            pub struct A { pub b: u8, c: u16 }
            impl A { pub const fn new(b: u8) -> Self { Self { b, c: 0 } } fn hidden(&self) {} }
            impl Drop for A { fn drop(&mut self) {} }
            struct Hidden;
            impl Hidden { pub fn f() {} }
        }
        pub use inner::A;
        pub(crate) fn not_shown() {}
        pub fn shown<T: Copy>(a: &[T]) -> Option<&T> { a.first() }
        pub mod outer { pub enum E { One, Two(u8), Three { a: u8 } } #[cfg(test)] pub mod tests {} } }",
    );
    let want = "\
mod crate::room
  #[derive(Debug)] pub struct A { pub b: u8, .. }
  impl A: pub const fn new(b: u8) -> Self
  impl Drop for A
  pub fn shown<T: Copy>(a: &[T]) -> Option<&T>

mod crate::room::outer
  pub enum E { One, Two(u8), Three { a: u8 } }

";
    assert_eq!(api, want);
}

#[test]
fn api_changes_with_each_part_of_a_signature() {
    let base = "pub fn f(a: u8) -> u8 { a } pub struct S(pub u8); pub const C: u8 = 1;";
    let changed = [
        base.replace("a: u8", "a: u16"),
        base.replace("-> u8", "-> u16"),
        base.replace("pub fn", "pub const fn"),
        base.replace("S(pub u8)", "S(u8)"),
        base.replace("C: u8", "C: u16"),
        base.replace("C: u8 = 1", "C: u8 = 2"),
        base.replace("pub struct", "#[non_exhaustive] pub struct"),
        base.replace("pub struct", "#[cfg(feature = \"std\")] pub struct"),
        base.replace("pub struct", "struct"),
    ];
    for text in changed {
        assert_ne!(api_of(&text), api_of(base), "{text}");
    }
    assert_eq!(api_of(&base.replace("{ a }", "{ 7 }")), api_of(base));
}
