//! Plans and what comes of them, on records in memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dns_manager_host::Usage;
use dns_manager_host::contract::{
    Action as Ask, Change as ContractChange, Check, Code, Expectation, Page, Reason as Why, Status as Word,
    Verification,
};
use futures_util::future::BoxFuture;

use super::*;

/// Records in memory, with dry runs and tokens as the contract has them.
#[derive(Default)]
struct Shelf {
    entries: Mutex<Vec<Entry>>,
    writes: Mutex<usize>,
    calls: Mutex<Vec<usize>>,
}

fn entry(name: &str, text: &str, ttl: u32, resource: Option<&str>) -> Entry {
    Entry {
        name: name.to_owned(),
        ttl,
        data: value::parse("A".parse().unwrap(), text).unwrap(),
        owner: Some("default".to_owned()),
        mine: true,
        resource: resource.map(str::to_owned),
        attributes: Vec::new(),
    }
}

impl Shelf {
    fn with(entries: &[Entry]) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::new(entries.to_vec()), ..Self::default() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `name value ttl resource` of everything.
    fn stored(&self) -> Vec<String> {
        let text = |entry: &Entry| {
            let resource = entry.resource.as_deref().unwrap_or("-");
            format!("{} {} {} {resource}", entry.name, value::to_text(&entry.data), entry.ttl)
        };
        let mut stored: Vec<_> = self.lock().iter().map(text).collect();
        stored.sort();
        stored
    }

    fn writes(&self) -> usize {
        *self.writes.lock().unwrap()
    }
}

fn about(entries: &[Entry], name: &str) -> Vec<Entry> {
    entries.iter().filter(|entry| entry.name == name).cloned().collect()
}

fn token(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{} {} {:?};", value::to_text(&entry.data), entry.ttl, entry.resource)).collect()
}

fn not_done(status: Word, code: Code, message: &str) -> Answer {
    let reason = Some(Why::new(code, message));
    Answer { status, reason, warnings: vec![], before: vec![], after: vec![], token: None, attributes: vec![] }
}

fn one(entries: &mut Vec<Entry>, change: ContractChange) -> Answer {
    let name = match &change.action {
        Ask::Add(set) | Ask::Replace(set) => set.name.clone(),
        Ask::Remove(selector) => selector.name.clone(),
        Ask::Adopt(_) | Ask::Release(_) => return not_done(Word::Refused, Code::Unsupported, "not here"),
    };
    if name.starts_with("taken") {
        return not_done(Word::Conflict, Code::OwnedBy(None), "taken");
    }
    let before = about(entries, &name);
    if change.expect.is_some_and(|expected| expected != token(&before)) {
        return not_done(Word::Conflict, Code::Changed, "no longer as it was read");
    }
    let mut after = before.clone();
    match change.action {
        Ask::Add(set) | Ask::Replace(set) if set.data.is_empty() => {
            return not_done(Word::Refused, Code::Invalid, "no values");
        }
        action @ (Ask::Add(_) | Ask::Replace(_)) => {
            let is_replacing = matches!(action, Ask::Replace(_));
            let (Ask::Add(set) | Ask::Replace(set)) = action else { panic!("checked above") };
            let ttl = set.ttl.unwrap_or(300);
            after.retain(|entry| !is_replacing || set.data.contains(&entry.data));
            after.iter_mut().for_each(|entry| entry.ttl = ttl);
            for data in set.data {
                if !after.iter().any(|entry| entry.data == data) {
                    after.push(Entry {
                        data,
                        ttl,
                        resource: change.resource.clone(),
                        ..entry(&name, "192.0.2.0", 1, None)
                    });
                }
            }
        }
        Ask::Remove(selector) => after.retain(|entry| {
            let is_meant = selector.data.is_empty() || selector.data.contains(&entry.data);
            !(is_meant && (selector.resource.is_none() || selector.resource == entry.resource))
        }),
        Ask::Adopt(_) | Ask::Release(_) => {}
    }
    after.sort_by_key(|entry| value::to_text(&entry.data));
    let status = match (before.is_empty(), after.is_empty()) {
        _ if token(&before) == token(&after) => Word::Unchanged,
        (true, _) => Word::Created,
        (_, true) => Word::Deleted,
        _ => Word::Updated,
    };
    entries.retain(|entry| entry.name != name);
    entries.extend(after.clone());
    let token = Some(token(&after));
    Answer { status, reason: None, warnings: vec![], before, after, token, attributes: vec![] }
}

