//! `/servers`

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use serde::Deserialize;

use super::Service;
use super::error::{Failure, Success};
use super::request::{self, Parameters, RawQuery};
use crate::lifecycle::{Lifecycle, Workflow};
use crate::server::{self, Server};

type Hostname = Result<Path<String>, PathRejection>;

pub(super) async fn list(State(service): State<Service>, query: RawQuery) -> Result<Success<Vec<Server>>, Failure> {
    Parameters::new(query, &[])?;
    let servers = service.lifecycle.list().await?;
    Ok(Success::ok(servers.into_iter().map(|stored| stored.server).collect()))
}

pub(super) async fn show(
    State(service): State<Service>,
    path: Hostname,
    query: RawQuery,
) -> Result<Success<Server>, Failure> {
    let hostname = request::path(path)?;
    Parameters::new(query, &[])?;
    Ok(Success::ok(service.lifecycle.find(&hostname).await?.server))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewServer {
    hostname: String,
    #[serde(default)]
    addresses: Vec<String>,
}

pub(super) async fn create(
    State(service): State<Service>,
    query: RawQuery,
    request: Request,
) -> Result<Success<Server>, Failure> {
    let wait = Parameters::new(query, &["wait"])?.wait()?;
    let NewServer { hostname, addresses } = request::required_body(request).await?;
    let addresses = addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let workflow = service.lifecycle.create(&hostname, &addresses, None).await?;
    run(&service.lifecycle, workflow, wait).await
}

pub(super) async fn delete(
    State(service): State<Service>,
    path: Hostname,
    query: RawQuery,
) -> Result<Success<Server>, Failure> {
    let hostname = request::path(path)?;
    let wait = Parameters::new(query, &["wait"])?.wait()?;
    let workflow = service.lifecycle.delete(&hostname, None).await?;
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
    text.parse().map_err(|_| Failure::invalid(format!("addresses: \"{text}\" is not an IP address")))
}
