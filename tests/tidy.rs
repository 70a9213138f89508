//! The house rules that no lint knows: which room imports which, what the pure core must not
//! contain, how large files and functions may be, and how much a room may show.
//!
//! The rules are data in `tidy/tables.rs`; each is seen failing on a bad sample here before the
//! tree is checked. Run it alone with `cargo test --test tidy -- --nocapture`.

#[path = "tidy/blame.rs"]
mod blame;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tables.rs"]
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use rules::{Counts, Finding};
use source::{Source, Tree};

/// The tree of the package; the workspaces inside it are packages of their own.
fn tree() -> Tree {
    Tree::load(Path::new(env!("CARGO_MANIFEST_DIR")), &["src", "tests", "examples", "benches"])
}

#[test]
fn tree_keeps_the_rules() {
    let tree = tree();
    let mut counts = Counts::default();
    let findings = rules::check(&tree, &mut counts);
    println!("{counts}");
    assert!(counts.files > 0 && counts.functions > 0 && counts.imports > 0, "nothing was read");
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), shown.join("\n"));
}

#[test]
fn public_items_of_each_folder_are_few_or_excused() {
    let tree = tree();
    let mut total = 0;
    let mut findings = Vec::new();
    for (folder, items) in rules::public_items(&tree) {
        let limit = tables::public_limit(&folder);
        let reason = tables::PUBLIC_EXCEPTIONS
            .iter()
            .find(|exception| exception.folder == folder)
            .map_or(String::new(), |exception| format!(" ({})", exception.reason));
        println!("{folder}: {} public items, limit {limit}{reason}", items.len());
        if items.len() > limit {
            findings.push(format!(
                "{folder}: {} public items, limit {limit}: {}. Hide some, split the folder, or add \
                 it with a reason to PUBLIC_EXCEPTIONS in tests/tidy/tables.rs",
                items.len(),
                items.join(", ")
            ));
        }
        total += items.len();
    }
    assert!(total > 0, "nothing was read");
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn every_error_says_who_is_to_blame() {
    let errors = blame::check(&tree());
    println!("{} errors: {:?}", errors.names.len(), errors.names);
    assert!(errors.names.len() > 20, "hardly anything was read");
    assert!(errors.findings.is_empty(), "\n{}", errors.findings.join("\n"));
}

#[test]
fn error_that_blames_nobody_or_lumps_variants_together_is_found() {
    let named = "//! x\npub enum AError { B }\n";
    let derived = "//! x\n#[derive(Debug, thiserror::Error)]\npub enum LinkEnd { B }\n";
    let lumped = "//! x\npub enum AError { B }\nimpl AError {\n fn blame(&self) -> Blame {\n  \
                  match self { _ => Blame::Us }\n }\n}\n";
    let good = "//! x\npub enum AError { B }\nimpl AError {\n fn blame(&self) -> Blame {\n  \
                match self { Self::B => Blame::Us }\n }\n}\n";
    let found = |text| {
        let sources = vec![Source::new("src/tx/a.rs", text)];
        blame::check(&Tree { sources }).findings.join(" ")
    };
    assert_eq!(found(named), "src/tx/a.rs: AError has no blame()");
    assert_eq!(found(derived), "src/tx/a.rs: LinkEnd has no blame()");
    assert_eq!(found(lumped), "src/tx/a.rs:5: blame() of AError has an arm `_`; name the variants");
    assert_eq!(found(good), "");
}

#[test]
fn exceptions_are_still_needed() {
    let tree = tree();
    let public = rules::public_items(&tree);
    for exception in tables::PUBLIC_EXCEPTIONS {
        let count = public.get(exception.folder).map_or(0, Vec::len);
        assert!(count > tables::PUBLIC_MAX, "{} no longer needs its exception", exception.folder);
    }
    for path in tables::UNSAFE_FILES {
        assert!(tree.sources.iter().any(|source| source.path == *path), "{path} is gone");
    }
}

/// The rules that one sample file breaks, with the lines.
fn broken(path: &str, text: &str) -> Vec<(&'static str, usize)> {
    let tree = Tree { sources: vec![Source::new(path, text)] };
    let mut found: Vec<_> = rules::check(&tree, &mut Counts::default())
        .iter()
        .map(|Finding { rule, line, .. }| (*rule, *line))
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn each_rule_fails_on_its_bad_sample() {
    let long_line = format!("//! x\n// {}\n", "x".repeat(98));
    let long_file = format!("//! x\n{}", "// y\n".repeat(600));
    let long_function = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(69));
    #[expect(clippy::type_complexity, reason = "a table: path, text, findings")]
    let samples: &[(&str, &str, &[(&str, usize)])] = &[
        ("src/tx/a.rs", "//! x\nuse crate::stream::Payer;\n", &[("rank", 2)]),
        ("src/tx/a.rs", "//! x\nuse crate::meter::Tariff;\n", &[("rank", 2)]),
        (
            "src/tx/a.rs",
            "//! x\nuse crate::{\n  units::Sat,\n  node::{A, B},\n};\n",
            &[("rank", 4)],
        ),
        ("src/tx/a.rs", "//! x\nfn f() { crate::node::g() }\n", &[("rank", 2)]),
        ("src/tx/a.rs", "//! x\nuse super::super::node::A;\n", &[("rank", 2)]),
        ("src/tx/a.rs", "//! x\nmod b {\n use super::super::super::node::A;\n}\n", &[("rank", 3)]),
        ("src/tx/a.rs", "//! x\nm! { $crate::node::A }\n", &[("rank", 2)]),
        ("src/tx/a.rs", "//! x\nuse crate::kitchen::Sink;\n", &[("rank", 2)]),
        ("src/kitchen/mod.rs", "//! x\n", &[("rank", 1)]),
        ("src/tx/a.rs", "//! x\nuse std::vec::Vec;\n", &[("ban", 2)]),
        ("src/tx/a.rs", "//! x\nuse alloc::sync::{Arc, Weak};\n", &[("ban", 2)]),
        ("src/tx/a.rs", "//! x\nuse alloc::{rc::Rc, sync::Arc};\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f() { Instant::now(); }\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f() { let r = OsRng; }\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f() { println!(\"x\"); }\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nstruct A { b: HashMap<u8, u8> }\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f(a: f64) {}\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nconst A: Rate = rate(1.5);\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f() { panic!(); }\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f() { assert!(true); }\n", &[("ban", 2)]),
        ("src/node/a.rs", "//! x\nfn f() { g().unwrap(); }\n", &[("ban", 2)]),
        ("src/rt/a.rs", "//! x\nfn f() { unsafe { g() } }\n", &[("unsafe", 2)]),
        ("src/sha256/mod.rs", "//! x\nfn f() { unsafe { g() } }\n", &[("unsafe", 2)]),
        ("src/sha256/avx2.rs", "//! x\nuse crate::units::Sat;\n", &[("rank", 2)]),
        ("src/merkle/a.rs", "//! x\nuse crate::store::Key;\n", &[("rank", 2)]),
        ("src/rt/a.rs", "//! x\ntype A = u8;\n", &[("alias", 2)]),
        ("src/rt/a.rs", "//! x\nuse crate::units::*;\n", &[("glob", 2)]),
        ("src/rt/a.rs", "//! x\n// \u{e9}\n", &[("ascii", 2)]),
        ("src/rt/a.rs", &long_line, &[("columns", 2)]),
        ("src/rt/a.rs", "// x\n", &[("heading", 1)]),
        ("tests/a.rs", "// x\n", &[("heading", 1)]),
        ("src/rt/a.rs", &long_file, &[("file", 601)]),
        ("src/rt/a.rs", &long_function, &[("function", 2)]),
        ("tests/a.rs", &long_function, &[("function", 2)]),
    ];
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, text, want) in samples {
        assert_eq!(broken(path, text), *want, "{path}: {text}");
        for (rule, _) in *want {
            *seen.entry(rule).or_default() += 1;
        }
    }
    println!("bad samples by rule: {seen:?}");
    let missing: Vec<_> = rules::RULES.iter().filter(|rule| !seen.contains_key(*rule)).collect();
    assert!(missing.is_empty(), "no bad sample of {missing:?}");
}

