//! What `config show` shows.

use serde::Serialize;

use super::value::{Source, Written};

/// Words in the name of a free setting that mark its value as a secret.
const SECRET_WORDS: [&str; 6] = ["password", "passwd", "secret", "token", "credential", "key"];
const MASK: &str = "********";

/// A key, its value and where that came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// The key, with its tables.
    pub key: String,
    /// The value; null: there is none.
    pub value: serde_json::Value,
    /// `default`, `FILE:LINE`, or the name of an environment variable.
    pub source: String,
}

impl Shown {
    pub(super) fn absent(path: &str) -> Self {
        Self::derived(path, serde_json::Value::Null)
    }

    /// A value that nobody wrote; it follows from others.
    pub(super) fn derived(path: &str, value: serde_json::Value) -> Self {
        Self { key: path.to_owned(), value, source: Source::Default.to_string() }
    }

    pub(super) fn written(path: &str, written: &Written) -> Self {
        Self { key: path.to_owned(), value: written.value.to_json(), source: written.source.to_string() }
    }

    /// A free setting: a plugin's secret is not shown.
    pub(super) fn setting(path: &str, name: &str, written: &Written) -> Self {
        let name = name.to_ascii_lowercase();
        let mut shown = Self::written(path, written);
        if SECRET_WORDS.iter().any(|word| name.contains(word)) {
            shown.value = MASK.into();
        }
        shown
    }
}
