//! TLS to the backend: whom to trust, who we are, and what is wrong with a
//! handshake, in words that name the certificate.
//!
//! One configuration serves a manager for life, so that a pooled connection
//! never belongs to another identity. Names are verified as they stand in the
//! backend's URL, whatever address they were looked up to.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, DEFAULT_VERSIONS, RootCertStore, SignatureScheme,
        client::{ResolvesClientCert, Resumption},
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject},
        sign::{CertifiedKey, SingleCertAndKey},
    },
};

use crate::capability::policy::Authority;

/// How long a server that asked for a client certificate may take to say that
/// it does not like it. Those that send session tickets say at once that they
/// do.
const VERDICT: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 250 });

/// What TLS to the backend needs to know: whom to trust, and who we are.
///
/// Without authorities of its own, those that the operating system trusts
/// count. `Debug` shows no key.
///
/// ```
/// use dns_manager_host::{Tls, TlsError};
///
/// let no_key = Tls::default().identity(b"no PEM", b"no PEM");
/// assert!(matches!(no_key, Err(TlsError::NoCertificate)));
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
}

impl Tls {
    /// Trusts these authorities, in PEM form, and no others.
    ///
    /// # Errors
    ///
    /// There is no certificate in it, or one that cannot be read.
    pub fn authorities(self, pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|error| TlsError::BadCertificate(error.to_string()))?;
        }
        Ok(Self { roots: Some(Arc::new(roots)), ..self })
    }

    /// Shows this certificate, with those that lead to its authority behind
    /// it, to a backend that asks for one. Both are in PEM form.
    ///
    /// # Errors
    ///
    /// One of the two cannot be read, or the key is of another certificate.
    pub fn identity(self, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let key = private_key(key)?;
        let identity = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyOfAnother,
            rustls::Error::InvalidCertificate(why) => TlsError::BadCertificate(why.to_string()),
            other => TlsError::BadKey(other.to_string()),
        })?;
        Ok(Self { identity: Some(Arc::new(identity)), ..self })
    }

    /// Trusts nobody: every certificate is refused. It shows whether TLS is
    /// spoken, and is enough for a client that is to speak none.
    pub fn nobody() -> Self {
        Self { roots: Some(Arc::new(RootCertStore::empty())), identity: None }
    }

    /// For another client than a manager's.
    ///
    /// # Errors
    ///
    /// No authorities were given, and the system trusts none.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let Secured { mut config, identity } = self.ready()?;
        if let Some(identity) = identity {
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
        }
        Ok(config)
    }

    /// What is wrong with a server's certificate, for people.
    pub fn objection(why: &CertificateError) -> String {
        judged(why).1
    }

    /// Ready to connect.
    ///
    /// # Errors
    ///
    /// No authorities were given, and the system trusts none.
    pub(crate) fn ready(&self) -> Result<Secured, String> {
        let roots = match &self.roots {
            Some(roots) => roots.clone(),
            None => Arc::new(system_roots()?),
        };
        Secured::new(roots, self.identity.clone())
    }
}

impl Secured {
    fn new(roots: Arc<RootCertStore>, identity: Option<Arc<CertifiedKey>>) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(DEFAULT_VERSIONS)
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // etcd's gateway would take HTTP/2 as well, which the client does not speak.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Connections are kept; and each handshake is to show whether our certificate is taken.
        config.resumption = Resumption::disabled();
        Ok(Self { config, identity })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.roots.as_ref().map(|roots| roots.len()))
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// Why something is no use for TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Nothing in it is a certificate in PEM form.
    #[error("there is no certificate in PEM form in it (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// A certificate in it is broken.
    #[error("a certificate in it cannot be read: {0}")]
    BadCertificate(String),
    /// Nothing in it is a private key in PEM form.
    #[error("there is no private key in PEM form in it (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    /// The key is locked with a passphrase.
    #[error("its key is encrypted; decrypt it (`openssl pkey -in KEY -out PLAIN`)")]
    EncryptedKey,
    /// The key is broken, or of a kind that is not known.
    #[error("its key cannot be used: {0}")]
    BadKey(String),
    /// Certificate and key do not belong together.
    #[error("it is not the key of the certificate")]
    KeyOfAnother,
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::BadCertificate(error.to_string()))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let has = |words: &[u8]| text.windows(words.len()).any(|part| part == words);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey,
        other => TlsError::BadKey(other.to_string()),
    })
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
    Err(format!("this system has no list of trusted authorities{why}; name the server's own"))
}

/// What is needed to open TLS connections.
pub(crate) struct Secured {
    config: ClientConfig,
    identity: Option<Arc<CertifiedKey>>,
}

