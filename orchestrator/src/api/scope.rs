//! Callers that are limited to zones: they change what is within, and see nothing else.

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::caller::Caller;
use super::demand::{Demand, Names};
use super::error::Failure;
use super::{MAX_BODY_BYTES, MAX_FILE_BYTES, desired, request};
use crate::name::{HostName, Name};

/// Keeps a caller within its zones; the domain completes short names of servers.
pub(super) async fn keep(State(domain): State<Option<Name>>, request: Request, next: Next) -> Response {
    let caller = match request.extensions().get::<Caller>() {
        Some(caller) if !caller.zones.is_empty() => caller.clone(),
        _ => return next.run(request).await,
    };
    let kept = match Demand::of(request.method(), request.uri()).names {
        Names::None => Ok(request),
        Names::Listed => return filtered(next.run(request).await, &caller).await,
        Names::Any => Err(limited(&caller, "this is about all zones")),
        Names::Path(name) => outside(&caller, [name]).map_or(Ok(request), Err),
        Names::Host(name) => outside(&caller, [completed(&name, domain.as_ref())]).map_or(Ok(request), Err),
        Names::Sets => {
            with_body(request, MAX_BODY_BYTES, |octets, _| outside(&caller, sets(octets)?).map_or(Ok(()), Err)).await
        }
        Names::Renaming(from) => {
            let check = |octets: &[u8], _| {
                let names = [&from, &text(octets, "to")?].map(|name| completed(name, domain.as_ref()));
                outside(&caller, names).map_or(Ok(()), Err)
            };
            with_body(request, MAX_BODY_BYTES, check).await
        }
        Names::Server => {
            let check = |octets: &[u8], _| {
                outside(&caller, [completed(&text(octets, "hostname")?, domain.as_ref())]).map_or(Ok(()), Err)
            };
            with_body(request, MAX_BODY_BYTES, check).await
        }
        Names::Wish => {
            let check = |octets: &[u8], is_json| outside(&caller, desired::names(octets, is_json)?).map_or(Ok(()), Err);
            with_body(request, MAX_FILE_BYTES, check).await
        }
    };
    match kept {
        Ok(request) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// A server's name as whoever answers will read it.
fn completed(text: &str, domain: Option<&Name>) -> String {
    HostName::complete(text, domain, "").map_or_else(|_| text.to_owned(), |name| name.as_str().to_owned())
}

/// Refuses if one of these names is not the caller's.
fn outside(caller: &Caller, names: impl IntoIterator<Item = String>) -> Option<Failure> {
    let name = names.into_iter().find(|name| !is_within(name, &caller.zones))?;
    Some(limited(caller, &format!("\"{}\" is outside", name.escape_debug())))
}

fn limited(caller: &Caller, why: &str) -> Failure {
    let zones = caller.zones.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    Failure::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("the token {} is limited to {zones}: {why}", caller.name()),
    )
}

pub(super) fn is_within(name: &str, zones: &[Name]) -> bool {
    zones.iter().any(|zone| zone.holds(name))
}

/// The zones that whoever calls is limited to; none: all are seen.
pub(super) fn of(caller: Option<Extension<Caller>>) -> Vec<Name> {
    caller.map_or_else(Vec::new, |Extension(caller)| caller.zones)
}

/// Whether somebody who is limited to these zones sees a name.
pub(super) fn is_seen(name: &str, zones: &[Name]) -> bool {
    zones.is_empty() || is_within(name, zones)
}

/// Reads the body, has it checked, and puts it back.
async fn with_body(
    request: Request,
    most: usize,
    check: impl FnOnce(&[u8], bool) -> Result<(), Failure>,
) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let octets: Bytes = to_bytes(body, most).await.map_err(|error| {
        let text = error.to_string();
        if text.contains("length limit") {
            Failure::too_large(format!("the body has more than {most} bytes"))
        } else {
            Failure::invalid(format!("the body: {text}"))
        }
    })?;
    let is_json = request::is_json(&parts.headers);
    if !octets.is_empty() {
        check(&octets, is_json)?;
    }
    Ok(Request::from_parts(parts, Body::from(octets)))
}

