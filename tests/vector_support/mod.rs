//! Reading the files of vectors: ours, or those of the same names that a user brings.

use std::path::PathBuf;

use serde_json::Value;

/// The directory of the vectors, and whether a user brought it (`MILLSTREAM_VECTORS=DIR`).
pub(crate) fn directory() -> (PathBuf, bool) {
    match std::env::var_os("MILLSTREAM_VECTORS") {
        Some(dir) => (dir.into(), true),
        None => (PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), false),
    }
}

/// The file `name`.json; `None`, which is printed, if the user's directory has others only.
///
/// A directory without any file fails, and so does a file without a source or without cases.
pub(crate) fn document(name: &str) -> Option<Value> {
    let (dir, brought) = directory();
    let path = dir.join(name).with_extension("json");
    if brought && !path.exists() {
        let files = std::fs::read_dir(&dir).map_or(0, Iterator::count);
        assert!(files > 0, "MILLSTREAM_VECTORS: no file in {}", dir.display());
        println!("{name}: absent");
        return None;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(document["source"].is_string(), "{name} does not name its source");
    let cases = document["cases"].as_array().map_or(0, Vec::len);
    assert!(cases > 0, "{name}: 0 cases");
    println!("{name}: {cases} cases");
    Some(document)
}

/// Runs `check` on every case of a file.
#[allow(clippy::allow_attributes, dead_code, reason = "not every test has cases of one kind only")]
pub(crate) fn each_case(name: &str, check: impl FnMut(&Value)) {
    let document = document(name);
    document.iter().filter_map(|document| document["cases"].as_array()).flatten().for_each(check);
}
