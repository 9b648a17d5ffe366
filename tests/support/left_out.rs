//! Tests that cannot run here say so; where `CI` is set, they fail instead.

use std::{env, io::Write};

/// Reports on the test runner's own error stream, past its capture of what
/// passing tests print, that `what` was not run.
///
/// # Panics
///
/// Where the environment variable `CI` is set: there nothing is left out.
pub fn left_out(what: &str, why: &str) {
    let line = format!("left out: {what}: {why}\n");
    assert!(!is_ci(), "{line}");
    say(&line);
}

/// Writes past the test runner's capture.
pub fn say(line: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Whether this run is one where everything must run.
pub fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}