impl Dns for Shelf {
    fn max_items(&self) -> usize {
        8
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn apply(&self, changes: Vec<ContractChange>, call: Call) -> BoxFuture<'_, Result<Vec<Answer>, Error>> {
        self.calls.lock().unwrap().push(changes.len());
        let mut entries = self.lock();
        let mut now = entries.clone();
        let answers: Vec<_> = changes.into_iter().map(|change| one(&mut now, change)).collect();
        if !call.dry_run {
            let is_write = |answer: &&Answer| answer.status.is_done() && answer.status != Word::Unchanged;
            *self.writes.lock().unwrap() += answers.iter().filter(is_write).count();
            *entries = now;
        }
        Box::pin(async { Ok(answers) })
    }

    fn list(&self, _: Filter, _: Call) -> BoxFuture<'_, Result<Page, Error>> {
        let entries = self.lock().clone();
        Box::pin(async { Ok(Page { entries, problems: vec![], next: None }) })
    }

    fn verify(
        &self,
        expectations: Vec<Expectation>,
        _: Duration,
        _: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>> {
        assert_eq!(expectations, [], "nobody asks for zones that are configured");
        Box::pin(async { Ok(vec![]) })
    }

    fn repair(&self, _: String, _: Call) -> BoxFuture<'_, Result<Page, Error>> {
        panic!("nobody repairs here")
    }

    fn diagnose(&self, _: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>> {
        Box::pin(async { Ok(vec![]) })
    }
}

fn desired(shelf: &Arc<Shelf>) -> Desired {
    Desired::new(shelf.clone(), Ttl::try_from(300).unwrap(), ["example.com"])
}

fn set(name: &str, values: &[&str]) -> Set {
    Set {
        name: name.to_owned(),
        record_type: "A".parse().unwrap(),
        ttl: None,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        resource: None,
    }
}

const PRUNE: Options = Options { prune: true, max_deletes: MaxDeletes::Usual };

fn told(plan: &Plan) -> Vec<String> {
    let state = |state: &Option<State>| state.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    plan.changes
        .iter()
        .map(|change| {
            format!("{} {}: {} => {}", change.action, change.name, state(&change.before), state(&change.after))
        })
        .collect()
}

fn outcomes(outcomes: &[Outcome]) -> Vec<String> {
    let text = |outcome: &Outcome| {
        let warnings: Vec<_> = outcome.warnings.iter().map(|warning| format!(" ({})", warning.code)).collect();
        format!("{} {} {}{}", outcome.name, outcome.value.as_deref().unwrap_or("-"), outcome.outcome, warnings.concat())
    };
    outcomes.iter().map(text).collect()
}

#[tokio::test]
async fn a_plan_says_what_comes_changes_and_goes_and_writes_nothing() {
    let shelf = Shelf::with(&[
        entry("old.example.com", "192.0.2.1", 300, None),
        entry("server.example.com", "192.0.2.2", 300, Some("s1")),
        entry("same.example.com", "192.0.2.3", 300, None),
        entry("web.example.com", "192.0.2.4", 60, None),
    ]);
    let sets = [
        set("web.example.com", &["192.0.2.5", "192.0.2.4"]),
        set("same.example.com", &["192.0.2.3"]),
        set("new.example.com", &["192.0.2.6"]),
        set("taken.example.com", &["192.0.2.7"]),
        set("bad.example.com", &["192.0.2.8", "nonsense"]),
    ];

    let planned = desired(&shelf).plan(&sets, PRUNE, &mut ()).await.unwrap();

    assert_eq!(
        told(planned.plan()),
        [
            "refused bad.example.com: - => 192.0.2.8, nonsense (ttl 300)",
            "create new.example.com: - => 192.0.2.6 (ttl 300)",
            "delete old.example.com: 192.0.2.1 (ttl 300) => -",
            "conflict taken.example.com: - => 192.0.2.7 (ttl 300)",
            "update web.example.com: 192.0.2.4 (ttl 60) => 192.0.2.4, 192.0.2.5 (ttl 300)",
        ]
    );
    let Plan { summary, kept, .. } = planned.plan();
    assert_eq!(summary.to_string(), "1 to create, 1 to update, 1 to delete, 1 unchanged, 1 in conflict, 1 refused");
    assert_eq!((*kept, shelf.writes(), planned.too_many()), (1, 0, None));
}

