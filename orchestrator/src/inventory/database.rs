//! The inventory in an embedded database: one file, one process at a time, crash-safe.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redb::{DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Error, Inventory};
use crate::name::HostName;
use crate::server::Server;

/// Host name -> the server in JSON.
const SERVERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("servers");
const FILE: &str = "inventory.redb";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The inventory of one `data_dir`, held by this process alone.
#[derive(Clone)]
pub struct Database(Arc<redb::Database>);

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the inventory in {} is held by another dns-manager process", .0.display())]
    Held(PathBuf),
    /// It cannot be used.
    #[error("the inventory in {} cannot be opened", directory.display())]
    Unusable {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: Source,
    },
}

impl Database {
    /// Opens the database in `directory`; both are made when they are missing.
    ///
    /// # Errors
    ///
    /// Another process holds it, or it cannot be used.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let unusable = |source: Source| OpenError::Unusable { directory: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(|error| unusable(error.into()))?;
        let database = match crate::database::open(&directory.join(FILE)) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::Held(directory.to_owned())),
            Err(error) => return Err(unusable(error.into())),
        };
        make_table(&database).map_err(unusable)?;
        Ok(Self(Arc::new(database)))
    }

    /// Runs blocking work, which waits for the disk, beside the executor.
    fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&redb::Database) -> Result<T, Source> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let database = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&database))
                .await
                .unwrap_or_else(|panicked| Err(panicked.into()))
                .map_err(|source| Error { action, source })
        })
    }

    fn write(&self, server: &Server, only_new: bool) -> BoxFuture<'static, Result<bool, Error>> {
        let server = server.clone();
        self.run("written", move |database| {
            let text = serde_json::to_vec(&server)?;
            let transaction = database.begin_write()?;
            let is_written = {
                let mut table = transaction.open_table(SERVERS)?;
                let is_there = table.get(server.hostname.as_str())?.is_some();
                if !(only_new && is_there) {
                    table.insert(server.hostname.as_str(), text.as_slice())?;
                }
                !(only_new && is_there)
            };
            transaction.commit()?;
            Ok(is_written)
        })
    }
}

impl Inventory for Database {
    fn insert<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<bool, Error>> {
        self.write(server, true)
    }

    fn update<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        let written = self.write(server, false);
        Box::pin(async { written.await.map(|_| ()) })
    }

    fn find<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<Option<Server>, Error>> {
        let hostname = hostname.clone();
        self.run("read", move |database| {
            let table = database.begin_read()?.open_table(SERVERS)?;
            let found = table.get(hostname.as_str())?;
            Ok(found.map(|text| serde_json::from_slice(text.value())).transpose()?)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Server>, Error>> {
        self.run("read", |database| {
            let table = database.begin_read()?.open_table(SERVERS)?;
            let mut servers = Vec::new();
            for entry in table.iter()? {
                servers.push(serde_json::from_slice(entry?.1.value())?);
            }
            Ok(servers)
        })
    }

    fn remove<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<(), Error>> {
        let hostname = hostname.clone();
        self.run("written", move |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(SERVERS)?.remove(hostname.as_str())?;
            transaction.commit()?;
            Ok(())
        })
    }
}

/// Reading a table that nobody has made yet is an error.
fn make_table(database: &redb::Database) -> Result<(), Source> {
    let transaction = database.begin_write()?;
    transaction.open_table(SERVERS)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::State;

    fn server(hostname: &str) -> Server {
        Server::new(hostname.parse().unwrap(), vec!["192.168.1.10".parse().unwrap()])
    }

    #[tokio::test]
    async fn a_server_is_there_after_the_database_was_closed() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = server("web-01.example.com");
        {
            let inventory = Database::open(directory.path()).unwrap();
            assert!(inventory.insert(&server).await.unwrap());
            server.state = State::Ready;
            inventory.update(&server).await.unwrap();
        }

        let inventory = Database::open(directory.path()).unwrap();
        assert_eq!(inventory.find(&server.hostname).await.unwrap(), Some(server.clone()));
        assert_eq!(inventory.list().await.unwrap(), [server.clone()]);

        inventory.remove(&server.hostname).await.unwrap();
        inventory.remove(&server.hostname).await.unwrap();
        assert_eq!(inventory.list().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_name_is_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = Database::open(directory.path()).unwrap();
        let first = server("web-01.example.com");

        assert!(inventory.insert(&first).await.unwrap());
        assert!(!inventory.insert(&server("web-01.example.com")).await.unwrap());

        assert_eq!(inventory.find(&first.hostname).await.unwrap().unwrap().id, first.id);
    }

    #[test]
    fn a_held_database_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let _holder = Database::open(directory.path()).unwrap();

        assert!(matches!(Database::open(directory.path()), Err(OpenError::Held(_))));
    }
}
