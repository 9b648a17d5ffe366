//! How many changes go into one call of the plugin.
//!
//! An outcome tells of whole sets, before and after. Outcomes that are larger than what a call may hand over break the
//! call when everything is done, and what became of it is then unknown, each time that it is tried.

use crate::{
    contract::{Action, Change, Entry, RecordSet, Selector},
    judge::Weight as _,
};

/// Values of a set.
const VALUES: usize = 50;
/// An entry's owner and attributes, more than they usually have.
const MARKS: usize = 64;

/// How many of these changes: at least one, at most `items`, and no more than have outcomes that most likely fit into
/// `octets`.
pub(super) fn size(changes: &[Change], items: usize, octets: usize) -> usize {
    let room = octets / 4 * 3;
    let mut used = 0_usize;
    let fitting = changes.iter().take_while(|change| {
        used = used.saturating_add(outcome(change));
        used <= room
    });
    fitting.take(items).count().max(1).min(changes.len())
}

/// What the outcome of a change takes. What is added says how much that is, the rest of its set being small or known to
/// who adds; what is removed, adopted or released is of sets that only the backend knows.
fn outcome(change: &Change) -> usize {
    let resource = change.resource.as_ref().map_or(0, String::len);
    let (name, entries, data) = match &change.action {
        Action::Add(RecordSet { name, data, .. }) | Action::Replace(RecordSet { name, data, .. }) => {
            (name, 2 * (data.len() + 1), 2 * data.weight())
        }
        Action::Remove(Selector { name, .. }) => (name, VALUES + 1, 0),
        Action::Adopt(Selector { name, .. }) | Action::Release(Selector { name, .. }) => (name, 2 * VALUES, 0),
    };
    let entry = size_of::<Entry>() + name.len() + resource + MARKS;
    entries.saturating_mul(entry).saturating_add(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Rdata;

    const OCTETS: usize = 16 << 20;

    fn change(action: Action) -> Change {
        Change { action, resource: None, expect: None, attributes: Vec::new() }
    }

    fn add(name: &str, data: Vec<Rdata>) -> Change {
        change(Action::Add(RecordSet { name: name.to_owned(), ttl: None, data }))
    }

    fn remove(name: &str) -> Change {
        let selector = Selector { name: name.to_owned(), rr_type: None, data: Vec::new(), resource: None };
        change(Action::Remove(selector))
    }

    #[test]
    fn ordinary_changes_are_cut_by_their_number_alone() {
        let one = add("web-0001.example.com", vec![Rdata::A((192, 0, 2, 1))]);
        assert_eq!(size(&vec![one.clone(); 1_000], 1_000, OCTETS), 1_000);
        assert_eq!(size(&vec![one; 1_001], 1_000, OCTETS), 1_000);
        assert!(size(&vec![remove("web-0001.example.com"); 1_000], 1_000, OCTETS) >= 500);
        assert_eq!(size(&[], 1_000, OCTETS), 0);
    }

    #[test]
    fn outcomes_that_would_not_fit_are_of_several_calls() {
        let text = vec![Rdata::Txt(vec![vec![b'x'; 255]; 2]); 50];
        let large = vec![add(&"x".repeat(253), text); 1_000];
        let now = size(&large, 1_000, OCTETS);
        assert!(now < 200, "{now}");
        assert_eq!(size(&large, 1_000, 1), 1, "one at least");
    }
}
