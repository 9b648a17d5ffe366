//! What is told of calls of the built-in component, over backends that answer, refuse and keep silent.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::Notify;

use super::*;
use crate::{Builder, Call, Denials, DnsManager, Handler, Limits, contract::Filter};

/// All that was told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<CallReport>>>);

impl Told {
    fn observe(&self, builder: Builder) -> Builder {
        let told = self.0.clone();
        builder.observer(move |report| told.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone()))
    }

    fn outcomes(&self) -> Vec<(&'static str, &'static str)> {
        self.0.lock().unwrap().iter().map(|report| (report.export, report.outcome)).collect()
    }

    fn last(&self) -> CallReport {
        self.0.lock().unwrap().last().cloned().expect("something was told")
    }
}

/// A backend that answers every request with this status, or never.
struct Backend(Option<u16>);

impl Handler for Backend {
    fn handle<'a>(&'a self, _: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>> {
        Box::pin(async move {
            let Some(status) = self.0 else { return pending().await };
            let mut response = Response::new(Bytes::from_static(b"{}"));
            *response.status_mut() = status.try_into().unwrap();
            response
        })
    }
}

/// A backend that never answers, and tells that it was asked.
struct Silent(Arc<Notify>);

impl Handler for Silent {
    fn handle<'a>(&'a self, _: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>> {
        self.0.notify_one();
        Box::pin(pending())
    }
}

fn builder(backend: impl Handler) -> Builder {
    DnsManager::builder()
        .component(dns_manager_guest_artifact::COMPONENT)
        .backend_handler("backend.invalid:2379", Arc::new(backend))
        .setting("zones", "example.com")
}

async fn list(dns: &DnsManager, budget: u64) -> Result<(), Error> {
    let call = Call { budget: Duration::from_millis(budget), request_id: "r-1".to_owned(), ..Call::default() };
    dns.list(Filter::default(), None, 10, call).await.map(drop)
}

#[tokio::test]
async fn a_call_is_told_with_all_that_it_cost() {
    let told = Told::default();
    let dns = told.observe(builder(Backend(Some(503)))).build().await.unwrap();
    assert_eq!(told.outcomes(), [("describe", "ok")]);

    list(&dns, 2_000).await.unwrap_err();

    let report = told.last();
    assert_eq!((report.export, report.outcome, &*report.request_id), ("list", "refused", "r-1"));
    assert!(report.http_requests >= 2, "it tries again: {report:?}");
    assert_eq!(report.http_failures, report.http_requests);
    assert_eq!(report.denials, Denials::default());
    assert!(report.memory_peak_bytes >= 64 << 10, "{report:?}");
    // Between its tries it waits.
    assert!(Duration::ZERO < report.busy && report.busy + report.waited < report.elapsed, "{report:?}");
}

#[tokio::test]
async fn a_request_that_is_answered_has_not_failed() {
    let told = Told::default();
    let dns = told.observe(builder(Backend(Some(404)))).build().await.unwrap();
    list(&dns, 600).await.unwrap_err();
    let report = told.last();
    assert!(report.http_requests > 0, "{report:?}");
    assert_eq!(report.http_failures, 0);
}

#[tokio::test]
async fn what_the_rule_forbids_is_told() {
    let told = Told::default();
    let dns = told.observe(builder(Backend(Some(200))).backend_rule(|_, _| false)).build().await.unwrap();
    list(&dns, 600).await.unwrap_err();
    let report = told.last();
    assert_eq!((report.outcome, report.http_requests, report.http_failures), ("refused", 0, 0));
    assert!(report.denials.http > 0, "{report:?}");
    assert_eq!(report.denials, Denials { http: report.denials.http, ..Denials::default() });
}

#[tokio::test]
async fn too_much_memory_is_told_when_the_component_is_loaded() {
    let told = Told::default();
    let limits = Limits { memory_bytes: 64 << 10, ..Limits::default() };
    let built = told.observe(builder(Backend(None)).limits(limits)).build().await;
    assert!(matches!(built, Err(Error::OutOfMemory { .. })), "{built:?}");
    assert_eq!(told.outcomes(), [("describe", "out-of-memory")]);
    assert!(told.last().memory_peak_bytes <= 64 << 10);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_told() {
    let told = Told::default();
    let asked = Arc::new(Notify::new());
    let dns = told.observe(builder(Silent(Arc::clone(&asked)))).build().await.unwrap();
    let calling = tokio::spawn({
        let dns = dns.clone();
        async move { list(&dns, 60_000).await }
    });
    asked.notified().await;

    calling.abort();

    assert!(calling.await.unwrap_err().is_cancelled());
    let report = told.last();
    assert_eq!((report.export, report.outcome), ("list", "cancelled"));
    assert_eq!((report.http_requests, report.http_failures), (1, 1));
    assert_eq!(dns.usage().places_in_use, 0);
}

#[tokio::test]
async fn places_are_counted_and_waiting_for_one_is_told() {
    let told = Told::default();
    let limits = Limits { concurrency: 1, grace: Duration::ZERO, ..Limits::default() };
    let dns = told.observe(builder(Backend(None)).limits(limits)).build().await.unwrap();
    let free = crate::Usage { places: 1, places_in_use: 0, connections: 32, connections_open: 0 };
    assert_eq!(dns.usage(), free);
    let first = tokio::spawn({
        let dns = dns.clone();
        async move { list(&dns, 60_000).await }
    });
    while dns.usage().places_in_use == 0 {
        tokio::task::yield_now().await;
    }

    let second = list(&dns, 100).await;

    assert!(matches!(second, Err(Error::Busy { .. })), "{second:?}");
    let report = told.last();
    assert_eq!((report.outcome, report.memory_peak_bytes, report.busy), ("busy", 0, Duration::ZERO));
    assert!(report.waited > Duration::ZERO && report.waited == report.elapsed, "{report:?}");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(dns.usage(), free);
}

#[tokio::test]
async fn an_observer_that_panics_breaks_nothing() {
    let dns = builder(Backend(Some(503))).observer(|_| panic!("as it was told")).build().await.unwrap();
    assert!(matches!(list(&dns, 100).await, Err(Error::Refused(_))));
}
