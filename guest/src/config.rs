//! The settings of this plugin, parsed once per call.

use std::time::Duration;

use crate::{
    name::Name,
    ports::Settings,
    reason::{Code, Reason},
    record::Ttl,
    skydns::service::STRUCTURE_OWNER,
    zone::Zone,
};

/// What the operator set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The zones that may be written. None: those that the name servers answer for from etcd.
    pub zones: Option<Vec<Zone>>,
    /// For record sets without a TTL of their own.
    pub ttl: Ttl,
    /// The mark on everything that is ours.
    pub owner: String,
    /// CoreDNS's `path`, without slashes.
    pub path: String,
    /// The first pause before trying again.
    pub retry_base: Duration,
}

impl Config {
    /// Reads the settings `zones`, `ttl`, `owner`, `path` and `retry-base-ms`.
    ///
    /// # Errors
    ///
    /// `misconfigured`, with the setting and what is wrong with it.
    pub fn read(settings: &dyn Settings) -> Result<Self, Reason> {
        let zones =
            settings.get("zones").map(|zones| read_zones(&zones)).transpose()?.filter(|zones| !zones.is_empty());
        let ttl = match settings.get("ttl") {
            Some(text) => text
                .parse::<u32>()
                .map_err(|_| wrong("ttl", format!("`{text}` is no number of seconds")))
                .and_then(|seconds| Ttl::try_from(seconds).map_err(|error| wrong("ttl", error.to_string())))?,
            None => Ttl::DEFAULT,
        };
        let owner = settings.get("owner").unwrap_or_else(|| "default".to_owned());
        if owner.is_empty() || owner == STRUCTURE_OWNER || owner.chars().any(char::is_control) {
            return Err(wrong(
                "owner",
                format!("`{owner}` cannot be an owner; choose any other word, such as `default`"),
            ));
        }
        let path = settings.get("path").unwrap_or_else(|| "/skydns".to_owned());
        let path = path.trim_matches('/').to_owned();
        if path.is_empty() || path.contains('/') || path == "." || path == ".." {
            return Err(wrong(
                "path",
                format!(
                    "`{path}` is not one component, such as `/skydns`; with several CoreDNS makes wrong names of targets"
                ),
            ));
        }
        let retry_base = match settings.get("retry-base-ms") {
            Some(text) => text
                .parse::<u32>()
                .ok()
                .filter(|ms| (1..=60_000).contains(ms))
                .map(|ms| Duration::from_millis(ms.into()))
                .ok_or_else(|| wrong("retry-base-ms", format!("`{text}` is no number from 1 to 60000")))?,
            None => Duration::from_millis(50),
        };
        Ok(Self { zones, ttl, owner, path, retry_base })
    }
}

fn read_zones(text: &str) -> Result<Vec<Zone>, Reason> {
    text.split_whitespace()
        .map(|apex| {
            let apex: Name = apex.parse().map_err(|error| wrong("zones", format!("{error}")))?;
            Zone::new(apex).map_err(|error| wrong("zones", error))
        })
        .collect()
}

fn wrong(setting: &str, what: String) -> Reason {
    Reason::new(Code::Misconfigured, format!("setting `{setting}`: {what}"))
}
