//! What a request demands, by its method and path alone: which role, about which names, and how much time.
//!
//! Paths are read as they were sent, not as routes: what is not known here demands more, never less.

use axum::http::{Method, Uri};

use crate::token::Role;

/// Where a request says which names it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// It is about no name.
    None,
    /// Its answer is a list, of which a caller sees the part that is its own.
    Listed,
    /// In the path.
    Path(String),
    /// In the path, that of a server, which may be short.
    Host(String),
    /// In the record sets of its body.
    Sets,
    /// In the wish of its body, for `plan` and `apply`.
    Wish,
    /// The host name in its body.
    Server,
    /// In the path, that of a server, and the one that it gets in its body.
    Renaming(String),
    /// Everywhere, or nobody knows: it is not for callers that are limited to zones.
    Any,
}

/// What a request demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// None: nothing, not even a token.
    pub(super) role: Option<Role>,
    pub(super) names: Names,
    /// Whether it may take long: whole zones are at work.
    pub(super) is_bulk: bool,
    /// Whether its body may ask for a wait.
    pub(super) may_wait: bool,
    /// Whether its answer goes on for as long as somebody listens.
    pub(super) is_stream: bool,
}

impl Demand {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let is_look = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_post = *method == Method::POST;
        let segments: Vec<String> = uri.path().split('/').skip(1).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let by_method = if is_look { Role::Read } else { Role::Write };
        let demand = |role: Role, names: Names| Self {
            role: Some(role),
            names,
            is_bulk: false,
            may_wait: false,
            is_stream: false,
        };
        match segments.as_slice() {
            ["healthz"] if is_look => Self { role: None, ..demand(Role::Read, Names::None) },
            ["readyz" | "metrics" | "openapi.json"] => demand(by_method, Names::None),
            ["api", "v1", "dns", "records"] if is_look => demand(Role::Read, Names::Listed),
            ["api", "v1", "dns", "records"] => demand(by_method, Names::Sets),
            ["api", "v1", "dns", "records", name, "verify"] if is_post => {
                Self { may_wait: true, ..demand(Role::Read, path(name)) }
            }
            ["api", "v1", "dns", "records", name, rest @ ..] => {
                let is_admin = rest.iter().any(|word| matches!(*word, "adopt" | "release"));
                demand(if is_admin { Role::Admin } else { by_method }, path(name))
            }
            ["api", "v1", "dns", "export"] if is_look => Self { is_bulk: true, ..demand(Role::Read, Names::Listed) },
            ["api", "v1", "dns", "zones"] if is_look => demand(Role::Read, Names::None),
            ["api", "v1", "dns", "plan"] if is_post => Self { is_bulk: true, ..demand(Role::Read, Names::Wish) },
            ["api", "v1", "dns", "apply"] if is_post => Self { is_bulk: true, ..demand(Role::Write, Names::Wish) },
            ["api", "v1", "servers"] if is_look => demand(Role::Read, Names::Listed),
            ["api", "v1", "servers"] => demand(by_method, Names::Server),
            ["api", "v1", "servers", "events"] if is_look => Self { is_stream: true, ..demand(Role::Read, Names::Any) },
            ["api", "v1", "servers", hostname] => demand(by_method, host(hostname)),
            ["api", "v1", "servers", hostname, "events"] if is_look => {
                Self { is_stream: true, ..demand(Role::Read, host(hostname)) }
            }
            ["api", "v1", "servers", hostname, "retry"] => demand(by_method, host(hostname)),
            ["api", "v1", "servers", hostname, "rename"] if is_post => {
                demand(by_method, Names::Renaming((*hostname).to_owned()))
            }
            ["api", "v1", "servers", ..] => demand(by_method, Names::Any),
            // Repair, reconcile, and what may come.
            _ if is_look => Self { is_bulk: true, ..demand(Role::Read, Names::Any) },
            _ => Self { is_bulk: true, ..demand(Role::Admin, Names::Any) },
        }
    }

    /// Whether it changes something, and belongs into the audit log.
    pub(super) fn is_change(&self) -> bool {
        self.role > Some(Role::Read)
    }
}

fn path(name: &str) -> Names {
    Names::Path(name.to_owned())
}

fn host(name: &str) -> Names {
    Names::Host(name.to_owned())
}

/// A segment as the router hands it to whoever answers. One that cannot be decoded is answered by nobody.
fn decoded(segment: &str) -> String {
    let mut octets = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(octet) = rest.next() {
        let hex = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
        let mut ahead = rest.clone();
        match (octet, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                rest = ahead;
                octets.extend(u8::try_from(high * 16 + low));
            }
            _ => octets.push(octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(line: &str) -> Demand {
        let (method, uri) = line.split_once(' ').unwrap();
        Demand::of(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn each_request_has_its_role() {
        for (line, role) in [
            ("GET /healthz", None),
            ("POST /healthz", Some(Role::Admin)),
            ("GET /readyz", Some(Role::Read)),
            ("GET /metrics", Some(Role::Read)),
            ("GET /api/v1/dns/records", Some(Role::Read)),
            ("POST /api/v1/dns/records", Some(Role::Write)),
            ("PUT /api/v1/dns/records/a.example.com/A", Some(Role::Write)),
            ("DELETE /api/v1/dns/records/a.example.com/A?value=1", Some(Role::Write)),
            ("POST /api/v1/dns/records/a.example.com/verify", Some(Role::Read)),
            ("DELETE /api/v1/dns/records/a.example.com", Some(Role::Write)),
            ("PUT /api/v1/dns/records/a.example.com/verify", Some(Role::Write)),
            ("POST /api/v1/dns/records/a.example.com/adopt", Some(Role::Admin)),
            ("POST /api/v1/dns/records/a.example.com/A/release", Some(Role::Admin)),
            ("POST /api/v1/dns/plan", Some(Role::Read)),
            ("POST /api/v1/dns/apply", Some(Role::Write)),
            ("POST /api/v1/dns/repair", Some(Role::Admin)),
            ("POST /api/v1/reconcile", Some(Role::Admin)),
            ("POST /api/v1/servers", Some(Role::Write)),
            ("DELETE /api/v1/servers/repair.example.com", Some(Role::Write)),
            ("POST /api/v1/servers/a.example.com/rename", Some(Role::Write)),
            ("POST /api/v1/unheard-of", Some(Role::Admin)),
            ("GET /api/v1//dns/records", Some(Role::Read)),
        ] {
            assert_eq!(demand(line).role, role, "{line}");
        }
    }

    #[test]
    fn names_are_found_where_the_router_finds_them() {
        let of_path = |name: &str| Names::Path(name.to_owned());
        for (line, names) in [
            ("PUT /api/v1/dns/records/%61.example.com/A", of_path("a.example.com")),
            ("PUT /api/v1/dns/records/a%2Fb.example.com/A", of_path("a/b.example.com")),
            ("PUT /api/v1/dns/records/a%zz.example.com/A", of_path("a%zz.example.com")),
            ("DELETE /api/v1/dns/records/a.example.com", of_path("a.example.com")),
            ("GET /api/v1/servers/events", Names::Any),
            ("POST /api/v1/servers/a.example.com/rename", Names::Renaming("a.example.com".to_owned())),
            ("GET /api/v1//dns/records", Names::Any),
            ("GET /api/v1/dns/records/", of_path("")),
        ] {
            assert_eq!(demand(line).names, names, "{line}");
        }
    }
}
