//! What went wrong with a request to the gateway, and what may be done about it. Pure.

use serde_json::Value;

use crate::{
    ports::{HttpFault, HttpReply},
    reason::{Code, Reason},
};

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What may be done about it.
    pub kind: Kind,
    /// What was seen, one line.
    pub message: String,
}

/// What may be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Surely not done; try again.
    NotDone,
    /// Perhaps done. A write is settled by reading; a read is tried again.
    Lost,
    /// What answers there does not speak the gateway's language, at least not now. A write was perhaps done.
    Nonsense,
    /// The revision that was asked for is gone; begin with a new one.
    Compacted,
    /// More than etcd takes in one request; ask for less.
    TooMuch,
    /// Not allowed.
    Denied,
    /// No room left.
    Full,
    /// There is no gateway at this address.
    NoGateway,
    /// There is none that is to be trusted, or that trusts us.
    NotTrusted,
    /// Refused for another reason.
    Refused,
}

impl Fault {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn nonsense(what: &str) -> Self {
        Self::new(Kind::Nonsense, format!("the backend's answer is not etcd's: {what}"))
    }

    /// Whether a write may have been done.
    pub fn may_be_done(&self) -> bool {
        matches!(self.kind, Kind::Lost | Kind::Nonsense)
    }

    /// Whether trying again can help.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::NotDone | Kind::Lost | Kind::Nonsense | Kind::Compacted)
    }

    /// For the caller.
    pub fn reason(&self) -> Reason {
        let code = match self.kind {
            Kind::NotDone | Kind::Lost | Kind::Compacted => Code::Unavailable,
            Kind::Nonsense => Code::Protocol,
            Kind::TooMuch | Kind::Refused => Code::Other("refused-by-backend".to_owned()),
            Kind::Denied => Code::Denied,
            Kind::Full => Code::Full,
            Kind::NoGateway | Kind::NotTrusted => Code::Misconfigured,
        };
        Reason::new(code, self.message.clone())
    }
}

impl From<HttpFault> for Fault {
    fn from(fault: HttpFault) -> Self {
        match fault {
            HttpFault::Denied(what) => {
                Self::new(Kind::Denied, format!("the host's policy forbids the request: {what}"))
            }
            HttpFault::NotSent(what) => Self::new(Kind::NotDone, format!("the backend cannot be reached: {what}")),
            HttpFault::NotTrusted(what) => {
                Self::new(Kind::NotTrusted, format!("the backend cannot be trusted: {what}"))
            }
            HttpFault::Lost(what) => Self::new(Kind::Lost, format!("the backend's answer did not arrive: {what}")),
            HttpFault::TooLarge => Self::new(Kind::Nonsense, "the backend's answer is too large"),
        }
    }
}

/// The answer, if it is one: decided by code and text, because the HTTP status differs between etcd's versions.
pub(super) fn judge(reply: HttpReply) -> Result<Value, Fault> {
    let HttpReply { status, body } = reply;
    match serde_json::from_slice::<Value>(&body) {
        // The host's own answer: it could not log in, and did not hand the request on.
        Ok(json) if status == 511 => {
            let why = json.get("message").and_then(Value::as_str).unwrap_or_default();
            Err(Fault::new(Kind::NotDone, format!("the backend cannot be reached: {why}")))
        }
        Ok(json) if status == 200 && json.get("header").is_some() => Ok(json),
        Ok(json) => match json.get("code").and_then(Value::as_u64) {
            Some(code) => Err(etcd(code, json.get("message").and_then(Value::as_str).unwrap_or_default())),
            None => Err(other(status, &body)),
        },
        Err(_) => Err(other(status, &body)),
    }
}

