//! Every command does the same in this process and through a running service: what it prints, and its exit status.

use std::collections::BTreeSet;

use dns_manager_tests::{
    app::OWNER,
    certificate::{Authority, write},
    cli::{Installation, Ran, Serving},
    etcd::Release,
    site::{Site, installed},
};
use serde_json::Value;

const ZONES: &[&str] = &["example.com", "2.0.192.in-addr.arpa"];

/// Commands in the order of a day, each as people type it; what goes wrong is among it.
const DAY: &[&str] = &[
    "server list",
    "record list",
    "record export",
    // Servers.
    "server create web-01.example.com --ip 192.0.2.10 --ip 2001:db8::10",
    "server create web-02.example.com --ip 192.0.2.11 --output json",
    "server create web-01.example.com --ip 192.0.2.12",
    "server create not_a_host.example.com --ip 192.0.2.12",
    "server create web-03.example.com",
    "server create web-03.example.org --ip 192.0.2.12",
    "server show web-03.example.org",
    "server delete web-03.example.org",
    "server create web --ip 192.0.2.12",
    "server create --file servers.yaml",
    "server create --file servers.yaml --output json",
    "server create --file wrong.yaml",
    "server create --file half.yaml",
    "server create --file absent.yaml",
    "server list",
    "server list --output json",
    "server show web-01.example.com",
    "server show web-01.example.com --output json",
    "server show WEB-01.example.com.",
    "server show nobody.example.com",
    "server show not_a_host",
    "server retry web-01.example.com",
    "server retry nobody.example.com",
    "server rename web-02.example.com web-01.example.com",
    "server rename web-02.example.com web-09.example.com",
    "server rename nobody.example.com web-10.example.com",
    "server rename web-09.example.com not_a_host",
    "server show web-09.example.com",
    // Records.
    "record register www.example.com A 192.0.2.20 192.0.2.21 --ttl 60",
    "record register www.example.com A 192.0.2.20 --output json",
    "record register www.example.com CNAME web-01.example.com",
    "record register alias.example.com CNAME www.example.com",
    "record register alias.example.com TXT beside",
    "record register bad..name.example.com A 192.0.2.20",
    "record register www.example.org A 192.0.2.20",
    "record register www.example.com A 192.0.2.999 192.0.2.22",
    "record register www.example.com AAAA 2001:db8::20 --ttl -1",
    "record register example.com TXT 'v=spf1 -all'",
    "record register example.com MX '10 web-01.example.com'",
    "record update www.example.com A 192.0.2.22",
    "record update www.example.com A nonsense --output json",
    "record list",
    "record list --output json",
    "record list --zone example.com --type A",
    "record list --zone example.org",
    "record list --name www.example.com",
    "record list --name bad..name",
    "record verify www.example.com --wait 10s",
    "record verify www.example.com A 192.0.2.99 --wait 0s",
    "record verify www.example.com A nonsense",
    "record verify nobody.example.com",
    "record verify www.example.org",
    "record release www.example.com",
    "record release www.example.com",
    "record release nobody.example.com",
    "record list --name www.example.com",
    "record register www.example.com A 192.0.2.23",
    "record unregister www.example.com",
    "server create www.example.com --ip 192.0.2.30",
    "record adopt www.example.com A",
    "record adopt www.example.com",
    "record adopt nobody.example.com",
    "record adopt bad..name",
    "server retry www.example.com",
    "server list",
    "server show www.example.com",
    "record unregister alias.example.com CNAME",
    "record unregister alias.example.com CNAME",
    "record unregister nobody.example.com",
    "record unregister www.example.com A 192.0.2.22",
    "record unregister www.example.com A nonsense",
    "record unregister bad..name",
    "record unregister example.com --output json",
    "record repair",
    "record repair example.com --dry-run",
    "record repair example.org",
    "record repair bad..name",
    // Files.
    "record plan records.yaml",
    "record plan records.yaml --output json",
    "record plan broken.yaml",
    "record plan absent.yaml",
    "record plan impossible.yaml",
    "record apply impossible.yaml",
    "record apply records.yaml",
    "record apply records.yaml --output json",
    "record plan none.yaml --prune --max-deletes 0",
    "record apply none.yaml --prune --max-deletes 0",
    "record export",
    "record export --output json",
    "record apply none.yaml --prune --max-deletes 100%",
    // What should be, against what is.
    "reconcile",
    "record unregister web-01.example.com A",
    "reconcile --dry-run",
    "reconcile --dry-run --output json",
    "reconcile",
    "reconcile --output json",
    "server create web-03.example.org --ip 192.0.2.12",
    "reconcile",
    "server delete web-03.example.org",
    // The end.
    "server delete web-01.example.com",
    "server delete web-01.example.com",
    "server delete not_a_host",
    "server delete web-09.example.com bulk-01.example.com nobody.example.com",
    "server delete www.example.com bulk-02.example.com bulk-03.example.com --output json",
    "server list",
    "record list",
];