impl Secured {
    /// Makes a connection to `member` a trusted one. After an error nothing
    /// but the handshake was sent.
    pub(crate) async fn handshake(
        &self,
        member: &Authority,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsFault> {
        let name = ServerName::try_from(member.host.clone())
            .map_err(|_| TlsFault::Protocol(format!("{member}: no certificate can be for this host")))?;
        let asked = Arc::new(Asked { identity: self.identity.clone(), asked: AtomicBool::new(false) });
        let mut config = self.config.clone();
        config.client_auth_cert_resolver = asked.clone();
        let connected = async {
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            if asked.asked.load(Ordering::Relaxed) {
                verdict(&mut stream).await?;
            }
            Ok(stream)
        };
        connected.await.map_err(|error: io::Error| fault(member, &error, &asked))
    }
}

/// Shows our certificate, and notes that somebody wanted to see one.
#[derive(Debug)]
struct Asked {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

/// Waits for what the server makes of our certificate. In TLS 1.3 the client
/// is done before the server has looked at it; a request sent now could meet
/// the refusal, and nobody could tell whether it was carried out.
async fn verdict(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    let told = std::future::poll_fn(|cx| {
        let mut octet = [0];
        match Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut octet)) {
            // The end, or an answer before there was a question.
            Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    });
    tokio::time::timeout(VERDICT, told).await.unwrap_or(Ok(()))
}

/// Why a connection is not to be trusted, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// What answers there speaks no TLS, or none that we do.
    Protocol(String),
    /// A certificate is not good, theirs or ours.
    Certificate {
        /// The alert that ended the handshake (RFC 8446 6).
        alert: u8,
        /// Which, and why.
        message: String,
    },
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(message) | Self::Certificate { message, .. } => f.write_str(message),
        }
    }
}

fn fault(member: &Authority, error: &io::Error, asked: &Asked) -> TlsFault {
    let (was_asked, is_known) = (asked.asked.load(Ordering::Relaxed), asked.identity.is_some());
    let certificate = |alert: AlertDescription, what: String| TlsFault::Certificate {
        alert: u8::from(alert),
        message: format!("{member}: {what}"),
    };
    let wanted = "it asks for a client certificate, and none is configured";
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let (alert, what) = judged(why);
            certificate(alert, what)
        }
        Some(rustls::Error::AlertReceived(alert)) if was_asked && !is_known => certificate(*alert, wanted.to_owned()),
        Some(rustls::Error::AlertReceived(alert)) if was_asked => {
            certificate(*alert, format!("it does not accept our client certificate: {}", alert_name(*alert)))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            TlsFault::Protocol(format!("{member}: it broke off the TLS handshake: {}", alert_name(*alert)))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            TlsFault::Protocol(format!("{member}: what answers there does not speak TLS; is it http instead of https?"))
        }
        Some(other) => TlsFault::Protocol(format!("{member}: the TLS handshake failed: {other}")),
        None if was_asked && !is_known => certificate(AlertDescription::CertificateRequired, wanted.to_owned()),
        None => TlsFault::Protocol(format!(
            "{member}: it broke off the TLS handshake ({error}); does it speak TLS, or is it http instead of https?"
        )),
    }
}

/// What is wrong with a certificate of the backend's, and the alert for it.
fn judged(why: &CertificateError) -> (AlertDescription, String) {
    match why {
        CertificateError::UnknownIssuer => {
            (AlertDescription::UnknownCA, "its certificate is of an authority that is not trusted here".to_owned())
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            (AlertDescription::CertificateExpired, format!("its certificate expired at {}", date(*not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => (
            AlertDescription::CertificateExpired,
            format!("its certificate is not valid before {}; is this machine's clock right?", date(*not_before)),
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            let expected = expected.to_str();
            (AlertDescription::BadCertificate, format!("its certificate is for {names}, not for {expected}"))
        }
        CertificateError::BadSignature => (
            AlertDescription::UnknownCA,
            "its certificate is signed by another key than that of the authority of this name that is trusted here"
                .to_owned(),
        ),
        other => {
            let said = other.to_string();
            // webpki's word, which rustls passes on.
            let why = if said.contains("CaUsedAsEndEntity") {
                "it is an authority's own; issue one for the server".to_owned()
            } else {
                said
            };
            (AlertDescription::BadCertificate, format!("its certificate is not valid: {why}"))
        }
    }
}

/// `DnsName("etcd-1")` and `IpAddress(10.0.0.1)` as people write them.
fn plain_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(presented, |inner| inner.trim_matches('"'))
}

fn date(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map_or_else(|| "a date far away".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "it does not know who issued it".to_owned(),
        AlertDescription::CertificateExpired => "it has expired".to_owned(),
        AlertDescription::BadCertificate => "it is not valid there".to_owned(),
        AlertDescription::ProtocolVersion => "it speaks other versions of TLS".to_owned(),
        AlertDescription::HandshakeFailure => "no common cipher or certificate (handshake failure)".to_owned(),
        AlertDescription::UnrecognisedName => "it does not know the name".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
