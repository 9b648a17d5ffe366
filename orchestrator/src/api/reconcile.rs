//! `/reconcile`

use axum::extract::{Request, State};
use serde::Deserialize;

use super::Service;
use super::desired::Most;
use super::error::{Failure, Success};
use super::request::{self, Parameters, RawQuery};
use crate::reconcile::{Options, Report};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    dry_run: bool,
    max_deletes: Option<Most>,
}

/// Compares what is registered with the inventory, and mends what is ours unless it is a dry run.
pub(super) async fn reconcile(
    State(service): State<Service>,
    query: RawQuery,
    request: Request,
) -> Result<Success<Report>, Failure> {
    Parameters::new(query, &[])?;
    let wish: Wish = request::body(request).await?.unwrap_or_default();
    let max_deletes = wish.max_deletes.map(Most::read).transpose()?.unwrap_or_default();
    Ok(Success::ok(service.reconciler.run(Options { dry_run: wish.dry_run, max_deletes }).await?))
}
