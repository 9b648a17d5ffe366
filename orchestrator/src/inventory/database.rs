//! The inventory in an embedded database: one file, one process at a time, crash-safe.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redb::{DatabaseError, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::{Changed, Changes, Claim, Claims, Error, Inventory, Notices, Readable, Renamed, Stored, Written};
use crate::database::{self, Reopening, Wrote};
use crate::name::HostName;
use crate::server::Server;

/// Host name -> the server in JSON.
const SERVERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("servers");
/// Host name -> the revision at which it was written; the greatest so far is under no name. A server without one was
/// written before there were any, and is at 0.
const REVISIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("revisions");
const LATEST: &str = "";
const FILE: &str = "inventory.redb";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The inventory of one `data_dir`, held by this process alone.
#[derive(Clone)]
pub struct Database {
    file: Arc<Reopening>,
    claims: Claims,
    notices: Notices,
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the inventory in {} is held by another dns-manager process", .0.display())]
    Held(PathBuf),
    /// No member of its etcd lets us read it.
    #[error("the inventory in etcd at {urls} cannot be used")]
    Unreachable {
        /// The members.
        urls: String,
        /// Why.
        source: Error,
    },
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
        let file = directory.join(FILE);
        let file = match Reopening::new(move || database::open(&file)) {
            Ok(file) => file,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::Held(directory.to_owned())),
            Err(error) => return Err(unusable(error.into())),
        };
        Self::on(file).map_err(unusable)
    }

    /// Whether there is one in `directory`.
    pub(super) fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    fn on(file: Reopening) -> Result<Self, Source> {
        make_tables(&file)?;
        Ok(Self { file: Arc::new(file), claims: Claims::default(), notices: Notices::default() })
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&ReadTransaction) -> Result<T, Source> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let file = Arc::clone(&self.file);
        blocking("read", move || file.reading(work))
    }

    /// Writes; `work` says of which servers it did.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(T, Vec<HostName>), Source> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let (file, notices) = (Arc::clone(&self.file), self.notices.clone());
        blocking("written", move || {
            let done = file.writing(|transaction| {
                let (result, written) = work(transaction)?;
                let wrote = if written.is_empty() { Wrote::Nothing } else { Wrote::Something };
                Ok::<_, Source>(((result, written), wrote))
            });
            // When the disk fails, it may be written all the same.
            let (result, written) = done.inspect_err(|_| notices.tell(Changed::Anything))?;
            if !written.is_empty() {
                notices.tell(written);
            }
            Ok(result)
        })
    }
}

/// Runs work that waits for the disk beside the executor.
fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, Source> + Send + 'static,
) -> BoxFuture<'static, Result<T, Error>> {
    Box::pin(async move {
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|panicked| Err(panicked.into()))
            .map_err(|source| Error { action, source })
    })
}

/// The revision of a server that is there.
fn revision(transaction: &WriteTransaction, hostname: &str) -> Result<Option<u64>, Source> {
    if transaction.open_table(SERVERS)?.get(hostname)?.is_none() {
        return Ok(None);
    }
    let revision = transaction.open_table(REVISIONS)?.get(hostname)?.map(|revision| revision.value());
    Ok(Some(revision.unwrap_or_default()))
}

fn put(transaction: &WriteTransaction, server: &Server) -> Result<u64, Source> {
    let text = serde_json::to_vec(server)?;
    transaction.open_table(SERVERS)?.insert(server.hostname.as_str(), text.as_slice())?;
    let mut revisions = transaction.open_table(REVISIONS)?;
    let next = revisions.get(LATEST)?.map(|latest| latest.value()).unwrap_or_default() + 1;
    revisions.insert(LATEST, next)?;
    revisions.insert(server.hostname.as_str(), next)?;
    Ok(next)
}

fn stored(hostname: &str, text: &[u8], revision: u64) -> Result<Stored, Source> {
    let server =
        serde_json::from_slice(text).map_err(|error| format!("the value of {hostname} is no server: {error}"))?;
    Ok(Stored { server, revision })
}

fn take_out(transaction: &WriteTransaction, hostname: &str) -> Result<(), Source> {
    transaction.open_table(SERVERS)?.remove(hostname)?;
    transaction.open_table(REVISIONS)?.remove(hostname)?;
    Ok(())
}

