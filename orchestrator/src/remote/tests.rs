//! Services on loopback, good ones and others, and what is said of them.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{DEFAULT_VERSIONS, RootCertStore, ServerConfig};

use super::*;

/// Somebody who says the same to everybody, once.
async fn somebody(status: &'static str, body: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/below", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 2048];
        let length = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        assert!(
            request.starts_with("GET /below/healthz ") && request.contains("authorization: Bearer t-1"),
            "{request}"
        );
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    url
}

async fn refused(status: &'static str, body: &'static str) -> String {
    let target = Target::parse(somebody(status, body).await.as_str(), Some("t-1\n")).unwrap();
    Remote::connect(&target).await.unwrap_err().to_string()
}

#[test]
fn what_is_no_base_url_or_no_token_is_said() {
    for wrong in ["", "localhost:8080", "ftp://localhost", "http://", "http://a/?b", "http://a/#b", "http://u@a"] {
        let error = Target::parse(wrong, None).err().unwrap_or_else(|| panic!("{wrong}"));
        assert!(
            error.is_usage() && error.to_string().contains("write http://HOST:PORT or https://HOST:PORT"),
            "{wrong}: {error}"
        );
    }
    for wrong in ["", "\n", "two words"] {
        assert!(matches!(Target::parse("http://a:1", Some(wrong)), Err(ConnectError::Token)), "{wrong:?}");
    }
}

#[tokio::test]
async fn who_is_no_service_is_told_from_one_that_knows_us_not() {
    let page = refused("200 OK", "<html>It works!</html>").await;
    assert!(page.contains("/below/healthz answers with status 200 OK and no JSON"), "{page}");
    let other = refused("200 OK", r#"{"status": "up"}"#).await;
    assert!(other.contains("as no `dns-manager serve` does"), "{other}");
    let body = r#"{"success": false, "error": {"code": "unauthorized", "message": "no token"}}"#;
    let unknown = refused("401 Unauthorized", body).await;
    assert!(unknown.contains("does not know who asks: no token: give a token with --token-file"), "{unknown}");

    // Nobody listens at it, and nobody else has it.
    let kept = tokio::net::TcpSocket::new_v4().unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = kept.local_addr().unwrap();
    let target = Target::parse(&format!("http://{free}"), None).unwrap();
    let nobody = Remote::connect(&target).await.unwrap_err();
    assert!(nobody.to_string().starts_with(&format!("nobody answers at http://{free}/: start")), "{nobody}");
    assert!(!nobody.is_usage());
}

#[tokio::test]
async fn another_version_is_told() {
    let body = r#"{"success": true, "data": {"version": "0.0.1"}}"#;
    let target = Target::parse(somebody("200 OK", body).await.as_str(), Some("t-1")).unwrap();
    let (_, warning) = Remote::connect(&target).await.unwrap();
    assert!(warning.is_some_and(|text| text.contains("the service is version 0.0.1, and this command ")));
}

/// Somebody who issues certificates, and their own, in PEM form.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// A service with a certificate for 127.0.0.1, changed; whether clients have to show one of ours.
    async fn service(&self, asks_clients: bool, change: impl FnOnce(&mut CertificateParams)) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let chain = vec![params.signed_by(&key, &self.0).unwrap().der().clone()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(DEFAULT_VERSIONS).unwrap();
        let builder = if asks_clients {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.1.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut request = [0; 2048];
                    let _ = stream.read(&mut request).await?;
                    let body =
                        format!(r#"{{"success": true, "data": {{"version": "{}"}}}}"#, env!("CARGO_PKG_VERSION"));
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await
                });
            }
        });
        address
    }

    fn trusted_at(&self, url: &str) -> Target {
        Target::parse(url, Some("t-1")).unwrap().trusting("ca.pem", self.1.as_bytes()).unwrap()
    }
}

