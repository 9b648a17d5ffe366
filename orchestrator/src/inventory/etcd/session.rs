//! The lease of a process, on which its claims hang: renewed in time, or given up in time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use etcd_client::{Client, Error};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::Source;
use super::calls::{self, bounded};

/// How long a process that is not heard of is waited for.
const TTL: Duration = Duration::from_secs(10);
/// Given up so long before etcd would: for a timer that fires late, and for clocks that do not run alike.
const MARGIN: Duration = Duration::from_secs(2);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long a member may take over a renewal: one that is silent leaves time to ask others before the lease is given up.
const RENEW_WITHIN: Duration = Duration::from_millis(1500);

/// The leases of a process, one after another.
pub(super) struct Session {
    now: Arc<Mutex<Option<Lease>>>,
    keeping: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// One lease.
#[derive(Clone)]
pub(super) struct Lease {
    id: i64,
    /// What marks its claims: this process's, under this lease.
    owner: Uuid,
    lost: watch::Sender<bool>,
}

impl Lease {
    pub(super) fn id(&self) -> i64 {
        self.id
    }

    pub(super) fn owner(&self) -> String {
        self.owner.to_string()
    }

    /// Becomes true when claims under it are to be given up.
    pub(super) fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }
}

impl Session {
    /// Takes a lease and keeps it.
    pub(super) async fn open(client: Client) -> Result<Self, Source> {
        let (lease, held) = grant(&client).await?;
        let now = Arc::new(Mutex::new(Some(lease.clone())));
        let keeping = tokio::spawn(keep(client, lease, held, Arc::clone(&now)));
        Ok(Self { now, keeping: keeping.abort_handle() })
    }

    /// Renews the lease no more, and gives up what is claimed under it, so that it can be given back; none: none holds.
    pub(super) fn end(&self) -> Option<Lease> {
        self.keeping.abort();
        let lease = self.now.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        lease.lost.send_replace(true);
        Some(lease)
    }

    /// The lease that holds; none: etcd does not answer just now.
    pub(super) fn lease(&self) -> Option<Lease> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Until when a lease surely holds. Counted on two clocks: one of them does not stand still while the machine sleeps.
#[derive(Clone, Copy)]
struct Holds {
    sent: (Instant, SystemTime),
}

impl Holds {
    /// As of a request that is about to be sent.
    fn begin() -> Self {
        Self { sent: (Instant::now(), SystemTime::now()) }
    }

    fn left(self) -> Duration {
        let (monotonic, wall) = self.sent;
        let passed = monotonic.elapsed().max(wall.elapsed().unwrap_or_default());
        (TTL - MARGIN).saturating_sub(passed)
    }
}

async fn grant(client: &Client) -> Result<(Lease, Holds), Source> {
    let held = Holds::begin();
    let seconds = i64::try_from(TTL.as_secs())?;
    // One that was granted and not told of runs out.
    let granted = calls::read(|| {
        let mut client = client.lease_client();
        async move { client.grant(seconds, None).await }
    })
    .await?;
    let lease = Lease { id: granted.id(), owner: Uuid::now_v7(), lost: watch::Sender::new(false) };
    Ok((lease, held))
}

/// Renews the lease; when that fails for too long, gives it up and takes another one.
async fn keep(client: Client, mut lease: Lease, held: Holds, now: Arc<Mutex<Option<Lease>>>) {
    let put = |lease: Option<Lease>| *now.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    let mut held = Mutex::new(held);
    loop {
        tokio::select! {
            () = run_out(&held) => {}
            () = renew(&client, lease.id, &held) => {}
        }
        put(None);
        lease.lost.send_replace(true);
        tracing::warn!("etcd did not renew this process's lease in time: its servers are left to others");
        (lease, held) = loop {
            match grant(&client).await {
                Ok((lease, held)) => break (lease, Mutex::new(held)),
                Err(error) => tracing::debug!(%error, "no lease yet"),
            }
            tokio::time::sleep(RENEW_EVERY).await;
        };
        put(Some(lease.clone()));
    }
}

/// Waits until the lease does not surely hold any more.
async fn run_out(held: &Mutex<Holds>) {
    loop {
        let left = read(held).left();
        if left.is_zero() {
            return;
        }
        // In small steps: a timer stands still while the machine sleeps.
        tokio::time::sleep(left.min(Duration::from_millis(500))).await;
    }
}

/// Renews the lease until etcd says that it has run out.
async fn renew(client: &Client, id: i64, held: &Mutex<Holds>) {
    loop {
        match renew_over_one_stream(client, id, held).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "the lease was not renewed"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn renew_over_one_stream(client: &Client, id: i64, held: &Mutex<Holds>) -> Result<(), Source> {
    let put = |sent: Holds| *held.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    let sent = Holds::begin();
    // Opening it renews, too.
    let (mut keeper, mut answers) = match in_time(client.lease_client().keep_alive(id)).await {
        Err(error) if has_run_out(&error) => return Ok(()),
        opened => opened?,
    };
    put(sent);
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let sent = Holds::begin();
        in_time(keeper.keep_alive()).await?;
        match in_time(answers.message()).await? {
            Some(answer) if answer.ttl() > 0 => put(sent),
            Some(_) => return Ok(()),
            None => return Err("the stream of renewals has ended".into()),
        }
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Source> {
    bounded(RENEW_WITHIN, async { call.await.map_err(Into::into) }).await
}

/// Whether etcd has said that there is no such lease any more. The client makes that an error where a stream is opened.
fn has_run_out(error: &Source) -> bool {
    matches!(error.downcast_ref(), Some(Error::LeaseKeepAliveError(message)) if message == "lease not found")
}

fn read(held: &Mutex<Holds>) -> Holds {
    *held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_not_found_has_run_out_and_anything_else_is_tried_again() {
        let refused = |message: &str| Source::from(Error::LeaseKeepAliveError(message.to_owned()));
        assert!(has_run_out(&refused("lease not found")));
        assert!(!has_run_out(&refused("channel closed")));
        assert!(!has_run_out(&"etcd does not answer within 1s 500ms".into()));
    }
}
