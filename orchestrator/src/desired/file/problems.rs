//! What every file has in common: it is text, a document, and all that is wrong with it is said at once.

use super::tree::{self, Kind, Node};
use super::{FileError, Place, Problem};

/// So many are told; who has more has another kind of file.
const MOST: usize = 1_000;

/// What is wrong with a file, as it is found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    told: Vec<Problem>,
    count: usize,
}

impl Problems {
    pub(super) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.count += 1;
        if self.told.len() < MOST {
            self.told.push(Problem { place, message: message.into() });
        }
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
        self.count
    }

    /// What was read, if nothing is wrong; else all that is, in the order of lines. What is `bad` by itself makes no file unusable,
    /// and is said along with what does.
    pub(super) fn finish<T>(self, file: &str, read: T, bad: Vec<Problem>) -> Result<T, FileError> {
        let Self { told: mut problems, count } = self;
        let Some(last) = problems.last().map(|problem| problem.place) else { return Ok(read) };
        let untold = count - problems.len();
        problems.extend(bad.into_iter().take(MOST));
        problems.sort_by_key(|problem| problem.place);
        if untold > 0 {
            problems.push(Problem::new(last, format!("and {untold} more problems like these")));
        }
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
        Err(problem) => return (Vec::new(), Problems { told: vec![problem], count: 1 }),
    };
    let told: Vec<_> = broken.into_iter().collect();
    let mut problems = Problems { count: told.len(), told };
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