#[tokio::test]
async fn what_is_applied_is_what_was_planned_and_one_set_stops_only_itself() {
    let shelf = Shelf::with(&[
        entry("old.example.com", "192.0.2.1", 300, None),
        entry("server.example.com", "192.0.2.2", 300, Some("s1")),
    ]);
    let sets = [
        set("new.example.com", &["192.0.2.6"]),
        set("taken.example.com", &["192.0.2.7"]),
        set("bad.example.com", &["nonsense"]),
    ];
    let desired = desired(&shelf);
    let planned = desired.plan(&sets, PRUNE, &mut ()).await.unwrap();

    let applied = desired.apply(planned, &mut ()).await;

    assert_eq!(
        outcomes(&applied),
        [
            "bad.example.com nonsense refused",
            "new.example.com 192.0.2.6 created",
            "old.example.com 192.0.2.1 deleted",
            "taken.example.com 192.0.2.7 conflict",
        ]
    );
    assert_eq!(shelf.stored(), ["new.example.com 192.0.2.6 300 -", "server.example.com 192.0.2.2 300 s1"]);
    let writes = shelf.writes();
    let again = desired.plan(&sets[..1], PRUNE, &mut ()).await.unwrap();
    assert_eq!(told(again.plan()), <[String; 0]>::default());
    assert_eq!(outcomes(&desired.apply(again, &mut ()).await), ["new.example.com 192.0.2.6 unchanged"]);
    assert_eq!(shelf.writes(), writes);
}

/// Notes what is planned again, and answers.
struct Watcher {
    answer: bool,
    seen: Vec<String>,
}

impl Observer for Watcher {
    fn replanned(&mut self, changes: &[Change]) -> bool {
        self.seen.extend(told(&Plan { changes: changes.to_vec(), ..Plan::default() }));
        self.answer
    }
}

#[tokio::test]
async fn what_changed_in_between_is_planned_again_and_shown() {
    for (answer, expected, stored) in [
        (
            true,
            [
                "a.example.com 192.0.2.2 created (replanned)",
                "a.example.com 192.0.2.3 deleted",
                "b.example.com 192.0.2.9 created",
            ],
            ["a.example.com 192.0.2.2 300 -", "b.example.com 192.0.2.9 300 -"],
        ),
        (
            false,
            ["a.example.com 192.0.2.2 conflict (replanned)", "b.example.com 192.0.2.9 created", ""],
            ["a.example.com 192.0.2.3 60 -", "b.example.com 192.0.2.9 300 -"],
        ),
    ] {
        let shelf = Shelf::with(&[entry("a.example.com", "192.0.2.1", 300, None)]);
        let desired = desired(&shelf);
        let sets = [set("a.example.com", &["192.0.2.2"]), set("b.example.com", &["192.0.2.9"])];
        let planned = desired.plan(&sets, Options::default(), &mut ()).await.unwrap();
        *shelf.lock() = vec![entry("a.example.com", "192.0.2.3", 60, None)];

        let mut watcher = Watcher { answer, seen: vec![] };
        let applied = desired.apply(planned, &mut watcher).await;

        assert_eq!(watcher.seen, ["update a.example.com: 192.0.2.3 (ttl 60) => 192.0.2.2 (ttl 300)"]);
        let expected: Vec<_> = expected.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(outcomes(&applied), expected);
        assert_eq!(shelf.stored(), stored);
    }
}