impl Inventory for Database {
    fn insert<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        let server = server.clone();
        self.write(move |transaction| {
            if revision(transaction, server.hostname.as_str())?.is_some() {
                return Ok((None, Vec::new()));
            }
            Ok((Some(put(transaction, &server)?), vec![server.hostname]))
        })
    }

    fn update<'a>(
        &'a self,
        server: &'a Server,
        read_at: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        if claim.is_some_and(Claim::is_lost) {
            return Box::pin(async { Ok(Written::ClaimLost) });
        }
        let server = server.clone();
        self.write(move |transaction| {
            if revision(transaction, server.hostname.as_str())? != Some(read_at) {
                return Ok((Written::Changed, Vec::new()));
            }
            Ok((Written::At(put(transaction, &server)?), vec![server.hostname]))
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a HostName,
        server: &'a Server,
        read_at: u64,
    ) -> BoxFuture<'a, Result<Renamed, Error>> {
        let (from, server) = (from.clone(), server.clone());
        self.write(move |transaction| {
            if revision(transaction, from.as_str())? != Some(read_at) {
                return Ok((Renamed::Changed, Vec::new()));
            }
            if revision(transaction, server.hostname.as_str())?.is_some() {
                return Ok((Renamed::Taken, Vec::new()));
            }
            take_out(transaction, from.as_str())?;
            Ok((Renamed::At(put(transaction, &server)?), vec![from, server.hostname]))
        })
    }

    fn remove<'a>(
        &'a self,
        hostname: &'a HostName,
        read_at: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        if claim.is_some_and(Claim::is_lost) {
            return Box::pin(async { Ok(Written::ClaimLost) });
        }
        let hostname = hostname.clone();
        self.write(move |transaction| {
            if revision(transaction, hostname.as_str())? != Some(read_at) {
                return Ok((Written::Changed, Vec::new()));
            }
            take_out(transaction, hostname.as_str())?;
            Ok((Written::At(read_at), vec![hostname]))
        })
    }

    fn find<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<Option<Stored>, Error>> {
        let hostname = hostname.clone();
        self.read(move |transaction| {
            let servers = transaction.open_table(SERVERS)?;
            let Some(text) = servers.get(hostname.as_str())? else { return Ok(None) };
            let revision = transaction.open_table(REVISIONS)?.get(hostname.as_str())?;
            let revision = revision.map(|revision| revision.value()).unwrap_or_default();
            stored(hostname.as_str(), text.value(), revision).map(Some)
        })
    }

    fn list_readable(&self) -> BoxFuture<'_, Result<Readable, Error>> {
        self.read(|transaction| {
            let servers = transaction.open_table(SERVERS)?;
            let revisions = transaction.open_table(REVISIONS)?;
            let mut all = Readable::default();
            for entry in servers.iter()? {
                let (hostname, text) = entry?;
                let revision = revisions.get(hostname.value())?.map(|revision| revision.value()).unwrap_or_default();
                all.add(hostname.value(), stored(hostname.value(), text.value(), revision));
            }
            Ok(all)
        })
    }

    fn claim(&self, server: Uuid) -> BoxFuture<'_, Result<Option<Claim>, Error>> {
        Box::pin(async move { Ok(self.claims.claim(server)) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.read(|transaction| {
            transaction.open_table(SERVERS)?.first()?;
            Ok(())
        })
    }

    fn changes(&self) -> Changes {
        self.notices.listen()
    }
}