async fn why(target: &Target) -> String {
    let error = Remote::connect(target).await.unwrap_err();
    assert!(!error.is_usage(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_service_whose_certificate_is_of_an_authority_in_the_file_is_trusted() {
    let authority = Authority::new("ours");
    let address = authority.service(false, |_| ()).await;
    let (_, warning) = Remote::connect(&authority.trusted_at(&format!("https://{address}"))).await.unwrap();
    assert_eq!(warning, None);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_with_what_to_do() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    type Change = fn(&mut CertificateParams);
    let cases: [(&Authority, Change, &str, &str); 4] = [
        (
            &theirs,
            |_| (),
            "its certificate is of an authority that is not trusted here: ",
            "give the file of the authority that issued it by --ca: ca.pem has another",
        ),
        (
            &ours,
            |params| params.subject_alt_names = vec![rcgen::SanType::DnsName("dns-1".try_into().unwrap())],
            "its certificate is for dns-1, not for 127.0.0.1: ",
            "write one of its names in --server, or have one issued for 127.0.0.1",
        ),
        (
            &ours,
            |params| params.not_after = date_time_ymd(2001, 2, 3),
            "its certificate expired at 2001-02-03T00:00:00Z: ",
            "have it renewed where the service runs, orchestrator.tls.certificate",
        ),
        (
            &ours,
            |params| params.not_before = date_time_ymd(4000, 2, 3),
            "its certificate is not valid before 4000-02-03T00:00:00Z; is this machine's clock right?: ",
            "set the clock that is wrong, or have another issued",
        ),
    ];
    for (issuer, change, what, remedy) in cases {
        let url = format!("https://{}", issuer.service(false, change).await);
        assert_eq!(why(&ours.trusted_at(&url)).await, format!("--server: {url}/: {what}{remedy}"));
    }
}

#[tokio::test]
async fn without_a_file_those_count_that_the_system_trusts() {
    let url = format!("https://{}", Authority::new("unknown").service(false, |_| ()).await);
    let error = Remote::connect(&Target::parse(&url, None).unwrap()).await.unwrap_err().to_string();
    let unknown = format!(
        "--server: {url}/: its certificate is of an authority that is not trusted here: give the file of the authority that \
         issued it by --ca, or $DNS_MANAGER_CA"
    );
    // Not every machine has a list.
    assert!(error == unknown || error.contains("no list of trusted authorities"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_that_is_wanted_is_named() {
    let authority = Authority::new("ours");
    let url = format!("https://{}", authority.service(true, |_| ()).await);
    let error = why(&authority.trusted_at(&url)).await;
    assert!(error.starts_with(&format!("--server: {url}/: it asks for a client certificate")), "{error}");
}

#[tokio::test]
async fn the_other_scheme_is_named_where_that_is_what_is_wrong() {
    let authority = Authority::new("ours");
    let secure = authority.service(false, |_| ()).await;
    let plainly = Target::parse(&format!("http://{secure}/below"), Some("t-1")).unwrap();
    assert_eq!(
        why(&plainly).await,
        format!(
            "--server: http://{secure}/below: what answers there speaks TLS: write https://{secure}/below in --server"
        )
    );

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 2048]).await;
    });
    assert_eq!(
        why(&authority.trusted_at(&format!("https://{address}"))).await,
        format!("--server: https://{address}/: what answers there speaks no TLS: write http://{address} in --server")
    );
}

#[test]
fn authorities_are_for_https_and_certificates() {
    let authority = Authority::new("ours");
    let plain = Target::parse("http://dns.example.com", None).unwrap();
    let error = plain.trusting("ca.pem", authority.1.as_bytes()).err().unwrap();
    assert!(error.is_usage());
    assert_eq!(
        error.to_string(),
        "--ca: ca.pem is for https, and --server is \"http://dns.example.com/\", which has no certificate: write \
         https://dns.example.com:80 if the service has TLS, else leave --ca out"
    );
    let secure = Target::parse("https://dns.example.com", None).unwrap();
    let error = secure.trusting("key.pem", b"no PEM").err().unwrap();
    assert!(error.is_usage());
    assert_eq!(
        error.to_string(),
        "--ca: key.pem: there is no certificate in PEM form in it (`-----BEGIN CERTIFICATE-----`): name the file of the \
         authority that issued the service's certificate"
    );
}

#[test]
fn a_token_that_goes_over_a_network_in_clear_text_is_told() {
    for (url, token, is_told) in [
        ("http://dns.example.com:8080", Some("t-1"), true),
        ("http://192.0.2.1", Some("t-1"), true),
        ("http://dns.example.com:8080", None, false),
        ("https://dns.example.com:8080", Some("t-1"), false),
        ("http://localhost:8080", Some("t-1"), false),
        ("http://127.0.0.2:8080", Some("t-1"), false),
        ("http://[::1]:8080", Some("t-1"), false),
    ] {
        let warning = Target::parse(url, token).unwrap().warning();
        assert_eq!(warning.is_some(), is_told, "{url}: {warning:?}");
        assert!(warning.is_none_or(|text| text.contains("in clear text") && text.contains("use https")));
    }
}
