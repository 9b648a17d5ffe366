//! Packs what changes write into transactions that etcd takes. Pure.
//!
//! Each transaction compares the epoch of every zone that its changes were planned from, and puts the epochs of the zones that it
//! writes again: so writers of one zone come one after another, and none loses what another wrote.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    etcd::{self, Range, Transaction, message::Compare},
    layout::Layout,
    plan::Step,
    view::View,
    zone::Zone,
};

/// How much goes into one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Operations, and comparisons.
    pub operations: usize,
    /// Octets of keys and values.
    pub bytes: usize,
}

impl Default for Size {
    fn default() -> Self {
        // Base64 makes four octets of three.
        Self { operations: etcd::MAX_OPERATIONS, bytes: etcd::MAX_BYTES / 4 * 3 }
    }
}

impl Size {
    /// Half of it; none when a single change would hardly fit any more.
    pub fn halved(self) -> Option<Self> {
        (self.operations >= 16).then_some(Self { operations: self.operations / 2, bytes: self.bytes / 2 })
    }
}

/// What the epochs of zones are, and what has been written since the view was read.
pub struct Session<'a> {
    layout: &'a Layout,
    revision: u64,
    epochs: BTreeMap<Zone, u64>,
    written: BTreeSet<Vec<u8>>,
}

impl<'a> Session<'a> {
    /// Begins with a view in which the zones' epochs are known.
    pub fn new(layout: &'a Layout, revision: u64) -> Self {
        Self { layout, revision, epochs: BTreeMap::new(), written: BTreeSet::new() }
    }

    fn epoch(&mut self, view: &View, zone: &Zone) -> u64 {
        let layout = self.layout;
        *self.epochs.entry(zone.clone()).or_insert_with(|| view.put_at(&layout.epoch_key(zone)))
    }

    /// Takes note of a transaction that was written.
    pub fn committed(&mut self, transaction: &Transaction, zones: &BTreeSet<Zone>, revision: u64) {
        for zone in zones {
            let key = self.layout.epoch_key(zone);
            let gone = transaction.deletes.contains(&key);
            self.epochs.insert(zone.clone(), if gone { 0 } else { revision });
        }
        let keys = transaction.puts.iter().map(|(key, _)| key).chain(&transaction.deletes);
        self.written.extend(keys.map(|key| key.clone().into_bytes()));
    }

    /// Whether a step's watch covers what was written in this session; then it must be planned from a new view, because what others
    /// put there meanwhile cannot be told from our own.
    pub fn is_blurred(&self, step: &Step) -> bool {
        step.watched
            .iter()
            .any(|range| self.written.range(range.start.clone()..).next().is_some_and(|key| *key < range.end))
            || step.guarded.keys().any(|key| self.written.contains(key.as_bytes()))
    }

