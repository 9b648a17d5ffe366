//! Builds the components of `fixtures/` for WebAssembly, as `guest/artifact/build.rs` builds the real one.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, exit},
};

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let fixtures = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("fixtures");
    for path in ["fixtures", "../wit", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    // Not the outer target directory itself: two cargos would wait for each other's lock.
    let target = outer_target_directory().join("fixtures");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(&fixtures)
        .args(["build", "--locked", "--workspace", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target);
    clean(&mut cargo);
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => stop(&format!("building the test components failed ({status}); its errors are above")),
        Err(error) => stop(&format!("cargo could not be run for the test components: {error}")),
    }
    println!("cargo::rustc-env=DNS_MANAGER_FIXTURES={}", target.join(TARGET).join("release").display());
}

/// What the outer build says of flags, wrappers and profiles is about the outer build.
fn clean(cargo: &mut Command) {
    for key in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_BUILD_DIR",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
    ] {
        cargo.env_remove(key);
    }
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("CARGO_PROFILE_") || key.starts_with("CARGO_FEATURE_")) {
            cargo.env_remove(key);
        }
    }
}

/// Cargo marks its target directory with a CACHEDIR.TAG; the directory of this script's output lies below it.
fn outer_target_directory() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    out.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .unwrap_or_else(|| Path::new(&out))
        .to_owned()
}

fn variable(name: &str) -> std::ffi::OsString {
    env::var_os(name).unwrap_or_else(|| stop(&format!("cargo did not set {name}")))
}

fn stop(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
