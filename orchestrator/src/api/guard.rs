//! What stands before the paths: who may enter, how much at a time, how long, and what is written down about it.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::admit::{self, Door, Gate};
use super::audit::{self, Audit};
use super::error::Failure;
use super::limit::{self, Slots};
use super::observe;
use super::request_id;
use super::scope;
use crate::config::{Config, Limits};
use crate::metrics::Metrics;
use crate::name::Name;

/// What it takes to guard the paths, whichever listener somebody comes by.
#[derive(Debug)]
pub struct Guard {
    gate: Arc<Gate>,
    limits: Limits,
    slots: Slots,
    audit: Arc<Audit>,
    /// Completes short names of servers.
    domain: Option<Name>,
    /// Where requests are counted.
    metrics: Metrics,
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
            gate: Arc::new(Gate::new(config, secret)),
            limits: config.limits,
            slots: Slots::new(config.limits.concurrent_requests),
            audit: Arc::new(audit),
            domain: config.domain.clone(),
            metrics,
        })
    }

    /// The same paths behind it. The last layer here meets a request first.
    pub fn before(&self, router: Router, door: Door) -> Router {
        router
            .layer(from_fn_with_state(self.domain.clone(), scope::keep))
            .layer(from_fn_with_state(self.limits, limit::time))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn_with_state(self.slots.clone(), limit::at_once))
            .layer(from_fn_with_state((Arc::clone(&self.gate), door), admit::admit))
            .layer(from_fn_with_state(self.metrics.clone(), observe::observe))
            .layer(from_fn_with_state(Arc::clone(&self.audit), audit::record))
            // Not of server-sent events, which would wait for more.
            .layer(CompressionLayer::new())
            .layer(from_fn(request_id::identify))
    }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure::broken_down().into_response()
}
