//! A server in a process of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A running program, ended by its process id when it is dropped. What it
/// prints goes to a file, which is shown when something fails.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with its output in `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log).expect("the log file opens");
        let errors = output.try_clone().expect("the log file's handle is copied");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name, log: log.to_path_buf() }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours to wait for")
    }

    /// The program's path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last lines that it printed.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{} said last:\n{}", self.name, lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// All that it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Ends it at once, as a power failure would.
    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process a signal, by its name without `SIG`.
pub fn signal(process: u32, name: &str) {
    let signal = match name {
        "TERM" => Signal::TERM,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("SIG{other} is not among the signals that are sent here"),
    };
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, signal).unwrap_or_else(|error| panic!("SIG{name} was not sent to {process}: {error}"));
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprint_captured(&self.last_words());
        }
    }
}

/// Into the test runner's capture, which it shows for a test that failed.
#[allow(clippy::print_stderr, reason = "this is a failing test's own output")]
fn eprint_captured(text: &str) {
    eprintln!("{text}");
}
