//! Three orchestrators on one etcd, killed and started again at random under a stream of creations and deletions.
//!
//! `make chaos SERVERS=200` runs it for as long as wanted.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dns_manager_tests::{
    app::OWNER,
    cli::Installation,
    etcd::Release,
    http,
    left_out::say,
    site::{Site, test_name},
    wait,
};
use serde_json::{Value, json};

const ZONE: &str = "example.com";
const ORCHESTRATORS: usize = 3;
/// So many servers are in the making at a time.
const STREAMS: usize = 6;
/// Beyond what any step may take, with everybody being killed.
const PATIENCE: Duration = Duration::from_secs(180);

/// A provider that knows when two of it work on one server at the same time.
const PROGRAM: &str = r#"#!/bin/sh
for verb; do :; done
request=$(cat)
field() { printf %s "$request" | sed -n "s/.*\"$1\":\[*\"\([^\"]*\)\".*/\1/p"; }
id=$(field id) address=$(field addresses)
cd FOLDER || exit 1
# Held as long as this program lives, and by nothing that it starts.
exec 9>"locks/$id"
flock -n 9 || echo "$verb $id" >> doubled
echo "$verb $id" >> calls
case $verb in
  create) sleep 0.2 9>&-; echo "$address" > "servers/$id" ;;
  status)
    if [ -e "servers/$id" ]; then
      echo "{\"status\": \"ready\", \"addresses\": [\"$(cat "servers/$id")\"]}"
    else
      echo '{"status": "absent"}'
    fi ;;
  stop) sleep 0.1 9>&- ;;
  delete) sleep 0.1 9>&-; rm -f "servers/$id" ;;
esac
"#;

/// What is counted.
#[derive(Default)]
struct Figures {
    created: AtomicUsize,
    deleted: AtomicUsize,
    deleted_early: AtomicUsize,
    retried: AtomicUsize,
    kills: AtomicUsize,
}

#[tokio::test]
async fn servers_end_as_asked_while_orchestrators_are_killed() {
    tokio::task::LocalSet::new().run_until(run()).await;
}

async fn run() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let servers = usize::try_from(number("DNS_MANAGER_CHAOS_SERVERS", 18)).unwrap();
    let seconds = Duration::from_secs(number("DNS_MANAGER_CHAOS_SECONDS", 20));

    let site = Site::start(Release::Current, &[ZONE]).await;
    let folder = tempfile::tempdir().unwrap();
    let installations: Vec<_> = (0..ORCHESTRATORS).map(|_| installation(&site, folder.path())).collect();
    let urls: Arc<[Mutex<Option<String>>]> = (0..ORCHESTRATORS).map(|_| Mutex::default()).collect();
    let figures = Arc::new(Figures::default());
    let is_over = Arc::new(AtomicBool::new(false));

    let keepers: Vec<_> = installations
        .into_iter()
        .enumerate()
        .map(|(index, installation)| {
            let (urls, figures, is_over) = (Arc::clone(&urls), Arc::clone(&figures), Arc::clone(&is_over));
            tokio::task::spawn_local(async move { keep(index, &installation, &urls, &figures, &is_over).await })
        })
        .collect();
    let began = Instant::now();
    let per_stream = servers.div_ceil(STREAMS);
    // A stream lasts as long as the whole run, however fast its servers come and go.
    let pause = seconds / u32::try_from(per_stream).unwrap();
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let client = Client { http: http::client(), urls: Arc::clone(&urls) };
            let (figures, nameserver) = (Arc::clone(&figures), site.coredns.address());
            tokio::task::spawn_local(async move {
                for number in 0..per_stream {
                    let next = began + pause * u32::try_from(number).unwrap();
                    tokio::time::sleep_until(next.into()).await;
                    client.live_and_die(stream, number, nameserver, &figures).await;
                }
            })
        })
        .collect();
    for stream in streams {
        stream.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for keeper in keepers {
        keeper.await.unwrap();
    }

    let lines = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap_or_default().lines().count();
    let doubled = lines("doubled");
    // Who is killed leaves claims until its lease has run out.
    wait::until("no claim is left", Duration::from_secs(30), async || {
        site.gateway().tree("/dns-manager/").await.is_empty().then_some(())
    })
    .await;
    let left_over = site.tree().await.entries.len() + fs::read_dir(folder.path().join("servers")).unwrap().count();
    let count = |figure: &AtomicUsize| figure.load(Ordering::Relaxed);
    say(&format!(
        "{}: {} s, {} servers started, {} finished ({} of them deleted while they were being created), {} steps tried again, \
         {} calls of the provider, {} kills, {doubled} doubled, {left_over} left over\n",
        test_name(),
        began.elapsed().as_secs(),
        count(&figures.created),
        count(&figures.deleted),
        count(&figures.deleted_early),
        count(&figures.retried),
        lines("calls"),
        count(&figures.kills),
    ));
    assert_eq!((doubled, left_over), (0, 0));
    assert_eq!((count(&figures.created), count(&figures.deleted)), (per_stream * STREAMS, per_stream * STREAMS));
    assert!(count(&figures.kills) > 0, "nobody was killed");
}