/// The names of a record set or of a list of them.
fn sets(octets: &[u8]) -> Result<Vec<String>, Failure> {
    let name = |set: &Value| {
        let name = set.get("name").and_then(Value::as_str).map(str::to_owned);
        name.ok_or_else(|| Failure::invalid("the body: each record set needs a name"))
    };
    match json(octets)? {
        Value::Array(sets) => sets.iter().map(name).collect(),
        set => Ok(vec![name(&set)?]),
    }
}

/// A host name in a body.
fn text(octets: &[u8], field: &str) -> Result<String, Failure> {
    let hostname = json(octets)?.get(field).and_then(Value::as_str).map(str::to_owned);
    hostname.ok_or_else(|| Failure::invalid(format!("the body: {field} is missing, which is a host name")))
}

fn json(octets: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(octets).map_err(|error| Failure::invalid(format!("the body: {error}")))
}

/// A list without what is not the caller's, whoever made it. What is no such list is not shown. A list in pages has been cut by
/// then: who makes one leaves out before what nobody is to see, not even in the place where the next page begins.
async fn filtered(response: Response, caller: &Caller) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return limited(caller, "this is about all zones").into_response();
    }
    let listed = to_bytes(body, usize::MAX).await.ok().and_then(|octets| serde_json::from_slice::<Value>(&octets).ok());
    let Some(mut listed) = listed else {
        return Failure::internal("the answer is no list".to_owned()).into_response();
    };
    let is_filtered = listed.get_mut("data").is_some_and(|data| retain(data, &caller.zones));
    if !is_filtered {
        return limited(caller, "this is about all zones").into_response();
    }
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(listed.to_string()))
}

/// Whether it was a list.
fn retain(data: &mut Value, zones: &[Name]) -> bool {
    let Value::Array(items) = data else { return false };
    items.retain(|item| {
        let name = item.get("name").or_else(|| item.get("hostname")).and_then(Value::as_str);
        name.is_some_and(|name| is_within(name, zones))
    });
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn zones() -> Vec<Name> {
        vec!["a.example".parse().unwrap(), "2.0.192.in-addr.arpa".parse().unwrap()]
    }

    #[test]
    fn names_are_compared_by_whole_labels() {
        for name in ["a.example", "A.Example.", "x.a.example", "*.a.example", "1.2.0.192.in-addr.arpa", "ü.a.example"]
        {
            assert!(is_within(name, &zones()), "{name}");
        }
        for name in [
            "",
            ".",
            "example",
            "b.example",
            "ba.example",
            "x\\.a.example",
            "a.example.b.example",
            "x。a.example",
            "web",
        ] {
            assert!(!is_within(name, &zones()), "{name}");
        }
    }

    #[test]
    fn the_names_of_a_body_are_all_found() {
        let names = |body: Value| sets(body.to_string().as_bytes()).map_err(|_| ());
        assert_eq!(names(json!({"name": "a"})), Ok(vec!["a".to_owned()]));
        assert_eq!(names(json!([{"name": "a"}, {"name": "b"}])), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(json!([{"name": "a"}, {"name": 1}])), Err(()));
        assert_eq!(names(json!(["a"])), Err(()));
        assert!(sets(b"[{").is_err());
    }

    #[test]
    fn a_list_loses_what_is_not_the_callers() {
        let mut data =
            json!([{"name": "x.a.example"}, {"name": "x.b.example"}, {"hostname": "y.a.example"}, {"id": 1}]);
        assert!(retain(&mut data, &zones()));
        assert_eq!(data, json!([{"name": "x.a.example"}, {"hostname": "y.a.example"}]));
        assert!(!retain(&mut json!({"name": "x.a.example"}), &zones()));
    }
}
