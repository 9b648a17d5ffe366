//! A running service, as a command sees it that finds the inventory held, or that was told to go there.

mod fault;
mod target;

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api;
use crate::client;
use crate::desired::{MaxDeletes, Options, Plan, Set, TooManyDeletes};
use crate::lifecycle::Shown;
use crate::outcome::{Outcome, Reason};
use crate::reconcile::{self, Report};
use crate::record::{Record, RecordSet, RecordType};
use crate::registry::{Selection, Wanted};
use crate::repair::Problem;
use crate::serve::Holder;
use crate::server::{Server, State, Step};
use crate::token;
use crate::verification::Verification;
pub use target::{ConnectError, Target};

/// The service and the command are on one machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often somebody who waits is told how far a workflow is.
const POLL: Duration = Duration::from_millis(100);
/// What the service is asked to wait for a workflow; after that it is polled.
const WAIT: &str = "600s";

/// A running service.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    base: Url,
}

impl Remote {
    /// The service that this holder names, if it is there; a stale file, or another service by now, is nobody.
    pub async fn find(holder: &Holder) -> Option<Self> {
        // The service is on loopback: a proxy for the rest of the world is none for it.
        let client =
            client::plain().ok()?.no_proxy().connect_timeout(CONNECT_TIMEOUT).default_headers(headers(holder)?);
        let client = client.build().ok()?;
        let remote = Self { client, base: Url::parse(&holder.url).ok()? };
        #[derive(Deserialize)]
        struct Health {
            instance: Uuid,
        }
        let request = remote.client.get(remote.url(["healthz"])).timeout(HEALTH_TIMEOUT);
        let health: Health = send(request).await.ok()?;
        (health.instance == holder.instance).then_some(remote)
    }

    /// All servers.
    ///
    /// # Errors
    ///
    /// The service does not answer, or says no.
    pub async fn list(&self) -> Result<Vec<Server>, Error> {
        send(self.servers(Method::GET, None)).await
    }

    /// The server of this name.
    ///
    /// # Errors
    ///
    /// There is none, or the service does not answer.
    pub async fn find_server(&self, hostname: &str) -> Result<Server, Error> {
        send(self.servers(Method::GET, Some(hostname))).await
    }

    /// Creates a server and waits until it is at rest; `observe` sees each step as it begins and ends.
    ///
    /// # Errors
    ///
    /// The service does not begin, or does not answer. What becomes of the server stands on it.
    pub async fn create(
        &self,
        hostname: &str,
        addresses: &[IpAddr],
        observe: impl FnMut(&Step),
    ) -> Result<Server, Error> {
        let body = json!({"hostname": hostname, "addresses": addresses});
        let request = self.workflow(Method::POST, []).json(&body);
        // What another server of this name did is not shown as this one's.
        let other = self.find_server(hostname).await.ok().map(|server| server.id);
        self.watch(request, hostname, 0, other, observe).await
    }