#[test]
fn good_samples_break_nothing() {
    let last_good_line = format!("//! x\n// {}\n", "x".repeat(97));
    let last_good_file = format!("//! x\n{}", "// y\n".repeat(599));
    let last_good_function = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(68));
    let samples: &[(&str, &str)] = &[
        ("src/tx/a.rs", "//! x\nuse crate::units::Sat;\nuse super::Voucher;\nuse crate::tx::A;\n"),
        ("src/tx/a.rs", "//! x\nuse crate::Arc;\n"),
        ("src/tx/a.rs", "//! x\nmod b {\n use super::super::node;\n}\n"),
        ("src/tx/a.rs", "//! x\npub(crate) fn f() { debug_assert!(true); }\n"),
        (
            "src/tx/a.rs",
            "//! x\n#[cfg(test)]\nmod tests {\n use super::*;\n fn f() { g().unwrap() }\n}\n",
        ),
        ("src/tx/tests.rs", "//! x\nuse super::*;\n#[test]\nfn f() { panic!(\"{}\", 0.5) }\n"),
        ("src/sha256/avx2.rs", "//! x\nfn f() { unsafe { g() } }\n"),
        ("src/merkle/a.rs", "//! x\nuse crate::sha256::Engine;\nuse crate::units::Msat;\n"),
        ("src/tx/a.rs", "//! HashMap, f64 and panic! in words, unsafe too\n"),
        ("src/tx/a.rs", "//! x\ntrait A { type B; }\nimpl A for C { type B = u8; }\n"),
        ("src/rt/a.rs", "//! x\nuse std::time::Instant;\nuse crate::node::Node;\n"),
        ("src/rt/a.rs", &last_good_line),
        ("src/rt/a.rs", &last_good_file),
        ("src/rt/a.rs", &last_good_function),
    ];
    for (path, text) in samples {
        assert_eq!(broken(path, text), [], "{path}: {text}");
    }
}

/// A module that is declared for tests alone, under whatever name, is test code.
#[test]
fn modules_declared_for_tests_are_test_code() {
    let sources = vec![
        Source::new("src/tx/mod.rs", "//! x\n#[cfg(test)]\nmod model;\n"),
        Source::new("src/tx/model.rs", "//! x\nfn f() { panic!() }\n"),
        Source::new("src/tx/model/deep.rs", "//! x\nfn f() { panic!() }\n"),
        Source::new("src/tx/modelled.rs", "//! x\nfn f() { panic!() }\n"),
    ];
    let findings = rules::check(&Tree { sources }, &mut Counts::default());
    let paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["src/tx/modelled.rs"]);
}
