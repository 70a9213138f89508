//! Lets the linker find the memory of the kernel that was chosen.

use std::env::var;
use std::path::Path;

fn main() {
    let kernel = ["compact", "fast"]
        .into_iter()
        .find(|kernel| var(format!("CARGO_FEATURE_{}", kernel.to_uppercase())).is_ok());
    let board = if var("CARGO_CFG_TARGET_ARCH").unwrap() == "arm" { "arm" } else { "riscv" };
    let folder = var("CARGO_MANIFEST_DIR").unwrap();
    let memory = format!("memory/{board}-{}.x", kernel.unwrap_or("default"));
    let out = var("OUT_DIR").unwrap();
    std::fs::copy(Path::new(&folder).join(&memory), Path::new(&out).join("memory.x")).unwrap();
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rerun-if-changed={memory}");
    println!("cargo:rerun-if-changed=build.rs");
}
