//! `/healthz`: the process works. `/readyz`: it can do its job.

use std::time::Duration;

use axum::extract::State;
use dns_manager_host::contract::Level;
use serde::Serialize;
use uuid::Uuid;

use super::Service;
use super::error::{Body, ErrorBody, Failure, Success};
use crate::dns;

const BUDGET: Duration = Duration::from_secs(5);

/// Answers while the process works; `instance` tells it from another that listens here later.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    instance: Uuid,
    version: &'static str,
}

/// Whether the process works.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = Body<Health>)))]
pub(super) async fn healthz(State(service): State<Service>) -> Success<Health> {
    Success::ok(Health { instance: service.instance, version: env!("CARGO_PKG_VERSION") })
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Readiness {
    ready: bool,
}

/// Whether it can do its job.
///
/// Ready when the inventory can be read and the component's own checks find nothing that does not work.
#[utoipa::path(get, path = "/readyz", tag = "service", responses((status = 200, body = Body<Readiness>), (status = 503, body = ErrorBody)))]
pub(super) async fn readyz(State(service): State<Service>) -> Result<Success<Readiness>, Failure> {
    service.lifecycle.list().await.map_err(|error| Failure::not_ready(crate::error_chain(&error)))?;
    let checks = service.dns.diagnose(dns::call(BUDGET)).await;
    let checks = checks.map_err(|error| Failure::not_ready(dns::why(&error)))?;
    match checks.into_iter().find(|check| check.level == Level::Fail) {
        None => Ok(Success::ok(Readiness { ready: true })),
        Some(check) if check.remedy.is_empty() => Err(Failure::not_ready(format!("{}: {}", check.id, check.saw))),
        Some(check) => Err(Failure::not_ready(format!("{}: {}: {}", check.id, check.saw, check.remedy))),
    }
}
