//! How the backend is entered: `[orchestrator.dns.tls]` and `[orchestrator.dns.credentials]`.
//!
//! Files are read at load, so that what is wrong with them is said at once and with the key's place. What they hold is
//! shown nowhere: only their paths are.

use std::path::{Path, PathBuf};

use dns_manager_host::{Secret, TlsError};

use super::endpoint::Endpoint;
use super::key::{self, Key};
use super::value::Source;
use super::{Problem, Reader, parse};

/// The table `orchestrator.dns.tls`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The file of the authorities that are trusted; none: those of the system.
    pub ca: Option<PathBuf>,
    /// The files of the client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What is in these files.
    pub content: dns_manager_host::Tls,
}

/// The table `orchestrator.dns.credentials`.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Reader<'_> {
    /// Whether all URLs are https; a mixture is wrong.
    pub(super) fn is_secure(&mut self, urls: &[Endpoint]) -> bool {
        let is_secure = urls.iter().any(Endpoint::is_secure);
        if is_secure && !urls.iter().all(Endpoint::is_secure) {
            self.wrong(
                &key::COREDNS_URL,
                "some URLs are http and some are https: write https for all of them".to_owned(),
            );
        }
        is_secure
    }

    pub(super) fn tls(&mut self, urls: &[Endpoint], is_secure: bool) -> Option<Tls> {
        let [ca, certificate, own_key] =
            [&key::TLS_CA, &key::TLS_CERTIFICATE, &key::TLS_KEY].map(|key| (key, self.take_path(key)));
        let set = [&ca, &certificate, &own_key].into_iter().find_map(|(key, path)| path.as_ref().map(|_| *key))?;
        if !is_secure {
            let why = match urls {
                [] => format!("{} is not set: there is nothing that TLS could be for", key::COREDNS_URL.path),
                [url, ..] => format!(
                    "TLS is set up, but {} is http: write \"{}\", or remove [orchestrator.dns.tls]",
                    key::COREDNS_URL.path,
                    url.secured()
                ),
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
                content = self.identity(content, &certificate, &own_key)?;
                Some((certificate, own_key))
            }
        };
        Some(Tls { ca: ca.1, identity, content })
    }

    fn identity(
        &mut self,
        content: dns_manager_host::Tls,
        certificate: &Path,
        own_key: &Path,
    ) -> Option<dns_manager_host::Tls> {
        let certificate_pem = self.read_file(&key::TLS_CERTIFICATE, certificate);
        let key_pem = self.read_file(&key::TLS_KEY, own_key);
        let error = match content.identity(&certificate_pem?, &key_pem?) {
            Ok(content) => return Some(content),
            Err(error) => error,
        };
        match error {
            TlsError::NoCertificate | TlsError::BadCertificate(_) => {
                self.wrong(&key::TLS_CERTIFICATE, format!("{}: {error}", certificate.display()));
            }
            TlsError::NoKey | TlsError::EncryptedKey | TlsError::BadKey(_) => {
                self.wrong(&key::TLS_KEY, format!("{}: {error}", own_key.display()));
            }
            TlsError::KeyOfAnother => {
                self.wrong(&key::TLS_KEY, format!("{}: {error} {}", own_key.display(), certificate.display()));
            }
        }
        None
    }

    pub(super) fn credentials(&mut self, urls: &[Endpoint]) -> Option<Credentials> {
        let username = self.take(&key::USERNAME, parse::text);
        let file = self.take_path(&key::PASSWORD_FILE);
        let variable = self.take(&key::PASSWORD_ENV, parse::text);
        let set = match (&username, &file, &variable) {
            (Some(_), _, _) => &key::USERNAME,
            (None, Some(_), _) => &key::PASSWORD_FILE,
            (None, None, Some(_)) => &key::PASSWORD_ENV,
            (None, None, None) => return None,
        };
        if urls.is_empty() {
            let url = key::COREDNS_URL.path;
            self.wrong(set, format!("{url} is not set: there is nothing that credentials could be for"));
            return None;
        }
        let password = match (file, variable) {
            (Some(_), Some(_)) => {
                self.wrong(&key::PASSWORD_ENV, format!("{} is set, too: keep one of the two", key::PASSWORD_FILE.path));
                None
            }
            (Some(file), None) => self.password_in(&file),
            (None, Some(variable)) => match self.environment.variable(&variable) {
                Some(password) => Some(Secret::from(password)),
                None => {
                    // What is no name of a variable may be the password itself.
                    let is_name = variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
                    let named = if is_name { variable.as_str() } else { "that is named here" };
                    self.wrong(&key::PASSWORD_ENV, format!("the environment variable {named} is not set, or empty"));
                    None
                }
            },
            (None, None) => {
                let [file, variable] = [key::PASSWORD_FILE.path, key::PASSWORD_ENV.path];
                self.wrong(set, format!("there is no password for this user: set {file} or {variable}"));
                None
            }
        };
        if username.is_none() {
            self.wrong(set, format!("{} is not set: whose password is it?", key::USERNAME.path));
        }
        Some(Credentials { username: username?, password: password? })
    }

    /// One line of text; the end of the line does not belong to it.
    fn password_in(&mut self, file: &Path) -> Option<Secret> {
        let octets = self.read_file(&key::PASSWORD_FILE, file)?;
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
        self.wrong(&key::PASSWORD_FILE, why);
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
pub(super) fn in_clear(credentials: Option<&Credentials>, urls: &[Endpoint]) -> Option<String> {
    let url = urls.iter().find(|url| !url.is_secure() && !url.is_loopback())?;
    credentials?;
    Some(format!("{}: the password goes to \"{url}\" in clear text: use https", key::USERNAME.path))
}