#[tokio::test]
async fn what_came_beside_what_is_pruned_stays_and_what_a_server_got_too() {
    for (now, expected, stored) in [
        (
            vec![entry("a.example.com", "192.0.2.1", 300, None), entry("a.example.com", "192.0.2.2", 300, None)],
            "a.example.com 192.0.2.1 deleted (replanned)",
            "a.example.com 192.0.2.2 300 -",
        ),
        (
            vec![entry("a.example.com", "192.0.2.1", 300, Some("s1"))],
            "a.example.com 192.0.2.1 conflict (replanned)",
            "a.example.com 192.0.2.1 300 s1",
        ),
    ] {
        let shelf = Shelf::with(&[entry("a.example.com", "192.0.2.1", 300, None)]);
        let desired = desired(&shelf);
        let planned = desired.plan(&[], PRUNE, &mut ()).await.unwrap();
        *shelf.lock() = now;

        let applied = desired.apply(planned, &mut ()).await;

        assert_eq!(outcomes(&applied), [expected]);
        assert_eq!(shelf.stored(), [stored]);
    }
}

#[tokio::test]
async fn a_ptr_that_follows_from_an_address_in_the_file_is_not_pruned() {
    let pointer = |name: &str, target: &str| Entry {
        data: value::parse("PTR".parse().unwrap(), target).unwrap(),
        ..entry(name, "192.0.2.1", 300, None)
    };
    let shelf = Shelf::with(&[
        entry("a.example.com", "192.0.2.1", 300, None),
        pointer("1.2.0.192.in-addr.arpa", "a.example.com"),
        pointer("2.2.0.192.in-addr.arpa", "b.example.com"),
    ]);
    let sets = [set("a.example.com", &["192.0.2.1"])];
    let plan = async |ptr| told(desired(&shelf).with_ptr(ptr).plan(&sets, PRUNE, &mut ()).await.unwrap().plan());

    let other = "delete 2.2.0.192.in-addr.arpa: b.example.com (ttl 300) => -".to_owned();
    let its_own = "delete 1.2.0.192.in-addr.arpa: a.example.com (ttl 300) => -".to_owned();
    assert_eq!(plan(true).await, std::slice::from_ref(&other));
    assert_eq!(plan(false).await, [its_own, other]);
}

#[tokio::test]
async fn a_set_in_the_file_is_exactly_that_and_values_of_servers_that_go_are_pointed_out() {
    let shelf = Shelf::with(&[entry("a.example.com", "192.0.2.1", 300, Some("s1"))]);
    let desired = desired(&shelf);

    let planned = desired.plan(&[set("a.example.com", &["192.0.2.2"])], PRUNE, &mut ()).await.unwrap();
    let warnings = planned.plan().changes[0].warnings.clone();
    desired.apply(planned, &mut ()).await;

    let message = "`192.0.2.1` belongs to the server `s1`, and would go from its name".to_owned();
    assert_eq!(warnings, [Reason { code: "of-server".to_owned(), message }]);
    assert_eq!(shelf.stored(), ["a.example.com 192.0.2.2 300 -"]);
}

#[tokio::test]
async fn a_plan_that_differs_from_the_one_that_was_shown_says_so() {
    let shelf = Shelf::with(&[entry("a.example.com", "192.0.2.1", 300, None)]);
    let desired = desired(&shelf);
    let sets = [set("a.example.com", &["192.0.2.2"]), set("b.example.com", &["192.0.2.9"])];
    let shown = desired.plan(&sets, Options::default(), &mut ()).await.unwrap().plan().clone();
    *shelf.lock() = vec![entry("a.example.com", "192.0.2.3", 60, None)];

    let mut planned = desired.plan(&sets, Options::default(), &mut ()).await.unwrap();
    planned.after(&shown);
    let applied = desired.apply(planned, &mut ()).await;

    assert_eq!(
        applied[0].warnings[0].message,
        "a.example.com A changed after it was planned, and was planned again: there is 192.0.2.3 (ttl 60) now"
    );
    assert_eq!(applied.last().map(|last| last.warnings.len()), Some(0));
}

#[tokio::test]
async fn what_came_after_the_plan_was_shown_is_not_pruned() {
    let shelf = Shelf::with(&[entry("old.example.com", "192.0.2.1", 300, None)]);
    let desired = desired(&shelf);
    let shown = desired.plan(&[], PRUNE, &mut ()).await.unwrap().plan().clone();
    shelf.lock().push(entry("new.example.com", "192.0.2.2", 300, None));

    let mut planned = desired.plan(&[], PRUNE, &mut ()).await.unwrap();
    planned.after(&shown);
    desired.apply(planned, &mut ()).await;

    assert_eq!(shelf.stored(), ["new.example.com 192.0.2.2 300 -"]);
}

