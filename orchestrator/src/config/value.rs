//! A value as somebody wrote it, and where that was.

use std::fmt;
use std::path::PathBuf;

use super::key::{Fallback, Kind};

/// A value before it is understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<Self>),
    /// A TOML value of a type that no key takes, with its text if it is short.
    Other {
        kind: &'static str,
        text: Option<String>,
    },
}

impl Value {
    /// Reads an environment variable, which is text, as the kind of value that its key takes.
    ///
    /// What does not fit stays text, so that the key's own check says what is wrong.
    pub(super) fn from_variable(text: &str, kind: Kind) -> Self {
        let as_text = || Self::Text(text.to_owned());
        match kind {
            Kind::Text | Kind::Path => as_text(),
            Kind::Number => text.trim().parse().map_or_else(|_| as_text(), Self::Number),
            Kind::Switch => text.trim().parse().map_or_else(|_| as_text(), Self::Switch),
            Kind::List | Kind::TextOrList => Self::List(
                text.split([',', ' ', '\t', '\n'])
                    .filter(|item| !item.is_empty())
                    .map(|item| Self::Text(item.to_owned()))
                    .collect(),
            ),
        }
    }

    pub(super) fn from_fallback(fallback: Fallback) -> Option<Self> {
        match fallback {
            Fallback::Text(text) => Some(Self::Text(text.to_owned())),
            Fallback::Number(number) => Some(Self::Number(number)),
            Fallback::Switch(on) => Some(Self::Switch(on)),
            Fallback::Absent => None,
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Number(number) => (*number).into(),
            Self::Switch(on) => (*on).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Other { kind, text } => text.clone().unwrap_or_else(|| (*kind).to_owned()).into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
            Self::Number(number) => number.fmt(f),
            Self::Switch(on) => on.fmt(f),
            Self::List(_) => f.write_str("a list"),
            Self::Other { text: Some(text), .. } => f.write_str(text),
            Self::Other { kind, text: None } => write!(f, "a {kind}"),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) source: Source,
}
