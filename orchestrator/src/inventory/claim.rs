//! The right to work on a server, which one worker has at a time.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

/// The right to work on a server, until it is dropped or lost.
pub struct Claim {
    server: Uuid,
    fence: i64,
    lost: watch::Receiver<bool>,
    /// Gives the claim back when it is dropped.
    _held: Box<dyn Any + Send + Sync>,
}

impl Claim {
    /// A claim on `server`. `fence` tells it from every other claim on that server; `lost` becomes true, at the latest,
    /// when somebody else could be given it; dropping `held` gives it back.
    pub fn new(server: Uuid, fence: i64, lost: watch::Receiver<bool>, held: impl Any + Send + Sync) -> Self {
        Self { server, fence, lost, _held: Box::new(held) }
    }

    /// Whose.
    pub fn server(&self) -> Uuid {
        self.server
    }

    /// What tells this claim from others on the same server, before and after.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Whether it does not hold any more.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until it does not hold any more, which may be for ever.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // Who held it is gone without losing it: so nobody will.
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("server", &self.server).field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// The claims of one process, where no other can have any. They are never lost.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<BTreeSet<Uuid>>>);

impl Claims {
    /// Takes one; none: it is taken.
    pub fn claim(&self, server: Uuid) -> Option<Claim> {
        if !self.lock().insert(server) {
            return None;
        }
        let held = Held { claims: self.clone(), server };
        Some(Claim::new(server, 0, watch::channel(false).1, held))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Held {
    claims: Claims,
    server: Uuid,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_one_workers_until_it_is_dropped() {
        let claims = Claims::default();
        let server = Uuid::now_v7();

        let first = claims.claim(server).unwrap();
        assert!(claims.claim(server).is_none());
        assert!(claims.claim(Uuid::now_v7()).is_some());

        drop(first);
        assert!(!claims.claim(server).unwrap().is_lost());
    }
}
