//! How an etcd is entered: `[orchestrator.dns.tls]` and `[orchestrator.dns.credentials]` for the records, and the same tables of
//! `orchestrator.inventory`.
//!
//! Files are read at load, so that what is wrong with them is said at once and with the key's place. What they hold is
//! shown nowhere: only their paths are.

use std::path::{Path, PathBuf};

use dns_manager_host::{Secret, TlsError};

use super::endpoint::Endpoint;
use super::key::{self, Entrance, Key};
use super::value::Source;
use super::{Problem, Reader, parse};

/// A table `tls`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The file of the authorities that are trusted; none: those of the system.
    pub ca: Option<PathBuf>,
    /// The files of the client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What is in these files.
    pub content: dns_manager_host::Tls,
}

/// A table `credentials`.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// The etcd that somebody is to enter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door<'a> {
    /// The keys that say how.
    pub(super) keys: &'a Entrance,
    /// Its members; none: there is no such etcd.
    pub(super) urls: &'a [Endpoint],
    /// The key that names them.
    pub(super) named_by: &'static Key,
    /// What to say where there are none.
    pub(super) absent: &'a str,
}

impl Door<'_> {
    /// Whether it is https; a mixture is said to be wrong elsewhere.
    fn is_secure(&self) -> bool {
        self.urls.iter().any(Endpoint::is_secure)
    }
}

