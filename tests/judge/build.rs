//! Compiles the shim against the headers of the kernel that Cargo has just built.
//!
//! The kernel's crate tells nobody where its sources are, but `CMake` wrote it down: the cache in its
//! build directory names the home directory, and the build directory holds the generated header.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The version that `Cargo.toml` pins; the shim uses Core's internal headers.
const KERNEL: &str = "libbitcoinkernel-sys-0.4.1";

fn main() {
    println!("cargo:rerun-if-changed=shim/judge.cpp");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (build, source) = kernel(&out).unwrap_or_else(|| {
        panic!("no CMakeCache.txt of {KERNEL} stands beside {}", out.display());
    });
    let mut shim = cc::Build::new();
    // -isystem: warnings in Core's own headers are not ours to repair.
    for folder in [build.join("src"), source.join("src"), source.join("src/leveldb/include")] {
        shim.flag("-isystem").flag(folder);
    }
    shim.cpp(true)
        .std("c++20")
        .define("BITCOINKERNEL_STATIC", None)
        .define("BOOST_MULTI_INDEX_DISABLE_SERIALIZATION", None)
        .define("BOOST_NO_CXX98_FUNCTION_BASE", None)
        .file("shim/judge.cpp")
        .compile("judge_shim");
}

/// The kernel's newest build directory, and the source directory it was made from.
fn kernel(out: &Path) -> Option<(PathBuf, PathBuf)> {
    let builds = out.ancestors().find(|folder| folder.ends_with("build"))?;
    let mut caches = Vec::new();
    collect(builds, 4, &mut caches);
    let mut found: Vec<_> = caches
        .into_iter()
        .filter_map(|cache| {
            let source = home(&fs::read_to_string(&cache).ok()?)?;
            let built = fs::metadata(&cache).and_then(|data| data.modified()).ok()?;
            Some((built, cache.parent()?.to_path_buf(), source))
        })
        .filter(|(_, _, source)| source.to_string_lossy().contains(KERNEL) && source.is_dir())
        .collect();
    found.sort();
    found.pop().map(|(_, build, source)| (build, source))
}

fn home(cache: &str) -> Option<PathBuf> {
    let line = cache.lines().find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="));
    line.map(PathBuf::from)
}

fn collect(folder: &Path, depth: u32, caches: &mut Vec<PathBuf>) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.ends_with("CMakeCache.txt") {
            caches.push(path);
        } else if path.is_dir() {
            collect(&path, deeper, caches);
        }
    }
}
