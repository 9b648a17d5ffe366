//! `/reconcile`

use axum::extract::{Request, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Service;
use super::desired::Most;
use super::error::{Errors, Failure};
use super::request::{self, Parameters, RawQuery};
use super::success::{Body, Success};
use crate::reconcile::{Options, Report};

/// What holds for the pass.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReconcileRequest)]
pub(super) struct Wish {
    /// Only report.
    #[serde(default)]
    dry_run: bool,
    /// How much of a zone may be deleted.
    max_deletes: Option<Most>,
}

/// Compares what is registered with the inventory, and mends what is ours unless it is a dry run.
#[utoipa::path(post, path = "/api/v1/reconcile", tag = "service", request_body = Option<Wish>, responses((status = 200, body = Body<Report>), Errors))]
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
