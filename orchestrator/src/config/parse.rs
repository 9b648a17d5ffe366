//! From a value as it was written to what it means; each function is one rule, and its error says what to write instead.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::{self, DNS_PORT, Endpoint};
use super::value::Value;
use crate::name::Name;
use crate::record::Ttl;

/// A verification that takes longer is a mistake in the unit.
const MAX_VERIFY_TIMEOUT: Duration = Duration::from_secs(3600);
const MAX_OWNER: usize = 63;

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if text.is_empty() => Err("it is empty".to_owned()),
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!("{other} is not a text: write it in quotation marks")),
    }
}

pub(super) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Switch(on) => Ok(*on),
        other => Err(format!("{other} is neither true nor false")),
    }
}

pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

pub(super) fn listen(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    match text.strip_prefix("localhost:").map(str::parse) {
        Some(Ok(port)) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => {
            text.parse().map_err(|_| format!("\"{text}\" is not an IP address and port: write \"127.0.0.1:8080\", say"))
        }
    }
}

pub(super) fn dns_listen(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    let example = "write \"127.0.0.1:1053\", say";
    let address: SocketAddr =
        text.parse().map_err(|_| format!("\"{text}\" is not an IP address and port: {example}"))?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "\"{text}\" is not a loopback address, and this name server is for this machine: {example}"
        ));
    }
    if address.port() == 0 {
        return Err(format!("\"{text}\" has no port that others could find: {example}"));
    }
    Ok(address)
}

pub(super) fn name(value: &Value) -> Result<Name, String> {
    text(value)?.parse().map_err(|error: crate::name::NameError| error.to_string())
}

pub(super) fn names(value: &Value) -> Result<Vec<Name>, String> {
    list(value, name)
}

pub(super) fn endpoints(value: &Value) -> Result<Vec<Endpoint>, String> {
    let endpoint = |value: &Value| endpoint::parse(&text(value)?);
    match value {
        Value::List(_) => list(value, endpoint),
        single => endpoint(single).map(|endpoint| vec![endpoint]),
    }
}

pub(super) fn nameservers(value: &Value) -> Result<Vec<String>, String> {
    list(value, nameserver)
}

/// `host`, `host:port`, `[address]:port` or a bare address.
fn nameserver(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, DNS_PORT).to_string());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text.as_str(), Some(DNS_PORT)),
    };
    match (host.parse::<Name>(), port) {
        (Ok(host), Some(port)) if port != 0 => Ok(format!("{host}:{port}")),
        _ => Err(format!("\"{text}\" is not a name server: write host and port, such as \"127.0.0.1:53\"")),
    }
}

pub(super) fn ttl(value: &Value) -> Result<Ttl, String> {
    match value {
        Value::Number(seconds) => Ttl::try_from(*seconds).map_err(|error| error.to_string()),
        other => Err(format!("{other} is not a whole number of seconds: write 300, say")),
    }
}

pub(super) fn owner(value: &Value) -> Result<String, String> {
    let owner = text(value)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if owner.len() > MAX_OWNER || !owner.chars().all(is_allowed) {
        return Err(format!(
            "{value} cannot mark what is ours: use at most {MAX_OWNER} letters, digits, \"-\", \"_\" and \".\""
        ));
    }
    Ok(owner)
}

pub(super) fn skydns_path(value: &Value) -> Result<String, String> {
    let path = text(value)?;
    let trimmed = path.trim_end_matches('/');
    if !trimmed.starts_with('/') || trimmed.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{value} is not a path: write the one of CoreDNS's etcd plugin, such as \"/skydns\""));
    }
    Ok(trimmed.to_owned())
}

pub(super) fn verify_timeout(value: &Value) -> Result<Duration, String> {
    duration(value, "40s", MAX_VERIFY_TIMEOUT)
}

/// A duration of 1 ms or more, and of `most` at most.
pub(super) fn duration(value: &Value, example: &str, most: Duration) -> Result<Duration, String> {
    if let Value::Number(number) = value {
        return Err(format!("{number} has no unit: write \"{number}s\""));
    }
    let text = text(value)?;
    let wrong = |why: String| format!("\"{text}\" {why}: write \"{example}\", say");
    let duration = humantime::parse_duration(&text).map_err(|error| wrong(format!("is not a duration ({error})")))?;
    if duration.is_zero() || duration > most {
        return Err(wrong(format!("is out of range, which is 1ms to {}", humantime::format_duration(most))));
    }
    Ok(duration)
}

/// A whole number in a range.
pub(super) fn number(value: &Value, range: RangeInclusive<usize>) -> Result<usize, String> {
    let Value::Number(number) = value else { return Err(format!("{value} is not a whole number")) };
    usize::try_from(*number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{number} is out of range, which is {} to {}", range.start(), range.end()))
}

/// A value of the free table, which the plugin sees as text.
pub(super) fn setting(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Switch(on) => Ok(on.to_string()),
        Value::Other { text: Some(text), .. } => Ok(text.clone()),
        Value::List(_) | Value::Other { text: None, .. } => {
            Err(format!("the plugin is handed single values, and this is {value}: write it as one text"))
        }
    }
}

pub(super) fn list<T: PartialEq>(value: &Value, item: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items = match value {
        Value::List(items) => items,
        single => return Err(format!("{single} is not a list: write [{single}]")),
    };
    let mut parsed = Vec::with_capacity(items.len());
    for value in items {
        let one = item(value)?;
        if !parsed.contains(&one) {
            parsed.push(one);
        }
    }
    if parsed.is_empty() {
        return Err("the list is empty: leave the key out instead".to_owned());
    }
    Ok(parsed)
}