    /// Deletes a server and waits until it is gone; `observe` sees each step as it begins and ends.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn delete(&self, hostname: &str, observe: impl FnMut(&Step)) -> Result<Server, Error> {
        let seen = self.ended_steps(hostname).await?;
        let request = self.workflow(Method::DELETE, [hostname]);
        self.watch(request, hostname, seen, None, observe).await
    }

    /// Goes on with a server whose workflow stopped, and waits until it is at rest; `observe` sees each step as it begins and ends.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn retry(&self, hostname: &str, observe: impl FnMut(&Step)) -> Result<Server, Error> {
        let seen = self.ended_steps(hostname).await?;
        let request = self.workflow(Method::POST, [hostname, "retry"]);
        self.watch(request, hostname, seen, None, observe).await
    }

    /// Gives a server another name, and waits until it is at rest; `observe` sees each step as it begins and ends.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn rename(&self, hostname: &str, to: &str, observe: impl FnMut(&Step)) -> Result<Server, Error> {
        let seen = self.ended_steps(hostname).await?;
        let request = self.workflow(Method::POST, [hostname, "rename"]).json(&json!({"to": to}));
        // Should there be another server of the new name, it is not this one.
        let other = self.find_server(to).await.ok().map(|server| server.id);
        self.watch(request, to, seen, other, observe).await
    }

    /// A server that the service is at work on, as it is when it is at rest.
    ///
    /// # Errors
    ///
    /// It is gone, or the service does not answer.
    pub async fn settled(&self, hostname: &str) -> Result<Server, Error> {
        loop {
            let server = self.find_server(hostname).await?;
            if is_at_rest(&server) {
                return Ok(server);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn ended_steps(&self, hostname: &str) -> Result<usize, Error> {
        Ok(self.find_server(hostname).await?.steps.iter().take_while(|step| !step.is_open()).count())
    }

    /// The records that fit.
    ///
    /// # Errors
    ///
    /// The service does not answer, or says no.
    pub async fn list_records(&self, wanted: &Wanted) -> Result<Vec<Record>, Error> {
        let record_type = wanted.record_type.map(|record_type| record_type.to_string());
        let parameters = [("zone", &wanted.zone), ("name", &wanted.name), ("type", &record_type)];
        let mut url = self.records_url([]);
        for (name, value) in parameters {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        send(self.client.get(url)).await
    }

    /// Adds the values of a set.
    ///
    /// # Errors
    ///
    /// The service does not answer, or answers no outcomes.
    pub async fn register(&self, set: &RecordSet) -> Result<Vec<Outcome>, Error> {
        send_whole(self.client.post(self.records_url([])).json(set)).await
    }

    /// Makes our values of a set exactly these.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub async fn update(&self, set: &RecordSet) -> Result<Vec<Outcome>, Error> {
        let body = json!({"values": set.values, "ttl": set.ttl});
        send_whole(self.client.put(self.records_url([&set.name, &set.record_type])).json(&body)).await
    }

    /// Removes values of ours.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub async fn unregister(&self, selection: &Selection) -> Result<Vec<Outcome>, Error> {
        let mut url = match selection.record_type {
            None => self.records_url([&*selection.name]),
            Some(record_type) => self.records_url([&*selection.name, &*record_type.to_string()]),
        };
        for value in &selection.values {
            url.query_pairs_mut().append_pair("value", value);
        }
        send_whole(self.client.delete(url)).await
    }

    /// Makes values of another owner, or of none, ours.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub async fn adopt(&self, name: &str, record_type: Option<RecordType>) -> Result<Vec<Outcome>, Error> {
        self.hand_over(name, record_type, "adopt").await
    }

    /// Takes our mark from values; they stay.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub async fn release(&self, name: &str, record_type: Option<RecordType>) -> Result<Vec<Outcome>, Error> {
        self.hand_over(name, record_type, "release").await
    }

    async fn hand_over(
        &self,
        name: &str,
        record_type: Option<RecordType>,
        action: &str,
    ) -> Result<Vec<Outcome>, Error> {
        let body = json!({"record_type": record_type.map(|record_type| record_type.to_string())});
        send_whole(self.client.post(self.records_url([name, action])).json(&body)).await
    }

    /// Compares the keys of zones with what their records need; without zones, of those that the service is configured for.
    ///
    /// # Errors
    ///
    /// The service does not answer, or a zone could not be looked at to its end.
    pub async fn repair(&self, zones: &[String], is_dry: bool) -> Result<Vec<Problem>, Error> {
        let zones = (!zones.is_empty()).then_some(zones);
        let body = json!({"zones": zones, "dry_run": is_dry});
        send(self.client.post(self.url(["api", "v1", "dns", "repair"])).json(&body)).await
    }

    /// Has every name server asked.
    ///
    /// # Errors
    ///
    /// The service does not answer, or says no.
    pub async fn verify(&self, selection: &Selection, wait: Duration) -> Result<Vec<Verification>, Error> {
        let body = json!({
            "record_type": selection.record_type.map(|record_type: RecordType| record_type.to_string()),
            "values": selection.values,
            "wait": humantime::format_duration(wait).to_string(),
        });
        send(self.client.post(self.records_url([&selection.name, "verify"])).json(&body)).await
    }

    /// Plans; what the guard says of the plan comes with it.
    ///
    /// # Errors
    ///
    /// The service does not answer, or cannot plan.
    pub async fn plan(&self, sets: &[Set], options: Options) -> Result<(Plan, Option<Reason>), Error> {
        let request = self.client.post(self.url(["api", "v1", "dns", "plan"])).json(&desired_body(sets, options, None));
        match answer(request).await? {
            Envelope { data: Some(data), error } => Ok((serde_json::from_value(data)?, error)),
            Envelope { data: None, error: Some(reason) } => Err(Error::Refused(reason)),
            Envelope { data: None, error: None } => Ok(serde_json::from_value(Value::Null)?),
        }
    }

    /// Applies; where the service's plan is no longer the one that was `shown`, the outcome says so.
    ///
    /// # Errors
    ///
    /// The service does not answer, or applies nothing.
    pub async fn apply(&self, sets: &[Set], options: Options, shown: &Plan) -> Result<Vec<Outcome>, Error> {
        let url = self.url(["api", "v1", "dns", "apply"]);
        match answer(self.client.post(url).json(&desired_body(sets, options, Some(shown)))).await? {
            Envelope { error: Some(reason), .. } if reason.code == TooManyDeletes::CODE => Err(Error::Refused(reason)),
            Envelope { data: Some(data), .. } => Ok(serde_json::from_value(data)?),
            Envelope { data: None, error: Some(reason) } => Err(Error::Refused(reason)),
            Envelope { data: None, error: None } => Ok(serde_json::from_value(Value::Null)?),
        }
    }

    /// Compares what is registered with the inventory, and mends what is ours unless it is a dry run.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the pass did not come to its end.
    pub async fn reconcile(&self, options: reconcile::Options) -> Result<Report, Error> {
        let reconcile::Options { dry_run, max_deletes } = options;
        let max_deletes = (max_deletes != MaxDeletes::Usual).then(|| max_deletes.to_string());
        let body = json!({"dry_run": dry_run, "max_deletes": max_deletes});
        send(self.client.post(self.url(["api", "v1", "reconcile"])).json(&body)).await
    }

    /// The zones that the service is configured for.
    ///
    /// # Errors
    ///
    /// The service does not answer, or says no.
    pub async fn zones(&self) -> Result<Vec<String>, Error> {
        send(self.client.get(self.url(["api", "v1", "dns", "zones"]))).await
    }

    /// Everything that is ours, as record sets that can be applied again.
    ///
    /// # Errors
    ///
    /// The service does not answer, or says no.
    pub async fn export(&self) -> Result<Vec<Set>, Error> {
        send(self.client.get(self.url(["api", "v1", "dns", "export"]))).await
    }

    /// Sends a request that begins a workflow, and looks at the server while it is being answered.
    async fn watch(
        &self,
        request: RequestBuilder,
        hostname: &str,
        seen: usize,
        other: Option<Uuid>,
        mut observe: impl FnMut(&Step),
    ) -> Result<Server, Error> {
        let mut shown = Shown::after(seen);
        let answer = send_whole(request);
        tokio::pin!(answer);
        let mut server = loop {
            tokio::select! {
                answer = &mut answer => break answer?,
                () = tokio::time::sleep(POLL) => {
                    // Before it is there and after it is gone there is nothing to show; the answer says what is wrong.
                    if let Ok(server) = self.find_server(hostname).await
                        && Some(server.id) != other
                    {
                        shown.show(&server, &mut observe);
                    }
                }
            }
        };
        shown.show(&server, &mut observe);
        while !is_at_rest(&server) {
            tokio::time::sleep(POLL).await;
            match self.find_server(hostname).await {
                Ok(found) => server = found,
                Err(Error::Refused(reason)) if reason.code == "not-found" => server.state = State::Deleted,
                Err(error) => return Err(error),
            }
            shown.show(&server, &mut observe);
        }
        Ok(server)
    }

    fn servers(&self, method: Method, hostname: Option<&str>) -> RequestBuilder {
        self.client.request(method, self.servers_url(hostname))
    }

    /// A request that begins a workflow and is answered when it has ended.
    fn workflow<const N: usize>(&self, method: Method, path: [&str; N]) -> RequestBuilder {
        let mut url = self.servers_url(path);
        url.query_pairs_mut().append_pair("wait", WAIT);
        self.client.request(method, url)
    }

    fn servers_url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        self.url(["api", "v1", "servers"].into_iter().chain(path))
    }

    fn records_url<const N: usize>(&self, path: [&str; N]) -> Url {
        self.url(["api", "v1", "dns", "records"].into_iter().chain(path))
    }

    fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        // Only a URL that cannot have a path has no segments; ours is http.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

