//! The part of the tree that has been read, all as of one revision, and what is planned on top of it.

use std::collections::BTreeMap;

use crate::etcd::{Found, Range, message::KeyValue};

/// What has been read.
#[derive(Clone, Debug, Default)]
pub struct View {
    revision: Option<u64>,
    entries: BTreeMap<Vec<u8>, KeyValue>,
    /// Start and end of what is known, apart from each other.
    known: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl View {
    /// The revision that everything was read at; none before the first read.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Takes in what was read.
    pub fn learn(&mut self, revision: u64, range: &Range, found: Found) {
        self.revision.get_or_insert(revision);
        let end = match found.entries.last() {
            Some(last) if found.more => [last.key.as_slice(), &[0]].concat(),
            _ => range.end.clone(),
        };
        self.entries.extend(found.entries.into_iter().map(|entry| (entry.key.clone(), entry)));
        self.know(range.start.clone(), end);
    }

    fn know(&mut self, mut start: Vec<u8>, mut end: Vec<u8>) {
        // Merge with what touches it.
        if let Some((before, its_end)) = self.known.range(..=start.clone()).next_back()
            && *its_end >= start
        {
            start = before.clone();
            end = end.max(its_end.clone());
        }
        let touched: Vec<Vec<u8>> =
            self.known.range(start.clone()..=end.clone()).map(|(start, _)| start.clone()).collect();
        for key in touched {
            if let Some(its_end) = self.known.remove(&key) {
                end = end.max(its_end);
            }
        }
        self.known.insert(start, end);
    }

    /// The first part of a range that is not known.
    pub fn gap(&self, start: &[u8], end: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let from = match self.known.range(..=start.to_vec()).next_back() {
            Some((_, known_to)) if known_to.as_slice() > start => known_to.clone(),
            _ => start.to_vec(),
        };
        if from.as_slice() >= end {
            return None;
        }
        let to = self.known.range(from.clone()..end.to_vec()).next().map_or(end, |(next, _)| next);
        Some((from, to.to_vec()))
    }

    /// The revision that a key was put at; 0 when it is absent. Ask for known keys only.
    pub fn put_at(&self, key: &str) -> u64 {
        self.entries.get(key.as_bytes()).map_or(0, |entry| entry.mod_revision)
    }
}

/// What is planned on top of a view, and what must be read before the plan holds.
///
/// A key that is not known counts as absent for the moment, and is noted: so one pass finds most of what must be read.
#[derive(Debug, Default)]
pub struct Draft {
    view: View,
    planned: BTreeMap<Vec<u8>, Option<String>>,
    /// What `planned` said before, for taking back.
    journal: Vec<(Vec<u8>, Option<Option<String>>)>,
    missing: Vec<Range>,
    /// Grows with each round of reading, so that a long search takes few.
    rounds: u32,
}

impl Draft {
    /// What has been read.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Takes in what was read.
    pub fn learn(&mut self, revision: u64, range: &Range, found: Found) {
        self.view.learn(revision, range, found);
    }

    /// What must be read; empties the list. A range inside another waits for the next round: the wider one, though it may be cut
    /// by a limit, mostly answers both.
    pub fn take_missing(&mut self) -> Vec<Range> {
        self.rounds += 1;
        let mut missing = std::mem::take(&mut self.missing);
        missing.sort_by(|a, b| (&a.start, &b.end, a.limit).cmp(&(&b.start, &a.end, b.limit)));
        let mut kept: Vec<Range> = Vec::with_capacity(missing.len());
        for range in missing {
            if kept.last().is_none_or(|last| last.end < range.end) {
                kept.push(range);
            }
        }
        kept
    }

    /// How many ranges must be read before the plan holds.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Where taking back would return to.
    pub fn checkpoint(&self) -> usize {
        self.journal.len()
    }

    /// Takes back what was planned since.
    pub fn take_back(&mut self, checkpoint: usize) {
        for (key, before) in self.journal.drain(checkpoint.min(self.journal.len())..).rev() {
            match before {
                Some(before) => self.planned.insert(key, before),
                None => self.planned.remove(&key),
            };
        }
    }

    /// Plans to put a key, or to delete it.
    pub fn plan(&mut self, key: &str, value: Option<String>) {
        let key = key.as_bytes().to_vec();
        let before = self.planned.insert(key.clone(), value);
        self.journal.push((key, before));
    }

