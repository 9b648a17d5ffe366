//! How commands find the service that holds an inventory: a small file beside it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FILE: &str = "serve.json";

/// The service that holds an inventory. What the file says counts only while somebody answers there as this instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its base URL.
    pub url: String,
    /// Tells it from another service that listens there later.
    pub instance: Uuid,
}

impl Holder {
    /// What the file says, if there is one and it can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join(FILE)).ok()?).ok()
    }

    /// Writes the file whole or not at all.
    pub(super) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let new = data_dir.join("serve.json.new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, data_dir.join(FILE))
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
        let holder = Holder { url: "http://127.0.0.1:8080".to_owned(), instance: Uuid::now_v7() };
        assert_eq!(Holder::read(directory.path()), None);

        holder.write(directory.path()).unwrap();
        assert_eq!(Holder::read(directory.path()), Some(holder));

        Holder::remove(directory.path());
        assert_eq!(Holder::read(directory.path()), None);
    }
}