/// What says that we can read the directory of the service.
fn headers(holder: &Holder) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(secret) = &holder.secret {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token::present(api::LOCAL_ID, secret))).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Some(headers)
}

fn desired_body(sets: &[Set], options: Options, shown: Option<&Plan>) -> Value {
    let Options { prune, max_deletes } = options;
    let max_deletes = (max_deletes != MaxDeletes::Usual).then(|| max_deletes.to_string());
    json!({"record_sets": sets, "prune": prune, "max_deletes": max_deletes, "planned": shown})
}

fn is_at_rest(server: &Server) -> bool {
    server.is_at_rest() || server.state == State::Deleted
}

struct Envelope {
    data: Option<Value>,
    error: Option<Reason>,
}

/// As it comes; without the first field it is somebody else's.
#[derive(Deserialize)]
struct Whole {
    #[serde(rename = "success")]
    _success: bool,
    data: Option<Value>,
    error: Option<Reason>,
}

/// Sends a request and reads the envelope; what is none comes from somebody else.
async fn answer(request: RequestBuilder) -> Result<Envelope, Error> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().to_string());
    let octets = answer.bytes().await?;
    let whole: Whole = serde_json::from_slice(&octets).map_err(|_| Error::Stranger { url: url.clone(), status })?;
    match whole.error {
        Some(reason) if status == StatusCode::UNAUTHORIZED => Err(Error::Unknown { url, reason }),
        error => Ok(Envelope { data: whole.data, error }),
    }
}

