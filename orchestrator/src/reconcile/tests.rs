//! Passes against fakes: what is found, what is mended, and what is left alone.

use dns_manager_host::contract::{Entry, Rdata};

use super::*;
use crate::lifecycle::Policy as LifecyclePolicy;
use crate::provider::Kind as ProviderKind;
use crate::server::Server;
use crate::testing::{FakeDns, FakeInventory};

struct World {
    dns: Arc<FakeDns>,
    lifecycle: Lifecycle,
    reconciler: Reconciler,
}

impl World {
    fn new(put_back: bool) -> Self {
        let ttl = Ttl::try_from(300).unwrap();
        let policy = LifecyclePolicy {
            auto_register: true,
            ptr: false,
            ttl,
            verify_timeout: Duration::from_secs(1),
            ready_timeout: Duration::from_secs(1),
            retry_for: Duration::ZERO,
            domain: None,
            suggested_domain: "example.com".to_owned(),
        };
        let dns = Arc::new(FakeDns::default());
        let inventory = Arc::new(FakeInventory::default());
        let lifecycle = Lifecycle::new(dns.clone(), ProviderKind::Static.provider(), inventory, policy);
        let zones = vec!["example.com".parse().unwrap()];
        let policy = Policy { auto_register: true, ttl, put_back, zones };
        Self { reconciler: Reconciler::new(dns.clone(), lifecycle.clone(), policy), dns, lifecycle }
    }

    async fn create(&self, hostname: &str, address: &str) -> Server {
        let addresses = [address.parse().unwrap()];
        self.lifecycle.create(hostname, &addresses, None).await.unwrap().run(|_| {}).await.unwrap()
    }

    async fn pass(&self) -> Report {
        self.reconciler.run(Options::default()).await.unwrap()
    }

    /// Lets the workflows that a pass began come to their end.
    async fn settle(&self, report: &Report) {
        for hostname in report.to_register() {
            self.lifecycle.resume(&hostname).await.unwrap().run(|_| {}).await.unwrap();
        }
    }
}

fn told(report: &Report) -> Vec<String> {
    let line = |drift: &Drift| format!("{:?} {} {} {:?}", drift.kind, drift.name, drift.value, drift.treatment);
    report.drift.iter().map(line).collect()
}

#[tokio::test]
async fn where_all_is_well_nothing_is_found_and_nothing_is_written() {
    let world = World::new(true);
    world.create("web-01.example.com", "192.168.1.10").await;
    let asked = world.dns.asked().len();

    let report = world.pass().await;

    assert_eq!((told(&report), report.summary), (vec![], Summary::default()));
    assert!(report.is_settled());
    assert_eq!(world.dns.asked()[asked..], ["list"]);
}

#[tokio::test]
async fn a_store_that_was_wiped_is_filled_again() {
    let world = World::new(false);
    for number in 1..=12 {
        world.create(&format!("web-{number}.example.com"), &format!("192.168.1.{number}")).await;
    }
    let before = world.dns.stored();
    world.dns.tamper(Vec::clear);

    let planned = world.reconciler.run(Options { dry_run: true, ..Options::default() }).await.unwrap();
    assert_eq!((planned.summary.missing, world.dns.stored().len()), (12, 0), "a dry run writes nothing");

    let report = world.pass().await;
    assert!(report.is_settled(), "{report:?}");
    world.settle(&report).await;

    assert_eq!(world.dns.stored().len(), before.len());
    assert_eq!(told(&world.pass().await), [] as [String; 0]);
}

#[tokio::test]
async fn a_record_that_was_changed_by_hand_is_reported_and_put_back_where_that_is_wanted() {
    let change = |entries: &mut Vec<Entry>| entries[0].data = Rdata::A((192, 168, 1, 66));

    let leaving = World::new(false);
    leaving.create("web-01.example.com", "192.168.1.10").await;
    leaving.dns.tamper(change);
    let report = leaving.pass().await;
    assert_eq!(
        told(&report),
        ["Changed web-01.example.com 192.168.1.10 Reported", "Changed web-01.example.com 192.168.1.66 Reported"]
    );
    assert!(!report.is_settled());
    assert!(leaving.dns.stored()[0].contains("192.168.1.66"));

    let putting_back = World::new(true);
    let server = putting_back.create("web-01.example.com", "192.168.1.10").await;
    putting_back.dns.tamper(change);
    let report = putting_back.pass().await;
    assert_eq!(
        told(&report),
        ["Missing web-01.example.com 192.168.1.10 Registering", "Changed web-01.example.com 192.168.1.66 Removed"]
    );
    putting_back.settle(&report).await;
    assert_eq!(putting_back.dns.stored(), [format!("web-01.example.com 192.168.1.10 {}", server.id)]);
}