/// gRPC's codes, as etcd uses them.
fn etcd(code: u64, message: &str) -> Fault {
    let kind = match code {
        3 if message.contains("too many operations") || message.contains("too large") => Kind::TooMuch,
        3 if message.contains("user name is empty") => {
            return Fault::new(Kind::Denied, "etcd asks for a user and a password; configure its credentials");
        }
        3 if message.contains("authentication failed") => Kind::Denied,
        7 => {
            return Fault::new(
                Kind::Denied,
                "etcd says: permission denied; the configured user needs to read and write all keys below `path`: \
                 `dns-manager doctor` shows the command that grants it",
            );
        }
        16 => Kind::Denied,
        8 if message.contains("space") => {
            return Fault::new(
                Kind::Full,
                "etcd has no space left (NOSPACE); compact and defragment it, then disarm the alarm",
            );
        }
        8 if message.contains("larger than max") => Kind::TooMuch,
        8 => Kind::NotDone,
        11 => Kind::Compacted,
        // A deadline, a lost leader, a shutdown in flight: the request may have been taken.
        2 | 4 | 10 | 13 | 14 => Kind::Lost,
        _ => Kind::Refused,
    };
    Fault::new(kind, format!("etcd says: {}", message.trim_start_matches("etcdserver: ")))
}

/// Something that is no answer of etcd's.
fn other(status: u16, body: &[u8]) -> Fault {
    let start: String =
        String::from_utf8_lossy(body.get(..60).unwrap_or(body)).chars().filter(|c| !c.is_control()).collect();
    match status {
        400 if start.contains("HTTP request to an HTTPS server") => Fault::new(
            Kind::NoGateway,
            "the backend takes https only; write https:// in coredns_url, and its authority's certificate as ca",
        ),
        400 if start.contains("CommonName of client") => Fault::new(
            Kind::NotTrusted,
            "etcd's gateway takes no client certificate with a common name (CN); use one without",
        ),
        404 => Fault::new(
            Kind::NoGateway,
            "there is no etcd gateway at this address (404); etcd 3.4 with a configuration file needs `enable-grpc-gateway: true`",
        ),
        429 => Fault::new(Kind::NotDone, "the backend is busy (429)"),
        500..=599 => {
            Fault::new(Kind::Lost, format!("the backend, or something before it, is not ready ({status}): {start}"))
        }
        _ => Fault::nonsense(&format!("HTTP {status}, `{start}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> Kind {
        judge(HttpReply { status, body: body.into() }).unwrap_err().kind
    }

    #[test]
    fn answers_are_told_apart_by_code_and_text() {
        for (status, body, expected) in [
            (
                500,
                r#"{"error":"context deadline exceeded","message":"context deadline exceeded","code":2}"#,
                Kind::Lost,
            ),
            (400, r#"{"code":3,"message":"etcdserver: too many operations in txn request"}"#, Kind::TooMuch),
            (400, r#"{"code":3,"message":"etcdserver: request is too large"}"#, Kind::TooMuch),
            (400, r#"{"code":3,"message":"etcdserver: user name is empty"}"#, Kind::Denied),
            (400, r#"{"code":3,"message":"etcdserver: duplicate key given in txn request"}"#, Kind::Refused),
            (403, r#"{"code":7,"message":"etcdserver: permission denied"}"#, Kind::Denied),
            (429, r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#, Kind::Full),
            (429, r#"{"code":8,"message":"etcdserver: too many requests"}"#, Kind::NotDone),
            (400, r#"{"code":11,"message":"etcdserver: mvcc: required revision has been compacted"}"#, Kind::Compacted),
            (503, r#"{"code":14,"message":"etcdserver: leader changed"}"#, Kind::Lost),
            (401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#, Kind::Denied),
            (404, "404 page not found\n", Kind::NoGateway),
            (400, "Client sent an HTTP request to an HTTPS server.\n", Kind::NoGateway),
            (
                400,
                "CommonName of client sending a request against gateway will be ignored and not used as expected\n",
                Kind::NotTrusted,
            ),
            (511, r#"{"code":14,"message":"logging in as `dns` failed: request timed out"}"#, Kind::NotDone),
            (401, r#"{"code":16,"message":"the login as `dns` is refused: authentication failed"}"#, Kind::Denied),
            (503, "<html>", Kind::Lost),
            (429, "", Kind::NotDone),
            (200, "<html>", Kind::Nonsense),
            (200, "{}", Kind::Nonsense),
        ] {
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }
}