async fn send<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    match answer(request).await? {
        Envelope { error: Some(reason), .. } => Err(Error::Refused(reason)),
        Envelope { data, error: None } => Ok(serde_json::from_value(data.unwrap_or_default())?),
    }
}

/// What is not all done comes with an error and the data; the data says all of it.
async fn send_whole<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    match answer(request).await? {
        Envelope { data: Some(data), .. } => Ok(serde_json::from_value(data)?),
        Envelope { data: None, error: Some(reason) } => Err(Error::Refused(reason)),
        Envelope { data: None, error: None } => Ok(serde_json::from_value(Value::Null)?),
    }
}

/// Why a running service did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It said no.
    #[error("{}", .0.message)]
    Refused(Reason),
    /// It does not answer.
    #[error("the running `dns-manager serve` does not answer")]
    Away(#[from] reqwest::Error),
    /// It does not know who asks.
    #[error("{url}: the service does not know who asks: {}: give a token with --token-file, or $DNS_MANAGER_TOKEN_FILE; \
             `dns-manager token create` on the service's machine makes one", .reason.message)]
    Unknown {
        /// What was asked for.
        url: String,
        /// What it said.
        reason: Reason,
    },
    /// Whoever answers is no such service, or stands before it.
    #[error(
        "{url} answers with status {status} and no JSON, as no `dns-manager serve` does: correct the URL, or look at the \
             proxy that stands before it"
    )]
    Stranger {
        /// What was asked for.
        url: String,
        /// Its status.
        status: StatusCode,
    },
    /// Its answer is not what this version expects.
    #[error("the running `dns-manager serve` answers in a form that this version does not know")]
    Answer(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests;
