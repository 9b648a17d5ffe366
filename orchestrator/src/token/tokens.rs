//! The tokens as a service sees them: what the file says now.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Presented, Store, Token};

/// The tokens of a file, read again when it changes, so that one that is revoked ends at once.
#[derive(Debug)]
pub struct Tokens {
    store: Store,
    seen: Mutex<Option<Seen>>,
}

/// A file that was changed so shortly before it was read may have been changed once more since without another stamp: file
/// systems have clocks of some milliseconds to two seconds.
const RACY: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Seen {
    stamp: Stamp,
    read_at: SystemTime,
    /// None: the file is no good, which was said in the log.
    tokens: Option<Arc<[Token]>>,
}

/// Tells one content of a file from the next: each is a new file, and one that is edited in its place has another time, by and
/// by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    file: (u64, i64, i64, u32),
}

impl Seen {
    /// Whether the file may say something else by now: also where reading failed, which may have been a matter of the moment.
    fn is_to_be_read_again(&self) -> bool {
        self.tokens.is_none() || self.is_racy()
    }

    /// Whether the file may have changed since it was read without showing it.
    fn is_racy(&self) -> bool {
        let Some(modified) = self.stamp.modified else { return false };
        // A time to come is no earlier than the reading.
        self.read_at.duration_since(modified).map_or(true, |age| age < RACY)
    }
}

/// The file cannot be read, or is damaged; the log says why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable;

impl Tokens {
    /// Of this file.
    pub fn new(store: Store) -> Self {
        Self { store, seen: Mutex::new(None) }
    }

    /// The token that was presented, expired or not; none: nobody knows it.
    pub(crate) fn find(&self, presented: &Presented<'_>) -> Result<Option<Token>, Unusable> {
        Ok(self.current()?.iter().find(|token| token.accepts(presented)).cloned())
    }

    fn current(&self) -> Result<Arc<[Token]>, Unusable> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the file is read: what is written in between is seen the next time.
        let (stamp, read_at) = (self.stamp(), SystemTime::now());
        let is_new = seen.as_ref().is_none_or(|seen| seen.stamp != stamp);
        if is_new || seen.as_ref().is_some_and(Seen::is_to_be_read_again) {
            let tokens = match self.store.read() {
                Ok(tokens) => Some(tokens.into()),
                Err(error) => {
                    if is_new {
                        tracing::error!("no token is accepted: {}", crate::error_chain(&error));
                    }
                    None
                }
            };
            *seen = Some(Seen { stamp, read_at, tokens });
        }
        seen.as_ref().and_then(|seen| seen.tokens.clone()).ok_or(Unusable)
    }

    fn stamp(&self) -> Stamp {
        let Ok(metadata) = fs::metadata(self.store.path()) else {
            return Stamp { modified: None, length: 0, file: (0, 0, 0, 0) };
        };
        #[cfg(unix)]
        let file = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.mode())
        };
        #[cfg(not(unix))]
        let file = (0, 0, 0, 0);
        Stamp { modified: metadata.modified().ok(), length: metadata.len(), file }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_failed_is_made_again_though_the_file_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(Store::new(directory.path().join("tokens.json")));
        let failed = Seen { stamp: tokens.stamp(), read_at: SystemTime::now(), tokens: None };
        assert!(!failed.is_racy());
        *tokens.seen.lock().unwrap() = Some(failed);

        assert!(tokens.current().is_ok_and(|tokens| tokens.is_empty()));
    }
}