#[tokio::test]
async fn names_of_servers_do_not_hide_how_much_goes() {
    let of_servers = (0..40).map(|n| entry(&format!("s{n}.example.com"), "192.0.2.1", 300, Some("s1")));
    let others = (0..12).map(|n| entry(&format!("n{n}.example.com"), "192.0.2.1", 300, None));
    let shelf = Shelf::with(&of_servers.chain(others).collect::<Vec<_>>());

    let planned = desired(&shelf).plan(&[], PRUNE, &mut ()).await.unwrap();

    assert!(planned.too_many().unwrap().to_string().contains("12 of the 12 names of example.com"));
}

#[tokio::test]
async fn what_is_too_much_is_told_of_once_and_not_with_every_value() {
    let shelf = Shelf::with(&[]);
    let values: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    let long = Set { name: format!("{}.example.com", "a".repeat(1 << 20)), ..set("a.example.com", &[]) };

    let planned = desired(&shelf).plan(&[Set { values, ..long }], Options::default(), &mut ()).await.unwrap();

    let told = serde_json::to_string(planned.plan()).unwrap();
    assert!(told.len() < 2 << 20, "{} octets", told.len());
    assert!(told.contains("100000 values are given, and 256 are looked at at most"), "{told}");
}

#[tokio::test]
async fn the_guard_counts_names_that_lose_record_sets() {
    let names: Vec<_> = (0..10).map(|number| format!("n{number}.example.com")).collect();
    let entries: Vec<_> = names.iter().map(|name| entry(name, "192.0.2.1", 300, None)).collect();
    let shelf = Shelf::with(&entries);
    let sets: Vec<_> = names.iter().take(6).map(|name| set(name, &["192.0.2.1"])).collect();

    let usual = desired(&shelf).plan(&sets, PRUNE, &mut ()).await.unwrap();
    let allowed = Options { max_deletes: MaxDeletes::Names(4), ..PRUNE };
    let allowed = desired(&shelf).plan(&sets, allowed, &mut ()).await.unwrap();
    let without = desired(&shelf).plan(&sets, Options::default(), &mut ()).await.unwrap();

    assert!(usual.too_many().unwrap().to_string().contains("4 of the 10 names of example.com would be deleted (40 %)"));
    assert_eq!((allowed.too_many(), without.too_many()), (None, None));
    assert_eq!((allowed.plan().summary.delete, without.plan().summary.delete), (4, 0));
}

#[tokio::test]
async fn an_export_makes_the_same_again() {
    let entries = [
        entry("a.example.com", "192.0.2.1", 300, None),
        entry("a.example.com", "192.0.2.2", 300, Some("s1")),
        entry("a.example.com", "192.0.2.3", 300, Some("s2")),
        entry("b.example.com", "192.0.2.4", 60, Some("s1")),
        entry("c.example.com", "192.0.2.5", 300, None),
    ];
    let full = Shelf::with(&entries);
    let exported = desired(&full).export().await.unwrap();
    let file = File::parse("f", yaml(&exported).as_bytes()).unwrap();
    assert_eq!(file.sets, exported);
    let empty = Shelf::with(&[]);

    for shelf in [&empty, &full] {
        let desired = desired(shelf);
        let planned = desired.plan(&file.sets, PRUNE, &mut ()).await.unwrap();
        desired.apply(planned, &mut ()).await;
        assert_eq!(shelf.stored(), full.stored());
    }

    assert_eq!(full.writes(), 0);
}

#[tokio::test]
async fn a_large_file_is_cut_to_what_the_component_takes() {
    let shelf = Shelf::with(&[]);
    let desired = desired(&shelf);
    let sets: Vec<_> = (0..10).map(|number| set(&format!("n{number}.example.com"), &["192.0.2.1"])).collect();

    let planned = desired.plan(&sets, Options::default(), &mut ()).await.unwrap();
    let applied = desired.apply(planned, &mut ()).await;

    assert_eq!(applied.len(), 10);
    assert!(shelf.calls.lock().unwrap().iter().all(|length| *length <= 8));
    assert_eq!(shelf.stored().len(), 10);
}
