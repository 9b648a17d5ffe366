//! The inventory in etcd, which several orchestrators share.
//!
//! `<path>/servers/<hostname>` holds a server, and the key's `mod_revision` is its revision: every write compares it, so that
//! nobody's word is overwritten unread. `<path>/claims/<id>` is the right to work on a server. It hangs on a lease of the
//! process that has it (`session`), so that it goes when the process dies, and the key's `create_revision` is its fence.
//!
//! # Why no step runs twice at the same time
//!
//! 1. A claim is made in a transaction that compares "there is no such key": of several, one succeeds.
//! 2. Every write of a worker compares, in its own transaction, that the claim's key still has the `create_revision` that it
//!    had when this worker made it. A claim that was lost and made again, by whomever, has another one: a worker that was
//!    given up for dead writes nothing more, however late its request arrives.
//! 3. A process gives its claims up *before* etcd can give them to another: the lease runs for its TTL from when etcd took
//!    the last renewal, which is not before it was sent; the process counts from when it sent it, takes a margin off, and
//!    then breaks its steps off (`Claim::lost`), which ends a provider's program, too. Clocks need not agree: only how long
//!    some seconds are.
//! 4. The new worker finds the step begun and not ended, and settles it by asking before it does anything.
//!
//! A process that is stopped (SIGSTOP, a suspended machine) in the very middle of a request to somebody else - to the name
//! servers' store, to a cloud - and woken after its lease has run out may still carry that one request out. What it writes into
//! DNS is under that store's own epochs, and a record of a server that is gone by then is found and removed by the next
//! reconciliation; a provider tells servers by their id, so that a late creation is that server's, and its deletion ends it.

mod account;
mod calls;
mod session;
mod watching;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetOptions, GetResponse, KeyValue, PutOptions, TlsOptions, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};
use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::{Changes, Claim, Error, Inventory, Notices, Readable, Renamed, Stored, Written};
use crate::name::HostName;
use crate::server::Server;
use account::Account;
use calls::{PATIENCE, within};
use session::Session;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Less than those wait who ask whether it can be read.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// A lease that is not given back runs out by itself.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// Keys in one answer; servers are some kilobytes each, and an answer 4 MiB at most.
const PAGE: i64 = 200;
/// How often giving a claim back is tried.
const TRIES: u32 = 5;

/// How long a connection may be silent before it is looked after. Etcd ends those on which it is pinged more often than every
/// five seconds (`--grpc-keepalive-min-time`).
const PING_EVERY: Duration = Duration::from_secs(6);

type Source = Box<dyn std::error::Error + Send + Sync>;

/// How etcd is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The URLs of its members.
    pub urls: Vec<String>,
    /// Where the inventory is: no slash at its end.
    pub path: String,
    /// The authorities that are trusted, in PEM form; none: those of the system.
    pub ca: Option<Vec<u8>>,
    /// A certificate and its key, in PEM form.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// User and password.
    pub credentials: Option<(String, dns_manager_host::Secret)>,
}

/// The inventory below a path of one etcd.
#[derive(Clone)]
pub struct Etcd(Arc<Parts>);

