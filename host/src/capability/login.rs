//! The operator's user and password for the backend.
//!
//! The host, not the plugin, logs in: at etcd's gateway, `POST
//! /v3/auth/authenticate`, whose answer is a token that goes, raw, into the
//! header `authorization` of the plugin's requests below `/v3/`. A token is renewed when
//! the backend no longer knows it, and the request sent once more: a refusal
//! of the token says that it was not carried out.
//!
//! The plugin can neither set nor see any of it: the header is forbidden to
//! it, `/auth/` paths are denied, and a token that a server sends back is
//! blotted out. This file is the one place in the host that knows something
//! of etcd; what it does is asked for by the operator alone.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

/// Where a user and a password are exchanged for a token.
const AUTHENTICATE: &str = "/v3/auth/authenticate";
/// What is told of a refusal.
const TOLD: usize = 200;
/// A refusal has one line.
const LONGEST_REFUSAL: usize = 1_000;
const MASK: &str = "********";

/// Something that is never shown.
///
/// ```
/// let secret = dns_manager_host::Secret::from("open sesame".to_owned());
/// assert_eq!(format!("{secret:?}"), "********");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for somebody who has to show it to a backend.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A user, a password, and the token that they brought last.
pub(crate) struct Login {
    user: String,
    password: Secret,
    standing: Mutex<Standing>,
}

/// etcd takes such a certificate for a user's, whom its gateway cannot pass on.
const COMMON_NAME: &str = "its gateway takes no client certificate with a common name (CN); use one without";

/// How we stand with the backend.
#[derive(Clone, Debug, Default)]
pub(crate) enum Standing {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// It wants no token: its access control is off.
    Open,
    /// It knows us by this.
    Token(Token),
}

/// What the backend knows us by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(HeaderValue);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What the backend says to a login.
#[derive(Debug)]
pub(crate) enum Answered {
    /// We are in.
    In(Standing),
    /// It does not let us in; one line.
    Refused(String),
    /// It cannot tell now; one line.
    Later(String),
    /// Nothing there lets anybody in: it has no gateway.
    Missing,
    /// It is no such backend; the beginning of what it said.
    Stranger(String),
}

impl Login {
    pub(crate) fn new(user: String, password: Secret) -> Self {
        Self { user, password, standing: Mutex::default() }
    }

