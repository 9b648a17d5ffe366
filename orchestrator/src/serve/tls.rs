//! TLS of the API: from files to what a listener takes, again whenever they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use dns_manager_host::TlsError;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, CertificateError, DEFAULT_VERSIONS, RootCertStore, ServerConfig};

use crate::config::OwnTls;

/// How soon a renewed certificate is shown.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the files hold.
pub(super) struct Loaded {
    config: Arc<ServerConfig>,
    /// Why clients will refuse our certificate now.
    pub(super) warning: Option<String>,
    /// Tells it from what they hold later.
    pub(super) read: Stamps,
}

/// When each of the files was changed last.
pub(super) type Stamps = Vec<Option<SystemTime>>;

impl Loaded {
    /// For a listener.
    pub(super) fn config(&self) -> RustlsConfig {
        RustlsConfig::from_config(Arc::clone(&self.config))
    }
}

/// Reads the files.
pub(super) fn load(files: &OwnTls) -> Result<Loaded, Error> {
    // Before they are read: what is written in between is noticed later.
    let stamps = stamps(files);
    let certificate_pem = read("certificate", &files.certificate)?;
    let key_pem = read("key", &files.key)?;
    // It knows best what can be wrong with the two, and says it.
    if let Err(error) = dns_manager_host::Tls::default().identity(&certificate_pem, &key_pem) {
        let (key, path) = match error {
            TlsError::NoCertificate | TlsError::BadCertificate(_) => ("certificate", &files.certificate),
            TlsError::NoKey | TlsError::EncryptedKey | TlsError::BadKey(_) | TlsError::KeyOfAnother => {
                ("key", &files.key)
            }
        };
        let with =
            if error == TlsError::KeyOfAnother { format!(" {}", files.certificate.display()) } else { String::new() };
        return Err(Error::of(key, path, format!("{error}{with}")));
    }
    let chain = certificates(&certificate_pem).map_err(|why| Error::of("certificate", &files.certificate, why))?;
    let own_key =
        PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| Error::of("key", &files.key, error.to_string()))?;

    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(DEFAULT_VERSIONS)
        .map_err(|error| Error::of("certificate", &files.certificate, error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let wrong = |why: String| Error::of("client_ca", path, why);
            let roots = Arc::new(roots(&read("client_ca", path)?).map_err(wrong)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(error.to_string()))?)
        }
    };
    let warning = validity(&chain, provider)
        .map(|why| format!("orchestrator.tls.certificate: {} {why}", files.certificate.display()));
    let mut config = builder
        .with_single_cert(chain, own_key)
        .map_err(|error| Error::of("certificate", &files.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), warning, read: stamps })
}

/// Shows what the files hold as soon as it is other than what was `read`; while they are no good, what they held before.
pub(super) async fn renew(files: OwnTls, read: Stamps, shown: RustlsConfig) {
    let mut seen = read;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = stamps(&files);
        if now == seen {
            continue;
        }
        seen = now;
        match load(&files) {
            Ok(loaded) => {
                shown.reload_from_config(loaded.config);
                tracing::info!(certificate = %files.certificate.display(), "the certificate was read again");
                if let Some(warning) = loaded.warning {
                    tracing::warn!("{warning}");
                }
            }
            // A certificate and its key are seldom replaced at the same moment.
            Err(error) => tracing::warn!("the certificate from before is shown: {}", crate::error_chain(&error)),
        }
    }
}

fn stamps(files: &OwnTls) -> Stamps {
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    paths.into_iter().flatten().map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok()).collect()
}

/// Whether clients will take our certificate for one of this time. Who vouches for it, and for which names, is not asked: the
/// certificate itself is the only authority here, and what is wrong with its time is found first.
fn validity(chain: &[CertificateDer<'static>], provider: Arc<CryptoProvider>) -> Option<String> {
    let own = chain.first()?;
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).ok()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    match verifier.verify_server_cert(own, &[], &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))?;
            Some(format!("expired at {}: clients will refuse it", humantime::format_rfc3339_seconds(at)))
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_before.as_secs()))?;
            Some(format!("is not valid before {}: clients will refuse it", humantime::format_rfc3339_seconds(at)))
        }
        _ => None,
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| TlsError::BadCertificate(error.to_string()).to_string())?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::NoCertificate.to_string()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::BadCertificate(error.to_string()).to_string()),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::of(key, path, format!("it cannot be read: {error}")))
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("orchestrator.tls.{key}: {}: {why}", path.display())]
pub struct Error {
    key: &'static str,
    path: PathBuf,
    why: String,
}

impl Error {
    fn of(key: &'static str, path: &Path, why: String) -> Self {
        Self { key, path: path.to_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn files(change: impl FnOnce(&mut CertificateParams)) -> (tempfile::TempDir, OwnTls) {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap().pem();
        let path = |name: &str| directory.path().join(name);
        let files = OwnTls { certificate: path("cert.pem"), key: path("key.pem"), client_ca: None };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        (directory, files)
    }

    fn why(files: &OwnTls) -> String {
        load(files).err().unwrap().to_string()
    }

    #[test]
    fn a_good_certificate_is_loaded_without_a_warning() {
        let (_directory, files) = files(|_| ());
        assert_eq!(load(&files).unwrap().warning, None);
    }

    #[test]
    fn a_certificate_of_another_time_is_loaded_with_a_warning() {
        for (expected, change) in [
            (
                "expired at 2001-02-03T00:00:00Z: clients",
                Box::new(|params: &mut CertificateParams| {
                    params.not_after = date_time_ymd(2001, 2, 3);
                }) as Box<dyn Fn(&mut CertificateParams)>,
            ),
            (
                "is not valid before 4000-01-01T00:00:00Z",
                Box::new(|params| params.not_before = date_time_ymd(4000, 1, 1)),
            ),
        ] {
            let (_directory, files) = files(change);
            let warning = load(&files).unwrap().warning.unwrap_or_default();
            assert!(warning.contains(expected), "{warning}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_and_file() {
        let (_directory, good) = files(|_| ());
        let (_other_directory, other) = files(|_| ());
        let mixed = OwnTls { key: other.key.clone(), ..good.clone() };
        assert!(
            why(&mixed).starts_with("orchestrator.tls.key: ")
                && why(&mixed).contains("it is not the key of the certificate")
        );
        let swapped = OwnTls { certificate: good.key.clone(), ..good.clone() };
        assert!(why(&swapped).contains("there is no certificate in PEM form"), "{}", why(&swapped));
        let missing = OwnTls { key: PathBuf::from("/nonexistent/key.pem"), ..good.clone() };
        assert!(
            why(&missing).contains("orchestrator.tls.key: /nonexistent/key.pem: it cannot be read"),
            "{}",
            why(&missing)
        );
        let client_ca = OwnTls { client_ca: Some(good.key.clone()), ..good };
        assert!(why(&client_ca).starts_with("orchestrator.tls.client_ca: "), "{}", why(&client_ca));
    }
}
