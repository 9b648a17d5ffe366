//! Where the programs are that the live tests run against.

use std::{env, path::PathBuf};

/// A program of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etcd as `tests/tools` builds it.
    EtcdCurrent,
    /// etcd 3.4 as Debian packages it.
    EtcdOld,
    /// Stock CoreDNS.
    CoreDns,
    /// The coredns provider of external-dns, as `tests/tools/external-dns` builds it.
    ExternalDns,
}

impl Tool {
    /// Finds the program, or says how to get it.
    ///
    /// # Errors
    ///
    /// One sentence for people.
    pub fn find(self) -> Result<PathBuf, String> {
        let path = match self {
            Self::EtcdCurrent => folder().join("etcd"),
            Self::EtcdOld => PathBuf::from("/usr/bin/etcd"),
            Self::CoreDns => folder().join("coredns"),
            Self::ExternalDns => folder().join("external-dns"),
        };
        if path.is_file() { Ok(path) } else { Err(format!("no {} here; {}", path.display(), self.remedy())) }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::EtcdCurrent | Self::CoreDns | Self::ExternalDns => "`make tools` builds it",
            Self::EtcdOld => "`apt-get install etcd-server` installs it",
        }
    }
}

/// As the Makefile has it.
fn folder() -> PathBuf {
    if let Some(folder) = env::var_os("DNS_MANAGER_TOOLS") {
        return folder.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    cache
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_default()
        .join("dns-manager")
        .join("tools")
}
