//! What the process was started in: its environment variables and its working directory.
//!
//! Everything that depends on them takes this instead of asking the process, so that tests (many in one process) hand in
//! their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Environment variables and the working directory.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The variables by name.
    pub variables: BTreeMap<String, String>,
    /// Where relative paths start.
    pub directory: PathBuf,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self { variables, directory: PathBuf::new() }
    }

    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
