//! `/healthz`: the process works. `/readyz`: it can do its job.

use std::time::Duration;

use axum::extract::State;
use dns_manager_host::contract::Level;
use serde::Serialize;
use uuid::Uuid;

use super::Service;
use super::error::{Failure, Success};
use crate::dns;

const BUDGET: Duration = Duration::from_secs(5);

/// Answers while the process works; `instance` tells it from another that listens here later.
#[derive(Serialize)]
pub(super) struct Health {
    instance: Uuid,
    version: &'static str,
}

pub(super) async fn healthz(State(service): State<Service>) -> Success<Health> {
    Success::ok(Health { instance: service.instance, version: env!("CARGO_PKG_VERSION") })
}

#[derive(Serialize)]
pub(super) struct Readiness {
    ready: bool,
}

/// Ready when the inventory can be read and the component's own checks find nothing that does not work.
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
