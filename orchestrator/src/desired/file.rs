//! Files of record sets: YAML or JSON, a list of `{name, record_type, ttl?, values, resource?}`.
//!
//! All that is wrong with a file is said at once, each with its place. What is wrong with a file as such (it cannot be read, an item
//! is not to be understood) makes it unusable; a value that is none of its type stops its own record set alone.

mod problems;
mod servers;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

use problems::{List, Problems};
pub use servers::{NewServer, servers};
use tree::{Kind, Node};

use super::set::{Key, Set};
use crate::record::{RecordType, Ttl, value};

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong at a place of a file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// One line.
    pub message: String,
}

impl Problem {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// A file that cannot be used: all that is wrong with it, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(|Problem { place, message }| format!("{file}:{place}: {message}")).collect::<Vec<_>>().join("\n"))]
pub struct FileError {
    /// Its name.
    pub file: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The record sets of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, as it is called in messages.
    pub name: String,
    /// In its order.
    pub sets: Vec<Set>,
    places: BTreeMap<Key, Place>,
}

impl File {
    /// Reads a file; `name` is what it is called in messages.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn parse(name: &str, octets: &[u8]) -> Result<Self, FileError> {
        let (items, problems) = problems::items(octets, &LIST);
        let mut reading = Reading { problems, ..Reading::default() };
        items.iter().for_each(|item| reading.item(item));
        let Reading { sets, places, problems, bad, .. } = reading;
        problems.finish(name, Self { name: name.to_owned(), sets, places }, bad)
    }

    /// Where the set of this name and type stands, or what is wrong with it.
    pub fn place(&self, name: &str, record_type: &str) -> Option<Place> {
        self.places.get(&Key::new(name, record_type.parse().ok()?)).copied()
    }

    /// A place in the form of compilers, which editors jump to.
    pub fn at(&self, place: Place) -> String {
        format!("{}:{place}", self.name)
    }
}

const KEYS: [&str; 5] = ["name", "record_type", "ttl", "values", "resource"];
const FORM: &str = "a record set, such as {name: web-01.example.com, record_type: A, ttl: 300, values: [192.168.1.10]}";
const LIST: List = List {
    nothing: "[] for no record sets at all",
    belongs: "a list of record sets belongs here: begin each one with \"- name:\"",
};

/// An item that was read.
struct Seen {
    resource: Option<String>,
    ttl: Option<i64>,
    place: Place,
}

/// A file that is being read.
#[derive(Default)]
struct Reading {
    sets: Vec<Set>,
    places: BTreeMap<Key, Place>,
    seen: BTreeMap<Key, Vec<Seen>>,
    /// They make the file unusable.
    problems: Problems,
    /// They stop one set each, unless the file is unusable.
    bad: Vec<Problem>,
}