impl Reader<'_> {
    /// Some URLs that are http, and some that are https, are wrong.
    pub(super) fn alike(&mut self, key: &'static Key, urls: &[Endpoint]) {
        if urls.iter().any(Endpoint::is_secure) && !urls.iter().all(Endpoint::is_secure) {
            self.wrong(key, "some URLs are http and some are https: write https for all of them".to_owned());
        }
    }

    pub(super) fn tls(&mut self, door: Door<'_>) -> Option<Tls> {
        let Entrance { ca, certificate, key: own_key, tls: table, .. } = *door.keys;
        let [ca, certificate, own_key] = [ca, certificate, own_key].map(|key| (key, self.take_path(key)));
        let set = [&ca, &certificate, &own_key].into_iter().find_map(|(key, path)| path.as_ref().map(|_| *key))?;
        if !door.is_secure() {
            let why = match door.urls {
                [] => format!("{}: there is nothing that TLS could be for", door.absent),
                [url, ..] => {
                    let (urls, url) = (door.named_by.path, url.secured());
                    let is_of_inventory = self.collection.known.contains_key(key::INVENTORY_URLS.path);
                    let instead = if is_of_inventory && table == key::RECORDS.tls {
                        format!("; for {} there is [{}]", key::INVENTORY_URLS.path, key::INVENTORY.tls)
                    } else {
                        String::new()
                    };
                    format!("TLS is set up, but {urls} is http: write \"{url}\", or remove [{table}]{instead}")
                }
            };
            self.wrong(set, why);
            return None;
        }
        let mut content = dns_manager_host::Tls::default();
        if let Some(path) = &ca.1
            && let Some(pem) = self.read_file(ca.0, path)
        {
            match content.clone().authorities(&pem) {
                Ok(with_authorities) => content = with_authorities,
                Err(error) => self.wrong(ca.0, format!("{}: {error}", path.display())),
            }
        }
        let identity = match (certificate.1, own_key.1) {
            (None, None) => None,
            (Some(_), None) => {
                self.wrong(certificate.0, format!("{} is not set: a certificate is used with its key", own_key.0.path));
                None
            }
            (None, Some(_)) => {
                self.wrong(own_key.0, format!("{} is not set: a key is used with its certificate", certificate.0.path));
                None
            }
            (Some(certificate), Some(own_key)) => {
                content = self.identity(door.keys, content, &certificate, &own_key)?;
                Some((certificate, own_key))
            }
        };
        Some(Tls { ca: ca.1, identity, content })
    }

    fn identity(
        &mut self,
        keys: &Entrance,
        content: dns_manager_host::Tls,
        certificate: &Path,
        own_key: &Path,
    ) -> Option<dns_manager_host::Tls> {
        let certificate_pem = self.read_file(keys.certificate, certificate);
        let key_pem = self.read_file(keys.key, own_key);
        let error = match content.identity(&certificate_pem?, &key_pem?) {
            Ok(content) => return Some(content),
            Err(error) => error,
        };
        match error {
            TlsError::NoCertificate | TlsError::BadCertificate(_) => {
                self.wrong(keys.certificate, format!("{}: {error}", certificate.display()));
            }
            TlsError::NoKey | TlsError::EncryptedKey | TlsError::BadKey(_) => {
                self.wrong(keys.key, format!("{}: {error}", own_key.display()));
            }
            TlsError::KeyOfAnother => {
                self.wrong(keys.key, format!("{}: {error} {}", own_key.display(), certificate.display()));
            }
        }
        None
    }

    pub(super) fn credentials(&mut self, door: Door<'_>) -> Option<Credentials> {
        let keys = door.keys;
        let username = self.take(keys.username, parse::text);
        let file = self.take_path(keys.password_file);
        let variable = self.take(keys.password_env, parse::text);
        let set = match (&username, &file, &variable) {
            (Some(_), _, _) => keys.username,
            (None, Some(_), _) => keys.password_file,
            (None, None, Some(_)) => keys.password_env,
            (None, None, None) => return None,
        };
        if door.urls.is_empty() {
            self.wrong(set, format!("{}: there is nothing that credentials could be for", door.absent));
            return None;
        }
        let password = match (file, variable) {
            (Some(_), Some(_)) => {
                self.wrong(keys.password_env, format!("{} is set, too: keep one of the two", keys.password_file.path));
                None
            }
            (Some(file), None) => self.password_in(keys, &file),
            (None, Some(variable)) => match self.environment.variable(&variable) {
                Some(password) => Some(Secret::from(password)),
                None => {
                    // What is no name of a variable may be the password itself.
                    let is_name = variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                        && !variable.starts_with(|c: char| c.is_ascii_digit());
                    let named = if is_name { variable.as_str() } else { "that is named here" };
                    self.wrong(keys.password_env, format!("the environment variable {named} is not set, or empty"));
                    None
                }
            },
            (None, None) => {
                let [file, variable] = [keys.password_file.path, keys.password_env.path];
                self.wrong(set, format!("there is no password for this user: set {file} or {variable}"));
                None
            }
        };
        if username.is_none() {
            self.wrong(set, format!("{} is not set: whose password is it?", keys.username.path));
        }
        Some(Credentials { username: username?, password: password? })
    }

    /// One line of text; the end of the line does not belong to it.
    fn password_in(&mut self, keys: &Entrance, file: &Path) -> Option<Secret> {
        let octets = self.read_file(keys.password_file, file)?;
        let name = file.display();
        let why = match String::from_utf8(octets) {
            Err(_) => format!("{name} is not text"),
            Ok(text) => {
                let password = text.strip_suffix('\n').unwrap_or(&text);
                let password = password.strip_suffix('\r').unwrap_or(password);
                if password.is_empty() {
                    format!("{name} is empty")
                } else if password.contains('\n') {
                    format!("{name} has several lines: write the password alone into it")
                } else {
                    return Some(Secret::from(password));
                }
            }
        };
        self.wrong(keys.password_file, why);
        None
    }

    pub(super) fn read_file(&mut self, key: &'static Key, path: &Path) -> Option<Vec<u8>> {
        std::fs::read(path).map_err(|error| self.wrong(key, format!("{} cannot be read: {error}", path.display()))).ok()
    }

    pub(super) fn wrong(&mut self, key: &'static Key, why: String) {
        let source = self.collection.effective(key).map_or(Source::Default, |written| written.source);
        self.collection.problems.push(Problem { source, message: format!("{}: {why}", key.path) });
    }
}

/// Says that a password is sent where others can read it.
pub(super) fn in_clear(username: &Key, credentials: Option<&Credentials>, urls: &[Endpoint]) -> Option<String> {
    let url = urls.iter().find(|url| !url.is_secure() && !url.is_loopback())?;
    credentials?;
    Some(format!("{}: the password goes to \"{url}\" in clear text: use https", username.path))
}
