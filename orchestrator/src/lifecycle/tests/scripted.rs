//! A provider that fails, is slow, or forgets; and a process that ends meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A provider whose every answer a test decides.
struct Scripted {
    calls: Mutex<Vec<&'static str>>,
    status: Mutex<Vec<Result<provider::Status, provider::Error>>>,
    create: Mutex<Vec<Result<(), provider::Error>>>,
    /// Creating waits for it.
    gate: tokio::sync::Semaphore,
    /// How many creations were begun.
    begun: AtomicUsize,
}

impl Scripted {
    fn new() -> Self {
        Self {
            calls: Mutex::default(),
            status: Mutex::default(),
            create: Mutex::default(),
            gate: tokio::sync::Semaphore::new(100),
            begun: AtomicUsize::new(0),
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
            self.begun.fetch_add(1, Ordering::SeqCst);
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

/// A creation that is in its first step, and stays there until the provider's gate opens.
async fn held_in_creation(
    world: &World,
    provider: &Scripted,
) -> tokio::task::JoinHandle<Result<Server, inventory::Error>> {
    provider.gate.forget_permits(100);
    let addresses = ["192.168.1.10".parse().unwrap()];
    let creating = world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap();
    let creating = tokio::spawn(creating.run(|_| {}));
    let mut changes = world.lifecycle.changes();
    while !world.inventory.written().contains(&"creating create Running".to_owned()) {
        changes.next().await;
    }
    creating
}

#[tokio::test]
async fn deleting_while_creating_ends_in_a_clean_deletion() {
    let (world, provider) = scripted(Duration::ZERO);
    let creating = held_in_creation(&world, &provider).await;

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
async fn a_deletion_that_meets_a_creation_which_stops_is_carried_out() {
    let (world, provider) = scripted(Duration::ZERO);
    provider.create.lock().unwrap().push(Err(provider::Error::lasting("the quota is used up")));
    let creating = held_in_creation(&world, &provider).await;

    let deleting = tokio::spawn(world.lifecycle.delete("web-01.example.com", None).await.unwrap().run(|_| {}));
    provider.gate.add_permits(1);

    assert_eq!(deleting.await.unwrap().unwrap().state, State::Deleted);
    let gone = creating.await.unwrap().unwrap();
    assert_eq!((gone.state, gone.stopped_in), (State::Deleted, None));
    assert_eq!(provider.calls(), ["create", "stop", "delete"]);
    assert_eq!(world.lifecycle.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_deletion_of_a_failed_server_forgets_where_it_stopped() {
    let (world, provider) = scripted(Duration::ZERO);
    provider.create.lock().unwrap().push(Err(provider::Error::lasting("the quota is used up")));
    assert_eq!(world.create().await.stopped_in, Some(State::Creating));

    let deleting = world.lifecycle.delete("web-01.example.com", None).await.unwrap();

    assert_eq!((deleting.server().state, deleting.server().stopped_in), (State::Stopping, None));
    assert_eq!(deleting.run(|_| {}).await.unwrap().state, State::Deleted);
}

#[tokio::test]
async fn a_deletion_that_stopped_is_at_rest_and_waits_for_somebody() {
    let mut server = Server::new("web-01.example.com".parse().unwrap(), Vec::new());
    (server.state, server.wanted) = (State::Failed, Wanted::Deleted);
    for (stopped_in, is_at_rest) in [
        (None, true),
        (Some(State::Stopping), true),
        (Some(State::Deleting), true),
        (Some(State::Creating), false),
        (Some(State::Waiting), false),
    ] {
        server.stopped_in = stopped_in;
        assert_eq!(server.is_at_rest(), is_at_rest, "{stopped_in:?}");
    }
}

#[tokio::test]
async fn what_is_broken_off_at_the_end_of_a_process_is_in_doubt_and_the_next_one_asks() {
    let (world, provider) = scripted(Duration::ZERO);
    let creating = held_in_creation(&world, &provider).await;

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
async fn a_wait_is_broken_off_by_a_deletion_that_came_just_before_it() {
    let (world, provider) = scripted(Duration::ZERO);
    let pending = || Ok(provider::Status::Pending("it boots".to_owned()));
    provider.status.lock().unwrap().extend(std::iter::repeat_with(pending).take(1000));
    world.inventory.delete_before("waiting wait Running");

    let deleted = world.create().await;

    assert_eq!(deleted.state, State::Deleted);
    let wait = deleted.steps.iter().find(|step| step.name == "wait").unwrap();
    assert_eq!(wait.detail, "broken off: the server is to be deleted");
}

#[tokio::test]
async fn what_is_to_be_tried_again_later_is_left_by_who_does_not_wait_for_it() {
    let (world, provider) = scripted(Duration::from_secs(60));
    provider.create.lock().unwrap().push(Err(provider::Error::passing("the cloud is busy")));
    let addresses = ["192.168.1.10".parse().unwrap()];
    let server = world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap().server().clone();
    let claim = world.inventory.claim(server.id).await.unwrap().unwrap();

    let gone = work::work(&world.lifecycle.0, &server.hostname, &claim, work::UntilRetry::Leave).await.unwrap();

    assert_eq!(gone, None);
    let left = world.lifecycle.find("web-01.example.com").await.unwrap().server;
    assert_eq!((left.state, left.attempts, left.retry_at.is_some()), (State::Creating, 1, true));
    assert_eq!(provider.calls(), ["create"]);
}

#[tokio::test(start_paused = true)]
async fn a_keeper_comes_back_to_what_is_to_be_tried_again() {
    let (world, provider) = scripted(Duration::from_secs(60));
    let busy = || Err(provider::Error::passing("the cloud is busy"));
    provider.create.lock().unwrap().extend([busy(), busy()]);
    provider.status.lock().unwrap().extend([Ok(provider::Status::Absent), Ok(provider::Status::Absent)]);
    let addresses = ["192.168.1.10".parse().unwrap()];
    world.lifecycle.create("web-01.example.com", &addresses, None).await.unwrap();
    let mut changes = world.lifecycle.changes();
    let is_ready = async {
        while !world.inventory.written().contains(&"ready verify Done".to_owned()) {
            changes.next().await;
        }
    };

    Keeper::new(&world.lifecycle, 1).run(is_ready).await;

    assert_eq!(provider.calls(), ["create", "status", "create", "status", "create", "status"]);
    assert!(world.lifecycle.is_idle());
}

#[tokio::test(start_paused = true)]
async fn many_requests_do_not_have_as_many_calls_of_the_provider_at_a_time() {
    let (mut world, provider) = scripted(Duration::ZERO);
    provider.gate.forget_permits(100);
    let Parts { dns, inventory, policy, .. } = &*world.lifecycle.0;
    let limited = Arc::new(provider::limited::Limited::new(provider.clone(), 4));
    world.lifecycle = Lifecycle::new(dns.clone(), limited, inventory.clone(), policy.clone());
    let mut creating = tokio::task::JoinSet::new();
    for number in 0..20 {
        let addresses = ["192.168.1.10".parse().unwrap()];
        let created = world.lifecycle.create(&format!("web-{number}.example.com"), &addresses, None).await.unwrap();
        creating.spawn(created.run(|_| {}));
    }
    while world.inventory.written().iter().filter(|line| *line == "creating create Running").count() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(provider.begun.load(Ordering::SeqCst), 4);

    provider.gate.add_permits(100);
    assert!(creating.join_all().await.into_iter().all(|server| server.unwrap().state == State::Ready));
    assert_eq!(provider.begun.load(Ordering::SeqCst), 20);
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
