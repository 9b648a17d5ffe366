//! What the process was started in: its environment variables and its working directory.
//!
//! Everything that depends on them takes this instead of asking the process, so that tests (many in one process) hand in
//! their own.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// Environment variables and the working directory.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The variables by name.
    pub variables: BTreeMap<String, String>,
    /// Where relative paths start.
    pub directory: PathBuf,
    /// Which of the standard streams are terminals.
    pub terminal: Terminal,
    /// A program that starts others for us (`provider::exec::guard`); none: they are started as they are.
    pub guard: Option<PathBuf>,
}

/// Which of the standard streams are terminals: where somebody reads along, and can answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        let terminal = Terminal {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        };
        Self { variables, directory: PathBuf::new(), terminal, guard: None }
    }

    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