const FILES: &[(&str, &str)] = &[
    (
        "servers.yaml",
        "- {hostname: bulk-01.example.com, addresses: [192.0.2.41]}\n\
         - {hostname: bulk-02.example.com, addresses: [192.0.2.42]}\n",
    ),
    ("wrong.yaml", "- {hostname: not_a_host, addresses: [192.0.2.41]}\n"),
    (
        "half.yaml",
        "- {hostname: bulk-01.example.com, addresses: [192.0.2.41]}\n\
         - {hostname: bulk-03.example.com, addresses: [192.0.2.43]}\n",
    ),
    (
        "records.yaml",
        "- {name: one.example.com, record_type: A, values: [192.0.2.51, 192.0.2.52]}\n\
         - {name: two.example.com, record_type: TXT, ttl: 60, values: [text]}\n",
    ),
    ("broken.yaml", "- {name: one.example.com, record_typ: A, values: [192.0.2.51]}\n"),
    (
        "impossible.yaml",
        "- {name: three.example.com, record_type: A, values: [192.0.2.53]}\n\
         - {name: four.example.org, record_type: A, values: [192.0.2.54]}\n",
    ),
    ("none.yaml", "[]\n"),
];

/// Somebody who types commands: with the configuration of a site, or with nothing but where the service is.
struct Seat {
    installation: Installation,
    site: Site,
    /// What every command has in front.
    way: Vec<String>,
    /// The service, and where it has what it needs.
    _serving: Option<(Serving, Installation)>,
}

fn configuration(site: &Site, more: &str) -> String {
    format!(
        "[orchestrator.dns]\ncoredns_url = \"{}\"\nnameservers = [\"{}\"]\nzones = [\"{}\"]\nowner = \"{OWNER}\"\n\
         [orchestrator.inventory]\nkind = \"etcd\"\n{more}",
        site.etcd.url(),
        site.coredns.address(),
        site.zones.join("\", \""),
    )
}

impl Seat {
    async fn here(release: Release) -> Self {
        let site = Site::start(release, ZONES).await;
        let installation = Installation::new(&configuration(&site, ""));
        Self::of(installation, site, Vec::new(), None)
    }

    /// Without any configuration, and over TLS with a token.
    async fn elsewhere(release: Release) -> Self {
        let site = Site::start(release, ZONES).await;
        let service = Installation::new(&configuration(
            &site,
            // It does nothing by itself, as the other does not.
            "[orchestrator.reconcile]\nevery = \"never\"\n[orchestrator.access]\nrequired = true\n\
             [orchestrator.tls]\ncertificate = \"own.pem\"\nkey = \"own-key.pem\"\n",
        ));
        let authority = Authority::new("ours");
        authority.issue(&["127.0.0.1"]).write(service.folder(), "own");
        let token = service.run(&["token", "create", "test", "--role", "admin"]).await.succeeded().stdout;
        let serving = service.serve().await;

        let installation = Installation::new("");
        write(installation.folder(), "ca.pem", &authority.pem);
        write(installation.folder(), "token", &token);
        let url = serving.url();
        assert!(url.starts_with("https://"), "{url}");
        let way = ["--server", &url, "--ca", "ca.pem", "--token-file", "token"];
        Self::of(installation, site, way.map(str::to_owned).into(), Some((serving, service)))
    }

    fn of(installation: Installation, site: Site, way: Vec<String>, serving: Option<(Serving, Installation)>) -> Self {
        for (name, content) in FILES {
            installation.write(name, content);
        }
        Self { installation, site, way, _serving: serving }
    }

