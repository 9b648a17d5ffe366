//! Whatever a component does, the next call works, within its time.
//!
//! One manager per test runs the fixture `hostile`, which does in each call
//! what the call's request id says.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use dns_manager_host::{
    Builder, Call, CallReport, Denials, DnsManager, Error, Limits, LinkMode, LoadError,
    contract::{Change, Expectation, Filter, Status},
};
use dns_manager_tests::{
    change::{A, a, add},
    fixture,
    port::free_address,
};
use tokio::{net::TcpListener, sync::mpsc};

/// Small enough that every attack ends soon.
fn limits() -> Limits {
    Limits {
        memory_bytes: 32 << 20,
        // Epochs pass by the clock, and a busy machine runs nothing in some of them.
        cpu: Duration::from_secs(1),
        grace: Duration::from_millis(300),
        transfer_bytes: 4 << 20,
        handles: 2_000,
        http_requests_per_call: 10,
        entries: 10_000,
        ..Limits::default()
    }
}

/// The budget of a call that would take for ever.
const BUDGET: Duration = Duration::from_secs(2);
/// No call may take longer, on a machine that does something else, too.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_is_ended_in_every_export() {
    let manager = hostile().await;
    for export in EXPORTS {
        let begin = Instant::now();

        let error = call(&manager, export, "spin").await.expect_err("a loop does not end by itself");

        assert!(matches!(error, Error::OutOfCpu { .. }), "{export}: {error:?}");
        assert!(begin.elapsed() < PATIENCE, "{export}: {:?}", begin.elapsed());
        works(&manager).await;
    }
}

