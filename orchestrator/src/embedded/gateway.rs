//! The part of etcd's v3 JSON gateway that the component and people's tools use, on the embedded store.
//!
//! It answers as etcd 3.7 answers: the same fields, the same codes, the same limits, the same words. What it does not have
//! (leases, watches, users, nested transactions) it refuses. `request` reads what is asked, `answer` writes what comes
//! of it, and `refusal` why nothing does.

mod answer;
mod refusal;
mod request;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dns_manager_host::Handler;
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::store::{ANSWER_OCTETS, Fault, Operation, Store, Transaction};
use refusal::Refusal;
use request::Sized;

/// The release whose gateway this is like.
const VERSION: &str = "3.7.3";
/// etcd's default `--max-request-bytes`: what a change may have, encoded.
const MAX_REQUEST: usize = 1_572_864;
/// What any request may have, encoded.
const MAX_MESSAGE: usize = MAX_REQUEST + 512 * 1024;

/// Requests that are answered at one time.
const AT_ONCE: usize = 16;

/// The gateway of a store.
#[derive(Clone)]
pub struct Gateway {
    store: Arc<Store>,
    places: Arc<Semaphore>,
}

impl Gateway {
    /// On this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answers a request. It waits for the disk: not for the threads of an executor.
    pub fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let answered = match request.uri().path() {
            "/version" => plain(request.method(), "application/json", &answer::version()),
            "/health" => plain(request.method(), "text/plain; charset=utf-8", &answer::health()),
            path => match path.strip_prefix("/v3/").and_then(Call::find) {
                Some(_) if request.method() != Method::POST => Err(Refusal::method_not_allowed()),
                Some(call) => self.call(call, request.body()).map(|body| json(StatusCode::OK, &body)),
                None if path.starts_with("/v3/") => Err(Refusal::not_found()),
                None => Ok(text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned())),
            },
        };
        answered.unwrap_or_else(|refusal| json(refusal.status, &refusal.body()))
    }

    fn call(&self, call: Call, body: &[u8]) -> Result<Value, Refusal> {
        let fields = request::body(body)?;
        match call {
            Call::Range => {
                let Sized { what: (query, form), size } = request::range(&fields)?;
                check_message(size)?;
                let (revision, found) = self.store.range(&query)?;
                Ok(answer::headed(form.answer(found), revision))
            }
            Call::Put => self.single(request::put(&fields)?),
            Call::DeleteRange => self.single(request::delete(&fields)?),
            Call::Txn => {
                let Sized { what: request, size } = request::transaction(&fields)?;
                check_message(size)?;
                if request.changes() {
                    check_change(size)?;
                }
                let done = self.store.transact(&request.transaction)?;
                Ok(answer::transaction(&request, done))
            }
            Call::Status => Ok(answer::headed(answer::status(), self.store.snapshot()?.revision)),
            Call::Alarm => Ok(answer::headed(Value::default(), self.store.snapshot()?.revision)),
        }
    }

    /// One change by itself.
    fn single(&self, Sized { what: operation, size }: Sized<Operation>) -> Result<Value, Refusal> {
        check_message(size)?;
        check_change(size)?;
        let transaction = Transaction { success: vec![operation], ..Transaction::default() };
        let done = self.store.transact(&transaction)?;
        let result = done.results.into_iter().next().map(|(_, result)| answer::changed(result));
        Ok(answer::headed(result.unwrap_or_default(), done.revision))
    }
}

impl Handler for Gateway {
    fn handle<'a>(&'a self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>> {
        let gateway = self.clone();
        Box::pin(async move {
            let failed = || {
                let refusal = Refusal::unknown("the embedded store has failed");
                json(refusal.status, &refusal.body())
            };
            let Ok(place) = Arc::clone(&gateway.places).acquire_owned().await else { return failed() };
            let answered = tokio::task::spawn_blocking(move || {
                // Work goes on when nobody waits for it any more, and keeps its place until it ends.
                let _place = place;
                gateway.answer(&request)
            });
            answered.await.unwrap_or_else(|_| failed())
        })
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Range,
    Put,
    DeleteRange,
    Txn,
    Status,
    Alarm,
}

impl Call {
    fn find(path: &str) -> Option<Self> {
        Some(match path {
            "kv/range" => Self::Range,
            "kv/put" => Self::Put,
            "kv/deleterange" => Self::DeleteRange,
            "kv/txn" => Self::Txn,
            "maintenance/status" => Self::Status,
            "maintenance/alarm" => Self::Alarm,
            _ => return None,
        })
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Compacted | Fault::FutureRevision => Self::out_of_range(&format!("etcdserver: mvcc: {fault}")),
            Fault::KeyNotFound => Self::invalid(&format!("etcdserver: {fault}")),
            Fault::LeaseNotFound => Self::lease_not_found(&format!("etcdserver: {fault}")),
            Fault::TooLarge => Self::answer_too_large(ANSWER_OCTETS),
            Fault::NoSpace => Self::exhausted(&format!("etcdserver: mvcc: {fault}")),
            Fault::Storage(source) => {
                tracing::error!(error = %crate::error_chain(source.as_ref()), "the embedded store cannot be used");
                Self::unknown(&format!("the embedded store cannot be used: {source}"))
            }
        }
    }
}

fn check_message(size: usize) -> Result<(), Refusal> {
    if size <= MAX_MESSAGE { Ok(()) } else { Err(Refusal::message_too_large(size, MAX_MESSAGE)) }
}

fn check_change(size: usize) -> Result<(), Refusal> {
    if size + request::ENVELOPE <= MAX_REQUEST {
        Ok(())
    } else {
        Err(Refusal::invalid("etcdserver: request is too large"))
    }
}

fn plain(method: &Method, content_type: &'static str, body: &Value) -> Result<Response<Bytes>, Refusal> {
    if method == Method::GET {
        return Ok(text(StatusCode::OK, content_type, body.to_string()));
    }
    let message = "Method Not Allowed\n".to_owned();
    Ok(text(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", message))
}

fn json(status: StatusCode, body: &Value) -> Response<Bytes> {
    text(status, "application/json", body.to_string())
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
