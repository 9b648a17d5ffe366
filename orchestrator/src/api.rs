//! The REST API: paths and what they answer with; see `error` for the envelope and the statuses.

mod admit;
mod audit;
mod caller;
mod condition;
mod demand;
mod desired;
mod error;
mod events;
mod guard;
mod health;
mod idempotency;
mod limit;
mod observe;
mod openapi;
mod page;
mod reconcile;
mod records;
mod request;
mod request_id;
mod scope;
mod servers;
mod success;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use tokio::sync::watch;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub use admit::Door;
pub(crate) use caller::LOCAL_ID;
pub use guard::Guard;

use crate::desired::Desired;
use crate::dns::Dns;
use crate::lifecycle::Lifecycle;
use crate::reconcile::Reconciler;
use crate::registry::Registry;
use error::Failure;
pub use health::LastLook;

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
    /// The zones that are configured.
    pub zones: Vec<String>,
    /// Tells this process from others that listened at the same address before.
    pub instance: Uuid,
    /// Becomes true when the service is told to stop.
    pub stopping: watch::Receiver<bool>,
    /// The description of the paths; [`router`] makes it.
    pub openapi: Arc<utoipa::openapi::OpenApi>,
    /// Whether it can do its job, as was last seen.
    pub last_look: LastLook,
}

/// All paths.
pub fn router(service: Service) -> Router {
    let files = OpenApiRouter::new()
        .routes(routes!(desired::plan))
        .routes(routes!(desired::apply))
        .layer(DefaultBodyLimit::max(MAX_FILE_BYTES));
    let (router, document) = OpenApiRouter::with_openapi(openapi::Common::openapi())
        .routes(routes!(records::list, records::register))
        .routes(routes!(records::show, records::update, records::unregister))
        .routes(routes!(records::unregister_all))
        .routes(routes!(records::verify))
        .routes(routes!(records::adopt))
        .routes(routes!(records::release))
        .routes(routes!(records::repair))
        .routes(routes!(desired::export))
        .routes(routes!(desired::zones))
        .routes(routes!(servers::list, servers::create))
        .routes(routes!(servers::show, servers::delete))
        .routes(routes!(servers::retry))
        .routes(routes!(servers::rename))
        .routes(routes!(events::of_all))
        .routes(routes!(events::of_one))
        .routes(routes!(reconcile::reconcile))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(observe::metrics))
        .routes(routes!(openapi::openapi))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(idempotency::Answers::new(), idempotency::once))
        .merge(files)
        .split_for_parts();
    let service = Service { openapi: Arc::new(openapi::described(document)), ..service };
    router.fallback(unknown_path).method_not_allowed_fallback(wrong_method).with_state(service)
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::method_not_allowed(format!("{method} is not available at {}", uri.path()))
}

#[cfg(test)]
mod tests;
