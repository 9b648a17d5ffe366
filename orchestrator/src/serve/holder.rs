//! How commands find the service that holds an inventory: a small file beside it.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FILE: &str = "serve.json";

/// The service that holds an inventory. What the file says counts only while somebody answers there as this instance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its base URL.
    pub url: String,
    /// Tells it from another service that listens there later.
    pub instance: Uuid,
    /// Lets in whoever can read the file, that is the owner of the inventory; it ends with the instance. None: an older one.
    #[serde(default)]
    pub secret: Option<String>,
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("url", &self.url).field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Holder {
    /// What the file says, if there is one and it can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join(FILE)).ok()?).ok()
    }

    /// Writes the file whole or not at all, for its owner alone.
    pub(super) fn write(&self, data_dir: &Path) -> io::Result<()> {
        // With the inventory elsewhere, nobody has made it yet.
        fs::create_dir_all(data_dir)?;
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        serde_json::to_writer(&mut file, self)?;
        file.persist(data_dir.join(FILE)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the file; one that stays behind is found to be stale.
    pub(super) fn remove(data_dir: &Path) {
        if let Err(error) = fs::remove_file(data_dir.join(FILE)) {
            tracing::debug!(%error, "the address file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_found_until_it_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let (url, secret) = ("http://127.0.0.1:8080".to_owned(), Some("s3cret".to_owned()));
        let holder = Holder { url, instance: Uuid::now_v7(), secret };
        assert!(!format!("{holder:?}").contains("s3cret"));
        assert_eq!(Holder::read(directory.path()), None);

        holder.write(directory.path()).unwrap();
        assert_eq!(Holder::read(directory.path()), Some(holder));

        Holder::remove(directory.path());
        assert_eq!(Holder::read(directory.path()), None);
    }
}