#[tokio::test]
async fn another_ttl_is_a_change() {
    let world = World::new(true);
    world.create("web-01.example.com", "192.168.1.10").await;
    world.dns.tamper(|entries| entries[0].ttl = 60);

    let report = world.pass().await;

    assert_eq!(told(&report), ["Changed web-01.example.com 192.168.1.10 Registering"]);
    assert_eq!(report.drift[0].message, "its TTL is 60 and should be 300");
}

#[tokio::test]
async fn records_of_servers_that_are_gone_are_removed_and_no_others() {
    let world = World::new(false);
    let gone = uuid::Uuid::now_v7().to_string();
    for number in 1..=9 {
        world.create(&format!("web-{number}.example.com"), &format!("192.168.1.{number}")).await;
    }
    let mut kept = world.dns.stored();
    world.dns.tamper(|entries| {
        let like = |name: &str, resource: &str| Entry {
            name: name.to_owned(),
            data: Rdata::A((10, 0, 0, 1)),
            resource: Some(resource.to_owned()),
            ..entries[0].clone()
        };
        let other = Entry { mine: false, owner: Some("other".to_owned()), ..like("other.example.com", &gone) };
        let of_a_file = like("file.example.com", "load-balancer");
        let orphan = like("gone.example.com", &gone);
        entries.extend([orphan, other, of_a_file]);
    });
    kept.extend([format!("other.example.com 10.0.0.1 {gone}"), "file.example.com 10.0.0.1 load-balancer".to_owned()]);

    let report = world.pass().await;

    assert_eq!(told(&report), ["Orphan gone.example.com 10.0.0.1 Removed"]);
    assert_eq!(world.dns.stored(), kept);
}

#[tokio::test]
async fn the_guard_against_deleting_much_holds() {
    let world = World::new(false);
    for number in 1..=12 {
        world.create(&format!("web-{number}.example.com"), &format!("192.168.1.{number}")).await;
    }
    // Another inventory, empty: all of that would be left over.
    let lost = World::new(false);
    let reconciler = Reconciler::new(world.dns.clone(), lost.lifecycle.clone(), world.reconciler.policy.clone());

    let report = reconciler.run(Options::default()).await.unwrap();
    assert!(report.drift.iter().all(|drift| drift.treatment == Treatment::HeldBack), "{report:?}");
    assert!(report.problems[0].contains("12 of the 12 names of example.com"), "{:?}", report.problems);
    assert!(!report.is_settled());
    assert_eq!(world.dns.stored().len(), 12);

    let all = Options { max_deletes: MaxDeletes::Percent(100), ..Options::default() };
    assert!(reconciler.run(all).await.unwrap().is_settled());
    assert_eq!(world.dns.stored(), [] as [String; 0]);
}

#[tokio::test]
async fn what_is_not_ours_is_reported_and_left() {
    let world = World::new(true);
    world.create("web-01.example.com", "192.168.1.10").await;
    world.dns.tamper(|entries| {
        entries[0].mine = false;
        entries[0].owner = Some("external-dns".to_owned());
        entries[0].resource = None;
    });
    let before = world.dns.stored();

    let report = world.pass().await;

    assert_eq!(told(&report), ["Foreign web-01.example.com 192.168.1.10 Reported"]);
    assert!(report.drift[0].message.contains("a record of external-dns"), "{report:?}");
    assert_eq!(world.dns.stored(), before);
}

#[tokio::test]
async fn a_server_whose_records_failed_is_registered_when_that_can_succeed() {
    let world = World::new(false);
    world.dns.set_unavailable(true);
    let failed = world.create("web-01.example.com", "192.168.1.10").await;
    assert!(failed.problem.is_some());
    assert!(failed.retry_at.is_some(), "the service tries again by itself");
    world.dns.set_unavailable(false);

    let report = world.pass().await;
    assert_eq!(told(&report), ["Missing web-01.example.com 192.168.1.10 Registering"]);
    world.settle(&report).await;

    let server = world.lifecycle.find("web-01.example.com").await.unwrap().server;
    assert_eq!((server.problem, server.retry_at, server.dns.verified, server.dns.tries), (None, None, Some(true), 0));
}

