//! Collects what the configuration file and the environment say, before any of it is understood.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{Error, Problem};
use super::key::{self, Key};
use super::value::{Source, Value, Written};
use crate::environment::Environment;

/// `DNS_MANAGER__ORCHESTRATOR__DNS__TTL` is `orchestrator.dns.ttl`.
const VARIABLE_PREFIX: &str = "DNS_MANAGER__";

const TABLE: &str = "table";

/// All values that somebody wrote.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) known: BTreeMap<&'static str, Written>,
    /// Of the table whose keys are free.
    pub(super) settings: BTreeMap<String, Written>,
    pub(super) problems: Vec<Problem>,
}

impl Collection {
    /// What counts for a key: what was written, else its default.
    pub(super) fn effective(&self, key: &Key) -> Option<Written> {
        self.known
            .get(key.path)
            .cloned()
            .or_else(|| Value::from_fallback(key.fallback).map(|value| Written { value, source: Source::Default }))
    }

    /// Adds the values of a file, shown to people as `path`.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors.iter().map(|error| syntax_problem(path, text, error)).collect()));
        }
        let file = File { path, text };
        self.add_table(&file, "", root.get_ref());
        Ok(())
    }

    fn add_table(&mut self, file: &File<'_>, table: &str, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let segment = quoted(name.get_ref());
            let path = if table.is_empty() { segment } else { format!("{table}.{segment}") };
            let source = file.source_at(name.span().start);
            if table == key::SETTINGS {
                self.settings.insert(name.get_ref().to_string(), Written { value: from_toml(value.get_ref()), source });
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) if key::find(&path).is_none() && !is_dead_end(&path, inner) => {
                    self.add_table(file, &path, inner);
                }
                other => self.add(&path, Written { value: from_toml(other), source }),
            }
        }
    }

    /// Adds the values of environment variables, which win.
    pub(super) fn add_variables(&mut self, environment: &Environment) {
        for (variable, text) in &environment.variables {
            let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            let path = rest.to_ascii_lowercase().replace("__", ".");
            let source = Source::Variable(variable.clone());
            if let Some(name) = path.strip_prefix(key::SETTINGS).and_then(|rest| rest.strip_prefix('.')) {
                let name = self.setting_named(name);
                self.settings.insert(name, Written { value: Value::Text(text.clone()), source });
                continue;
            }
            let value = key::find(&path)
                .map_or_else(|| Value::Text(text.clone()), |known| Value::from_variable(text, known.kind));
            self.add(&path, Written { value, source });
        }
    }

    /// Variables cannot have a hyphen in their name, and plugins' keys do: `_` stands for both. The file's spelling counts.
    fn setting_named(&self, name: &str) -> String {
        let hyphens = name.replace('_', "-");
        self.settings
            .keys()
            .find(|known| known.to_ascii_lowercase().replace('_', "-") == hyphens)
            .cloned()
            .unwrap_or(hyphens)
    }

    fn add(&mut self, path: &str, written: Written) {
        if let Some(known) = key::find(path) {
            self.known.insert(known.path, written);
        } else if key::is_table(path) {
            let message = format!("{path}: {} is not a table: write [{path}] and its keys below", written.value);
            self.problems.push(Problem { source: written.source, message });
        } else {
            self.problems.push(unknown_key(path, written));
        }
    }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn source_at(&self, offset: usize) -> Source {
        Source::File { path: self.path.to_owned(), line: line_of(self.text, offset) }
    }
}

/// A table that is reported itself rather than key by key: an empty one that nobody knows.
fn is_dead_end(path: &str, table: &DeTable<'_>) -> bool {
    table.is_empty() && !key::is_table(path)
}

fn unknown_key(path: &str, written: Written) -> Problem {
    let Written { value, source } = written;
    let nearest = match value {
        Value::Other { kind: TABLE, .. } => key::nearest_table(path),
        _ => key::nearest(path),
    };
    let spelled = match source {
        Source::Variable(_) => format!("{VARIABLE_PREFIX}{}", nearest.replace('.', "__").to_ascii_uppercase()),
        Source::File { .. } | Source::Default => nearest.to_owned(),
    };
    Problem { source, message: format!("unknown key \"{path}\": the nearest known one is \"{spelled}\"") }
}

fn syntax_problem(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message = format!("not TOML: {}", error.message().replace('\n', ", "));
    Problem { source: Source::File { path: path.to_owned(), line }, message }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// A key as TOML would have it, so that `"a.b"` is not taken for `a.b`.
fn quoted(segment: &str) -> String {
    let is_bare = !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare { segment.to_owned() } else { format!("\"{}\"", segment.escape_debug()) }
}

fn from_toml(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or_else(|_| other("number", Some(number.as_str())), Value::Number),
        DeValue::Boolean(on) => Value::Switch(*on),
        DeValue::Array(items) => Value::List(items.iter().map(|item| from_toml(item.get_ref())).collect()),
        DeValue::Float(number) => other("decimal number", Some(number.as_str())),
        DeValue::Datetime(_) => other("date", None),
        DeValue::Table(_) => other(TABLE, None),
    }
}

fn other(kind: &'static str, text: Option<&str>) -> Value {
    Value::Other { kind, text: text.map(str::to_owned) }
}