impl Reading {
    fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.problems.add(place, message);
    }

    fn item(&mut self, item: &Node) {
        let Some(fields) = self.problems.fields(item, FORM) else { return };
        let problems = self.problems.count();
        let mut known: BTreeMap<&str, &Node> = BTreeMap::new();
        for (key, content) in fields {
            let Kind::Text { text, .. } = &key.kind else {
                self.wrong(key.place, format!("{} cannot be a key: known are {}", key.what(), KEYS.join(", ")));
                continue;
            };
            let Some(key_known) = KEYS.into_iter().find(|known| known == text) else {
                self.wrong(key.place, unknown_key(text));
                continue;
            };
            if known.insert(key_known, content).is_some() {
                self.wrong(key.place, format!("\"{text}\" is given twice: remove one"));
            }
        }
        for needed in ["name", "record_type", "values"] {
            if !known.contains_key(needed) {
                self.wrong(item.place, format!("\"{needed}\" is missing: write {FORM}"));
            }
        }
        let name = known.get("name").and_then(|node| self.text(node, "name"));
        let record_type = known.get("record_type").and_then(|node| self.record_type(node));
        let ttl = known.get("ttl").and_then(|node| self.ttl(node));
        let resource = known.get("resource").and_then(|node| self.text(node, "resource"));
        let values = known.get("values").and_then(|node| self.values(node, record_type));
        let out_of_range =
            ttl.and_then(|(seconds, place)| Some(Problem::new(place, Ttl::try_from(seconds).err()?.to_string())));
        let (values, bad) = values.unzip();
        let bad: Vec<_> = out_of_range.into_iter().chain(bad.unwrap_or_default()).collect();
        let place = bad.first().map_or(item.place, |problem| problem.place);
        self.bad.extend(bad);
        if let (Some(name), Some(record_type), Some(values)) = (name, record_type, values)
            && self.problems.count() == problems
        {
            let ttl = ttl.map(|(seconds, _)| seconds);
            self.add(Set { name, record_type, ttl, values, resource }, item.place, place);
        }
    }

    /// Takes a set, unless it stands further up already.
    fn add(&mut self, set: Set, place: Place, shown: Place) {
        let key = set.key();
        let earlier = self.seen.entry(key.clone()).or_default();
        let what = format!("{} {}", key.name(), set.record_type);
        if let Some(first) = earlier.iter().find(|seen| seen.resource == set.resource) {
            let message = format!("{what} is in line {} already: give all of its values there", first.place.line);
            return self.wrong(place, message);
        }
        if let Some(first) = earlier.iter().find(|seen| seen.ttl != set.ttl) {
            let other = first.ttl.map_or_else(|| "no ttl".to_owned(), |ttl| format!("ttl {ttl}"));
            let line = first.place.line;
            let message = format!("{what} has {other} in line {line}, and a record set has one: write the same here");
            return self.wrong(place, message);
        }
        earlier.push(Seen { resource: set.resource.clone(), ttl: set.ttl, place });
        // Where several items make one set, the one that has something wrong counts.
        let known = self.places.entry(key).or_insert(shown);
        if shown != place {
            *known = shown;
        }
        self.sets.push(set);
    }

    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        match &node.kind {
            Kind::Text { text, .. } if !text.is_empty() => Some(text.clone()),
            Kind::Text { .. } | Kind::Nothing => {
                self.wrong(node.place, format!("\"{key}\" is empty: give it, or remove the record set"));
                None
            }
            Kind::List(_) | Kind::Map(_) => {
                self.wrong(node.place, format!("this is {}, and \"{key}\" is a text", node.what()));
                None
            }
        }
    }

    fn record_type(&mut self, node: &Node) -> Option<RecordType> {
        match self.text(node, "record_type")?.parse::<RecordType>() {
            Ok(record_type) => Some(record_type),
            Err(error) => {
                self.wrong(node.place, error.to_string());
                None
            }
        }
    }

    fn ttl(&mut self, node: &Node) -> Option<(i64, Place)> {
        if let Kind::Text { text, is_plain: true } = &node.kind
            && let Ok(seconds) = text.parse()
        {
            return Some((seconds, node.place));
        }
        let shown = match &node.kind {
            Kind::Text { text, .. } => format!("\"{}\"", text.escape_debug()),
            Kind::Nothing | Kind::List(_) | Kind::Map(_) => node.what().to_owned(),
        };
        self.wrong(
            node.place,
            format!("{shown} is not a TTL: write a number of seconds, such as 300, or leave ttl out"),
        );
        None
    }

    /// The values, and what is wrong with each that is none of the type.
    fn values(&mut self, node: &Node, record_type: Option<RecordType>) -> Option<(Vec<String>, Vec<Problem>)> {
        let Kind::List(items) = &node.kind else {
            self.wrong(
                node.place,
                format!("this is {}, and \"values\" is a list: write [192.168.1.10], say", node.what()),
            );
            return None;
        };
        if items.is_empty() {
            self.wrong(node.place, "\"values\" is empty: remove the record set from the file, and apply with --prune");
        }
        let (mut values, mut bad) = (Vec::new(), Vec::new());
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        for item in items {
            let Kind::Text { text, .. } = &item.kind else {
                let empty = if matches!(item.kind, Kind::Nothing) { "; an empty text is \"\"" } else { "" };
                self.wrong(item.place, format!("this is {}, and a value is a text{empty}", item.what()));
                continue;
            };
            if let Some(place) = first.insert(text, item.place) {
                let message = format!("\"{}\" is in line {} already: remove one", text.escape_debug(), place.line);
                self.wrong(item.place, message);
            }
            if let Some(Err(error)) = record_type.map(|record_type| value::parse(record_type, text)) {
                bad.push(Problem::new(item.place, error.to_string()));
            }
            values.push(text.clone());
        }
        Some((values, bad))
    }
}

fn unknown_key(key: &str) -> String {
    let near = |known: &&str| strsim::damerau_levenshtein(known, key);
    let nearest = KEYS.into_iter().min_by_key(near).filter(|known| near(known) <= 1 + known.len() / 3);
    let hint = match (key, nearest) {
        ("type", _) => "write \"record_type\"".to_owned(),
        ("value", _) => "write \"values\", a list".to_owned(),
        (_, Some(known)) => format!("write \"{known}\""),
        (_, None) => format!("known are {}", KEYS.join(", ")),
    };
    format!("unknown key \"{}\": {hint}", key.escape_debug())
}

#[cfg(test)]
mod tests;