struct Parts {
    client: Client,
    path: String,
    account: Account,
    session: Session,
    notices: Notices,
    /// What this process has claimed.
    held: Mutex<BTreeSet<Uuid>>,
    watching: AbortHandle,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Etcd {
    /// Connects; the first member that answers will do.
    ///
    /// # Errors
    ///
    /// None answers, or it lets nobody in.
    pub async fn connect(access: &Access) -> Result<Self, Error> {
        let account = Account::of(access);
        let opening = |source: Source| Error { action: "opened", source: account.explain(source) };
        let client = enter(access).await.map_err(opening)?;
        let session = Session::open(client.clone()).await.map_err(opening)?;
        let notices = Notices::default();
        let prefix = format!("{}/servers/", access.path);
        let watching = tokio::spawn(watching::keep(client.clone(), prefix, notices.clone()));
        let parts = Parts {
            client,
            path: access.path.clone(),
            account,
            session,
            notices,
            held: Mutex::default(),
            watching: watching.abort_handle(),
        };
        let etcd = Self(Arc::new(parts));
        // What may not be read is said now.
        etcd.probe().await?;
        Ok(etcd)
    }
}

/// Logs in, if there is somebody to log in as.
async fn enter(access: &Access) -> Result<Client, Source> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(PATIENCE)
        .with_keep_alive(PING_EVERY, Duration::from_secs(3))
        // Who has no leader says so at once, also to who watches: another member may have one.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if access.urls.iter().any(|url| url.starts_with("https://")) {
        options = options.with_tls(tls(access));
    }
    // Nobody is called by that: whoever logs in at it is the first to find out which members are there.
    let client = within(Client::connect(&access.urls, Some(options))).await?;
    let Some((user, password)) = &access.credentials else { return Ok(client) };
    let log_in = || {
        let (mut client, user) = (client.clone(), (user.clone(), password.expose().to_owned()));
        async move { client.update_user(Some(user)).await }
    };
    match calls::read(log_in).await {
        Ok(()) => Ok(client),
        Err(error) if account::is_open_to_all(&error) => {
            tracing::warn!("the etcd of the inventory has no access control: everybody may enter, and nobody logs in");
            Ok(client)
        }
        Err(error) => Err(error),
    }
}

fn tls(access: &Access) -> TlsOptions {
    let mut tls = TlsOptions::new();
    tls = match &access.ca {
        Some(ca) => tls.ca_certificate(etcd_client::Certificate::from_pem(ca)),
        None => tls.with_native_roots(),
    };
    match &access.identity {
        Some((certificate, key)) => tls.identity(etcd_client::Identity::from_pem(certificate, key)),
        None => tls,
    }
}

impl Parts {
    fn server_key(&self, hostname: &HostName) -> String {
        format!("{}/servers/{hostname}", self.path)
    }

    /// The first key that a server can have, and the one behind the last.
    fn servers(&self) -> (String, String) {
        // `0` follows `/`.
        (format!("{}/servers/", self.path), format!("{}/servers0", self.path))
    }

