//! Who is let in, and who that is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::{Caller, LOCAL_ID, Who};
use super::demand::Demand;
use super::error::Failure;
use super::limit::Rates;
use crate::config::Config;
use crate::token::{Digest, Presented, Role, Store, Tokens};

/// By which listener somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The configured one.
    Public,
    /// One of commands on this machine, which know the secret of this instance; nobody else is let in.
    Local,
}

/// What it takes to know who may enter.
#[derive(Debug)]
pub(super) struct Gate {
    /// Whether nobody enters without a token.
    required: bool,
    tokens: Tokens,
    /// Of the secret that commands on this machine find.
    instance: Digest,
    rates: Rates,
}

impl Gate {
    pub(super) fn new(config: &Config, secret: &str) -> Self {
        Self {
            required: config.access.required,
            tokens: Tokens::new(Store::new(&config.access.tokens)),
            instance: Digest::of(secret),
            rates: Rates::new(&config.limits),
        }
    }
}

/// Lets in who may, and tells who it is: to what follows, and to the audit log.
pub(super) async fn admit(State((gate, door)): State<(Arc<Gate>, Door)>, mut request: Request, next: Next) -> Response {
    let demand = Demand::of(request.method(), request.uri());
    let Some(role) = demand.role else { return next.run(request).await };
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let (caller, refused) = match identify(&gate, door, request.headers(), address) {
        Err(why) => {
            let caller = Caller::new(Who::Anonymous, Role::Read, address);
            // Guesses are slowed down; a secret cannot be guessed, but each costs a line in the audit log.
            let refused = gate.rates.check(&caller).err().map_or_else(|| why.into_response(), |refused| *refused);
            (caller, Some(refused))
        }
        Ok(caller) => {
            let refused =
                gate.rates.check(&caller).err().map(|refused| *refused).or_else(|| allowed(&caller, role, &request));
            (caller, refused)
        }
    };
    let mut response = match refused {
        Some(refused) => refused,
        None => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
    };
    response.extensions_mut().insert(caller);
    response
}

/// Why nobody was let in.
enum Refusal {
    /// Nothing was presented.
    Missing,
    /// What was presented is no good.
    Bad(String),
    /// A page from elsewhere, most likely, whose name was pointed at this machine.
    Host(String),
    /// A page from elsewhere.
    Origin(String),
    /// The file of tokens is no good.
    Unusable,
}

fn identify(gate: &Gate, door: Door, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Caller, Refusal> {
    let Some(token) = presented(headers)? else {
        if gate.required || door == Door::Local {
            return Err(Refusal::Missing);
        }
        let text =
            |name| headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned());
        return match (text(HOST), text(ORIGIN)) {
            (Some(host), _) if !is_loopback(&host) => Err(Refusal::Host(host)),
            // Who is no browser sends none; a browser lets every page send some requests anywhere.
            (_, Some(origin)) if !is_loopback_page(&origin) => Err(Refusal::Origin(origin)),
            _ => Ok(Caller::new(Who::Anonymous, Role::Admin, address)),
        };
    };
    let unknown = || Refusal::Bad("the token is not known: it is wrong, or was revoked".to_owned());
    let presented = Presented::parse(token).ok_or_else(|| Refusal::Bad("this is no token of ours".to_owned()))?;
    if presented.id == LOCAL_ID {
        return if gate.instance.matches(&Digest::of(presented.secret)) {
            Ok(Caller::new(Who::Local, Role::Admin, address))
        } else {
            Err(unknown())
        };
    }
    if door == Door::Local {
        return Err(unknown());
    }
    let token = gate.tokens.find(&presented).map_err(|_| Refusal::Unusable)?.ok_or_else(unknown)?;
    if let Some(at) = token.expires_at.filter(|_| token.is_expired()) {
        return Err(Refusal::Bad(format!("the token {} expired at {at}", token.name)));
    }
    let who = Who::Token { name: token.name, id: token.id };
    Ok(Caller { who, role: token.role, zones: token.zones, address })
}

/// What stands after `Bearer`.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = |why: &str| Refusal::Bad(why.to_owned());
    if values.next().is_some() {
        return Err(bad("there are several Authorization headers"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(bad("the Authorization header is not \"Bearer TOKEN\""));
    }
    Ok(Some(token.trim()))
}

/// Why this caller may not; the zones are looked at where the names are known.
fn allowed(caller: &Caller, role: Role, request: &Request) -> Option<Response> {
    if caller.role >= role {
        return None;
    }
    let message = format!(
        "the token {} has the role {}, and {} {} needs {role}",
        caller.name(),
        caller.role,
        request.method(),
        request.uri().path()
    );
    Some(Failure::new(StatusCode::FORBIDDEN, "forbidden", message).into_response())
}

/// Whether a Host header names this machine: a page whose name was pointed at a loopback address names itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a page is this machine's own (RFC 6454 6.1); `null` is nobody's.
fn is_loopback_page(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| is_loopback(host))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let unauthenticated = |challenge: &'static str, message: String| {
            let failure = Failure::new(StatusCode::UNAUTHORIZED, "unauthenticated", message);
            ([(WWW_AUTHENTICATE, challenge)], failure).into_response()
        };
        match self {
            Self::Missing => unauthenticated(
                "Bearer realm=\"dns-manager\"",
                "a token is needed: send \"Authorization: Bearer TOKEN\"; `dns-manager token create` makes one"
                    .to_owned(),
            ),
            Self::Bad(why) => unauthenticated("Bearer realm=\"dns-manager\", error=\"invalid_token\"", why),
            Self::Host(host) => {
                let message = format!(
                    "without a token this service answers to loopback names alone, and not to \"{}\": call it 127.0.0.1 or \
                     localhost, or use a token",
                    host.escape_debug()
                );
                Failure::new(StatusCode::FORBIDDEN, "forbidden-host", message).into_response()
            }
            Self::Origin(origin) => {
                let message = format!(
                    "without a token this service answers to pages of this machine alone, and not to those of \"{}\": use a token",
                    origin.escape_debug()
                );
                Failure::new(StatusCode::FORBIDDEN, "forbidden-origin", message).into_response()
            }
            Self::Unusable => {
                let message = "the file of tokens cannot be used, and no token is accepted until it can; the service's log says why";
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, "tokens-unusable", message.to_owned()).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8080",
            "127.9.9.9",
            "[::ffff:127.0.0.1]",
            "localhost.",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", "", "0.0.0.0", "[::]"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_page_of_this_machine_is_told_from_others() {
        for origin in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"] {
            assert!(is_loopback_page(origin), "{origin}");
        }
        for origin in ["null", "https://evil.example", "http://localhost.evil.example", "localhost", ""] {
            assert!(!is_loopback_page(origin), "{origin}");
        }
    }

    #[test]
    fn a_bearer_token_is_read_in_its_forms() {
        let header = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            headers
        };
        assert!(matches!(presented(&header(&[])), Ok(None)));
        assert!(matches!(presented(&header(&["Bearer x"])), Ok(Some("x"))));
        assert!(matches!(presented(&header(&["bearer  x"])), Ok(Some("x"))));
        for bad in [&["Basic x"][..], &["Bearer"], &["Bearer x", "Bearer y"], &[""]] {
            assert!(matches!(presented(&header(bad)), Err(Refusal::Bad(_))), "{bad:?}");
        }
    }
}
