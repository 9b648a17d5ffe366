//! What there is to do, as far as is known: kept from what was read of the inventory, so that it need not be read again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::inventory::Stored;
use crate::name::HostName;
use crate::server::{Server, State, Wanted};
use crate::timestamp::Timestamp;

/// All servers, with what their keeper has to know of them.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    states: BTreeMap<HostName, State>,
    /// Those with work, now or later: few of many.
    open: BTreeMap<HostName, Open>,
}

/// Work on a server.
#[derive(Clone, Copy, Debug)]
struct Open {
    server: Uuid,
    /// None: at once.
    at: Option<Timestamp>,
    /// Somebody else has it.
    left_until: Option<Instant>,
}

impl Agenda {
    /// Knows these servers and no others.
    pub(super) fn replace(&mut self, all: &[Stored]) {
        self.states.clear();
        let left = std::mem::take(&mut self.open);
        for Stored { server, .. } in all {
            self.put(server);
            if let Some((open, left)) = self.open.get_mut(&server.hostname).zip(left.get(&server.hostname))
                && open.server == left.server
            {
                open.left_until = left.left_until;
            }
        }
    }

    /// Knows of a server as it is now.
    pub(super) fn put(&mut self, server: &Server) {
        let hostname = &server.hostname;
        self.states.insert(hostname.clone(), server.state);
        let before = self.open.remove(hostname).filter(|before| before.server == server.id);
        if let Some(at) = due(server) {
            let left_until = before.and_then(|before| before.left_until);
            self.open.insert(hostname.clone(), Open { server: server.id, at, left_until });
        }
    }

    /// Knows that there is no such server.
    pub(super) fn take_out(&mut self, hostname: &HostName) {
        self.states.remove(hostname);
        self.open.remove(hostname);
    }

    /// Leaves a server to whoever is at work on it, for so long at most.
    pub(super) fn leave(&mut self, hostname: &HostName, until: Duration) {
        if let Some(open) = self.open.get_mut(hostname) {
            open.left_until = Some(Instant::now() + until);
        }
    }

    /// The servers on which there is something to do now.
    pub(super) fn due(&self) -> impl Iterator<Item = (&HostName, Uuid)> {
        let now = Instant::now();
        let is_due = move |open: &Open| {
            open.at.is_none_or(|at| at.ahead().is_zero()) && open.left_until.is_none_or(|until| until <= now)
        };
        self.open.iter().filter(move |(_, open)| is_due(open)).map(|(hostname, open)| (hostname, open.server))
    }

    /// After how long the next of those comes that wait for their time; none: no one does.
    pub(super) fn next_within(&self) -> Option<Duration> {
        let now = Instant::now();
        let waits = |open: &Open| {
            let retry = open.at.map(Timestamp::ahead).unwrap_or_default();
            let left = open.left_until.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
            retry.max(left)
        };
        self.open.values().map(waits).filter(|waits| !waits.is_zero()).min()
    }

    /// The state of each server.
    pub(super) fn states(&self) -> impl Iterator<Item = State> {
        self.states.values().copied()
    }
}

/// When there is something to do on a server; none: nothing, as it is.
fn due(server: &Server) -> Option<Option<Timestamp>> {
    if !server.is_at_rest() {
        return Some(server.retry_at);
    }
    let is_ready = (server.state, server.wanted) == (State::Ready, Wanted::Present);
    server.retry_at.filter(|_| is_ready).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(hostname: &str, state: State) -> Server {
        let mut server = Server::new(hostname.parse().unwrap(), vec!["192.168.1.10".parse().unwrap()]);
        server.state = state;
        server
    }

    fn due(agenda: &Agenda) -> Vec<String> {
        agenda.due().map(|(hostname, _)| hostname.to_string()).collect()
    }

    #[test]
    fn what_is_not_at_rest_is_due_and_what_is_to_be_tried_again_at_its_time() {
        let creating = server("creating.example.com", State::Creating);
        let ready = server("ready.example.com", State::Ready);
        let failed = server("failed.example.com", State::Failed);
        let mut going = server("going.example.com", State::Ready);
        going.wanted = Wanted::Deleted;
        let mut again = server("again.example.com", State::Ready);
        again.retry_at = Some(Timestamp::now());
        let mut later = server("later.example.com", State::Registering);
        later.retry_at = Some(Timestamp::now().after(Duration::from_secs(60)));
        let all: Vec<_> = [creating, ready, failed, going, again, later.clone()]
            .into_iter()
            .map(|server| Stored { server, revision: 1 })
            .collect();

        let mut agenda = Agenda::default();
        agenda.replace(&all);
        assert_eq!(due(&agenda), ["again.example.com", "creating.example.com", "going.example.com"]);
        assert_eq!(agenda.states().filter(|state| *state == State::Ready).count(), 3);

        assert!(agenda.next_within().is_some_and(|next| next > Duration::from_secs(50)), "{:?}", agenda.next_within());

        later.retry_at = None;
        agenda.put(&later);
        agenda.put(&server("creating.example.com", State::Ready));
        agenda.take_out(&"going.example.com".parse().unwrap());
        assert_eq!(due(&agenda), ["again.example.com", "later.example.com"]);
        assert_eq!(agenda.next_within(), None);

        agenda.replace(&[]);
        assert_eq!((due(&agenda).len(), agenda.states().count()), (0, 0));
    }

    #[test]
    fn what_somebody_else_is_at_work_on_is_left_whatever_is_written_of_it() {
        let mut server = server("web-01.example.com", State::Creating);
        let mut agenda = Agenda::default();
        agenda.put(&server);
        agenda.leave(&server.hostname, Duration::from_secs(60));
        assert_eq!(due(&agenda), [""; 0]);

        server.state = State::Waiting;
        agenda.put(&server);
        agenda.replace(&[Stored { server: server.clone(), revision: 2 }]);
        assert_eq!(due(&agenda), [""; 0]);

        // Another one of that name is another matter.
        server.id = Uuid::now_v7();
        agenda.put(&server);
        assert_eq!(due(&agenda), ["web-01.example.com"]);

        agenda.leave(&server.hostname, Duration::ZERO);
        assert_eq!(due(&agenda), ["web-01.example.com"]);
    }
}