#[tokio::test]
async fn an_endless_loop_leaves_room_for_others_on_one_thread() {
    let manager = hostile().await;
    let looping = tokio::spawn({
        let manager = manager.clone();
        async move { call(&manager, "diagnose", "spin").await }
    });
    let mut turns = 0;
    while !looping.is_finished() {
        works(&manager).await;
        turns += 1;
    }
    assert!(turns > 1, "other calls went on beside the loop ({turns})");
    assert!(matches!(looping.await.unwrap(), Err(Error::OutOfCpu { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_is_woken_after_its_budget() {
    let manager = hostile().await;
    for export in ["list", "verify", "diagnose"] {
        let begin = Instant::now();

        let ended = call(&manager, export, "sleep").await;

        let Err(error) = ended else { panic!("{export}: a sleep of centuries ended after {:?}", begin.elapsed()) };
        assert!(matches!(error, Error::OutOfTime { budget } if budget == BUDGET), "{export}: {error:?}");
        assert!(begin.elapsed() >= BUDGET, "{export}: not before its time, {:?}", begin.elapsed());
        assert!(begin.elapsed() < PATIENCE, "{export}: {:?}", begin.elapsed());
        works(&manager).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_time_ran_out_on_are_unknown() {
    let manager = hostile().await;

    let outcomes = manager.apply(vec![change(), change()], said("sleep")).await.unwrap();

    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(outcome.status, Status::Unknown, "{outcome:?}");
        assert_eq!(outcome.reason.expect("it says why").code.name(), "deadline");
    }
    works(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_hog_meets_its_limit() {
    ends_with("hog", |error| matches!(error, Error::OutOfMemory { limit } if *limit == limits().memory_bytes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_recursion_meets_the_end_of_the_stack() {
    ends_with("recurse", |error| matches!(error, Error::OutOfStack)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hoarded_handles_meet_their_limit() {
    ends_with("hoard-handles", |error| {
        matches!(error, Error::OutOfHandles { .. } | Error::OutOfMemory { .. } | Error::Trapped { .. })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_reported_with_its_message() {
    ends_with(
        "panic",
        |error| matches!(error, Error::Trapped { stderr, .. } if stderr.contains("the fixture was asked to panic")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_ends_the_call_and_not_the_process() {
    ends_with("exit", |error| matches!(error, Error::Trapped { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_answer_is_not_taken() {
    let manager = hostile().await;

    let error = call(&manager, "list", "big-answer").await.expect_err("two million entries are too many");

    assert!(matches!(error, Error::Exceeded { .. } | Error::OutOfMemory { .. }), "{error:?}");
    works(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_end_are_not_followed_for_ever() {
    let manager = hostile().await;
    let begin = Instant::now();

    let listed = manager.list_all(Filter::default(), said("endless-pages")).await;

    assert!(listed.is_err(), "{listed:?}");
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    works(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_outcomes_break_the_contract() {
    let manager = hostile().await;

    let error = call(&manager, "apply", "too-few").await.expect_err("no outcome for one change");

    assert!(matches!(error, Error::Contract(_)), "{error:?}");
    works(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_plugin_is_told_from_a_failure() {
    let manager = hostile().await;

    let error = call(&manager, "apply", "refuse").await.expect_err("it refuses");

    let Error::Refused(reason) = &error else { panic!("{error:?}") };
    assert_eq!(reason.message, "the fixture was asked to refuse");
    works(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_lines_are_bounded() {
    let manager = hostile().await;
    for behaviour in ["flood-log", "flood-stderr"] {
        let begin = Instant::now();
        // Twenty thousand lines of 100 KB are more than its processor time may allow; either end is a good one.
        match call(&manager, "diagnose", behaviour).await {
            Ok(saw) => assert_eq!(saw, "flooded"),
            Err(error) => assert!(matches!(error, Error::OutOfCpu { .. } | Error::OutOfTime { .. }), "{error:?}"),
        }
        assert!(begin.elapsed() < PATIENCE, "{behaviour}: {:?}", begin.elapsed());
        works(&manager).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_not_granted_is_never_reached() {
    let (listener, target) = listener().await;
    let manager = hostile().await;
    let port = target.port();
    let targets = [
        format!("get {target}/"),
        format!("get localhost:{port}/"),
        format!("get 127.1:{port}/"),
        format!("get 2130706433:{port}/"),
        format!("get 0x7f.1:{port}/"),
        format!("get [::ffff:127.0.0.1]:{port}/"),
        format!("get 0.0.0.0:{port}/"),
        // A look-up of this name would take its time; a denial takes none.
        format!("get denied.invalid:{port}/"),
        "get 169.254.169.254/latest/meta-data/".to_owned(),
    ];
    for target in targets {
        let begin = Instant::now();

        let saw = call(&manager, "diagnose", &target).await;

        let denied = match &saw {
            Ok(saw) => {
                saw.contains("HttpRequestDenied") || saw.contains("cannot be made") || saw.contains("HttpRequestUri")
            }
            Err(error) => matches!(error, Error::Denied(_)),
        };
        assert!(denied, "{target}: {saw:?}");
        assert!(begin.elapsed() < PATIENCE, "{target}: denied after {:?}", begin.elapsed());
        works(&manager).await;
    }
    assert!(no_connection(&listener).await, "somebody connected to a host that was not granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_was_not_configured_is_never_asked() {
    let (listener, target) = listener().await;
    let datagrams = tokio::net::UdpSocket::bind(target).await.expect("the same port over UDP");
    let manager = hostile().await;

    let saw = call(&manager, "diagnose", &format!("ask {target}")).await.unwrap();

    assert!(saw.contains("UnknownServer"), "{saw}");
    assert!(no_connection(&listener).await, "somebody connected to a name server that was not configured");
    let datagram = datagrams.try_recv(&mut [0; 512]);
    assert!(datagram.is_err(), "a question went to a name server that was not configured: {datagram:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_process_is_seen() {
    let manager = hostile().await;

    let saw = call(&manager, "diagnose", "environment").await.unwrap();

    assert_eq!(saw, "0 variables, 0 arguments");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_survives_a_call() {
    let manager = hostile().await;
    for _ in 0..5 {
        assert_eq!(call(&manager, "diagnose", "count-calls").await.unwrap(), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_calls_side_by_side_do_not_harm_a_good_one() {
    let manager = hostile().await;
    let behaviours = ["spin", "hog", "panic", "exit", "sleep", "recurse", "hoard-handles"];
    let attacks: Vec<_> = behaviours
        .into_iter()
        .map(|behaviour| {
            let manager = manager.clone();
            tokio::spawn(async move { call(&manager, "diagnose", behaviour).await })
        })
        .collect();

    works(&manager).await;

    for attack in attacks {
        assert!(attack.await.expect("the host does not panic").is_err());
    }
    works(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_is_told_how_each_call_went_too_far() {
    let (told, mut reports) = mpsc::unbounded_channel();
    let observer = move |report: &CallReport| told.send(report.clone()).expect("somebody listens");
    let manager = hostile_with(|builder| builder.observer(observer)).await;
    assert_eq!(reports.recv().await.unwrap().export, "describe");
    let none = Denials::default();
    let cases = [
        ("panic", "trapped", none),
        ("exit", "trapped", none),
        ("hog", "out-of-memory", none),
        ("spin", "out-of-cpu", none),
        ("sleep", "out-of-time", none),
        ("recurse", "out-of-stack", none),
        ("get 127.0.0.2:1/", "ok", Denials { http: 1, ..none }),
        ("ask 127.0.0.2:53", "ok", Denials { resolver: 1, ..none }),
    ];
    for (behaviour, outcome, denials) in cases {
        // What it returns is for the other tests.
        let _ = call(&manager, "diagnose", behaviour).await;

        let report = reports.recv().await.unwrap();
        assert_eq!((report.export, report.outcome, report.denials), ("diagnose", outcome, denials), "{behaviour}");
        assert_eq!(report.request_id, behaviour);
        let (most, peak) = (limits().memory_bytes, report.memory_peak_bytes);
        assert!(peak > 0 && peak <= most, "{behaviour}: {peak}");
        match behaviour {
            "hog" => assert!(peak > most / 2, "{peak}"),
            "spin" => assert!(report.busy >= limits().cpu / 2, "{:?}", report.busy),
            "sleep" => assert!(report.busy < BUDGET / 2 && report.elapsed >= BUDGET, "{report:?}"),
            _ => {}
        }
    }
    assert!(reports.try_recv().is_err(), "each is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_another_world_is_refused_with_every_misfit() {
    let Err(error) = DnsManager::builder().component(fixture::component("stranger")).backend([nowhere()]).build().await
    else {
        panic!("a component of another world was loaded")
    };

    let Error::Load(LoadError::World(misfits)) = &error else { panic!("{error:?}") };
    let names: Vec<&str> = misfits.iter().map(|misfit| misfit.name.as_str()).collect();
    assert!(names.contains(&"elsewhere:kitchen/oven@1.2.3"), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("provisioning:dns/dns-manager@0.1")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_is_refused() {
    let good = fixture::component("hostile");
    let core_module = b"\0asm\x01\0\0\0".to_vec();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("text", b"(component)".to_vec()),
        ("a core module", core_module),
        ("half a component", good[..good.len() / 2].to_vec()),
    ] {
        let built = DnsManager::builder().component(bytes).backend([nowhere()]).build().await;
        let error = built.err().unwrap_or_else(|| panic!("{what} was loaded"));
        assert!(matches!(&error, Error::Load(LoadError::NotAComponent(_))), "{what}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_refused_or_empty_by_the_link_mode() {
    let build = |mode| {
        DnsManager::builder().component(fixture::component("reader")).backend([nowhere()]).link_mode(mode).build()
    };

    let Err(error) = build(LinkMode::Strict).await else { panic!("files were linked in strict mode") };
    let inert = build(LinkMode::Inert).await.unwrap_or_else(|error| panic!("{error:?}"));

    assert!(error.to_string().contains("wasi:filesystem/"), "{error}");
    let checks = inert.diagnose(Call::default()).await.unwrap();
    assert!(checks[0].saw.starts_with("read nothing"), "{}", checks[0].saw);
}

const EXPORTS: [&str; 4] = ["apply", "list", "verify", "diagnose"];

async fn hostile() -> DnsManager {
    hostile_with(|builder| builder).await
}

async fn hostile_with(more: impl FnOnce(Builder) -> Builder) -> DnsManager {
    let builder = DnsManager::builder()
        .component(fixture::component("hostile"))
        .backend([nowhere()])
        .nameservers(["127.0.0.1:53"])
        .limits(limits());
    more(builder).build().await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// A backend that must be named and is never called.
fn nowhere() -> &'static str {
    "http://127.0.0.1:1"
}

fn said(behaviour: &str) -> Call {
    // What else ends a call comes before its budget is over.
    let budget = if behaviour == "sleep" { BUDGET } else { PATIENCE };
    Call { budget, request_id: behaviour.to_owned(), ..Call::default() }
}

/// Calls one export; what `diagnose` saw.
fn call<'a>(
    manager: &'a DnsManager,
    export: &'a str,
    behaviour: &'a str,
) -> impl Future<Output = Result<String, Error>> + Send + 'a {
    let said = said(behaviour);
    async move {
        match export {
            "apply" => manager.apply(vec![change()], said).await.map(|_| String::new()),
            "list" => manager.list(Filter::default(), None, 100, said).await.map(|_| String::new()),
            "verify" => manager.verify(vec![expectation()], Duration::ZERO, said).await.map(|_| String::new()),
            "diagnose" => manager.diagnose(said).await.map(|checks| checks[0].saw.clone()),
            other => panic!("no export {other}"),
        }
    }
}

fn change() -> Change {
    add("web.ex.test", 60, [a("10.0.0.1")])
}

fn expectation() -> Expectation {
    Expectation { name: "web.ex.test".to_owned(), rr_type: Some(A), data: None }
}

/// The next call works, within its time.
async fn works(manager: &DnsManager) {
    let begin = Instant::now();
    let outcomes = manager.apply(vec![change()], said("")).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(outcomes.len(), 1);
    assert!(begin.elapsed() < PATIENCE, "a good call took {:?}", begin.elapsed());
}

/// The behaviour ends every export with an error that `expected` knows, and the next call works.
async fn ends_with(behaviour: &str, expected: impl Fn(&Error) -> bool) {
    let manager = hostile().await;
    for export in EXPORTS {
        let begin = Instant::now();
        let error = call(&manager, export, behaviour).await.expect_err("the behaviour is fatal");
        assert!(expected(&error), "{export}: {error:?}");
        assert!(begin.elapsed() < PATIENCE, "{export}: {:?}", begin.elapsed());
        works(&manager).await;
    }
}

/// A server that nobody may reach.
async fn listener() -> (TcpListener, SocketAddr) {
    let target = free_address();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, target.port())).await.expect("a free port");
    (listener, target)
}

/// Whether no connection waits to be accepted. One that was made stands in the queue already.
async fn no_connection(listener: &TcpListener) -> bool {
    tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err()
}