    /// How many of `steps`, from the first, fit into one transaction; 0 when the first alone is too large.
    pub fn fitting(&self, steps: &[&Step], size: Size) -> usize {
        let mut keys: BTreeSet<&str> = BTreeSet::new();
        let mut zones: BTreeSet<&Zone> = BTreeSet::new();
        let (mut compares, mut bytes) = (0, 0);
        for (count, step) in steps.iter().enumerate() {
            keys.extend(step.operations.keys().map(String::as_str));
            zones.extend(&step.read_zones);
            compares += step.watched.len() + step.guarded.len();
            bytes += step
                .operations
                .iter()
                .map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len))
                .sum::<usize>();
            bytes += step.watched.iter().map(|range| range.start.len() + range.end.len()).sum::<usize>();
            bytes += step.guarded.keys().map(String::len).sum::<usize>();
            let operations = keys.len() + zones.len();
            if operations > size.operations || compares + zones.len() > size.operations || bytes > size.bytes {
                return count;
            }
        }
        steps.len()
    }

    /// One transaction for all of `steps`, and the zones that it writes.
    pub fn together(&mut self, view: &View, steps: &[&Step]) -> (Transaction, BTreeSet<Zone>) {
        let mut operations: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut watched: BTreeSet<&Range> = BTreeSet::new();
        let mut guarded: BTreeMap<&str, u64> = BTreeMap::new();
        let mut read: BTreeSet<Zone> = BTreeSet::new();
        let mut written: BTreeSet<Zone> = BTreeSet::new();
        for step in steps {
            operations.extend(step.operations.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
            watched.extend(&step.watched);
            guarded.extend(step.guarded.iter().map(|(key, revision)| (key.as_str(), *revision)));
            read.extend(step.read_zones.iter().cloned());
            written.extend(step.written_zones.iter().cloned());
        }
        let transaction = self.transaction(view, operations, watched, guarded, &read, &written);
        (transaction, written)
    }

    /// Several transactions for one step that is too large for one: what others need first, then its records, a set at a time, what
    /// is no longer needed last.
    pub fn in_parts(&self, step: &Step, size: Size) -> Vec<Part> {
        let room = size.operations.saturating_sub(step.read_zones.len() + 1).max(1);
        let epochs: BTreeSet<String> = step.written_zones.iter().map(|zone| self.layout.epoch_key(zone)).collect();
        let is_record = |key: &str| step.own.contains(key);
        let phase = |wanted: &dyn Fn(&str, bool) -> bool| -> Vec<(&str, Option<&str>)> {
            step.operations
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_deref()))
                .filter(|(key, value)| wanted(key, value.is_some()))
                .collect()
        };
        let before = phase(&|key, put| put && !is_record(key));
        let records = phase(&|key, _| is_record(key) && !epochs.contains(key));
        let after = phase(&|key, put| !put && !is_record(key) && !epochs.contains(key));
        let last = phase(&|key, put| !put && epochs.contains(key));
        let mut parts: Vec<Vec<(&str, Option<&str>)>> = Vec::new();
        for phase in [before, records, after] {
            for unit in phase.chunk_by(|a, b| set_of(a.0) == set_of(b.0)) {
                match parts.last_mut() {
                    Some(part) if part.len() + unit.len() <= room => part.extend_from_slice(unit),
                    _ => parts.extend(unit.chunks(room).map(<[_]>::to_vec)),
                }
            }
        }
        match parts.last_mut() {
            Some(part) if part.len() + last.len() <= room => part.extend(last),
            _ if !last.is_empty() => parts.push(last),
            _ => {}
        }
        parts
            .into_iter()
            .filter(|operations| !operations.is_empty())
            .enumerate()
            .map(|(i, operations)| Part {
                watched: step.watched.iter().filter(|range| is_watched(step, range, i, &operations)).cloned().collect(),
                operations: operations
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
                    .collect(),
            })
            .collect()
    }

    /// The transaction of one part; the epochs are those of this moment.
    pub fn part(&mut self, view: &View, step: &Step, part: &Part) -> (Transaction, BTreeSet<Zone>) {
        let operations: BTreeMap<&str, Option<&str>> =
            part.operations.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let guarded = step.guarded.iter().map(|(key, revision)| (key.as_str(), *revision));
        let guarded = guarded.filter(|(key, _)| operations.contains_key(key)).collect();
        let watched = part.watched.iter().collect();
        let transaction = self.transaction(view, operations, watched, guarded, &step.read_zones, &step.written_zones);
        (transaction, step.written_zones.clone())
    }

    fn transaction(
        &mut self,
        view: &View,
        operations: BTreeMap<&str, Option<&str>>,
        watched: BTreeSet<&Range>,
        guarded: BTreeMap<&str, u64>,
        read: &BTreeSet<Zone>,
        written: &BTreeSet<Zone>,
    ) -> Transaction {
        let mut transaction = Transaction::default();
        for zone in read {
            let epoch = self.epoch(view, zone);
            transaction.compares.push(Compare::PutAt(self.layout.epoch_key(zone), epoch));
        }
        transaction
            .compares
            .extend(watched.into_iter().map(|range| Compare::NotPutAfter(range.clone(), self.revision)));
        transaction
            .compares
            .extend(guarded.into_iter().map(|(key, revision)| Compare::PutAt(key.to_owned(), revision)));
        for (key, value) in &operations {
            match value {
                Some(value) => transaction.puts.push(((*key).to_owned(), (*value).to_owned())),
                None => transaction.deletes.push((*key).to_owned()),
            }
        }
        for zone in written {
            let key = self.layout.epoch_key(zone);
            if !operations.contains_key(key.as_str()) {
                let guard = self.layout.site(zone, zone.apex(), &[], true).remove(&key).unwrap_or_default();
                transaction.puts.push((key, guard));
            }
        }
        transaction
    }
}

