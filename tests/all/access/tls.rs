//! The API over TLS.

use std::{sync::Arc, time::Duration};

use dns_manager_tests::{
    certificate::{Authority, Issued, write},
    cli::Installation,
    wait,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DEFAULT_VERSIONS, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use super::{REQUIRED, installation, token};

const NAMES: &[&str] = &["127.0.0.1"];

fn secured(more: &str) -> Installation {
    installation(&format!("{REQUIRED}[orchestrator.tls]\ncertificate = \"own.pem\"\nkey = \"own-key.pem\"\n{more}"))
}

/// Sends a request over TLS; the head of the answer, or why there is none.
async fn ask(url: &str, authority: &Authority, identity: Option<&Issued>, token: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(DEFAULT_VERSIONS)
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(url.strip_prefix("https://").unwrap()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = format!(
        "GET /api/v1/servers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_certificate_is_shown_and_renewed_and_commands_need_none() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let installation = secured("");
    ours.issue(NAMES).write(installation.folder(), "own");
    let token = token(&installation, &["ci"]).await;
    let serving = installation.serve().await;
    let url = serving.url();

    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    assert_eq!(ask(&url, &ours, None, &token).await.unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(ask(&url, &ours, None, "nonsense").await.unwrap(), "HTTP/1.1 401 Unauthorized");
    let wrong = ask(&url, &theirs, None, &token).await.unwrap_err().to_string();
    assert!(wrong.contains("UnknownIssuer"), "{wrong}");
    installation.run(&["server", "create", "web.example.com", "--ip", "192.0.2.1"]).await.succeeded();

    // A key that does not fit is not shown; the pair is.
    let renewed = theirs.issue(NAMES);
    write(installation.folder(), "own.pem", &renewed.certificate);
    wait::until("the log says so", Duration::from_secs(60), async || {
        serving.output().contains("the certificate from before is shown").then_some(())
    })
    .await;
    assert_eq!(ask(&url, &ours, None, &token).await.unwrap(), "HTTP/1.1 200 OK");
    write(installation.folder(), "own-key.pem", &renewed.key);
    wait::until("the new one is shown", Duration::from_secs(60), async || ask(&url, &theirs, None, &token).await.ok())
        .await;
}

#[tokio::test]
async fn clients_show_certificates_where_they_have_to() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let installation = secured("client_ca = \"clients.pem\"\n");
    ours.issue(NAMES).write(installation.folder(), "own");
    write(installation.folder(), "clients.pem", &theirs.pem);
    let token = token(&installation, &["ci"]).await;
    let serving = installation.serve().await;
    let (good, bad) = (theirs.issue(&["client"]), ours.issue(&["client"]));

    assert_eq!(ask(&serving.url(), &ours, Some(&good), &token).await.unwrap(), "HTTP/1.1 200 OK");
    for identity in [None, Some(&bad)] {
        assert!(ask(&serving.url(), &ours, identity, &token).await.is_err());
    }
    installation.run(&["server", "list"]).await.succeeded();
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_said_at_start() {
    let ours = Authority::new("ours");
    let installation = secured("");
    let (first, second) = (ours.issue(NAMES), ours.issue(NAMES));
    first.write(installation.folder(), "own");
    write(installation.folder(), "own-key.pem", &second.key);
    let refused = installation.run(&["serve"]).await;
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("orchestrator.tls.key: ")
            && refused.stderr.contains("it is not the key of the certificate")
    );

    ours.issue_expired(NAMES).write(installation.folder(), "own");
    let serving = installation.serve().await;
    assert!(serving.output().contains("expired at 2001-02-03T00:00:00Z"), "{}", serving.output());
}

#[tokio::test]
async fn commands_from_elsewhere_trust_the_authority_they_are_given() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let service = secured("");
    ours.issue(NAMES).write(service.folder(), "own");
    let token = token(&service, &["ci", "--role", "write"]).await;
    let serving = service.serve().await;
    let url = serving.url();

    let elsewhere = Installation::new("");
    write(elsewhere.folder(), "ours.pem", &ours.pem);
    write(elsewhere.folder(), "theirs.pem", &theirs.pem);
    write(elsewhere.folder(), "token", &token);
    let way = ["--server", &url, "--ca", "ours.pem", "--token-file", "token"];
    let create = [&way[..], &["server", "create", "web.example.com", "--ip", "192.0.2.1"]].concat();
    let created = elsewhere.run(&create).await.succeeded();
    assert!(!created.stderr.contains("warning"), "{created:?}");
    let variables =
        [("DNS_MANAGER_SERVER", &*url), ("DNS_MANAGER_CA", "ours.pem"), ("DNS_MANAGER_TOKEN_FILE", "token")];
    let listed = elsewhere.run_with(&["server", "list", "--output", "json"], &variables).await.succeeded().json();
    assert_eq!(listed[0]["hostname"], "web.example.com");

    let at = url.strip_prefix("https://").unwrap();
    for (arguments, status, expected) in [
        (
            vec!["--server", &*url],
            1,
            format!("{url}/: its certificate is of an authority that is not trusted here: give the file"),
        ),
        (vec!["--server", &*url, "--ca", "theirs.pem"], 1, "by --ca: theirs.pem has another".to_owned()),
        (
            vec!["--server", &*url, "--ca", "token"],
            2,
            "--ca: token: there is no certificate in PEM form in it".to_owned(),
        ),
        (
            vec!["--server", &*url, "--ca", "absent.pem"],
            2,
            "--ca: absent.pem cannot be read: correct the path".to_owned(),
        ),
        (vec!["--server", &*url, "--ca", "ours.pem"], 1, "the service does not know who asks".to_owned()),
        (
            vec!["--server", &format!("http://{at}"), "--token-file", "token"],
            1,
            format!("speaks TLS: write {url} in --server"),
        ),
        (
            vec!["--server", &format!("http://{at}"), "--ca", "ours.pem"],
            2,
            format!("write {url} if the service has TLS"),
        ),
    ] {
        // A machine without a list of authorities has one for this test.
        let system = [("SSL_CERT_FILE", "theirs.pem")];
        let refused = elsewhere.run_with(&[&arguments[..], &["server", "list"]].concat(), &system).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.stderr.contains(&expected), "{expected}: {refused:?}");
    }

    let plain = installation("").serve().await;
    let over_tls = plain.url().replace("http:", "https:");
    let refused = elsewhere.run(&["--server", &over_tls, "--ca", "ours.pem", "server", "list"]).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("speaks no TLS: write {} in --server", plain.url())), "{refused:?}");
}
