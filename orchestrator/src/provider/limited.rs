//! A provider that does so much at a time at most, whoever asks for it.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::{Error, Provider, Status};
use crate::server::Server;

/// Bounds the calls of a provider that run at a time: a thousand requests are a thousand workflows, but not as many programs.
/// A place is kept for the length of one call, so that servers that take long to become ready keep none from the others.
pub struct Limited {
    provider: Arc<dyn Provider>,
    places: Semaphore,
}

impl Limited {
    /// At most `in_flight` calls of this provider at a time.
    pub fn new(provider: Arc<dyn Provider>, in_flight: usize) -> Self {
        Self { provider, places: Semaphore::new(in_flight.max(1)) }
    }

    /// Nobody closes the semaphore.
    async fn in_its_place<T>(&self, call: impl Future<Output = T>) -> T {
        let _place = self.places.acquire().await.ok();
        call.await
    }
}

impl Provider for Limited {
    fn check(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        self.provider.check(addresses)
    }

    fn create<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.in_its_place(async { self.provider.create(server).await }))
    }

    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Status, Error>> {
        Box::pin(self.in_its_place(async { self.provider.status(server).await }))
    }

    fn stop<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.in_its_place(async { self.provider.stop(server).await }))
    }

    fn delete<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.in_its_place(async { self.provider.delete(server).await }))
    }
}
