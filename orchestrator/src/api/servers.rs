//! `/servers`

use std::net::IpAddr;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Service;
use super::caller::Caller;
use super::condition;
use super::error::{Errors, Failure};
use super::idempotency;
use super::page::{self, Page};
use super::request::{self, Parameters, RawQuery};
use super::scope;
use super::success::{Body, Success};
use crate::lifecycle::{Lifecycle, Workflow};
use crate::server::{self, Server};

pub(super) type Hostname = Result<Path<String>, PathRejection>;

/// All servers, by name.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers",
    params(("state" = Option<server::State>, Query, description = "only in this state"),
        ("name" = Option<String>, Query, description = "only at or below this name"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 10000), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Body<Vec<Server>>), Errors))]
pub(super) async fn list(
    State(service): State<Service>,
    caller: Option<Extension<Caller>>,
    query: RawQuery,
) -> Result<Success<Vec<Server>>, Failure> {
    let zones = scope::of(caller);
    let parameters = Parameters::new(query, &["state", "name", page::PARAMETERS[0], page::PARAMETERS[1]])?;
    let state = parameters.one("state")?.map(|text| state(&text)).transpose()?;
    let name = parameters.one("name")?.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    let page = Page::read(&parameters)?;
    let is_wanted = |server: &Server| {
        let hostname = server.hostname.as_str();
        let is_within = |name: &String| {
            hostname.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        state.is_none_or(|state| server.state == state)
            && name.as_ref().is_none_or(is_within)
            && scope::is_seen(hostname, &zones)
    };
    let servers = service.lifecycle.list().await?.into_iter().map(|stored| stored.server).filter(is_wanted);
    Ok(page.of(servers.collect(), |server| server.hostname.to_string()))
}

/// One server; its ETag is its revision.
#[utoipa::path(get, path = "/api/v1/servers/{hostname}", tag = "servers", params(("hostname" = String, Path)),
    responses((status = 200, body = Body<Server>), (status = 304, description = "it is at the revision of If-None-Match"), Errors))]
pub(super) async fn show(
    State(service): State<Service>,
    path: Hostname,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let hostname = request::path(path)?;
    Parameters::new(query, &[])?;
    let found = service.lifecycle.find(&hostname).await?;
    let mut response = Success::ok(found.server).at(found.revision).into_response();
    if condition::is_known(&headers, found.revision) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = axum::body::Body::empty();
    }
    Ok(response)
}

/// A server that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewServer {
    /// Its full name, or a short one where there is a domain.
    hostname: String,
    /// Its addresses, as far as they are known.
    #[serde(default)]
    addresses: Vec<String>,
}

/// Creates a server, registers its addresses and verifies that its name resolves.
#[utoipa::path(post, path = "/api/v1/servers", tag = "servers", request_body = NewServer,
    params(("wait" = Option<String>, Query, description = "how long to wait for the end, `30s` say"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, description = "it is done", body = Body<Server>), (status = 202, description = "it was begun", body = Body<Server>), Errors))]
pub(super) async fn create(
    State(service): State<Service>,
    query: RawQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Success<Server>, Failure> {
    let wait = Parameters::new(query, &["wait"])?.wait()?;
    let NewServer { hostname, addresses } = request::required_body(request).await?;
    let request = idempotency::of_request(&headers, format!("{hostname} {}", addresses.join(" ")).as_bytes());
    let addresses = addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let workflow = service.lifecycle.create(&hostname, &addresses, request).await?;
    run(&service.lifecycle, workflow, wait).await
}

/// Deletes a server and its records, whatever it is in the middle of.
#[utoipa::path(delete, path = "/api/v1/servers/{hostname}", tag = "servers",
    params(("hostname" = String, Path), ("wait" = Option<String>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 200, description = "it is done", body = Body<Server>), (status = 202, description = "it was begun", body = Body<Server>), Errors))]
pub(super) async fn delete(
    State(service): State<Service>,
    path: Hostname,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Success<Server>, Failure> {
    let hostname = request::path(path)?;
    let wait = Parameters::new(query, &["wait"])?.wait()?;
    let workflow = service.lifecycle.delete(&hostname, condition::demanded(&headers)?).await?;
    run(&service.lifecycle, workflow, wait).await
}

/// Goes on with a server whose workflow stopped, or tries again at once.
#[utoipa::path(post, path = "/api/v1/servers/{hostname}/retry", tag = "servers",
    params(("hostname" = String, Path), ("wait" = Option<String>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 200, description = "it is done", body = Body<Server>), (status = 202, description = "it was begun", body = Body<Server>), Errors))]
pub(super) async fn retry(
    State(service): State<Service>,
    path: Hostname,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Success<Server>, Failure> {
    let hostname = request::path(path)?;
    let wait = Parameters::new(query, &["wait"])?.wait()?;
    let workflow = service.lifecycle.retry(&hostname, condition::demanded(&headers)?).await?;
    run(&service.lifecycle, workflow, wait).await
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewName {
    /// Its full name, or a short one where there is a domain.
    to: String,
}

/// Gives a ready server another name; its records move along.
#[utoipa::path(post, path = "/api/v1/servers/{hostname}/rename", tag = "servers", request_body = NewName,
    params(("hostname" = String, Path), ("wait" = Option<String>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 200, description = "it is done", body = Body<Server>), (status = 202, description = "it was begun", body = Body<Server>), Errors))]
pub(super) async fn rename(
    State(service): State<Service>,
    path: Hostname,
    query: RawQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Success<Server>, Failure> {
    let hostname = request::path(path)?;
    let wait = Parameters::new(query, &["wait"])?.wait()?;
    let NewName { to } = request::required_body(request).await?;
    let workflow = service.lifecycle.rename(&hostname, &to, condition::demanded(&headers)?).await?;
    run(&service.lifecycle, workflow, wait).await
}

/// Runs a workflow in the background, whoever asked stays or not, and waits for it if that was asked for.
async fn run(lifecycle: &Lifecycle, workflow: Workflow, wait: Option<Duration>) -> Result<Success<Server>, Failure> {
    let accepted = workflow.server().clone();
    let hostname = accepted.hostname.to_string();
    let running = tokio::spawn(async move {
        let hostname = workflow.server().hostname.to_string();
        let ended = workflow.run(|_| {}).await;
        if let Err(error) = &ended {
            tracing::error!(hostname, "the workflow broke off: {}", crate::error_chain(error));
        }
        ended
    });
    let Some(wait) = wait else { return Ok(Success::accepted(accepted)) };
    match tokio::time::timeout(wait, running).await {
        Err(_) => {
            let found = lifecycle.find(&hostname).await;
            Ok(Success::accepted(found.map_or(accepted, |stored| stored.server)))
        }
        Ok(Ok(ended)) => finished(ended?),
        Ok(Err(panicked)) => Err(Failure::internal(panicked.to_string())),
    }
}

/// A server that is where it should be, be it with a problem of its DNS; or one whose workflow stopped.
fn finished(server: Server) -> Result<Success<Server>, Failure> {
    if server.state == server::State::Failed {
        return Err(Failure::stopped(server));
    }
    Ok(Success::ok(server))
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| Failure::invalid(format!("addresses: \"{}\" is not an IP address", text.escape_debug())))
}

fn state(text: &str) -> Result<server::State, Failure> {
    serde_json::from_value(text.into())
        .map_err(|_| Failure::invalid(format!("state: \"{}\" is none of a server", text.escape_debug())))
}