/// A part of a step that is too large for one transaction.
pub struct Part {
    operations: BTreeMap<String, Option<String>>,
    watched: Vec<Range>,
}

/// Whether a part, of this place, watches a range: a key is watched until it is written, and where nobody may come in between,
/// that counts from the beginning.
fn is_watched(step: &Step, range: &Range, place: usize, operations: &[(&str, Option<&str>)]) -> bool {
    let is_it = |key: &str| range.is_key() && key.as_bytes() == range.start;
    if step.operations.keys().any(|key| is_it(key)) { operations.iter().any(|(key, _)| is_it(key)) } else { place == 0 }
}

/// What must not be torn apart: the leaves of one type at one name.
fn set_of(key: &str) -> &str {
    key.rsplit_once('-').map_or(key, |(set, _)| set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Outcome, Status};

    fn step(keys: std::ops::Range<usize>) -> Step {
        let zone = Zone::new("ex.test".parse().unwrap()).unwrap();
        let operations: BTreeMap<String, Option<String>> =
            keys.map(|i| (format!("/skydns/test/ex/w{}/A-{i:08X}", i / 50), Some("{}".to_owned()))).collect();
        Step {
            outcome: Outcome {
                status: Status::Created,
                reason: None,
                warnings: vec![],
                before: vec![],
                after: vec![],
                token: None,
                problems: vec![],
            },
            own: operations.keys().cloned().collect(),
            operations,
            read_zones: BTreeSet::from([zone.clone()]),
            written_zones: BTreeSet::from([zone]),
            watched: vec![Range::key("/skydns/test/ex/w")],
            guarded: BTreeMap::new(),
        }
    }

    #[test]
    fn steps_share_a_transaction_up_to_its_limits() {
        let layout = Layout::new("skydns");
        let mut session = Session::new(&layout, 9);
        let steps: Vec<Step> = (0..100).map(|i| step(i * 2..i * 2 + 2)).collect();
        let steps: Vec<&Step> = steps.iter().collect();
        assert_eq!(session.fitting(&steps, Size::default()), 63);
        let (transaction, zones) = session.together(&View::default(), &steps[..63]);
        assert_eq!(transaction.puts.len(), 127);
        assert_eq!(transaction.compares.len(), 2);
        session.committed(&transaction, &zones, 12);
        let (transaction, _) = session.together(&View::default(), &steps[..1]);
        assert_eq!(transaction.compares[0], Compare::PutAt("/skydns/test/ex/@GUARD".into(), 12));
        assert!(session.is_blurred(&Step {
            watched: vec![Range::between("/skydns/test/ex/w0/".into(), "/skydns/test/ex/w00".into())],
            ..step(0..1)
        }));
    }

    #[test]
    fn a_large_step_keeps_its_sets_whole() {
        let layout = Layout::new("skydns");
        let session = Session::new(&layout, 9);
        let large = step(0..200);
        assert_eq!(session.fitting(&[&large], Size::default()), 0);
        let parts = session.in_parts(&large, Size::default());
        let sizes: Vec<usize> = parts.iter().map(|part| part.operations.len()).collect();
        assert_eq!(sizes, [100, 100]);
    }
}
