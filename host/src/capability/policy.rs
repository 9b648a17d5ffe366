//! What a plugin may reach over HTTP, and which addresses are ever dialled.
//!
//! Pure: no look-up, no connection. An empty policy denies all.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use http::{Method, Uri, uri::Scheme};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Handler;

/// A host and a port, in the one form that settings and requests share: lower
/// case, labels of letters, digits and hyphens, or a canonical address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why a text is no authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadAuthority;

impl Authority {
    /// The authority of an `http` or `https` URI.
    pub(crate) fn of(uri: &Uri) -> Result<Self, BadAuthority> {
        let authority = uri.authority().ok_or(BadAuthority)?.as_str();
        let port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            _ => return Err(BadAuthority),
        };
        Self::parse(authority, Some(port))
    }

    /// Parses `host:port`. No user, no trailing dot, no number that only some
    /// read as an address (`127.1`, `0x7f.1`, `2130706433`), no port 0.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Result<Self, BadAuthority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (literal, rest) = rest.split_once(']').ok_or(BadAuthority)?;
                let ip: Ipv6Addr = literal.parse().map_err(|_| BadAuthority)?;
                (ip.to_string(), rest)
            }
            None => {
                let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                (canonical_host(host)?, rest)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadAuthority)?
            }
            None if port.is_empty() => default_port.ok_or(BadAuthority)?,
            _ => return Err(BadAuthority),
        };
        if port == 0 { Err(BadAuthority) } else { Ok(Self { host, port }) }
    }

    /// The address, if the host is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn canonical_host(host: &str) -> Result<String, BadAuthority> {
    // Rust's parser takes the dotted quad alone, without leading zeros.
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(ip.to_string());
    }
    let host = host.to_ascii_lowercase();
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit());
    if host.len() > 253 || numeric || !host.split('.').all(is_label) { Err(BadAuthority) } else { Ok(host) }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Says of a method and a path, without the query, whether it may be asked.
pub(crate) type Rule = Arc<dyn Fn(&Method, &str) -> bool + Send + Sync>;

/// One backend that the operator named.
pub(crate) struct Endpoint {
    /// The only authority by which the plugin can address it.
    pub(crate) authority: Authority,
    /// Whether it is `https`.
    pub(crate) secure: bool,
    /// What answers there.
    pub(crate) route: Route,
    /// The special ranges in which it may lie.
    pub(crate) private: Vec<IpNet>,
    /// What may be asked there; none: everything.
    pub(crate) rule: Option<Rule>,
}

/// What answers in the name of an endpoint.
pub(crate) enum Route {
    /// The members of one backend, in the order in which they are tried.
    Network(Vec<Authority>),
    /// A handler in this process.
    Process(Arc<dyn Handler>),
}

impl Endpoint {
    /// The scheme by which the plugin addresses it.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.secure { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Whether this address may be dialled for this endpoint.
    pub(crate) fn admits(&self, ip: IpAddr) -> bool {
        let ip = canonical(ip);
        !never(ip) && (!special(ip) || self.private.iter().any(|net| net.contains(&ip)))
    }
}

/// All that may be reached.
#[derive(Default)]
pub(crate) struct Policy {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
}

/// What the policy says of a request; the words are for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The target is no authority, or the path could be read in two ways.
    Malformed,
    /// Nobody named this authority.
    NotGranted(Authority),
    /// `http` to an `https` endpoint, or the reverse.
    Scheme,
    /// The endpoint's rule says no.
    Rule,
}

impl Policy {
    /// Judges a request before anything is looked up. The one place where it
    /// is decided whether a request may be sent.
    pub(crate) fn decide(&self, method: &Method, uri: &Uri) -> Result<Arc<Endpoint>, Denial> {
        let authority = Authority::of(uri).map_err(|BadAuthority| Denial::Malformed)?;
        let Some(endpoint) = self.endpoint(&authority) else { return Err(Denial::NotGranted(authority)) };
        if endpoint.secure != (uri.scheme() == Some(&Scheme::HTTPS)) {
            return Err(Denial::Scheme);
        }
        if !is_plain(uri.path()) {
            return Err(Denial::Malformed);
        }
        // A tunnel would carry what nobody judges; TRACE echoes what the host adds.
        let tunnels = method == Method::CONNECT || method == Method::TRACE;
        if tunnels || endpoint.rule.as_ref().is_some_and(|rule| !rule(method, uri.path())) {
            return Err(Denial::Rule);
        }
        Ok(endpoint.clone())
    }

    /// The endpoint of exactly this authority.
    pub(crate) fn endpoint(&self, authority: &Authority) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| endpoint.authority == *authority)
    }
}

/// A path that a rule and a server read alike: absolute, without dot segments,
/// plain or escaped.
fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && !path.split('/').any(|segment| {
            let segment = segment.to_ascii_lowercase().replace("%2e", ".");
            segment == "." || segment == ".."
        })
}

/// Every special range there is, for an endpoint that the operator named.
pub(crate) fn anywhere() -> Vec<IpNet> {
    vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

/// An IPv4 address hidden in an IPv6 one is judged as IPv4.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [s0, s1, s2, s3, s4, s5, s6, s7] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::from([a, b, c, d])
    };
    match [s0, s1, s2, s3, s4, s5] {
        [0, 0, 0, 0, 0, 0xffff] => v4(s6, s7),                 // mapped
        [0, 0, 0, 0, 0, 0] if (s6, s7) > (0, 1) => v4(s6, s7), // compatible
        [0, 0, 0, 0, 0xffff, 0] => v4(s6, s7),                 // translated
        [0x64, 0xff9b, ..] => v4(s6, s7),                      // NAT64
        [0x2002, ..] => v4(s1, s2),                            // 6to4
        _ => ip,
    }
}

/// Never dialled, whatever is granted: link-local addresses, where clouds keep
/// their metadata and credentials, other metadata addresses, and multicast.
pub(crate) fn never(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || matches!(v4.octets(), [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192])
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                // Of the metadata services of AWS, Google, Oracle and Scaleway.
                || matches!(
                    v6.segments(),
                    [0xfd00, 0xec2, ..]
                        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
                        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
                        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
                )
        }
    }
}

/// Dialled only where the endpoint's grant says so.
fn special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_documentation()
                || matches!(
                    v4.octets(),
                    [0, ..] | [240..=255, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] | [192, 0, 0, _] // RFC 6890
                )
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || matches!(
                    v6.segments(),
                    [0xfec0..=0xfeff, ..]            // site-local
                        | [0x2001, 0xdb8 | 0, ..]    // documentation, Teredo
                        | [0x100, ..]                // discard
                        | [0x5f00, ..] // segment routing
                )
        }
    }
}

#[cfg(test)]
mod tests;
