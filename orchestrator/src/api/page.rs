//! Lists in pages: `limit` and `cursor`.

use data_encoding::BASE64URL_NOPAD;

use super::error::Failure;
use super::request::Parameters;
use super::success::Success;

const MOST: usize = 10_000;
/// Names of the parameters.
pub(super) const PARAMETERS: [&str; 2] = ["limit", "cursor"];

/// Which part of a list is wanted.
pub(super) struct Page {
    limit: Option<usize>,
    /// Where the page before ended; nothing: the first.
    after: Option<String>,
}

impl Page {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, Failure> {
        let limit = parameters.one("limit")?.map(|text| match text.parse() {
            Ok(limit) if (1..=MOST).contains(&limit) => Ok(limit),
            _ => Err(Failure::invalid(format!("limit: \"{}\" is not a number from 1 to {MOST}", text.escape_debug()))),
        });
        let after = parameters.one("cursor")?.map(|text| {
            let octets = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
            octets.and_then(|octets| String::from_utf8(octets).ok()).ok_or_else(|| {
                Failure::invalid("cursor: it is none of ours: send what \"next\" of the page before says, as it is")
            })
        });
        Ok(Self { limit: limit.transpose()?, after: after.transpose()? })
    }

    /// The part of a list that is in the order of its keys. What comes or goes between two pages is seen or not, and
    /// everything else once.
    pub(super) fn of<T>(self, items: Vec<T>, key: impl Fn(&T) -> String) -> Success<Vec<T>> {
        let mut keyed: Vec<_> = items.into_iter().map(|item| (key(&item), item)).collect();
        keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(after) = self.after {
            keyed.retain(|(key, _)| *key > after);
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let is_last = keyed.len() <= limit;
        keyed.truncate(limit);
        let next = keyed.last().filter(|_| !is_last).map(|(key, _)| BASE64URL_NOPAD.encode(key.as_bytes()));
        Success::page(keyed.into_iter().map(|(_, item)| item).collect(), next)
    }

    /// Whether it is the whole list, as it comes.
    pub(super) fn is_whole(&self) -> bool {
        self.limit.is_none() && self.after.is_none()
    }
}
