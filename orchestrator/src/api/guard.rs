//! What stands before the paths: who may enter, how much at a time, how long, and what is written down about it.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::audit::{self, Audit};
use super::caller;
use super::error::Failure;
use super::limit::{self, Rates, Slots};
use super::observe;
use super::request_id;
use super::scope;
use crate::config::{Config, Limits};
use crate::metrics::Metrics;
use crate::name::Name;
use crate::token::{Digest, Store, Tokens};

/// By which listener somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The configured one.
    Public,
    /// One of commands on this machine, which know the secret of this instance; nobody else is let in.
    Local,
}

/// What it takes to guard the paths.
#[derive(Debug)]
pub struct Guard {
    pub(super) required: bool,
    pub(super) tokens: Tokens,
    /// Of the secret that commands on this machine find.
    pub(super) instance: Digest,
    pub(super) limits: Limits,
    pub(super) rates: Rates,
    pub(super) slots: Slots,
    pub(super) audit: Audit,
    /// Completes short names of servers.
    pub(super) domain: Option<Name>,
    /// Where requests are counted.
    pub(super) metrics: Metrics,
}

impl Guard {
    /// As configured; `secret` lets commands on this machine in, and requests are counted in `metrics`.
    ///
    /// # Errors
    ///
    /// The audit log cannot be written.
    pub fn new(config: &Config, secret: &str, metrics: Metrics) -> Result<Self, (PathBuf, std::io::Error)> {
        let audit = match &config.access.audit {
            None => Audit::default(),
            Some(path) => Audit::file(path).map_err(|error| (path.clone(), error))?,
        };
        Ok(Self {
            required: config.access.required,
            tokens: Tokens::new(Store::new(&config.access.tokens)),
            instance: Digest::of(secret),
            limits: config.limits,
            rates: Rates::new(&config.limits),
            slots: Slots::new(config.limits.concurrent_requests),
            audit,
            domain: config.domain.clone(),
            metrics,
        })
    }
}

/// The same paths behind a guard. The last layer here meets a request first.
pub fn guarded(router: Router, guard: Arc<Guard>, door: Door) -> Router {
    router
        .layer(from_fn_with_state(Arc::clone(&guard), scope::keep))
        .layer(from_fn_with_state(Arc::clone(&guard), limit::time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&guard), limit::at_once))
        .layer(from_fn_with_state((Arc::clone(&guard), door), caller::admit))
        .layer(from_fn_with_state(Arc::clone(&guard), observe::observe))
        .layer(from_fn_with_state(guard, audit::record))
        // Not of server-sent events, which would wait for more.
        .layer(CompressionLayer::new())
        .layer(from_fn(request_id::identify))
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure::broken_down().into_response()
}