    fn claim_key(&self, server: Uuid) -> String {
        format!("{}/claims/{server}", self.path)
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Source> {
        let send = || {
            let (mut client, txn) = (self.client.kv_client(), txn.clone());
            async move { client.txn(txn).await }
        };
        calls::write(send).await
    }

    async fn get(&self, key: impl AsRef<[u8]>, options: &GetOptions) -> Result<GetResponse, Source> {
        let send = || {
            let (mut client, key, options) = (self.client.kv_client(), key.as_ref().to_vec(), options.clone());
            async move { client.get(key, Some(options)).await }
        };
        calls::read(send).await
    }

    /// What a conditional write compares: the server's revision, and that the claim holds.
    fn conditions(&self, key: &str, revision: u64, claim: Option<&Claim>) -> Result<Vec<Compare>, Source> {
        let mut conditions = vec![Compare::mod_revision(key, CompareOp::Equal, i64::try_from(revision)?)];
        if let Some(claim) = claim {
            let key = self.claim_key(claim.server());
            conditions.push(Compare::create_revision(key, CompareOp::Equal, claim.fence()));
        }
        Ok(conditions)
    }

    /// Writes under these conditions; which of them did not hold, if one did not.
    async fn write(
        &self,
        key: String,
        revision: u64,
        claim: Option<&Claim>,
        operation: TxnOp,
    ) -> Result<Written, Source> {
        if claim.is_some_and(Claim::is_lost) {
            return Ok(Written::ClaimLost);
        }
        let mut otherwise = vec![TxnOp::get(key.as_str(), None)];
        otherwise.extend(claim.map(|claim| TxnOp::get(self.claim_key(claim.server()), None)));
        let conditions = self.conditions(&key, revision, claim)?;
        let answer = self.txn(Txn::new().when(conditions).and_then([operation]).or_else(otherwise)).await?;
        if answer.succeeded() {
            return Ok(Written::At(revision_of(&answer)?));
        }
        let mut found = answer.op_responses().into_iter().map(first);
        let _server = found.next();
        match (claim, found.next().flatten()) {
            (Some(claim), now) if now.as_ref().map(KeyValue::create_revision) != Some(claim.fence()) => {
                Ok(Written::ClaimLost)
            }
            _ => Ok(Written::Changed),
        }
    }

    async fn claim(self: Arc<Self>, server: Uuid) -> Result<Option<Claim>, Source> {
        if !self.held().insert(server) {
            return Ok(None);
        }
        // Taken back if nothing comes of it.
        let mut held = Held { parts: Arc::clone(&self), server, fence: None };
        let Some(lease) = self.session.lease() else { return Ok(None) };
        let key = self.claim_key(server);
        let owner = lease.owner();
        let answer = self
            .txn(
                Txn::new()
                    .when([Compare::create_revision(key.as_str(), CompareOp::Equal, 0)])
                    .and_then([TxnOp::put(
                        key.as_str(),
                        owner.as_str(),
                        Some(PutOptions::new().with_lease(lease.id())),
                    )])
                    .or_else([TxnOp::get(key.as_str(), None)]),
            )
            .await?;
        let fence = if answer.succeeded() {
            i64::try_from(revision_of(&answer)?)?
        } else {
            // One that this process made and was not told of is its own, and nobody else could ever have it.
            match answer.op_responses().into_iter().find_map(first) {
                Some(standing) if standing.value() == owner.as_bytes() => standing.create_revision(),
                _ => return Ok(None),
            }
        };
        held.fence = Some(fence);
        Ok(Some(Claim::new(server, fence, lease.lost(), held)))
    }
}

/// Gives a claim back when it is dropped.
struct Held {
    parts: Arc<Parts>,
    server: Uuid,
    fence: Option<i64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (parts, server) = (Arc::clone(&self.parts), self.server);
        let Some(fence) = self.fence else {
            parts.held().remove(&server);
            return;
        };
        let key = parts.claim_key(server);
        let giving_back = async move {
            for attempt in 0..TRIES {
                let is_ours = [Compare::create_revision(key.as_str(), CompareOp::Equal, fence)];
                if parts.txn(Txn::new().when(is_ours).and_then([TxnOp::delete(key.as_str(), None)])).await.is_ok() {
                    break;
                }
                // It goes with the lease at the latest.
                tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt)).await;
            }
            parts.held().remove(&server);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(giving_back);
        }
    }
}

impl Etcd {
    fn reading<'a, T>(
        &'a self,
        work: impl Future<Output = Result<T, Source>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let failed = |source| Error { action: "read", source: self.0.account.explain(source) };
        Box::pin(async move { work.await.map_err(failed) })
    }

    fn writing<'a, T>(
        &'a self,
        work: impl Future<Output = Result<T, Source>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let failed = |source| Error { action: "written", source: self.0.account.explain(source) };
        Box::pin(async move { work.await.map_err(failed) })
    }
}

