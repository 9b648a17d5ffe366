//! The two workflows, against fakes: which steps are taken, what is written when, and what a problem does to them.

mod confirm;
mod keeper;
mod scripted;

use std::sync::Mutex;

use dns_manager_host::contract::{Rdata, Verdict};
use futures_util::future::BoxFuture;

use super::*;
use crate::outcome::Status;
use crate::provider::Kind;
use crate::server::StepOutcome;
use crate::testing::{FakeDns, FakeInventory};

struct World {
    dns: Arc<FakeDns>,
    inventory: Arc<FakeInventory>,
    lifecycle: Lifecycle,
}

impl World {
    fn new(dns: FakeDns) -> Self {
        Self::with(dns, |_| {})
    }

    fn with(dns: FakeDns, change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy {
            auto_register: true,
            ptr: false,
            ttl: Ttl::try_from(300).unwrap(),
            verify_timeout: Duration::from_secs(1),
            ready_timeout: Duration::from_secs(1),
            retry_for: Duration::ZERO,
            domain: None,
            suggested_domain: "example.com".to_owned(),
        };
        change(&mut policy);
        let (dns, inventory) = (Arc::new(dns), Arc::new(FakeInventory::default()));
        let lifecycle = Lifecycle::new(dns.clone(), Kind::Static.provider(), inventory.clone(), policy);
        Self { dns, inventory, lifecycle }
    }

