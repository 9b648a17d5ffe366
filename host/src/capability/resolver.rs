//! The import `resolver`: questions to the configured name servers, answers
//! as they came.
//!
//! The exchange is our own, on hickory's codec ([`wire`]): its clients send a
//! question again when no answer comes, turn a truncated answer into another
//! transport by themselves, and keep back what the contract promises to hand
//! over, the AA and TC bits of the very message and the time that it took.

mod exchange;
mod import;
mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    bindings::provisioning::dns::resolver::{Answer, Failure, Question, Transport},
    capability::{
        dial::Lookup,
        policy::{Authority, never},
    },
    shared::Shared,
    tally::Tally,
};

/// Questions under way at one time, over all calls: each has a socket or two.
const IN_FLIGHT: usize = 256;

/// The configured name servers, shared by all calls.
pub(crate) struct Resolver {
    places: Semaphore,
    servers: Vec<NameServer>,
    lookup: Arc<dyn Lookup>,
    timeout: Duration,
}

/// What one question needs on its way.
struct Asked<'a> {
    query: wire::Query,
    transport: Transport,
    deadline: Instant,
    /// What is left to the call.
    bytes_left: &'a AtomicUsize,
}

/// One name server, under the id that the operator wrote.
struct NameServer {
    id: String,
    authority: Authority,
    known: Mutex<Known>,
}

/// Where a name server is.
#[derive(Clone, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// The one that is tried first; past the end, the name is looked up again.
    first: usize,
}

impl Resolver {
    /// Parses the servers and looks their names up. A name that leads nowhere
    /// now is looked up again when it is asked.
    pub(crate) async fn new(ids: &[String], lookup: Arc<dyn Lookup>, timeout: Duration) -> Result<Self, String> {
        let mut servers = Vec::with_capacity(ids.len());
        for id in ids {
            let authority = Authority::parse(id, None)
                .map_err(|_| format!("`{id}` is no name server; write host:port, as in 127.0.0.1:53 or [::1]:53"))?;
            if authority.ip().is_some_and(never) {
                return Err(format!("the name server `{id}` has an address that must not be reached"));
            }
            servers.push(NameServer { id: id.clone(), authority, known: Mutex::default() });
        }
        let resolver = Self { places: Semaphore::new(IN_FLIGHT), servers, lookup, timeout };
        for server in &resolver.servers {
            let looked_up = tokio::time::timeout(timeout, resolver.addresses(server)).await;
            if let Err(failure) = looked_up.unwrap_or(Err(Failure::Timeout)) {
                tracing::warn!(server = server.id, ?failure, "the name server's name cannot be looked up yet");
            }
        }
        Ok(resolver)
    }

    /// The ids of the servers, as the operator wrote them.
    fn ids(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.id.clone()).collect()
    }

    async fn ask(
        &self,
        question: &Question,
        bytes_left: &AtomicUsize,
        tally: &Shared<Tally>,
    ) -> Result<Answer, Failure> {
        let asked = self.exchange(question, bytes_left).await;
        if let Err(Failure::UnknownServer | Failure::Denied) = asked {
            tally.lock().denials.resolver += 1;
        }
        asked?.ok_or_else(|| {
            tally.lock().denials.limits += 1;
            Failure::Denied
        })
    }

    /// One question and its answer; none if it is more than is left to the call.
    async fn exchange(&self, question: &Question, bytes_left: &AtomicUsize) -> Result<Option<Answer>, Failure> {
        let server = self.servers.iter().find(|server| server.id == question.server).ok_or(Failure::UnknownServer)?;
        let query = wire::Query::new(question)?;
        let wait = Duration::from_millis(question.timeout_ms.into()).clamp(Duration::from_millis(1), self.timeout);
        let deadline = Instant::now() + wait;
        // Who waits here blames no server.
        let place = timeout_at(deadline, self.places.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or(Failure::Timeout)?;
        let asked = Asked { query, transport: question.transport, deadline, bytes_left };
        timeout_at(deadline, self.ask_server(server, &asked)).await.unwrap_or_else(|_| {
            server.failed();
            Err(Failure::Timeout)
        })
    }

    /// Asks at the server's addresses, in turn while nobody is there.
    async fn ask_server(&self, server: &NameServer, asked: &Asked<'_>) -> Result<Option<Answer>, Failure> {
        let known = self.addresses(server).await?;
        let mut last = Failure::Unreachable("the name leads to no address".to_owned());
        let (before, after) = known.addresses.split_at_checked(known.first).unwrap_or((&known.addresses, &[]));
        for address in after.iter().chain(before) {
            match exchange::exchange(*address, asked).await {
                Err(Failure::Unreachable(why)) => last = Failure::Unreachable(why),
                Err(failure @ Failure::Timeout) => {
                    server.failed();
                    return Err(failure);
                }
                answered => {
                    server.answered(*address);
                    return answered;
                }
            }
        }
        server.forget();
        Err(last)
    }

    async fn addresses(&self, server: &NameServer) -> Result<Known, Failure> {
        let known = server.lock().clone();
        if known.first < known.addresses.len() {
            return Ok(known);
        }
        let Authority { host, port } = &server.authority;
        let addresses = match server.authority.ip() {
            Some(ip) => vec![SocketAddr::new(ip, *port)],
            None => self.lookup.lookup(host, *port).await.map_err(|e| Failure::Unreachable(e.to_string()))?,
        };
        if addresses.iter().any(|address| never(address.ip())) {
            return Err(Failure::Denied);
        }
        let known = Known { addresses, first: 0 };
        *server.lock() = known.clone();
        Ok(known)
    }
}

impl NameServer {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address answered: it is the first to be asked from now on.
    fn answered(&self, address: SocketAddr) {
        let mut known = self.lock();
        if let Some(position) = known.addresses.iter().position(|a| *a == address) {
            known.first = position;
        }
    }

    /// The first address was silent: the next one's turn, at last a look-up.
    fn failed(&self) {
        let mut known = self.lock();
        known.first = known.first.saturating_add(1);
    }

    /// Nobody is at any of the addresses.
    fn forget(&self) {
        *self.lock() = Known::default();
    }
}

#[cfg(test)]
mod tests;