    /// How we stand. Whoever holds it is the only one to log in.
    pub(crate) async fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().await
    }

    /// The path and the body of a login.
    pub(crate) fn request(&self) -> (&'static str, Bytes) {
        let body = json!({"name": self.user, "password": self.password.0});
        (AUTHENTICATE, Bytes::from(body.to_string()))
    }

    /// What an answer to it says.
    pub(crate) fn judge(&self, status: StatusCode, body: &[u8]) -> Answered {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let token = json.get("token").and_then(Value::as_str).filter(|token| !token.is_empty());
        if status.is_success()
            && let Some(mut value) = token.and_then(|token| HeaderValue::from_str(token).ok())
        {
            value.set_sensitive(true);
            return Answered::In(Standing::Token(Token(value)));
        }
        let code = json.get("code").and_then(Value::as_u64);
        let said = json.get("message").and_then(Value::as_str).unwrap_or_default();
        let said = self.without_password(said.trim_start_matches("etcdserver: "));
        let user = &self.user;
        match code {
            Some(9) if said.contains("not enabled") => Answered::In(Standing::Open),
            Some(2 | 4 | 8 | 14) => Answered::Later(format!("logging in as `{user}` failed: {said}")),
            Some(_) => Answered::Refused(format!("the login as `{user}` is refused: {said}")),
            // The only answer of etcd's gateway that is no JSON.
            None if find(body, b"CommonName of client").is_some() => Answered::Refused(COMMON_NAME.to_owned()),
            None if status == StatusCode::NOT_FOUND => Answered::Missing,
            None if status.is_server_error() => {
                Answered::Later(format!("logging in as `{user}` failed: HTTP {}", status.as_u16()))
            }
            None if serde_json::from_slice::<Value>(body).is_err() => {
                Answered::Stranger(self.without_password(&String::from_utf8_lossy(body)))
            }
            None => Answered::Refused(format!(
                "the login as `{user}` brought no token from {AUTHENTICATE}: HTTP {}",
                status.as_u16()
            )),
        }
    }

    /// A refusal of what was asked for, with the user whom the backend refuses it; none if the answer is no such refusal.
    pub(crate) fn denied(&self, body: &[u8]) -> Option<Bytes> {
        // Most answers are long, and are none.
        if body.len() > LONGEST_REFUSAL {
            return None;
        }
        let mut json: Value = serde_json::from_slice(body).ok()?;
        if json.get("code")?.as_u64()? != 7 {
            return None;
        }
        let said = json.get("message")?.as_str()?;
        let named = format!("{said} for the user `{}`", self.user);
        json.as_object_mut()?.insert("message".to_owned(), named.into());
        Some(Bytes::from(json.to_string()))
    }

    fn without_password(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        // First as JSON has it: within that, the password itself may occur as a part.
        let quoted = Value::from(self.password.0.as_str()).to_string();
        let escaped = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or_default();
        for shown in [escaped, &self.password.0] {
            if !shown.is_empty() {
                masked = masked.replace(shown, MASK);
            }
        }
        masked.chars().filter(|c| !c.is_control()).take(TOLD).collect()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Standing {
    pub(crate) fn token(&self) -> Option<&Token> {
        match self {
            Self::Unknown | Self::Open => None,
            Self::Token(token) => Some(token),
        }
    }
}

impl Token {
    /// Shows the token to the backend.
    pub(crate) fn attach(&self, headers: &mut HeaderMap) {
        headers.insert(header::AUTHORIZATION, self.0.clone());
    }

    /// Takes the token out of what the plugin will see.
    pub(crate) fn blot_out(&self, headers: &mut HeaderMap, body: Bytes) -> Bytes {
        let token = self.0.as_bytes();
        let echoes: Vec<_> = headers
            .iter()
            .filter(|(_, value)| find(value.as_bytes(), token).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in echoes {
            headers.remove(name);
        }
        if find(&body, token).is_none() {
            return body;
        }
        // As long as before, for the length is in the header.
        let mut octets = body.to_vec();
        let mut from = 0;
        while let Some(at) = octets.get(from..).and_then(|rest| find(rest, token)) {
            let begin = from + at;
            // Behind it: a token of stars alone would be found there again.
            from = begin + token.len();
            if let Some(echo) = octets.get_mut(begin..from) {
                echo.fill(b'*');
            }
        }
        Bytes::from(octets)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { None } else { text.windows(part.len()).position(|window| window == part) }
}

/// Whether this answer says that the token was not taken, so that the request
/// was surely not carried out.
pub(crate) fn is_stale(status: StatusCode, body: &[u8]) -> bool {
    if status != StatusCode::UNAUTHORIZED && status != StatusCode::BAD_REQUEST {
        return false;
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = json.get("message").or_else(|| json.get("error")).and_then(Value::as_str).unwrap_or_default();
    match json.get("code").and_then(Value::as_u64) {
        Some(16) => true,
        Some(3) => said.contains("user name is empty") || said.contains("revision of auth store is old"),
        _ => status == StatusCode::UNAUTHORIZED,
    }
}

/// Whether this path needs a token. `/version` does not: a backend that lets
/// nobody log in, for want of a quorum say, still tells what it is.
pub(crate) fn is_wanted(path: &str) -> bool {
    path.starts_with("/v3/")
}

/// Whether a plugin may ask for this path while the host is logged in: not to
/// manage users, nor by a spelling that the backend may read as such a path.
pub(crate) fn permits(path: &str) -> bool {
    !path.contains('%') && !path.split('/').any(|segment| segment.eq_ignore_ascii_case("auth"))
}

/// The host's own answer to a request that it did not hand on: in the
/// backend's words, so that the plugin need not know a second language.
///
/// 401 says that the user is refused; 511, *network authentication required*,
/// that the login could not be made now.
pub(crate) fn not_handed_on(refused: bool, why: &str) -> Response<Bytes> {
    let (status, code) =
        if refused { (StatusCode::UNAUTHORIZED, 16) } else { (StatusCode::NETWORK_AUTHENTICATION_REQUIRED, 14) };
    let body = Bytes::from(json!({"code": code, "message": why}).to_string());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a request where there is no gateway, as a backend gives it.
pub(crate) fn missing() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// What stands in the backend's place said this to a login: the plugin sees it, and can tell what it is.
pub(crate) fn stranger(status: StatusCode, said: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(said));
    *response.status_mut() = status;
    response
}

/// The login as a request to `uri`.
pub(crate) fn post<B>(uri: http::Uri, host: HeaderValue, length: usize, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_user_and_nothing_else_is_touched() {
        let refusal =
            br#"{"error":"etcdserver: permission denied","message":"etcdserver: permission denied","code":7}"#;
        let named: Value = serde_json::from_slice(&login().denied(refusal).unwrap()).unwrap();
        assert_eq!(named["message"], "etcdserver: permission denied for the user `dns`");
        assert_eq!(named["code"], 7);
        for other in [&br#"{"code":16,"message":"etcdserver: invalid auth token"}"#[..], br#"{"header":{}}"#, b"<html>"]
        {
            assert_eq!(login().denied(other), None);
        }
    }

    fn login() -> Login {
        Login::new("dns".to_owned(), Secret::from("geheim"))
    }

    fn token(text: &str) -> Token {
        Token(HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn answers_to_a_login() {
        let judge = |status: u16, body: &str| login().judge(StatusCode::from_u16(status).unwrap(), body.as_bytes());

        let Answered::In(Standing::Token(got)) = judge(200, r#"{"header":{},"token":"abc.1"}"#) else { panic!() };
        assert_eq!(got, token("abc.1"));
        assert!(got.0.is_sensitive());
        for status in [400, 412] {
            let off = judge(status, r#"{"code":9,"message":"etcdserver: authentication is not enabled"}"#);
            assert!(matches!(off, Answered::In(Standing::Open)));
        }
        let wrong =
            judge(400, r#"{"code":3,"message":"etcdserver: authentication failed, invalid user ID or password"}"#);
        let Answered::Refused(why) = wrong else { panic!() };
        assert_eq!(why, "the login as `dns` is refused: authentication failed, invalid user ID or password");
        let later = judge(503, r#"{"code":14,"message":"etcdserver: request timed out"}"#);
        let Answered::Later(why) = later else { panic!() };
        assert_eq!(why, "logging in as `dns` failed: request timed out");
        assert!(matches!(judge(404, "404 page not found\n"), Answered::Missing));
        let Answered::Stranger(said) = judge(200, "<html>welcome, geheim</html>") else { panic!() };
        assert_eq!(said, "<html>welcome, ***</html>".replace("***", MASK));
        let Answered::Refused(why) = judge(400, "CommonName of client sending a request against gateway") else {
            panic!()
        };
        assert_eq!(why, COMMON_NAME);
        let Answered::Refused(why) = judge(200, "{}") else { panic!() };
        assert_eq!(why, "the login as `dns` brought no token from /v3/auth/authenticate: HTTP 200");
    }

    #[test]
    fn password_that_comes_back_is_masked() {
        let echo = login().judge(StatusCode::BAD_REQUEST, br#"{"code":3,"message":"no geheim here\n"}"#);
        let Answered::Refused(why) = echo else { panic!() };
        assert_eq!(why, "the login as `dns` is refused: no ******** here");
        assert!(!format!("{:?} {:?}", login(), Standing::Token(token("abc"))).contains("abc"));
        assert!(!format!("{:?}", login()).contains("geheim"));
    }

    #[test]
    fn password_is_masked_as_json_writes_it_too() {
        let login = Login::new("dns".to_owned(), Secret::from("\"ge\\heim\n"));
        let echo = login.request().1;
        let masked = login.without_password(&String::from_utf8_lossy(&echo));
        assert_eq!(masked, format!(r#"{{"name":"dns","password":"{MASK}"}}"#));
        assert_eq!(login.without_password("no \"ge\\heim\n here"), format!("no {MASK} here"));
    }

    #[test]
    fn token_of_what_blots_it_out_comes_to_an_end() {
        let body = token("**").blot_out(&mut HeaderMap::new(), Bytes::from_static(b"a ***** b"));
        assert_eq!(body, "a ***** b");
        let body = token("aa").blot_out(&mut HeaderMap::new(), Bytes::from_static(b"aaaaa"));
        assert_eq!(body, "****a");
    }

    #[test]
    fn stale_tokens_are_known_by_code_and_text() {
        let stale = |status: u16, body: &str| is_stale(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert!(stale(401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#));
        assert!(stale(401, ""));
        assert!(stale(400, r#"{"code":3,"message":"etcdserver: user name is empty"}"#));
        assert!(stale(400, r#"{"code":3,"message":"etcdserver: revision of auth store is old"}"#));
        assert!(!stale(400, r#"{"code":3,"message":"etcdserver: too many operations in txn request"}"#));
        assert!(!stale(403, r#"{"code":7,"message":"etcdserver: permission denied"}"#));
        // What was carried out is never repeated, whatever it says.
        assert!(!stale(200, r#"{"code":16}"#));
    }

    #[test]
    fn echo_of_the_token_is_blotted_out() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("raw abc.1"));
        headers.insert("x-other", HeaderValue::from_static("abc"));

        let body = token("abc.1").blot_out(&mut headers, Bytes::from_static(b"abc.1 and abc.1, abc.2"));

        assert_eq!(body, "***** and *****, abc.2");
        assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-other"]);
    }

    #[test]
    fn users_are_not_the_plugins_business() {
        for (path, expected) in [
            ("/v3/kv/txn", true),
            ("/version", true),
            ("/v3/auth/authenticate", false),
            ("/v3/auth/user/add", false),
            ("/v3//auth/status", false),
            ("/v3beta/auth/enable", false),
            ("/v3/AUTH/status", false),
            ("/v3/%61uth/status", false),
        ] {
            assert_eq!(permits(path), expected, "{path}");
        }
    }
}
