//! An etcd as in production: three members, TLS, users and roles, with stock
//! CoreDNS behind.
//!
//! [`access`] is about who is let in, and what is said to those who are not;
//! [`members`] about members that come and go; [`inventory`] about both, for the
//! inventory in etcd; [`cache`] about a CoreDNS that
//! remembers; [`secret`] about what nobody must see.

mod access;
mod cache;
mod inventory;
mod members;
mod secret;

use dns_manager_host::{Builder, Tls};
use dns_manager_tests::{
    app::{self, OWNER},
    cli::Installation,
    cluster::{Cluster, PASSWORD, USER},
    coredns::{CoreDns, Plan},
    etcd::Release,
    left_out::left_out,
    site::test_name,
    tool::Tool,
};

const ZONE: &str = "ex.test";

/// A cluster that lets in [`USER`] alone, and a CoreDNS that reads it as that user.
struct Production {
    cluster: Cluster,
    coredns: CoreDns,
}

impl Production {
    /// None if a program is missing here, which is reported.
    async fn start() -> Option<Self> {
        let release = release()?;
        let cluster = Cluster::start(release, 3).await;
        cluster.close_to_others().await;
        let coredns = CoreDns::start(plan(&cluster)).await;
        Some(Self { cluster, coredns })
    }

    /// Settings for the built-in component: TLS and the right user.
    fn builder(&self) -> Builder {
        self.builder_as(PASSWORD)
    }

    fn builder_as(&self, password: &str) -> Builder {
        self.settings().tls(identified(&self.cluster)).credentials(USER, password)
    }

    /// Without TLS and user.
    fn settings(&self) -> Builder {
        let url = &self.cluster.urls()[0];
        app::builder(url, self.coredns.address(), &[ZONE.to_owned()]).backend(self.cluster.urls())
    }

    /// Lines of a configuration file: where everything is, without TLS and user.
    fn lines(&self) -> Vec<String> {
        vec![
            format!("coredns_url = [\"{}\"]", self.cluster.urls().join("\", \"")),
            format!("nameservers = [\"{}\"]", self.coredns.address()),
            format!("zones = [\"{ZONE}\"]"),
            format!("owner = \"{OWNER}\""),
        ]
    }

    /// Lines of a configuration file: where everything is, TLS, and the user with the password in a file.
    fn entered_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.push("[orchestrator.dns.tls]".to_owned());
        lines.extend(tls_lines(&self.cluster));
        lines.extend([
            "[orchestrator.dns.credentials]".to_owned(),
            format!("username = \"{USER}\""),
            "password_file = \"password\"".to_owned(),
        ]);
        lines
    }

    /// With all that is needed.
    fn installation(&self) -> Installation {
        let installation = Installation::with_dns(&self.entered_lines());
        installation.write("password", &format!("{PASSWORD}\n"));
        installation
    }
}

/// Whom to trust, and a client certificate.
fn tls_lines(cluster: &Cluster) -> [String; 3] {
    let (certificate, key) = cluster.client();
    [
        format!("ca = \"{}\"", cluster.ca().display()),
        format!("certificate = \"{}\"", certificate.display()),
        format!("key = \"{}\"", key.display()),
    ]
}

/// The authority of the cluster, and a certificate of our own.
fn identified(cluster: &Cluster) -> Tls {
    let own = cluster.authority.issue(&["client.example.com"]);
    trusting(cluster).identity(own.certificate.as_bytes(), own.key.as_bytes()).expect("a good certificate")
}

/// The authority of the cluster alone.
fn trusting(cluster: &Cluster) -> Tls {
    Tls::default().authorities(cluster.authority.pem.as_bytes()).expect("a good authority")
}

/// CoreDNS in front of a cluster, with its own certificate, and the user's password.
fn plan(cluster: &Cluster) -> Plan {
    let (certificate, key) = cluster.client();
    let endpoints = cluster.urls().join(" ");
    let mut plan = Plan::new(&endpoints, &[ZONE]);
    plan.in_place_of_etcd = Some(format!(
        "etcd {ZONE} {{\npath /skydns\nendpoint {endpoints}\ntls {} {} {}\ncredentials {USER} \"{PASSWORD}\"\n}}",
        certificate.display(),
        key.display(),
        cluster.ca().display()
    ));
    plan
}

/// The etcd of these tests; none if a program is missing here, which is reported.
fn release() -> Option<Release> {
    let missing = [Tool::CoreDns, Tool::EtcdCurrent].into_iter().find_map(|tool| tool.find().err());
    match missing {
        Some(missing) => {
            left_out(&test_name(), &missing);
            None
        }
        None => Some(Release::Current),
    }
}