impl Inventory for Etcd {
    fn insert<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        self.writing(async move {
            let key = self.0.server_key(&server.hostname);
            let is_new = [Compare::create_revision(key.as_str(), CompareOp::Equal, 0)];
            let put = [TxnOp::put(key.as_str(), serde_json::to_vec(server)?, None)];
            let answer = self.0.txn(Txn::new().when(is_new).and_then(put)).await?;
            Ok(if answer.succeeded() { Some(revision_of(&answer)?) } else { None })
        })
    }

    fn update<'a>(
        &'a self,
        server: &'a Server,
        revision: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        self.writing(async move {
            let key = self.0.server_key(&server.hostname);
            let put = TxnOp::put(key.as_str(), serde_json::to_vec(server)?, None);
            self.0.write(key, revision, claim, put).await
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a HostName,
        server: &'a Server,
        revision: u64,
    ) -> BoxFuture<'a, Result<Renamed, Error>> {
        self.writing(async move {
            let (old, new) = (self.0.server_key(from), self.0.server_key(&server.hostname));
            let mut conditions = self.0.conditions(&old, revision, None)?;
            conditions.push(Compare::create_revision(new.as_str(), CompareOp::Equal, 0));
            let operations =
                [TxnOp::delete(old.as_str(), None), TxnOp::put(new.as_str(), serde_json::to_vec(server)?, None)];
            let otherwise = [TxnOp::get(old.as_str(), None), TxnOp::get(new.as_str(), None)];
            let answer = self.0.txn(Txn::new().when(conditions).and_then(operations).or_else(otherwise)).await?;
            if answer.succeeded() {
                return Ok(Renamed::At(revision_of(&answer)?));
            }
            let mut found = answer.op_responses().into_iter().map(first);
            let (old, new) = (found.next().flatten(), found.next().flatten());
            let is_as_read = old.is_some_and(|old| u64::try_from(old.mod_revision()) == Ok(revision));
            Ok(if is_as_read && new.is_some() { Renamed::Taken } else { Renamed::Changed })
        })
    }

    fn remove<'a>(
        &'a self,
        hostname: &'a HostName,
        revision: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        self.writing(async move {
            let key = self.0.server_key(hostname);
            let delete = TxnOp::delete(key.as_str(), None);
            self.0.write(key, revision, claim, delete).await
        })
    }

    fn find<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<Option<Stored>, Error>> {
        self.reading(async move {
            let answer = self.0.get(&self.0.server_key(hostname), &GetOptions::new()).await?;
            answer.kvs().first().map(stored).transpose()
        })
    }

    fn list_readable(&self) -> BoxFuture<'_, Result<Readable, Error>> {
        self.reading(async move {
            let (prefix, end) = self.0.servers();
            let (mut from, mut at, mut all) = (prefix.clone().into_bytes(), 0, Readable::default());
            loop {
                // All pages are of one revision.
                let options = GetOptions::new().with_range(end.as_str()).with_limit(PAGE).with_revision(at);
                let answer = self.0.get(&from, &options).await?;
                for entry in answer.kvs() {
                    let key = String::from_utf8_lossy(entry.key());
                    all.add(key.strip_prefix(&prefix).unwrap_or(&key), stored(entry));
                }
                let Some(last) = answer.kvs().last().filter(|_| answer.more()) else { return Ok(all) };
                from = [last.key(), &[0]].concat();
                at = answer.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
            }
        })
    }

    fn claim(&self, server: Uuid) -> BoxFuture<'_, Result<Option<Claim>, Error>> {
        // By itself: who is no longer waited for still learns what came of it, and gives it back.
        let claiming = tokio::spawn(Arc::clone(&self.0).claim(server));
        self.writing(async move { claiming.await? })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // First nobody renews it any more: that it ends then is no loss to warn of.
            let Some(lease) = self.0.session.end() else { return };
            // Twice does no harm, so that it is sent again whatever became of it, as what only reads is.
            let revoke = || {
                let (mut client, id) = (self.0.client.lease_client(), lease.id());
                async move { client.revoke(id).await }
            };
            if let Err(error) = calls::bounded(LEAVE_WITHIN, calls::read(revoke)).await {
                tracing::debug!(%error, "the lease was not given back; it runs out by itself");
            }
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.reading(async move {
            let (prefix, end) = self.0.servers();
            let options = GetOptions::new().with_range(end).with_limit(1).with_keys_only();
            calls::bounded(PROBE_WITHIN, self.0.get(&prefix, &options)).await.map(drop)
        })
    }

    fn changes(&self) -> Changes {
        self.0.notices.listen()
    }
}

fn stored(entry: &KeyValue) -> Result<Stored, Source> {
    let server = serde_json::from_slice(entry.value())
        .map_err(|error| format!("the value of {} is no server: {error}", String::from_utf8_lossy(entry.key())))?;
    Ok(Stored { server, revision: u64::try_from(entry.mod_revision())? })
}

fn revision_of(answer: &TxnResponse) -> Result<u64, Source> {
    let header = answer.header().ok_or("etcd's answer has no header")?;
    Ok(u64::try_from(header.revision())?)
}

fn first(answer: TxnOpResponse) -> Option<KeyValue> {
    match answer {
        TxnOpResponse::Get(mut got) => got.take_kvs().into_iter().next(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    }
}
