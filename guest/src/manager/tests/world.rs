//! What the tests run on.

use super::{backend::Backend, *};

/// Where the operations run: etcd in memory, a clock that nobody waits for, and a name server or none.
pub(super) struct World {
    pub(super) backend: Backend,
    pub(super) settings: BTreeMap<&'static str, String>,
    pub(super) now: Cell<Duration>,
    /// What the name server answers, where there is one.
    pub(super) answer: Option<fn(&Question) -> Reply>,
}

impl World {
    pub(super) fn new(zones: &str) -> Self {
        let settings = BTreeMap::from([("zones", zones.to_owned()), ("owner", "us".to_owned())]);
        Self { backend: Backend::default(), settings, now: Cell::new(Duration::from_secs(9)), answer: None }
    }

    pub(super) fn apply(&self, changes: Vec<Change>) -> Vec<Outcome> {
        self.apply_with(changes, false)
    }

    pub(super) fn apply_with(&self, changes: Vec<Change>, dry_run: bool) -> Vec<Outcome> {
        let options = Options { budget: Duration::from_secs(10), dry_run, request_id: "test".into() };
        Manager::new(self).apply(changes.into_iter().map(Ok).collect(), &options).unwrap()
    }

    pub(super) fn one(&self, change: Change) -> Outcome {
        self.apply(vec![change]).remove(0)
    }

    /// The records that the tree holds, and the keys that they need.
    pub(super) fn check_tree(&self) -> Vec<Record> {
        let tree = self.backend.tree();
        let layout = Layout::new("skydns");
        let mut records = Vec::new();
        let mut foreign = 0;
        for (key, value) in &tree {
            match layout.decode(key.as_bytes(), value.as_bytes()) {
                Decoded::Ours(record) => records.push(record),
                Decoded::Structure => {}
                Decoded::Foreign(_) | Decoded::Unreadable(_) => foreign += 1,
            }
        }
        let zones: Vec<Zone> =
            self.settings["zones"].split(' ').map(|zone| Zone::new(zone.parse().unwrap()).unwrap()).collect();
        let full = layout.encode(&zones, &records);
        let missing: Vec<_> = full.iter().filter(|(key, value)| tree.get(*key) != Some(value)).collect();
        let surplus: Vec<_> = tree.iter().filter(|(key, value)| full.get(*key) != Some(value)).collect();
        assert!(
            missing.is_empty() && surplus.len() == foreign,
            "missing or wrong: {missing:#?}\nsurplus: {surplus:#?}"
        );
        records
    }
}

impl Ports for World {
    fn http(&self) -> &dyn HttpClient {
        &self.backend
    }
    fn resolver(&self) -> &dyn Resolver {
        self
    }
    fn clock(&self) -> &dyn Clock {
        self
    }
    fn settings(&self) -> &dyn Settings {
        self
    }
    fn log(&self) -> &dyn Log {
        self
    }
}

impl Resolver for World {
    fn servers(&self) -> Vec<String> {
        self.answer.iter().map(|_| "s1".to_owned()).collect()
    }
    fn ask(&self, questions: &[Question]) -> Vec<Result<Answer, DnsFault>> {
        questions.iter().filter_map(|question| Some(self.answer?(question))).collect()
    }
}

impl Clock for World {
    fn now(&self) -> Duration {
        self.now.set(self.now.get() + Duration::from_micros(10));
        self.now.get()
    }
    fn sleep(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }
}

impl Settings for World {
    fn get(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }
}

impl Log for World {
    fn write(&self, _: LogLevel, _: &str) {}
}
