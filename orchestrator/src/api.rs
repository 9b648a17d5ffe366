//! The REST API: paths and what they answer with; see `error` for the envelope and the statuses.

mod desired;
mod error;
mod health;
mod reconcile;
mod records;
mod request;
mod servers;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{get, post, put};
use uuid::Uuid;

use crate::desired::Desired;
use crate::dns::Dns;
use crate::lifecycle::Lifecycle;
use crate::reconcile::Reconciler;
use crate::registry::Registry;
use error::Failure;

/// A thousand record sets fit well into it.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// A few hundred thousand record sets: a file is planned as a whole.
const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;

/// What the API works with.
#[derive(Clone)]
pub struct Service {
    /// The component.
    pub dns: Arc<dyn Dns>,
    /// The records.
    pub registry: Registry,
    /// Whole files of records.
    pub desired: Desired,
    /// The servers.
    pub lifecycle: Lifecycle,
    /// What should be registered, against what is.
    pub reconciler: Reconciler,
    /// Tells this process from others that listened at the same address before.
    pub instance: Uuid,
}

/// All paths.
pub fn router(service: Service) -> Router {
    let records = Router::new()
        .route("/", get(records::list).post(records::register))
        .route("/{name}/verify", post(records::verify))
        .route("/{name}/{type}", put(records::update).delete(records::unregister));
    let servers = Router::new()
        .route("/", get(servers::list).post(servers::create))
        .route("/{hostname}", get(servers::show).delete(servers::delete));
    let files = Router::new()
        .route("/api/v1/dns/plan", post(desired::plan))
        .route("/api/v1/dns/apply", post(desired::apply))
        .layer(DefaultBodyLimit::max(MAX_FILE_BYTES));
    Router::new()
        .nest("/api/v1/dns/records", records)
        .merge(files)
        .route("/api/v1/dns/export", get(desired::export))
        .route("/api/v1/dns/zones", get(desired::zones))
        .nest("/api/v1/servers", servers)
        .route("/api/v1/reconcile", post(reconcile::reconcile))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(service)
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::method_not_allowed(format!("{method} is not available at {}", uri.path()))
}

#[cfg(test)]
mod tests;
