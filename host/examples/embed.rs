//! The five calls of a server's life, against etcd and CoreDNS on this machine:
//! `cargo run -p dns-manager-host --example embed`.

use dns_manager_host::{DnsManager, Error};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it got")]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:2379".to_owned());
    let server = std::env::args().nth(2).unwrap_or_else(|| "localhost:53".to_owned());
    let dns = DnsManager::builder()
        .component(dns_manager_guest_artifact::COMPONENT)
        .backend([url])
        .nameservers([server])
        .build()
        .await?;
    dns.register_server_dns("web-01.example.com", [192, 168, 1, 10].into()).await?;
    dns.update_dns_record("web-01.example.com", [192, 168, 1, 11].into()).await?;
    println!("resolves: {}", dns.verify_dns_resolution("web-01.example.com").await?);
    println!("records: {:#?}", dns.list_records().await?);
    dns.unregister_server_dns("web-01.example.com").await?;
    Ok(())
}
