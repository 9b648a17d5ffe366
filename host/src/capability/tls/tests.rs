//! Handshakes with servers on loopback, and what is said of those that fail.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, server::WebPkiClientVerifier},
};

use super::*;

/// Somebody who issues certificates.
struct Issuing(Issuer<'static, KeyPair>, String);

/// A certificate and its key, in PEM form.
struct Issued {
    certificate: String,
    key: String,
}

impl Issuing {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    fn good(&self) -> Issued {
        self.issue(&["127.0.0.1", "localhost"], |_| ())
    }

    fn trusted(&self) -> Tls {
        Tls::default().authorities(self.1.as_bytes()).unwrap()
    }
}

impl Issued {
    fn shown_by(&self, tls: Tls) -> Tls {
        tls.identity(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// Answers one connection after the other; `clients`: who must show what it
/// issued.
async fn serve(shown: &Issued, clients: Option<&Issuing>) -> SocketAddr {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(DEFAULT_VERSIONS).unwrap();
    let builder = match clients {
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(clients.1.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = certificates(shown.certificate.as_bytes()).unwrap();
    let config = builder.with_single_cert(chain, private_key(shown.key.as_bytes()).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut octet = [0];
                stream.read_exact(&mut octet).await?;
                stream.write_all(&octet).await
            });
        }
    });
    address
}

/// Sends an octet there and back.
async fn echo(tls: &Tls, host: &str, address: SocketAddr) -> Result<u8, TlsFault> {
    let member = Authority::parse(&format!("{host}:{}", address.port()), None).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tls.ready().unwrap().handshake(&member, stream).await?;
    stream.write_all(b"x").await.unwrap();
    let mut octet = [0];
    stream.read_exact(&mut octet).await.unwrap();
    let [octet] = octet;
    Ok(octet)
}

/// What is said of a handshake that fails, without the port.
async fn said(tls: &Tls, host: &str, address: SocketAddr) -> (bool, String) {
    let fault = echo(tls, host, address).await.unwrap_err();
    let is_certificate = matches!(fault, TlsFault::Certificate { .. });
    (is_certificate, fault.to_string().replace(&format!(":{}:", address.port()), ":"))
}

#[tokio::test]
async fn good_certificate_is_trusted_by_name_and_by_address() {
    let authority = Issuing::new("a");
    let address = serve(&authority.good(), None).await;
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(echo(&authority.trusted(), host, address).await, Ok(b'x'));
    }
}

#[tokio::test]
async fn certificate_that_does_not_fit_is_named() {
    let (authority, stranger) = (Issuing::new("a"), Issuing::new("b"));
    let expired = authority.issue(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2001, 2, 3));
    let future = authority.issue(&["127.0.0.1"], |params| params.not_before = date_time_ymd(4000, 2, 3));
    let other_name = authority.issue(&["etcd-1.example.com", "10.0.0.1"], |_| ());
    let nameless = authority.issue(&[], |_| ());
    // As `openssl req -x509` makes them.
    let authority_s_own =
        authority.issue(&["127.0.0.1"], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let renewed = Issuing::new("a");
    for (shown, expected) in [
        (authority_s_own, "its certificate is not valid: it is an authority's own; issue one for the server"),
        (
            renewed.good(),
            "its certificate is signed by another key than that of the authority of this name that is trusted here",
        ),
        (stranger.good(), "its certificate is of an authority that is not trusted here"),
        (expired, "its certificate expired at 2001-02-03T00:00:00Z"),
        (future, "its certificate is not valid before 4000-02-03T00:00:00Z; is this machine's clock right?"),
        (other_name, "its certificate is for etcd-1.example.com, 10.0.0.1, not for 127.0.0.1"),
        (nameless, "its certificate is for no name, not for 127.0.0.1"),
    ] {
        let address = serve(&shown, None).await;
        let said = said(&authority.trusted(), "127.0.0.1", address).await;
        assert_eq!(said, (true, format!("127.0.0.1: {expected}")));
    }
}

#[tokio::test]
async fn client_certificate_is_shown_and_its_refusal_told() {
    let (authority, clients) = (Issuing::new("servers"), Issuing::new("clients"));
    let address = serve(&authority.good(), Some(&clients)).await;
    let none = authority.trusted();
    let good = clients.good().shown_by(authority.trusted());
    let foreign = authority.good().shown_by(authority.trusted());
    let expired = clients.issue(&["x"], |params| params.not_after = date_time_ymd(2001, 2, 3));
    let expired = expired.shown_by(authority.trusted());

    assert_eq!(echo(&good, "127.0.0.1", address).await, Ok(b'x'));
    for (tls, expected) in [
        (none, "it asks for a client certificate, and none is configured"),
        (foreign, "it does not accept our client certificate: it does not know who issued it"),
        (expired, "it does not accept our client certificate: it has expired"),
    ] {
        assert_eq!(said(&tls, "127.0.0.1", address).await, (true, format!("127.0.0.1: {expected}")));
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_named() {
    let authority = Issuing::new("a");
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 4096];
            assert_ne!(stream.read(&mut hello).await.unwrap(), 0);
            stream.write_all(answer).await.unwrap();
        });

        let (is_certificate, said) = said(&authority.trusted(), "127.0.0.1", address).await;

        assert!(!is_certificate && said.contains("http instead of https"), "{said}");
    }
}

#[test]
fn files_that_are_no_use_say_why() {
    let authority = Issuing::new("a");
    let (one, other) = (authority.good(), authority.good());
    let certificate = one.certificate.as_bytes();
    let identity = |certificate: &[u8], key: &[u8]| Tls::default().identity(certificate, key).unwrap_err();
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    assert_eq!(Tls::default().authorities(b"hello").unwrap_err(), TlsError::NoCertificate);
    assert!(matches!(Tls::default().authorities(broken), Err(TlsError::BadCertificate(_))));
    assert_eq!(identity(certificate, other.key.as_bytes()), TlsError::KeyOfAnother);
    assert_eq!(identity(certificate, certificate), TlsError::NoKey);
    assert_eq!(identity(one.key.as_bytes(), one.key.as_bytes()), TlsError::NoCertificate);
    let locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(identity(certificate, locked), TlsError::EncryptedKey);
    assert!(!format!("{:?}", one.shown_by(Tls::default())).contains("PRIVATE"));
}
