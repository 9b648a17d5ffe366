//! Who changed, told to whoever waits for it.

use std::collections::BTreeSet;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::name::HostName;

/// Notices that are kept for somebody who is busy; who misses some is told that anything may have changed.
const KEPT: usize = 4096;

/// What may have changed in an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The servers of these names: written, gone, or renamed from or to.
    Servers(BTreeSet<HostName>),
    /// Any of them: notices were missed.
    Anything,
}

impl Changed {
    /// Whether it may have been the server of this name.
    pub fn concerns(&self, hostname: &HostName) -> bool {
        match self {
            Self::Servers(hostnames) => hostnames.contains(hostname),
            Self::Anything => true,
        }
    }

    /// Takes another change up.
    pub(crate) fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Servers(hostnames), Self::Servers(others)) => hostnames.extend(others),
            _ => *self = Self::Anything,
        }
    }
}

impl Default for Changed {
    /// Nothing.
    fn default() -> Self {
        Self::Servers(BTreeSet::new())
    }
}

impl<I: IntoIterator<Item = HostName>> From<I> for Changed {
    fn from(hostnames: I) -> Self {
        Self::Servers(hostnames.into_iter().collect())
    }
}

/// Where an inventory tells of its changes.
#[derive(Clone, Debug)]
pub struct Notices(broadcast::Sender<Changed>);

impl Default for Notices {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Notices {
    /// Tells those who listen.
    pub fn tell(&self, changed: impl Into<Changed>) {
        // That nobody listens is no error.
        let _ = self.0.send(changed.into());
    }

    /// Listens from now on.
    pub fn listen(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

/// The changes of an inventory, as one of those sees them who listen.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Changed>);

impl Changes {
    /// Waits for a change. Whatever was told of by then comes with it; nothing is lost when the wait is broken off.
    pub async fn next(&mut self) -> Changed {
        let mut changed = match self.0.recv().await {
            Ok(changed) => changed,
            Err(RecvError::Lagged(_)) => Changed::Anything,
            // There is no inventory any more that could change.
            Err(RecvError::Closed) => std::future::pending().await,
        };
        loop {
            match self.0.try_recv() {
                Ok(more) => changed.add(more),
                Err(TryRecvError::Lagged(_)) => changed = Changed::Anything,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return changed,
            }
        }
    }

    /// Waits until the server of this name may have changed.
    pub async fn of(&mut self, hostname: &HostName) {
        while !self.next().await.concerns(hostname) {}
    }

    /// Forgets what was told of so far: who is about to read will see it.
    pub fn forget(&mut self) {
        self.0 = self.0.resubscribe();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn name(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_was_told_of_comes_together_and_once() {
        let notices = Notices::default();
        let mut changes = notices.listen();
        notices.tell([name("web-01.example.com")]);
        notices.tell([name("web-02.example.com"), name("web-01.example.com")]);

        let both = Changed::from([name("web-01.example.com"), name("web-02.example.com")]);
        assert_eq!(changes.next().await, both);
        assert_eq!(changes.next().now_or_never(), None);

        notices.tell([name("web-03.example.com")]);
        changes.forget();
        assert_eq!(changes.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn who_waits_for_one_server_is_woken_for_that_one_alone() {
        let notices = Notices::default();
        let mut changes = notices.listen();
        notices.tell([name("web-02.example.com")]);
        assert_eq!(changes.of(&name("web-01.example.com")).now_or_never(), None);

        notices.tell([name("web-01.example.com")]);
        assert_eq!(changes.of(&name("web-01.example.com")).now_or_never(), Some(()));
        notices.tell(Changed::Anything);
        assert_eq!(changes.of(&name("web-01.example.com")).now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn who_missed_something_is_told_that_anything_may_have_changed() {
        let notices = Notices::default();
        let mut changes = notices.listen();
        for _ in 0..=KEPT {
            notices.tell([name("web-01.example.com")]);
        }
        assert_eq!(changes.next().await, Changed::Anything);
    }
}