/// Reading a table that nobody has made yet is an error.
fn make_tables(file: &Reopening) -> Result<(), Source> {
    file.writing(|transaction| {
        transaction.open_table(SERVERS)?;
        transaction.open_table(REVISIONS)?;
        Ok(((), Wrote::Something))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::database::disk::Disk;
    use crate::server::State;

    fn server(hostname: &str) -> Server {
        Server::new(hostname.parse().unwrap(), vec!["192.168.1.10".parse().unwrap()])
    }

    #[tokio::test]
    async fn a_server_is_there_after_the_database_was_closed() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = server("web-01.example.com");
        let written = {
            let inventory = Database::open(directory.path()).unwrap();
            let first = inventory.insert(&server).await.unwrap().unwrap();
            server.state = State::Ready;
            let Written::At(second) = inventory.update(&server, first, None).await.unwrap() else { panic!() };
            assert!(second > first);
            second
        };

        let inventory = Database::open(directory.path()).unwrap();
        let stored = Stored { server: server.clone(), revision: written };
        assert_eq!(inventory.find(&server.hostname).await.unwrap(), Some(stored.clone()));
        assert_eq!(inventory.list().await.unwrap(), [stored]);

        assert_eq!(inventory.remove(&server.hostname, written, None).await.unwrap(), Written::At(written));
        assert_eq!(inventory.remove(&server.hostname, written, None).await.unwrap(), Written::Changed);
        assert_eq!(inventory.list().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_name_is_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = Database::open(directory.path()).unwrap();
        let first = server("web-01.example.com");

        assert!(inventory.insert(&first).await.unwrap().is_some());
        assert!(inventory.insert(&server("web-01.example.com")).await.unwrap().is_none());

        assert_eq!(inventory.find(&first.hostname).await.unwrap().unwrap().server.id, first.id);
    }

    #[tokio::test]
    async fn what_was_written_in_between_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = Database::open(directory.path()).unwrap();
        let mut server = server("web-01.example.com");
        let read_at = inventory.insert(&server).await.unwrap().unwrap();
        server.state = State::Ready;
        inventory.update(&server, read_at, None).await.unwrap();
        let mut changes = inventory.changes();

        server.state = State::Failed;
        assert_eq!(inventory.update(&server, read_at, None).await.unwrap(), Written::Changed);
        assert_eq!(inventory.remove(&server.hostname, read_at, None).await.unwrap(), Written::Changed);

        let kept = inventory.find(&server.hostname).await.unwrap().unwrap();
        assert_eq!(kept.server.state, State::Ready);
        assert_eq!(changes.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_renamed_server_has_its_new_name_alone() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = Database::open(directory.path()).unwrap();
        let mut server = server("web-01.example.com");
        let old = server.hostname.clone();
        let read_at = inventory.insert(&server).await.unwrap().unwrap();
        let other = self::server("web-02.example.com");
        inventory.insert(&other).await.unwrap();
        let mut changes = inventory.changes();

        server.hostname = other.hostname.clone();
        assert_eq!(inventory.rename(&old, &server, read_at).await.unwrap(), Renamed::Taken);
        server.hostname = "web-03.example.com".parse().unwrap();
        assert!(matches!(inventory.rename(&old, &server, read_at).await.unwrap(), Renamed::At(_)));
        assert_eq!(inventory.rename(&old, &server, read_at).await.unwrap(), Renamed::Changed);
        assert_eq!(changes.next().await, Changed::from([old, server.hostname.clone()]), "told of once, with both");

        let names: Vec<_> = inventory.list().await.unwrap().into_iter().map(|stored| stored.server.hostname).collect();
        assert_eq!(names, [other.hostname, server.hostname]);
    }

    #[tokio::test]
    async fn a_damaged_value_hides_no_other_from_whoever_can_do_without_it() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = Database::open(directory.path()).unwrap();
        let (whole, damaged) = (server("web-01.example.com"), server("web-02.example.com"));
        let read_at = inventory.insert(&whole).await.unwrap().unwrap();
        inventory.insert(&damaged).await.unwrap();
        let name = damaged.hostname.clone();
        let damage = inventory.write(move |transaction| {
            transaction.open_table(SERVERS)?.insert(name.as_str(), "{".as_bytes())?;
            Ok(((), vec![name]))
        });
        damage.await.unwrap();

        let Readable { servers, unreadable } = inventory.list_readable().await.unwrap();
        assert_eq!(servers, [Stored { server: whole, revision: read_at }]);
        let (name, error) = unreadable.first_key_value().unwrap();
        assert_eq!((unreadable.len(), name.as_str()), (1, damaged.hostname.as_str()));
        let why = crate::error_chain(error);
        assert!(why.contains("the value of web-02.example.com is no server: "), "{why}");

        assert!(inventory.list().await.is_err() && inventory.find(&damaged.hostname).await.is_err());
    }

    #[test]
    fn a_held_database_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let _holder = Database::open(directory.path()).unwrap();

        assert!(matches!(Database::open(directory.path()), Err(OpenError::Held(_))));
    }

    #[tokio::test]
    async fn an_inventory_whose_disk_was_full_goes_on_when_there_is_room_again() {
        let (directory, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        let inventory = Database::on(disk.open(&directory.path().join(FILE))).unwrap();
        let mut kept = server("web-01.example.com");
        let mut read_at = inventory.insert(&kept).await.unwrap().unwrap();

        for round in 0..3 {
            disk.set_full(true);
            let lost = Server { state: State::Failed, ..kept.clone() };
            for _ in 0..3 {
                let error = inventory.update(&lost, read_at, None).await.unwrap_err();
                assert_eq!(error.to_string(), "the inventory cannot be written", "round {round}");
            }
            let refused = inventory.insert(&server("web-02.example.com")).await;
            assert!(refused.is_err(), "round {round}: {refused:?}");

            disk.set_full(false);
            let stored = Stored { server: kept.clone(), revision: read_at };
            assert_eq!(inventory.list().await.unwrap(), [stored], "round {round}: what was read is as it was");
            inventory.probe().await.unwrap();
            kept.state = if round % 2 == 0 { State::Ready } else { State::Waiting };
            let Written::At(now) = inventory.update(&kept, read_at, None).await.unwrap() else { panic!() };
            read_at = now;
        }
        drop(inventory);
        let again = Database::open(directory.path()).unwrap();
        assert_eq!(again.list().await.unwrap(), [Stored { server: kept, revision: read_at }]);
    }
}
