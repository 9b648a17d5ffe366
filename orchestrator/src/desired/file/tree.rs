//! A YAML document as a tree, each node with its place. JSON is YAML, but for one way to write a character.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::{Place, Problem};

/// Lists in lists: a file of record sets has four levels.
const MAX_NODES: usize = 8_000_000;
const MAX_DEPTH: usize = 16;

/// A part of a document.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// `null`, `~`, or not there.
    Nothing,
    /// Text as it is written: `010` is no number here, and `no` is no boolean.
    Text {
        text: String,
        /// Without quotes.
        is_plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// For messages.
    pub(super) fn what(&self) -> &'static str {
        match self.kind {
            Kind::Nothing => "nothing",
            Kind::Text { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// Reads a document. One that breaks off is as far as it goes, with the reason; the items before that can still be looked at.
pub(super) fn read(text: &str) -> Result<(Node, Option<Problem>), Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = if text.trim_start().starts_with(['[', '{']) { joined_surrogates(text) } else { text.to_owned() };
    let mut building = Building::default();
    let broken = Parser::new_from_str(&text).find_map(|event| match event {
        Ok((event, span)) => building.take(event, place(&span.start)).err(),
        Err(error) => Some(not_yaml(&error)),
    });
    building.close_all();
    match (building.root, broken) {
        (Some(root), broken) => Ok((root, broken)),
        (None, Some(broken)) => Err(broken),
        (None, None) => Ok((Node { place: Place { line: 1, column: 1 }, kind: Kind::Nothing }, None)),
    }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

fn not_yaml(error: &ScanError) -> Problem {
    let info = error.info();
    Problem::new(place(error.marker()), format!("this is neither YAML nor JSON: {info}"))
}

/// A list or a mapping that is not closed yet.
enum Open {
    List(Place, Vec<Node>),
    /// With a key that waits for its content.
    Map(Place, Vec<(Node, Node)>, Option<Node>),
}

#[derive(Default)]
struct Building {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    /// So far.
    nodes: usize,
}

impl Building {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::new(place, format!("this has more than {MAX_NODES} parts: make several files of it")));
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::new(place, "a second document begins here: write one list"));
                }
            }
            Event::Alias(_) => {
                return Err(Problem::new(place, "aliases are not understood here: write it out"));
            }
            Event::Scalar(text, style, ..) => {
                let is_plain = style == ScalarStyle::Plain;
                let is_nothing = is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if is_nothing { Kind::Nothing } else { Kind::Text { text: text.into_owned(), is_plain } };
                self.put(Node { place, kind });
            }
            Event::SequenceStart(..) => self.begin(Open::List(place, Vec::new()), place)?,
            Event::MappingStart(..) => self.begin(Open::Map(place, Vec::new(), None), place)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
        Ok(())
    }

    fn begin(&mut self, open: Open, place: Place) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::new(place, "this is nested too deep for record sets: see the brackets before it"));
        }
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, fields, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => fields.push((key, node)),
            },
        }
    }

    fn close(&mut self) {
        let node = match self.open.pop() {
            None => return,
            Some(Open::List(place, items)) => Node { place, kind: Kind::List(items) },
            Some(Open::Map(place, fields, _)) => Node { place, kind: Kind::Map(fields) },
        };
        self.put(node);
    }

    /// Where a document breaks off, the item that it breaks in says nothing: it is not whole.
    fn close_all(&mut self) {
        if self.open.len() > 1 {
            self.open.truncate(1);
        }
        self.close();
    }
}

/// JSON writes characters beyond 16 bits as two escapes, which YAML does not know; what they mean has one of its own.
fn joined_surrogates(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        let (before, pair) = rest.split_at(at);
        joined.push_str(before);
        let backslashes = before.bytes().rev().take_while(|octet| *octet == b'\\').count();
        match pair.get(..12).filter(|_| backslashes % 2 == 0).and_then(surrogates) {
            Some(character) => {
                joined.push_str(&format!("\\U{:08x}", u32::from(character)));
                rest = pair.get(12..).unwrap_or_default();
            }
            None => {
                joined.push_str("\\u");
                rest = pair.get(2..).unwrap_or_default();
            }
        }
    }
    joined.push_str(rest);
    joined
}

fn surrogates(pair: &str) -> Option<char> {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?, 16).ok();
    let units = [unit(pair.get(..6)?)?, unit(pair.get(6..)?)?];
    char::decode_utf16(units).next()?.ok().filter(|character| character.len_utf16() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_surrogates_are_one_character() {
        assert_eq!(joined_surrogates(r#"["\ud83d\ude00"]"#), r#"["\U0001f600"]"#);
        for untouched in [r#"["\\ud83d\ude00"]"#, r#"["\ud83d"]"#, r#"["\u00e4\u00f6"]"#, "\\u"] {
            assert_eq!(joined_surrogates(untouched), untouched);
        }
    }
}
