//! The names of all tests of this package and of the judge, for tables that name them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every function below a `#[test]` in the sources.
pub(crate) fn all() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    collect(&root.join("src"), &mut names);
    collect(&root.join("tests"), &mut names);
    names
}

fn collect(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, names);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            // Only what runs: a function below a #[test], whichever macro stands around it.
            let text = fs::read_to_string(&path).unwrap();
            let tests = ["#[test]", "#[tokio::test"].map(|mark| text.split(mark).skip(1));
            for after in tests.into_iter().flatten() {
                let name = after.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                names.extend(name.map(|(name, _)| name.trim().to_owned()));
            }
        }
    }
}
