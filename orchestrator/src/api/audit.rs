//! The audit log: a line of JSON for every change and for everybody who was refused. Values of records are not in it: they
//! may be secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument as _;

use super::caller::{Caller, Who};
use super::demand::{Demand, Names};
use super::error::Failure;
use super::request_id;
use crate::timestamp::Timestamp;
use crate::token::Role;

/// Where lines go; by default into the log, under the target `audit`.
#[derive(Debug, Default)]
pub(super) struct Audit(Option<Opened>);

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: Mutex<File>,
}

impl Audit {
    /// Into a file, behind what it has already.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self(Some(Opened { path: path.to_owned(), file: Mutex::new(open(path)?) })))
    }

    fn write(&self, line: &Line) {
        let text = match serde_json::to_string(line) {
            Ok(text) => text,
            Err(error) => return tracing::error!(%error, "a line of the audit log cannot be written"),
        };
        match &self.0 {
            None => tracing::info!(target: "audit", "{text}"),
            Some(opened) => {
                if let Err(error) = opened.write(text) {
                    tracing::error!(path = %opened.path.display(), %error, "the audit log cannot be written");
                }
            }
        }
    }
}

impl Opened {
    /// A file that was moved away is begun anew, so that logs can be rotated.
    fn write(&self, mut line: String) -> io::Result<()> {
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_there(&file, &self.path) {
            *file = open(&self.path)?;
        }
        file.write_all(line.as_bytes())
    }
}

/// Whether this file is still the one of this path: it may have been moved away, and another one begun.
fn is_there(file: &File, path: &Path) -> bool {
    let Ok(there) = path.metadata() else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, there);
        true
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[derive(Debug, Serialize)]
struct Line {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    role: Option<Role>,
    address: Option<String>,
    method: String,
    path: String,
    status: u16,
    /// Of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    items: Vec<Item>,
}

/// What became of one record or server.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Item {
    name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// Writes down what was changed and who was refused. A change goes on when its caller goes away, so that its outcome is known.
pub(super) async fn record(State(audit): State<Arc<Audit>>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let demand = Demand::of(&method, &uri);
    let finish = move |response| note(audit, method, uri.path().to_owned(), demand, response);
    if !Demand::of(request.method(), request.uri()).is_change() {
        let response = next.run(request).await;
        return if is_refusal(response.status()) { finish(response).await } else { response };
    }
    let change = async move { finish(next.run(request).await).await };
    let change = request_id::within(request_id::current().unwrap_or_default(), change);
    match tokio::spawn(change.in_current_span()).await {
        Ok(response) => response,
        Err(broken) => Failure::internal(broken.to_string()).into_response(),
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

async fn note(audit: Arc<Audit>, method: Method, path: String, demand: Demand, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let (told, body) = if is_json {
        match to_bytes(body, usize::MAX).await {
            Ok(octets) => (serde_json::from_slice(&octets).unwrap_or_default(), Body::from(octets)),
            Err(error) => return Failure::internal(error.to_string()).into_response(),
        }
    } else {
        (Value::Null, body)
    };
    let caller = parts.extensions.get::<Caller>();
    let code = told.pointer("/error/code").and_then(Value::as_str).map(str::to_owned);
    let mut items = told.get("data").map(items).unwrap_or_default();
    if let (true, Names::Path(name) | Names::Host(name) | Names::Renaming(name)) = (items.is_empty(), demand.names) {
        let outcome = if parts.status.is_success() { "done" } else { "failed" };
        items.push(Item { name, record_type: None, outcome: outcome.to_owned(), code: code.clone() });
    }
    audit.write(&Line {
        at: Timestamp::now(),
        request_id: request_id::current(),
        who: caller.map_or("anonymous", Caller::name).to_owned(),
        token: caller.and_then(|caller| match &caller.who {
            Who::Token { id, .. } => Some(id.clone()),
            Who::Local | Who::Anonymous => None,
        }),
        role: caller.filter(|_| parts.status != StatusCode::UNAUTHORIZED).map(|caller| caller.role),
        address: caller.and_then(|caller| caller.address).map(|address| address.to_string()),
        method: method.to_string(),
        path,
        status: parts.status.as_u16(),
        code,
        items,
    });
    Response::from_parts(parts, body)
}

/// Outcomes, or a server.
fn items(data: &Value) -> Vec<Item> {
    let item = |value: &Value| {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Some(Item {
            name: text("/name").or_else(|| text("/hostname"))?,
            record_type: text("/record_type"),
            outcome: text("/outcome").or_else(|| text("/state"))?,
            code: text("/reason/code"),
        })
    };
    match data {
        Value::Array(values) => values.iter().filter_map(item).collect(),
        other => item(other).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_outcomes_or_a_server_without_values() {
        let outcome = json!({"name": "a.example", "record_type": "TXT", "value": "secret", "outcome": "refused",
                             "reason": {"code": "invalid", "message": "secret"}});
        let server = json!({"id": "1", "hostname": "b.example", "state": "creating"});

        let items: Vec<_> = [json!([outcome]), server, json!("x"), json!({"changes": []})].iter().map(items).collect();

        let refused = Item {
            name: "a.example".to_owned(),
            record_type: Some("TXT".to_owned()),
            outcome: "refused".to_owned(),
            code: Some("invalid".to_owned()),
        };
        let creating =
            Item { name: "b.example".to_owned(), record_type: None, outcome: "creating".to_owned(), code: None };
        assert_eq!(items, [vec![refused], vec![creating], vec![], vec![]]);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone_and_may_be_moved_away() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("audit"), directory.path().join("audit.1"));
        let opened = Opened { path: path.clone(), file: Mutex::new(open(&path).unwrap()) };

        opened.write("1".to_owned()).unwrap();
        std::fs::rename(&path, &old).unwrap();
        opened.write("2".to_owned()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
        // Whoever moves it away may make a new one at once.
        std::fs::rename(&path, directory.path().join("audit.2")).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        opened.write("3".to_owned()).unwrap();

        assert_eq!(std::fs::read_to_string(old).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
