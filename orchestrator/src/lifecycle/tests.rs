//! The two workflows, against fakes: which steps are taken, what is written when, and what a problem does to them.

mod confirm;
mod keeper;

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

/// A provider whose every answer a test decides.
struct Scripted {
    calls: Mutex<Vec<&'static str>>,
    status: Mutex<Vec<Result<provider::Status, provider::Error>>>,
    create: Mutex<Vec<Result<(), provider::Error>>>,
    /// Creating waits for it.
    gate: tokio::sync::Semaphore,
}

impl Scripted {
    fn new() -> Self {
        Self {
            calls: Mutex::default(),
            status: Mutex::default(),
            create: Mutex::default(),
            gate: tokio::sync::Semaphore::new(100),
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    fn called(&self, verb: &'static str) {
        self.calls.lock().unwrap().push(verb);
    }
}

fn next<T>(script: &Mutex<Vec<T>>) -> Option<T> {
    let mut script = script.lock().unwrap();
    if script.is_empty() { None } else { Some(script.remove(0)) }
}

impl Provider for Scripted {
    fn check(&self, _: &[IpAddr]) -> Result<(), provider::Error> {
        Ok(())
    }

    fn create<'a>(&'a self, _: &'a Server) -> BoxFuture<'a, Result<(), provider::Error>> {
        Box::pin(async {
            self.gate.acquire().await.unwrap().forget();
            self.called("create");
            next(&self.create).unwrap_or(Ok(()))
        })
    }

    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<provider::Status, provider::Error>> {
        self.called("status");
        let usual = Ok(provider::Status::Ready(server.addresses.clone()));
        let answer = next(&self.status).unwrap_or(usual);
        Box::pin(async { answer })
    }

    fn stop<'a>(&'a self, _: &'a Server) -> BoxFuture<'a, Result<(), provider::Error>> {
        self.called("stop");
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, _: &'a Server) -> BoxFuture<'a, Result<(), provider::Error>> {
        self.called("delete");
        Box::pin(async { Ok(()) })
    }
}

fn scripted(retry_for: Duration) -> (World, Arc<Scripted>) {
    let provider = Arc::new(Scripted::new());
    let mut world = World::with(FakeDns::default(), |policy| policy.retry_for = retry_for);
    let Parts { dns, inventory, policy, .. } = &*world.lifecycle.0;
    let lifecycle = Lifecycle::new(dns.clone(), provider.clone(), inventory.clone(), policy.clone());
    world.lifecycle = lifecycle;
    (world, provider)
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_and_stays_one_step() {
    let (world, provider) = scripted(Duration::from_secs(60));
    let busy = || Err(provider::Error::passing("the cloud is busy"));
    provider.create.lock().unwrap().extend([busy(), busy()]);
    provider.status.lock().unwrap().extend([Ok(provider::Status::Absent), Ok(provider::Status::Absent)]);
    let mut shown = Vec::new();

    let addresses = ["192.168.1.10".parse().unwrap()];
    let workflow = world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap();
    let server = workflow
        .run(|step| {
            // A beginning is seen or not, as it happens.
            if step.outcome != StepOutcome::Running {
                shown.push(format!("{} {:?}", step.name, step.outcome));
            }
        })
        .await
        .unwrap();

    assert_eq!((server.state, &server.problem), (State::Ready, &None));
    assert_eq!((server.steps[0].attempts, server.steps[0].outcome), (3, StepOutcome::Done));
    assert_eq!(shown[..3], ["create Retrying", "create Retrying", "create Done"]);
    assert_eq!(provider.calls(), ["create", "status", "create", "status", "create", "status"]);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_gives_up_says_what_to_do_and_goes_on_when_it_is_retried() {
    let (world, provider) = scripted(Duration::ZERO);
    provider.create.lock().unwrap().push(Err(provider::Error::passing("the cloud is busy")));

    let failed = world.create().await;
    assert_eq!((failed.state, failed.stopped_in), (State::Failed, Some(State::Creating)));
    assert_eq!(
        failed.problem.as_deref(),
        Some(
            "the provider did not create it: the cloud is busy: put that right and run `dns-manager server retry`, or \
             delete the server"
        )
    );

    let retried = world.lifecycle.retry("web-01.example.com", None).await.unwrap().run(|_| {}).await.unwrap();
    assert_eq!((retried.state, &retried.problem, retried.stopped_in), (State::Ready, &None, None));
    let refused = world.lifecycle.retry("web-01.example.com", None).await.err().unwrap();
    assert!(matches!(refused, Error::NothingToRetry(_)), "{refused}");
}

#[tokio::test]
async fn what_a_killed_process_left_is_gone_on_with() {
    // Each state in which a process can be killed, with its step begun and not ended.
    for (state, step) in [
        (State::Creating, "create"),
        (State::Waiting, "wait"),
        (State::Registering, "register"),
        (State::Verifying, "verify"),
        (State::Stopping, "stop"),
        (State::Unregistering, "unregister"),
        (State::Deleting, "delete"),
        (State::Deleted, "remove"),
    ] {
        let (world, _) = scripted(Duration::ZERO);
        let mut server = Server::new("web-01.example.com".parse().unwrap(), vec!["192.168.1.10".parse().unwrap()]);
        server.enter(state);
        server.begin(step);
        let is_created = matches!(state, State::Creating | State::Waiting | State::Registering | State::Verifying);
        server.wanted = if is_created { Wanted::Present } else { Wanted::Deleted };
        world.inventory.insert(&server).await.unwrap();

        let ended = world.lifecycle.resume("web-01.example.com").await.unwrap().run(|_| {}).await.unwrap();

        let expected = if is_created { State::Ready } else { State::Deleted };
        assert_eq!(ended.state, expected, "{state}");
        if is_created {
            assert_eq!(ended.steps[0].attempts, 2, "{state}: the same step, begun again");
        } else {
            assert_eq!(world.lifecycle.list().await.unwrap(), [], "{state}");
        }
    }
}

#[tokio::test]
async fn a_creation_in_doubt_is_settled_by_asking_the_provider() {
    for (known, calls) in [
        (provider::Status::Ready(vec!["192.168.1.10".parse().unwrap()]), vec!["status", "status"]),
        (provider::Status::Pending(String::new()), vec!["status", "status"]),
        (provider::Status::Absent, vec!["status", "create", "status"]),
    ] {
        let (world, provider) = scripted(Duration::ZERO);
        provider.status.lock().unwrap().push(Ok(known.clone()));
        let mut server = Server::new("web-01.example.com".parse().unwrap(), vec!["192.168.1.10".parse().unwrap()]);
        server.begin("create");
        world.inventory.insert(&server).await.unwrap();

        world.lifecycle.resume("web-01.example.com").await.unwrap().run(|_| {}).await.unwrap();

        assert_eq!(provider.calls(), calls, "{known:?}");
    }
}

#[tokio::test]
async fn a_server_that_vanishes_while_it_is_waited_for_is_created_again() {
    let (world, provider) = scripted(Duration::ZERO);
    provider.status.lock().unwrap().push(Ok(provider::Status::Absent));

    let server = world.create().await;

    assert_eq!(server.state, State::Ready);
    assert_eq!(provider.calls(), ["create", "status", "create", "status"]);
}

#[tokio::test]
async fn deleting_while_creating_ends_in_a_clean_deletion() {
    let (world, provider) = scripted(Duration::ZERO);
    // The creation is in its first step, and stays there.
    provider.gate.forget_permits(100);
    let addresses = ["192.168.1.10".parse().unwrap()];
    let creating = world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap();
    let creating = tokio::spawn(creating.run(|_| {}));
    let mut changes = world.lifecycle.changes();
    while !world.inventory.written().contains(&"creating create Running".to_owned()) {
        changes.next().await;
    }

    let deleting = world.lifecycle.delete("web-01.example.com", None).await.unwrap();
    assert_eq!((deleting.server().state, deleting.server().wanted), (State::Creating, Wanted::Deleted));
    let deleting = tokio::spawn(deleting.run(|_| {}));
    provider.gate.add_permits(1);

    assert_eq!(deleting.await.unwrap().unwrap().state, State::Deleted);
    assert_eq!(creating.await.unwrap().unwrap().state, State::Deleted);
    assert_eq!(provider.calls(), ["create", "stop", "delete"]);
    assert_eq!(world.lifecycle.list().await.unwrap(), []);
    assert_eq!(world.dns.asked(), [] as [String; 0]);
    assert!(world.lifecycle.is_idle());
}

#[tokio::test]
async fn what_is_broken_off_at_the_end_of_a_process_is_in_doubt_and_the_next_one_asks() {
    let (world, provider) = scripted(Duration::ZERO);
    // The creation is in its first step, and stays there.
    provider.gate.forget_permits(100);
    let addresses = ["192.168.1.10".parse().unwrap()];
    let creating = world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap();
    let creating = tokio::spawn(creating.run(|_| {}));
    let mut changes = world.lifecycle.changes();
    while !world.inventory.written().contains(&"creating create Running".to_owned()) {
        changes.next().await;
    }

    world.lifecycle.leave().await;

    assert!(world.lifecycle.is_idle());
    let left = world.lifecycle.find("web-01.example.com").await.unwrap().server;
    assert_eq!((left.state, left.steps.len(), left.steps[0].outcome), (State::Creating, 1, StepOutcome::Running));
    assert!(!creating.is_finished(), "whoever waits is told nothing that is not so");
    creating.abort();

    provider.gate.add_permits(100);
    let Parts { dns, inventory, policy, .. } = &*world.lifecycle.0;
    let next = Lifecycle::new(dns.clone(), provider.clone(), inventory.clone(), policy.clone());
    let server = next.resume("web-01.example.com").await.unwrap().run(|_| {}).await.unwrap();
    assert_eq!(server.state, State::Ready);
    assert_eq!(provider.calls(), ["status", "status"], "the provider says that it is there: it is not made again");
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_broken_off_by_a_deletion() {
    let (world, provider) = scripted(Duration::ZERO);
    let pending = || Ok(provider::Status::Pending("it boots".to_owned()));
    provider.status.lock().unwrap().extend(std::iter::repeat_with(pending).take(1000));
    let addresses = ["192.168.1.10".parse().unwrap()];
    let creating = world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap();
    let creating = tokio::spawn(creating.run(|_| {}));
    let mut changes = world.lifecycle.changes();
    while !world.inventory.written().contains(&"waiting wait Running".to_owned()) {
        changes.next().await;
    }

    let deleted = world.delete().await;

    assert_eq!(deleted.state, State::Deleted);
    assert_eq!(creating.await.unwrap().unwrap().state, State::Deleted);
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