    async fn create(&self) -> Server {
        let addresses = ["192.168.1.10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
        self.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap().run(|_| {}).await.unwrap()
    }

    async fn delete(&self) -> Server {
        self.lifecycle.delete("web-01.example.com", None).await.unwrap().run(|_| {}).await.unwrap()
    }
}

fn steps(server: &Server) -> Vec<String> {
    server.steps.iter().map(|step| format!("{} {:?} {}", step.name, step.outcome, step.detail)).collect()
}

#[tokio::test]
async fn a_server_is_created_registered_and_verified() {
    let world = World::new(FakeDns::default());

    let server = world.create().await;

    assert_eq!((server.state, server.dns.verified, &server.problem), (State::Ready, Some(true), &None));
    assert_eq!(
        steps(&server),
        [
            "create Done ",
            "wait Done ",
            "register Done A 192.168.1.10 created, AAAA 2001:db8::10 created",
            "verify Done A, AAAA verified"
        ]
    );
    assert_eq!(
        world.dns.stored(),
        [
            format!("web-01.example.com 192.168.1.10 {}", server.id),
            format!("web-01.example.com 2001:db8::10 {}", server.id)
        ]
    );
    assert_eq!(world.dns.asked(), ["apply 2", "verify 2"]);
}

#[tokio::test]
async fn each_step_is_written_before_and_after() {
    let world = World::new(FakeDns::default());

    let server = world.create().await;

    assert_eq!(
        world.inventory.written(),
        [
            "creating",
            "creating create Running",
            "waiting create Done",
            "waiting wait Running",
            "registering wait Done",
            "registering register Running",
            "verifying register Done",
            "verifying verify Running",
            "ready verify Done",
        ]
    );
    assert_eq!(world.lifecycle.find("web-01.example.com").await.unwrap().server, server);
}

#[tokio::test]
async fn a_conflict_is_recorded_and_the_workflow_goes_on() {
    let world = World::new(FakeDns::default().conflict_at("web-01"));

    let server = world.create().await;

    let problem = "A 192.168.1.10 conflict, AAAA 2001:db8::10 conflict: web-01.example.com belongs to somebody else";
    assert_eq!((server.state, server.dns.verified), (State::Ready, None));
    assert_eq!(server.problem.as_deref(), Some(problem));
    assert!(server.dns.records.iter().all(|outcome| outcome.outcome == Status::Conflict));
    assert_eq!(world.dns.asked(), ["apply 2"], "nothing is there to verify");
}

#[tokio::test]
async fn an_unreachable_backend_does_not_undo_a_server() {
    let world = World::new(FakeDns::default());
    world.dns.set_unavailable(true);

    let server = world.create().await;

    assert_eq!((server.state, server.dns.verified), (State::Ready, None));
    let reason = server.dns.records[1].reason.clone().unwrap();
    assert_eq!((reason.code.as_str(), server.dns.records[1].outcome), ("unavailable", Status::Failed));
}

#[tokio::test]
async fn a_failed_verification_is_recorded_and_the_workflow_goes_on() {
    let world = World::new(FakeDns::default().verdict(Verdict::NotFound));

    let server = world.create().await;

    assert_eq!((server.state, server.dns.verified), (State::Ready, Some(false)));
    assert_eq!(
        server.problem.as_deref(),
        Some(
            "web-01.example.com A: 127.0.0.1:53: not-found, it answers NXDOMAIN without a value; web-01.example.com AAAA: \
             127.0.0.1:53: not-found, it answers NXDOMAIN without a value"
        )
    );
}

#[tokio::test]
async fn a_verification_that_did_not_come_about_is_to_be_made_again() {
    let world = World::new(FakeDns::default());
    world.dns.set_unverifiable(true);

    let server = world.create().await;

    assert_eq!((server.state, server.dns.verified), (State::Ready, Some(false)));
    assert!(server.problem.as_deref().is_some_and(|problem| problem.starts_with("it was not verified: ")));
    assert!(server.retry_at.is_some() && server.is_unsettled());

    world.dns.set_unverifiable(false);
    let retried = world.lifecycle.retry("web-01.example.com", None).await.unwrap().run(|_| {}).await.unwrap();
    assert_eq!((retried.dns.verified, retried.problem, retried.retry_at), (Some(true), None, None));
}

#[tokio::test]
async fn with_ptr_each_address_has_one_and_a_taken_one_is_a_warning() {
    let dns = FakeDns::default().conflict_at("10.1.168.192");
    let world = World::with(dns, |policy| policy.ptr = true);

    let server = world.create().await;

    assert_eq!((server.state, server.dns.verified, &server.problem), (State::Ready, Some(true), &None));
    assert_eq!(
        steps(&server)[2..],
        [
            "register Done A 192.168.1.10 created, AAAA 2001:db8::10 created, PTR web-01.example.com created; warning: \
             192.168.1.10: has no PTR of its own: 10.1.168.192.in-addr.arpa belongs to somebody else",
            "verify Done A, AAAA, PTR verified"
        ]
    );
    assert_eq!(world.dns.asked(), ["apply 2", "apply 2", "verify 3"]);
    let reverse = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert!(world.dns.stored().contains(&format!("{reverse} web-01.example.com {}", server.id)));

    world.delete().await;
    assert_eq!(world.dns.stored(), [] as [String; 0]);
}

#[tokio::test]
async fn without_auto_register_dns_is_not_asked() {
    let world = World::with(FakeDns::default(), |policy| policy.auto_register = false);

    let created = world.create().await;
    let deleted = world.delete().await;

    assert_eq!((created.state, deleted.state), (State::Ready, State::Deleted));
    assert_eq!(world.dns.asked(), <[String; 0]>::default());
}

#[tokio::test]
async fn deleting_removes_what_carries_the_id_and_nothing_else() {
    let neighbour = Rdata::A((192, 168, 1, 99));
    let world = World::new(FakeDns::default().entry("web-01.example.com", neighbour, "another"));
    world.create().await;

    let server = world.delete().await;

    assert_eq!(world.dns.stored(), ["web-01.example.com 192.168.1.99 another"]);
    assert_eq!(server.state, State::Deleted);
    assert_eq!(
        steps(&server)[4..],
        [
            "stop Done ",
            "unregister Done A 192.168.1.10 deleted, AAAA 2001:db8::10 deleted",
            "delete Done ",
            "remove Done "
        ]
    );
    assert_eq!(world.lifecycle.list().await.unwrap(), []);
    assert!(world.lifecycle.is_idle());
}

#[tokio::test]
async fn records_that_stay_keep_their_server_until_it_is_deleted_again() {
    let world = World::new(FakeDns::default());
    world.create().await;
    world.dns.set_unavailable(true);

    let failed = world.delete().await;
    world.dns.set_unavailable(false);
    let deleted = world.delete().await;

    assert_eq!(failed.state, State::Failed);
    assert_eq!(
        failed.problem.as_deref(),
        Some(
            "its records could not be listed: http://localhost:2379 is not reached (unavailable): put that \
             right and run `dns-manager server retry`, or delete the server again"
        )
    );
    assert_eq!((deleted.state, deleted.problem), (State::Deleted, None));
    assert_eq!(world.dns.stored(), <[String; 0]>::default());
}

#[tokio::test]
async fn what_cannot_be_begun_says_why() {
    let world = World::new(FakeDns::default());
    world.create().await;
    let address = ["192.168.1.10".parse().unwrap()];
    let refused = async |hostname: &str, addresses: &[IpAddr]| {
        world.lifecycle.create(hostname, addresses, None).await.err().unwrap().to_string()
    };

    assert_eq!(
        refused("web-01.example.com", &address).await,
        "there is a server web-01.example.com already: delete it first, or choose another name"
    );
    assert_eq!(
        refused("web-02", &address).await,
        "\"web-02\" is not a full host name: give \"web-02.example.com\", say, or set orchestrator.domain"
    );
    assert_eq!(
        refused("web-02.example.com", &[]).await,
        "web-02.example.com cannot be created: the static provider cannot know a server's addresses: give at least one, as \
         --ip or in \"addresses\""
    );
    assert_eq!(
        world.lifecycle.delete("web-02.example.com", None).await.err().unwrap().to_string(),
        "there is no server web-02.example.com: `dns-manager server list` shows all"
    );
    assert!(world.lifecycle.is_idle());
}

#[tokio::test]
async fn a_renamed_server_takes_its_records_along() {
    let world = World::with(FakeDns::default(), |policy| policy.ptr = true);
    let before = world.create().await;

    let renamed = world.lifecycle.rename("web-01.example.com", "app-01.example.com", None).await.unwrap();
    let renamed = renamed.run(|_| {}).await.unwrap();

    assert_eq!((renamed.id, renamed.state, &renamed.problem), (before.id, State::Ready, &None));
    assert_eq!(renamed.former_hostnames, []);
    let stored = world.dns.stored();
    assert_eq!(stored.len(), 4, "{stored:?}");
    assert!(
        stored.iter().all(|record| record.contains("app-01.example.com") && !record.contains("web-01")),
        "{stored:?}"
    );
    let names: Vec<_> =
        world.lifecycle.list().await.unwrap().into_iter().map(|stored| stored.server.hostname).collect();
    assert_eq!(names, ["app-01.example.com".parse().unwrap()]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_renamed_to() {
    let world = World::new(FakeDns::default());
    world.create().await;
    let addresses = ["192.168.1.11".parse().unwrap()];
    world.lifecycle.create("web-02.example.com", &addresses, None).await.unwrap().run(|_| {}).await.unwrap();

    let refused = world.lifecycle.rename("web-01.example.com", "web-02.example.com", None).await.err().unwrap();

    assert!(matches!(refused, Error::Exists(_)), "{refused}");
    assert_eq!(world.lifecycle.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_request_that_comes_twice_is_one_server() {
    let world = World::new(FakeDns::default());
    let addresses = ["192.168.1.10".parse().unwrap()];
    let create =
        async |request: &str| world.lifecycle.create("web-01.example.com", &addresses, Some(request.to_owned())).await;

    let first = create("one").await.unwrap();
    let again = create("one").await.unwrap();
    assert_eq!(first.server().id, again.server().id);
    assert!(matches!(create("two").await.err().unwrap(), Error::Exists(_)));
}

#[tokio::test]
async fn a_change_is_refused_when_the_server_is_at_another_revision() {
    let world = World::new(FakeDns::default());
    world.create().await;
    let read_at = world.lifecycle.find("web-01.example.com").await.unwrap().revision;

    let refused = world.lifecycle.delete("web-01.example.com", Some(read_at - 1)).await.err().unwrap();
    assert!(matches!(refused, Error::Changed { revision, .. } if revision == read_at), "{refused}");
    assert!(world.lifecycle.delete("web-01.example.com", Some(read_at)).await.is_ok());
}
