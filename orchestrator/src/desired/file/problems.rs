//! What every file has in common: it is text, a document, and all that is wrong with it is said at once.

use super::tree::{self, Kind, Node};
use super::{FileError, Place, Problem};

/// What is wrong with a file, as it is found.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.0.push(Problem { place, message: message.into() });
    }

    /// The fields of an item. What is no mapping is wrong, and is to be of this `form`.
    pub(super) fn fields<'n>(&mut self, item: &'n Node, form: &str) -> Option<&'n [(Node, Node)]> {
        if let Kind::Map(fields) = &item.kind {
            return Some(fields);
        }
        self.add(item.place, format!("this is {}: write {form}", item.what()));
        None
    }

    /// How many there are: no more after something was looked at means that it is in order.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// What was read, if nothing is wrong; else all that is, in the order of lines. What is `bad` by itself makes no file unusable,
    /// and is said along with what does.
    pub(super) fn finish<T>(self, file: &str, read: T, bad: Vec<Problem>) -> Result<T, FileError> {
        let Self(mut problems) = self;
        if problems.is_empty() {
            return Ok(read);
        }
        problems.extend(bad);
        problems.sort_by_key(|problem| problem.place);
        Err(FileError { file: file.to_owned(), problems })
    }
}

/// What a file is a list of, for messages.
pub(super) struct List {
    /// What to write where there is nothing.
    pub(super) nothing: &'static str,
    /// What belongs where there is something else.
    pub(super) belongs: &'static str,
}

/// The items of a file, as far as it goes, and what is wrong with it as such.
pub(super) fn items(octets: &[u8], list: &List) -> (Vec<Node>, Problems) {
    let (root, broken) = match text(octets).and_then(tree::read) {
        Ok(read) => read,
        Err(problem) => return (Vec::new(), Problems(vec![problem])),
    };
    let mut problems = Problems(broken.into_iter().collect());
    let what = root.what();
    let items = match root.kind {
        Kind::List(items) => items,
        Kind::Nothing => {
            problems.add(root.place, format!("there is nothing here: write {}", list.nothing));
            Vec::new()
        }
        Kind::Text { .. } | Kind::Map(_) => {
            problems.add(root.place, format!("this is {what}, and {}", list.belongs));
            Vec::new()
        }
    };
    (items, problems)
}

fn text(octets: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(octets).map_err(|error| {
        let valid = octets.get(..error.valid_up_to()).unwrap_or_default();
        let valid = String::from_utf8_lossy(valid);
        let line = valid.matches('\n').count() + 1;
        let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Problem::new(Place { line, column }, "this is not UTF-8: save the file in that encoding")
    })
}