#[tokio::test]
async fn the_last_pass_that_may_write_tells_what_it_left() {
    let drift = |world: &World| -> Vec<String> {
        let text = world.lifecycle.metrics().render();
        let lines = text.lines().filter_map(|line| line.strip_prefix("dns_manager_reconcile_drift"));
        lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
    };
    let world = World::new(false);
    world.create("web-01.example.com", "192.168.1.10").await;
    world.create("web-02.example.com", "192.168.1.20").await;
    world.dns.tamper(|entries| {
        let gone = Entry {
            name: "gone.example.com".to_owned(),
            resource: Some(uuid::Uuid::now_v7().to_string()),
            ..entries[0].clone()
        };
        // The second one is missing.
        *entries = vec![Entry { ttl: 7, ..entries[0].clone() }, gone];
    });

    world.reconciler.run(Options { dry_run: true, ..Options::default() }).await.unwrap();
    assert_eq!(drift(&world), [] as [&str; 0], "a dry run tells nothing");

    let report = world.pass().await;
    assert_eq!((report.summary.missing, report.summary.changed, report.summary.orphan), (1, 1, 1), "{report:?}");
    assert_eq!(drift(&world), ["{kind=\"changed\"} 1"], "what is mended, or is being mended, is not left");

    world.dns.tamper(|entries| entries[0].ttl = 300);
    world.pass().await;
    assert_eq!(drift(&world), [] as [&str; 0]);
}

#[tokio::test]
async fn the_guard_counts_together_what_is_in_no_known_zone() {
    let world = World::new(false);
    for number in 1..=12 {
        world.create(&format!("web-{number}.example.com"), &format!("192.168.1.{number}")).await;
    }
    let lost = World::new(false);
    let policy = Policy { zones: vec!["example.org".parse().unwrap()], ..world.reconciler.policy.clone() };
    let reconciler = Reconciler::new(world.dns.clone(), lost.lifecycle.clone(), policy);

    let report = reconciler.run(Options::default()).await.unwrap();

    assert!(report.drift.iter().all(|drift| drift.treatment == Treatment::HeldBack), "{report:?}");
    assert!(report.problems[0].contains("12 of the 12 names of no known zone"), "{:?}", report.problems);
    assert_eq!(world.dns.stored().len(), 12);
}

#[tokio::test]
async fn a_plugin_that_repairs_nothing_does_not_stop_a_pass() {
    let world = World::new(true);
    let server = world.create("web-01.example.com", "192.168.1.10").await;
    world.dns.set_unrepairable();
    world.dns.tamper(|entries| {
        entries[0].data = Rdata::A((192, 168, 1, 66));
        entries[0].resource = None;
    });

    let report = world.pass().await;

    assert_eq!(told(&report), ["Missing web-01.example.com 192.168.1.10 Registering"]);
    world.settle(&report).await;
    assert!(world.dns.stored().contains(&format!("web-01.example.com 192.168.1.10 {}", server.id)));
}

#[tokio::test]
async fn an_unsettled_server_is_left_until_it_is_to_be_tried_again() {
    let world = World::new(false);
    world.dns.set_verdict(dns_manager_host::contract::Verdict::NotFound);
    let server = world.create("web-01.example.com", "192.168.1.10").await;
    assert!(server.retry_at.is_some_and(|retry_at| !retry_at.ahead().is_zero()));

    let report = world.pass().await;
    assert_eq!(told(&report), ["Unsettled web-01.example.com  LeftToWorkflow"]);
    assert!(report.is_settled() && report.to_register().is_empty());
    let left = world.lifecycle.find("web-01.example.com").await.unwrap().server;
    assert_eq!((left.state, left.dns.tries), (server.state, server.dns.tries));

    let stored = inventory::Stored { server: Server { retry_at: None, ..left }, revision: 1 };
    let found =
        drift::compare(&[stored], world.dns.entry_of("web-01.example.com").as_slice(), &world.reconciler.policy);
    assert_eq!((found[0].kind, found[0].treatment), (Kind::Unsettled, Treatment::Planned));
}

#[test]
fn what_a_pass_that_puts_back_did_not_mend_is_only_reported() {
    let treated = |put_back, is_dry, mended| {
        let problem = dns_manager_host::contract::Problem {
            place: "/skydns/com/example/web".to_owned(),
            reason: dns_manager_host::contract::Reason::new(
                dns_manager_host::contract::Code::Other("missing".to_owned()),
                "this key is missing",
            ),
            mended,
        };
        Drift::of_problem(crate::repair::Problem::new("example.com", &problem), put_back, is_dry).treatment
    };
    assert_eq!(treated(true, false, true), Treatment::PutBack);
    assert_eq!(treated(true, false, false), Treatment::Reported);
    assert_eq!(treated(true, true, false), Treatment::Planned);
    assert_eq!(treated(false, true, false), Treatment::Reported);
}