fn installation(site: &Site, folder: &Path) -> Installation {
    for part in ["servers", "locks"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let program = folder.join("provider");
    fs::write(&program, PROGRAM.replace("FOLDER", &format!("'{}'", folder.display()))).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Installation::new(&format!(
        "[orchestrator.dns]\ncoredns_url = \"{}\"\nnameservers = [\"{}\"]\nzones = [\"{ZONE}\"]\nowner = \"{OWNER}\"\n\
         [orchestrator.inventory]\nkind = \"etcd\"\n\
         [orchestrator.provider]\nkind = \"exec\"\nprogram = \"{}\"\n\
         [orchestrator.reconcile]\nevery = \"5s\"\n",
        site.etcd.url(),
        site.coredns.address(),
        program.display(),
    ))
}

/// Keeps one orchestrator running, and kills it every now and then, until all is over.
async fn keep(
    index: usize,
    installation: &Installation,
    urls: &[Mutex<Option<String>>],
    figures: &Figures,
    is_over: &AtomicBool,
) {
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let serving = installation.serve().await;
        *urls[index].lock().unwrap() = Some(serving.url());
        // A slow machine, on which it takes long to start, gets as much time to get somewhere.
        let until = Instant::now() + began.elapsed() + Duration::from_millis(rand::random_range(500..8000));
        while Instant::now() < until && !is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        *urls[index].lock().unwrap() = None;
        // SIGKILL, in the middle of whatever it does.
        drop(serving);
        figures.kills.fetch_add(1, Ordering::Relaxed);
    }
}

/// Somebody who wants servers, and asks whichever orchestrator is there.
struct Client {
    http: reqwest::Client,
    urls: Arc<[Mutex<Option<String>>]>,
}

impl Client {
    /// One server from its creation to its end.
    async fn live_and_die(&self, stream: usize, number: usize, nameserver: std::net::SocketAddr, figures: &Figures) {
        let hostname = format!("s{stream}-{number}.{ZONE}");
        let address = format!("10.{stream}.{}.{}", number / 250, number % 250);
        let body = json!({"hostname": hostname, "addresses": [address]});
        // Asked again where the answer did not come; then it may be there already.
        self.ask("POST", "/api/v1/servers", Some(&body), &[202, 409]).await;
        figures.created.fetch_add(1, Ordering::Relaxed);

        let path = format!("/api/v1/servers/{hostname}");
        if rand::random_range(0..4) == 0 {
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..600))).await;
            figures.deleted_early.fetch_add(1, Ordering::Relaxed);
        } else {
            let server = wait::until(&format!("{hostname} is ready"), PATIENCE, async || {
                let (_, answer) = self.ask("GET", &path, None, &[200]).await;
                (answer["data"]["state"] == "ready").then(|| answer["data"].clone())
            })
            .await;
            assert_eq!(server["problem"], Value::Null, "{server:#}");
            let tries: u64 =
                server["steps"].as_array().unwrap().iter().map(|step| step["attempts"].as_u64().unwrap() - 1).sum();
            figures.retried.fetch_add(usize::try_from(tries).unwrap(), Ordering::Relaxed);
            let answer = dns_manager_tests::dns::ask(nameserver, &hostname, "A").await;
            assert_eq!(answer.answers, [format!("{hostname}. 300 A {address}")]);
        }
        self.ask("DELETE", &path, None, &[202, 404]).await;
        wait::until(&format!("{hostname} is gone"), PATIENCE, async || {
            let (status, answer) = self.ask("GET", &path, None, &[200, 404]).await;
            assert_ne!(answer["data"]["state"], "failed", "{answer:#}");
            (status == 404).then_some(())
        })
        .await;
        let answer = dns_manager_tests::dns::ask(nameserver, &hostname, "A").await;
        assert_eq!(answer.rcode, "NXDOMAIN", "{hostname}");
        figures.deleted.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks one after another until one answers with one of these statuses.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>, expected: &[u16]) -> (u16, Value) {
        let expected: BTreeSet<u16> = expected.iter().copied().collect();
        let what = format!("{method} {path} is answered");
        wait::until(&what, PATIENCE, async || {
            let there: Vec<_> = self.urls.iter().filter_map(|url| url.lock().unwrap().clone()).collect();
            let url = there.get(rand::random_range(0..there.len().max(1)))?;
            let mut request = self.http.request(method.parse().unwrap(), format!("{url}{path}"));
            if let Some(body) = body {
                request = request.json(body);
            }
            // Killed in the middle of it: somebody else is asked.
            let answer = request.timeout(Duration::from_secs(20)).send().await.ok()?;
            let status = answer.status().as_u16();
            let answer: Value = answer.json().await.ok()?;
            if expected.contains(&status) {
                return Some((status, answer));
            }
            // Its etcd is slow, say; what is a refusal stays one.
            assert!(status >= 500, "{method} {path}: {status} {answer}");
            None
        })
        .await
    }
}
