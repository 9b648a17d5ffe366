//! The table `orchestrator.inventory`: where it is kept which servers there are.

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

impl Reader<'_> {
    /// `backend`, `tls` and `credentials` are those of the records: they are the inventory's, too.
    pub(super) fn inventory(
        &mut self,
        backend: &[Endpoint],
        tls: Option<&Tls>,
        credentials: Option<&Credentials>,
        skydns_path: Option<&str>,
    ) -> Option<Inventory> {
        let kind = self.take(&key::INVENTORY_KIND, kind);
        let urls = self.take(&key::INVENTORY_URLS, parse::endpoints);
        let path = self.take(&key::INVENTORY_PATH, parse::skydns_path);
        if kind? == Kind::Embedded {
            return Some(Inventory::Embedded);
        }
        let path = path?;
        if backend.is_empty() {
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
        if skydns_path.is_some_and(|records| is_within(&path, records) || is_within(records, &path)) {
            self.wrong(
                &key::INVENTORY_PATH,
                format!(
                    "\"{path}\" and {} are one within the other: CoreDNS would serve servers as records",
                    key::SKYDNS_PATH.path
                ),
            );
            return None;
        }
        let urls = urls.unwrap_or_else(|| backend.to_vec());
        let is_secure = urls.iter().any(Endpoint::is_secure);
        let mut access = Access {
            urls: urls.iter().map(|url| url.to_string().trim_end_matches('/').to_owned()).collect(),
            path,
            credentials: credentials.map(|credentials| (credentials.username.clone(), credentials.password.clone())),
            ..Access::default()
        };
        if let Some(tls) = tls.filter(|_| is_secure) {
            if let Some(ca) = &tls.ca {
                access.ca = Some(self.read_file(&key::TLS_CA, ca)?);
            }
            if let Some((certificate, own_key)) = &tls.identity {
                let certificate = self.read_file(&key::TLS_CERTIFICATE, certificate)?;
                access.identity = Some((certificate, self.read_file(&key::TLS_KEY, own_key)?));
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