    async fn run(&self, command: &str) -> Ran {
        let words = words(command);
        let arguments: Vec<&str> = self.way.iter().chain(&words).map(String::as_str).collect();
        let ran = self.installation.run(&arguments).await;
        let nameserver = self.site.coredns.address().to_string();
        let usual = |text: &str| text.replace(&nameserver, "NAMESERVER");
        let stdout = usual(&ran.stdout);
        let stdout = match serde_json::from_str(&stdout) {
            Ok(json) => format!("{:#}", without_chance(json)),
            Err(_) => stdout.lines().map(|line| plain_words(line) + "\n").collect(),
        };
        Ran { stdout, stderr: usual(&ran.stderr), ..ran }
    }
}

/// The words of a command line, as a shell would give them.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let words = parts.flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// JSON without what chance has chosen: ids, times, durations.
fn without_chance(json: Value) -> Value {
    match json {
        Value::Array(items) => items.into_iter().map(without_chance).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| {
                let value = match name.as_str() {
                    "duration_ms" | "resolvable_ms" => Value::from("MS"),
                    "revision" => Value::from("REVISION"),
                    _ => without_chance(value),
                };
                (name, value)
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::String(text) => plain_words(&text).into(),
        other => other,
    }
}

/// The same of text; columns are as wide as what stands in them.
fn plain_words(line: &str) -> String {
    let mut plain: Vec<&str> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',', '"', ':']);
        let is_number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
        let said = if bare.parse::<uuid::Uuid>().is_ok() {
            "ID"
        } else if bare.len() >= 20 && bare.ends_with('Z') && bare.starts_with("20") {
            "TIME"
        } else if matches!(bare, "ms" | "s") && plain.last().is_some_and(|word| is_number(word.trim_matches('('))) {
            plain.pop();
            "DURATION"
        } else {
            word
        };
        plain.push(said);
    }
    plain.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_the_same_in_this_process_and_through_a_service() {
    if !installed().contains(&Release::Current) {
        return;
    }
    let (here, elsewhere) = tokio::join!(Seat::here(Release::Current), Seat::elsewhere(Release::Current));
    let mut differences = String::new();
    for command in DAY {
        let (one, other) = tokio::join!(here.run(command), elsewhere.run(command));
        if (one.status, &one.stdout) != (other.status, &other.stdout) {
            differences.push_str(&format!("`{command}`\n  here: {one:#?}\n  through a service: {other:#?}\n"));
        }
    }
    assert!(differences.is_empty(), "{differences}");

    let alone = ["completions", "config show", "demo", "doctor", "man", "plugin inspect", "serve"];
    let alone = alone.into_iter().chain(["token create", "token list", "token revoke"]);
    let typed: BTreeSet<String> = DAY.iter().copied().chain(alone.clone()).map(path).collect();
    assert_eq!(typed, commands(&here.installation).await, "each command is here, or needs this machine");
    for command in alone {
        let arguments = match command {
            "completions" => "completions bash",
            "man" => "man pages",
            "plugin inspect" => "plugin inspect absent.wasm",
            "token create" => "token create other",
            "token revoke" => "token revoke test",
            other => other,
        };
        let refused = elsewhere.run(arguments).await;
        assert_eq!(refused.status, 2, "{refused:?}");
        assert!(refused.stderr.contains("works on this machine alone: leave --server out"), "{refused:?}");
    }
}

/// The words of a command line that say which command it is.
fn path(line: &str) -> String {
    let mut words = line.split(' ');
    let first = words.next().unwrap_or_default();
    match first {
        "config" | "plugin" | "record" | "server" | "token" => format!("{first} {}", words.next().unwrap_or_default()),
        alone => alone.to_owned(),
    }
}

/// Every command there is: each has a page of the manual. Those that have others below them are none by themselves.
async fn commands(installation: &Installation) -> BTreeSet<String> {
    installation.run(&["man", "pages"]).await.succeeded();
    let pages = std::fs::read_dir(installation.folder().join("pages")).unwrap();
    let names: BTreeSet<String> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    let names = names.iter().filter_map(|name| name.strip_prefix("dns-manager-")?.strip_suffix(".1"));
    let names: BTreeSet<String> = names.map(|name| name.replace('-', " ")).collect();
    let has_others = |name: &String| names.iter().any(|other| other.starts_with(&format!("{name} ")));
    names.iter().filter(|name| !has_others(name)).cloned().collect()
}
