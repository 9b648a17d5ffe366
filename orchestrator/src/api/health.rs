//! `/healthz`: the process works. `/readyz`: it can do its job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use dns_manager_host::contract::Level;
use serde::Serialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Service;
use super::error::{ErrorBody, Failure};
use super::success::{Body, Success};
use crate::dns;

const BUDGET: Duration = Duration::from_secs(5);
/// The inventory's part included.
const LOOK_WITHIN: Duration = Duration::from_secs(8);
const FRESH_FOR: Duration = Duration::from_secs(1);

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

/// What the last look found, so that however many ask, one looks at a time and none more often than each second.
#[derive(Clone, Debug, Default)]
pub struct LastLook(Arc<Mutex<Option<Look>>>);

/// When somebody looked, and why it was not ready.
type Look = (Instant, Result<(), String>);

impl LastLook {
    async fn fresh(&self, look: impl Future<Output = Result<(), String>>) -> Result<(), String> {
        let mut last = self.0.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < FRESH_FOR
        {
            return found.clone();
        }
        let found = tokio::time::timeout(LOOK_WITHIN, look).await;
        let found = found.unwrap_or_else(|_| Err(format!("looking took longer than {} s", LOOK_WITHIN.as_secs())));
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// Whether it can do its job.
///
/// Ready when the inventory can be read and the component's own checks find nothing that does not work.
#[utoipa::path(get, path = "/readyz", tag = "service", responses((status = 200, body = Body<Readiness>), (status = 503, body = ErrorBody)))]
pub(super) async fn readyz(State(service): State<Service>) -> Result<Success<Readiness>, Failure> {
    if *service.stopping.borrow() {
        return Err(Failure::not_ready("the service is stopping".to_owned()));
    }
    match service.last_look.fresh(look(&service)).await {
        Ok(()) => Ok(Success::ok(Readiness { ready: true })),
        Err(why) => Err(Failure::not_ready(why)),
    }
}

async fn look(service: &Service) -> Result<(), String> {
    service.lifecycle.probe().await.map_err(|error| crate::error_chain(&error))?;
    if let Some(trouble) = service.lifecycle.trouble() {
        return Err(trouble);
    }
    let checks = service.dns.diagnose(dns::call(BUDGET)).await.map_err(|error| dns::why(&error))?;
    match checks.into_iter().find(|check| check.level == Level::Fail) {
        None => Ok(()),
        Some(check) if check.remedy.is_empty() => Err(format!("{}: {}", check.id, check.saw)),
        Some(check) => Err(format!("{}: {}: {}", check.id, check.saw, check.remedy)),
    }
}
