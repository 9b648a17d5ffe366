//! Builds the guest for WebAssembly, in one place for all outer profiles.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, exit},
};

/// A ready component, to be used as it is.
const READY: &str = "DNS_MANAGER_COMPONENT";
const TARGET: &str = "wasm32-wasip2";

fn main() {
    println!("cargo::rerun-if-env-changed={READY}");
    let component = match env::var_os(READY) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo::rerun-if-changed={}", path.display());
            if !path.is_file() {
                stop(&format!("{READY} names {}, which is no file", path.display()));
            }
            path
        }
        None => build(),
    };
    println!("cargo::rustc-env=DNS_MANAGER_COMPONENT_PATH={}", component.display());
}

fn build() -> PathBuf {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../..");
    for path in ["guest/src", "guest/Cargo.toml", "Cargo.toml", "Cargo.lock", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    if !target_is_installed(&root) {
        stop(&format!("the target {TARGET} is not installed; add it with: rustup target add {TARGET}"));
    }
    // Not the outer target directory itself: two cargos would wait for each other's lock.
    let target = outer_target_directory().join("guest");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(&root)
        .args([
            "build",
            "--locked",
            "--package",
            "dns-manager-guest",
            "--lib",
            "--profile",
            "guest",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&target);
    clean(&mut cargo);
    match cargo.status() {
        Ok(status) if status.success() => target.join(TARGET).join("guest/dns_manager_guest.wasm"),
        Ok(status) => stop(&format!("building the component failed ({status}); its errors are above")),
        Err(error) => stop(&format!("cargo could not be run for the component: {error}")),
    }
}

/// What the outer build says of flags, wrappers and profiles is about the outer build: coverage or `-D warnings` there
/// must not reach the component.
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

fn target_is_installed(root: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).current_dir(root).args(["--print", "target-libdir", "--target", TARGET]).output();
    output.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim_end()).is_dir()
    })
}

/// Cargo marks its target directory with a CACHEDIR.TAG; the directory of this script's output lies below it.
fn outer_target_directory() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    out.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file()).unwrap_or(&out).to_path_buf()
}

fn variable(name: &str) -> std::ffi::OsString {
    env::var_os(name).unwrap_or_else(|| stop(&format!("cargo did not set {name}")))
}

fn stop(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
