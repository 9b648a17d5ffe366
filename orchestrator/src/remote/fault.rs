//! What is wrong between a command and a service where TLS, or its absence, is the reason; and what to do about it.

use std::error::Error;

use dns_manager_host::Tls;
use reqwest::Url;
use tokio_rustls::rustls::{self, CertificateError};

/// A reason, and a remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) why: String,
    pub(super) remedy: String,
}

/// What an error of a request to `base` says of TLS; none: nothing. `ca` is the file of the authorities that are trusted, where one was
/// given.
pub(super) fn of(error: &(dyn Error + 'static), base: &Url, ca: Option<&str>) -> Option<Fault> {
    let (why, remedy) = match cause(error)? {
        rustls::Error::InvalidCertificate(objection) => (Tls::objection(objection), better(objection, base, ca)),
        rustls::Error::InvalidMessage(_) => {
            ("what answers there speaks no TLS".to_owned(), format!("write {} in --server", with_scheme(base, "http")))
        }
        // Whoever has looked at our certificate, which there is none of, breaks off: TLS 1.3 has a word for it, TLS 1.2 has several.
        rustls::Error::AlertReceived(
            rustls::AlertDescription::CertificateRequired
            | rustls::AlertDescription::BadCertificate
            | rustls::AlertDescription::HandshakeFailure,
        ) => (
            "it asks for a client certificate, which --server has none of".to_owned(),
            "run the command on the service's machine without --server, or ask with curl --cert".to_owned(),
        ),
        other => {
            (format!("the TLS handshake failed: {other}"), "look at what stands between, and at its log".to_owned())
        }
    };
    Some(Fault { why, remedy })
}

/// What there is to say of somebody who was spoken to plainly, and speaks TLS.
pub(super) fn wants_tls(base: &Url) -> Fault {
    Fault {
        why: "what answers there speaks TLS".to_owned(),
        remedy: format!("write {} in --server", with_scheme(base, "https")),
    }
}

/// Whether a handshake has come so far that a certificate was shown.
pub(super) fn has_shown_a_certificate(error: &(dyn Error + 'static)) -> bool {
    matches!(cause(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// The error of rustls that is at the bottom of another. An [`std::io::Error`] leaves what it holds out of its sources.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn better(objection: &CertificateError, base: &Url, ca: Option<&str>) -> String {
    match (objection, ca) {
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, None) => {
            "give the file of the authority that issued it by --ca, or $DNS_MANAGER_CA".to_owned()
        }
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, Some(file)) => {
            format!("give the file of the authority that issued it by --ca: {file} has another")
        }
        (CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName, _) => {
            let host = base.host_str().unwrap_or_default();
            format!("write one of its names in --server, or have one issued for {host}")
        }
        (CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet, _) => {
            "set the clock that is wrong, or have another issued".to_owned()
        }
        (CertificateError::ExpiredContext { .. } | CertificateError::Expired, _) => {
            "have it renewed where the service runs, orchestrator.tls.certificate".to_owned()
        }
        _ => "have another issued where the service runs, orchestrator.tls.certificate".to_owned(),
    }
}

/// The same place under another scheme. `http` and `https` have ports of their own, so that the port is written down.
pub(super) fn with_scheme(base: &Url, scheme: &str) -> String {
    let host = base.host_str().unwrap_or_default();
    let port = base.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    let path = base.path().trim_end_matches('/');
    format!("{scheme}://{host}{port}{path}")
}
