//! The table `orchestrator.inventory`: where it is kept which servers there are.

use super::access::{self, Door};
use super::endpoint::Endpoint;
use super::value::Value;
use super::{Credentials, Reader, Tls, key, parse};
use crate::inventory::etcd::Access;

/// Where the inventory is.
#[derive(Clone, Debug)]
pub enum Inventory {
    /// In `data_dir`, for one process at a time.
    Embedded,
    /// In etcd, for several.
    Etcd(Access),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    Etcd,
}

/// Where the records are, and how their etcd is entered: with that, the inventory's is, too, unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'a> {
    pub(super) urls: &'a [Endpoint],
    pub(super) tls: Option<&'a Tls>,
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) path: Option<&'a str>,
}

impl Reader<'_> {
    pub(super) fn inventory(&mut self, records: Records<'_>, warnings: &mut Vec<String>) -> Option<Inventory> {
        let kind = self.take(&key::INVENTORY_KIND, kind);
        let own_urls = self.take(&key::INVENTORY_URLS, parse::endpoints);
        let path = self.take(&key::INVENTORY_PATH, parse::skydns_path);
        let is_named = own_urls.is_some();
        let mut urls = own_urls.unwrap_or_else(|| records.urls.to_vec());
        if kind != Some(Kind::Etcd) {
            urls.clear();
        }
        let named_by = if is_named { &key::INVENTORY_URLS } else { &key::COREDNS_URL };
        if is_named {
            self.alike(named_by, &urls);
        }
        let absent = format!("{} is not \"etcd\"", key::INVENTORY_KIND.path);
        let door = Door { keys: &key::INVENTORY, urls: &urls, named_by, absent: &absent };
        // Both are read first: what is wrong with either is said.
        let (own_tls, own_credentials) = (self.tls(door), self.credentials(door));
        if kind? == Kind::Embedded {
            return Some(Inventory::Embedded);
        }
        let path = path?;
        if records.urls.is_empty() {
            self.wrong(
                &key::INVENTORY_KIND,
                format!(
                    "several orchestrators that share an inventory share their records, too: set {}",
                    key::COREDNS_URL.path
                ),
            );
            return None;
        }
        let is_within = |one: &str, other: &str| format!("{one}/").starts_with(&format!("{other}/"));
        if records.path.is_some_and(|records| is_within(&path, records) || is_within(records, &path)) {
            self.wrong(
                &key::INVENTORY_PATH,
                format!(
                    "\"{path}\" and {} are one within the other: CoreDNS would serve servers as records",
                    key::SKYDNS_PATH.path
                ),
            );
            return None;
        }
        if let Some(own) = &own_credentials {
            warnings.extend(access::in_clear(key::INVENTORY.username, Some(own), &urls));
        } else if is_named {
            warnings.extend(access::in_clear(key::RECORDS.username, records.credentials, &urls));
        }
        let (tls, keys) = match &own_tls {
            Some(own) => (Some(own), key::INVENTORY),
            None => (records.tls, key::RECORDS),
        };
        let credentials = own_credentials.as_ref().or(records.credentials);
        let mut access = Access {
            urls: urls.iter().map(|url| url.to_string().trim_end_matches('/').to_owned()).collect(),
            path,
            credentials: credentials.map(|credentials| (credentials.username.clone(), credentials.password.clone())),
            ..Access::default()
        };
        if let Some(tls) = tls.filter(|_| urls.iter().any(Endpoint::is_secure)) {
            if let Some(ca) = &tls.ca {
                access.ca = Some(self.read_file(keys.ca, ca)?);
            }
            if let Some((certificate, own_key)) = &tls.identity {
                let certificate = self.read_file(keys.certificate, certificate)?;
                access.identity = Some((certificate, self.read_file(keys.key, own_key)?));
            }
        }
        Some(Inventory::Etcd(access))
    }
}

fn kind(value: &Value) -> Result<Kind, String> {
    match parse::text(value)?.as_str() {
        "embedded" => Ok(Kind::Embedded),
        "etcd" => Ok(Kind::Etcd),
        other => Err(format!("\"{other}\" is no inventory: write \"embedded\" or \"etcd\"")),
    }
}