    /// The value of a key.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        if let Some(planned) = self.planned.get(key.as_bytes()) {
            return planned.as_ref().map(|value| value.clone().into_bytes());
        }
        self.need(Range::key(key));
        self.view.entries.get(key.as_bytes()).map(|entry| entry.value.clone())
    }

    /// Everything in a range.
    pub fn all(&mut self, range: &Range) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.need(range.clone());
        self.merged(&range.start, &range.end).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// At most `most` of what is known of a range; nothing more is read for it.
    pub fn known(&self, range: &Range, most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.merged(&range.start, &range.end).take(most).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// The first key of a range for which `matches` holds; reads piece by piece until there is one.
    pub fn first(&mut self, range: &Range, matches: impl Fn(&[u8], &[u8]) -> bool) -> Option<Vec<u8>> {
        let gap = self.view.gap(&range.start, &range.end);
        let known_to = gap.as_ref().map_or(range.end.as_slice(), |(start, _)| start.as_slice());
        let found =
            self.merged(&range.start, known_to).find(|(key, value)| matches(key, value)).map(|(key, _)| key.to_vec());
        if found.is_none()
            && let Some((start, _)) = gap
        {
            // Up to the end of the range, over what is known in between: a gap at a time would take a round each.
            let limit = 16u32 << (2 * self.rounds.min(4));
            self.missing.push(Range { start, end: range.end.clone(), limit });
        }
        found
    }

    /// Notes that a range will be wanted, unless some of it is known already.
    pub fn want(&mut self, range: Range) {
        if self.view.gap(&range.start, &range.end).is_some_and(|(start, _)| start == range.start) {
            self.missing.push(range);
        }
    }

    /// Whether all of a range is known.
    pub fn knows(&self, range: &Range) -> bool {
        self.view.gap(&range.start, &range.end).is_none()
    }

    fn need(&mut self, range: Range) {
        if let Some((start, _)) = self.view.gap(&range.start, &range.end) {
            // From the first gap to the end: what lies between is read twice at most.
            self.missing.push(Range { start, ..range });
        }
    }

    fn merged<'d>(&'d self, start: &[u8], end: &[u8]) -> impl Iterator<Item = (&'d [u8], &'d [u8])> {
        let bounds =
            (std::ops::Bound::Included(start.to_vec()), std::ops::Bound::Excluded(end.to_vec().max(start.to_vec())));
        let mut read = self.view.entries.range(bounds.clone()).peekable();
        let mut planned = self.planned.range(bounds).peekable();
        std::iter::from_fn(move || {
            loop {
                let plan_is_next = match (read.peek(), planned.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => false,
                    (None, Some(_)) => true,
                    (Some((read_key, _)), Some((planned_key, _))) => {
                        if read_key == planned_key {
                            read.next();
                        }
                        // After an equal key was dropped, the plan's is next.
                        read.peek().is_none_or(|(read_key, _)| read_key > planned_key)
                    }
                };
                if plan_is_next {
                    match planned.next() {
                        Some((key, Some(value))) => return Some((key.as_slice(), value.as_bytes())),
                        Some((_, None)) => continue,
                        None => return None,
                    }
                }
                return read.next().map(|(key, entry)| (key.as_slice(), entry.value.as_slice()));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(start: &str, end: &str) -> Range {
        Range::between(start.to_owned(), end.to_owned())
    }

    fn found(keys: &[&str], more: bool) -> Found {
        let entries = keys
            .iter()
            .map(|key| KeyValue { key: key.as_bytes().to_vec(), value: b"{}".to_vec(), mod_revision: 3 })
            .collect();
        Found { entries, more }
    }

    #[test]
    fn what_is_known_grows_together() {
        let mut view = View::default();
        view.learn(5, &between("b", "d"), found(&[], false));
        view.learn(5, &between("f", "h"), found(&[], false));
        assert_eq!(view.gap(b"b", b"d"), None);
        assert_eq!(view.gap(b"a", b"c"), Some((b"a".to_vec(), b"b".to_vec())));
        assert_eq!(view.gap(b"c", b"z"), Some((b"d".to_vec(), b"f".to_vec())));
        view.learn(5, &between("d", "f"), found(&[], false));
        assert_eq!(view.gap(b"b", b"h"), None);
        assert_eq!(view.known.len(), 1);
        // A truncated answer is known up to its last key.
        view.learn(5, &between("m", "z"), found(&["m1", "n"], true));
        assert_eq!(view.gap(b"m", b"z"), Some((b"n\0".to_vec(), b"z".to_vec())));
    }

    #[test]
    fn the_plan_hides_what_was_read() {
        let mut draft = Draft::default();
        draft.learn(5, &between("a", "z"), found(&["b", "d", "f"], false));
        draft.plan("b", None);
        draft.plan("c", Some("new".into()));
        let checkpoint = draft.checkpoint();
        draft.plan("d", Some("other".into()));
        draft.plan("f", None);
        let keys = |draft: &mut Draft| -> String {
            draft.all(&between("a", "z")).into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
        };
        assert_eq!(keys(&mut draft), "cd");
        draft.take_back(checkpoint);
        assert_eq!(keys(&mut draft), "cdf");
        assert_eq!(draft.missing(), 0);
        assert_eq!(draft.first(&between("a", "z"), |key, _| key > b"c"), Some(b"d".to_vec()));
    }

    #[test]
    fn what_is_not_known_is_noted_once() {
        let mut draft = Draft::default();
        assert_eq!(draft.get("b"), None);
        assert_eq!(draft.get("b"), None);
        assert_eq!(draft.first(&between("c", "d"), |_, _| true), None);
        draft.want(between("a", "c").limited(64));
        let missing = draft.take_missing();
        assert_eq!(missing, [between("a", "c").limited(64), between("c", "d").limited(16)]);
    }
}
