//! Desired state: what a file says becomes what is registered, by a plan that people can read first.
//!
//! [`file`](File) reads record sets with their places, the component plans them ([`Plan`]) in a dry run, and what is applied is
//! what was planned: each change carries the token of the state that it was planned on. A set that is in another state by then
//! is planned again and shown as such. [`MaxDeletes`] keeps half a file from deleting half a zone.

mod export;
mod file;
mod guard;
mod item;
mod plan;
mod set;
mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dns_manager_host::contract::{Entry, Filter, Outcome as Answer};
use dns_manager_host::{Call, Error};

pub use export::yaml;
pub use file::{File, FileError, NewServer, Place, Problem, servers};
pub(crate) use guard::check as check_deletes;
pub use guard::{MaxDeletes, NoMaximum, TooManyDeletes};
pub use plan::{Action, Change, Plan, State, Summary};
pub use set::Set;
pub use zone::Zones;

use crate::change::broken;
use crate::dns::{self, Dns};
use crate::name::Name;
use crate::outcome::{Outcome, Reason, Status};
use crate::pointer;
use crate::record::{RecordType, Ttl, value};
use item::Item;
use set::Key;

/// Changes in one call of the component, so that a call ends well within its budget and a bar moves.
const CHUNK: usize = 256;
/// How often a set is planned again that others change at the same time.
const ROUNDS: usize = 3;

/// Makes what is registered what files say.
#[derive(Clone)]
pub struct Desired {
    dns: Arc<dyn Dns>,
    ttl: Ttl,
    /// None: the name servers are asked.
    zones: Option<Zones>,
    /// Whether addresses have a PTR without anybody naming it.
    ptr: bool,
    /// Where it looks for what is ours; empty: everywhere.
    within: Vec<Name>,
}

/// What holds for a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Delete what is ours and the file lacks; not what belongs to servers.
    pub prune: bool,
    /// How much of a zone may be deleted.
    pub max_deletes: MaxDeletes,
}

/// Who looks on.
pub trait Observer {
    /// So many record sets are planned or applied.
    fn advanced(&mut self, _done: usize, _of: usize) {}

    /// These sets changed after they were planned, and are planned again; whether to apply that.
    fn replanned(&mut self, _changes: &[Change]) -> bool {
        true
    }
}

impl Observer for () {}

/// A plan with what applying it takes.
pub struct Planned {
    items: Vec<Item>,
    plan: Plan,
    zones: Zones,
    too_many: Option<TooManyDeletes>,
}

impl Planned {
    /// What would change.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The zones of its names.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Why it may not be applied.
    pub fn too_many(&self) -> Option<&TooManyDeletes> {
        self.too_many.as_ref()
    }

    /// Takes note of an earlier plan that somebody has agreed to: what differs from it counts as planned again, and what was not
    /// to be deleted stays: it came since.
    pub fn after(&mut self, shown: &Plan) {
        let key = |change: &Change| Some(Key::new(&change.name, change.record_type.parse().ok()?));
        let shown: BTreeMap<_, _> = shown.changes.iter().map(|change| (key(change), change)).collect();
        let is_agreed =
            |item: &Item| shown.get(&Some(item.key().clone())).is_some_and(|change| change.action == Action::Delete);
        self.items.retain(|item| !item.is_deletion() || is_agreed(item));
        for item in &mut self.items {
            item.compare(shown.get(&Some(item.key().clone())).copied());
        }
    }
}

impl Desired {
    /// On this DNS; `ttl` is for sets that name none. Without zones the name servers are asked for them.
    pub fn new(dns: Arc<dyn Dns>, ttl: Ttl, zones: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let zones = Zones::new(zones);
        Self { dns, ttl, zones: (zones != Zones::default()).then_some(zones), ptr: false, within: Vec::new() }
    }

    /// Whether the PTRs of addresses that files have are left alone where files lack them: they follow from the addresses.
    pub fn with_ptr(self, ptr: bool) -> Self {
        Self { ptr, ..self }
    }

    /// Limited to these zones: nothing else is exported, or pruned. Sets that are given are not looked at.
    pub fn within(self, within: Vec<Name>) -> Self {
        Self { within, ..self }
    }

    /// Plans; nothing is written.
    ///
    /// # Errors
    ///
    /// What is registered could not be read, or the plugin has no dry run. A set that cannot become what it should is an item of
    /// the plan.
    pub async fn plan(&self, sets: &[Set], options: Options, observer: &mut impl Observer) -> Result<Planned, Error> {
        let mut wanted: BTreeMap<Key, Vec<&Set>> = BTreeMap::new();
        for set in sets {
            wanted.entry(set.key()).or_default().push(set);
        }
        let mut items: Vec<_> = wanted.iter().map(|(key, parts)| Item::put(key.clone(), parts, self.ttl)).collect();
        let ours = if options.prune { self.ours().await? } else { Vec::new() };
        let pointers = if self.ptr { pointers(&wanted) } else { BTreeSet::new() };
        let (lacking, kept) = lacking(&ours, &wanted, &pointers);
        items.extend(lacking.into_iter().map(|(key, entries)| Item::delete(key, &entries)));
        // Names whole, and what goes before what comes: an alias makes room for addresses. Aliases come last, so that one that is
        // turned round finds the other gone.
        let aliases: BTreeSet<String> =
            items.iter().filter(|item| item.is_new_alias()).map(|item| item.key().name()).collect();
        items.sort_by_cached_key(|item| (aliases.contains(&item.key().name()), item.order()));

        let all: Vec<usize> = (0..items.len()).collect();
        self.decide(&mut items, &all, observer).await?;

        let mut plan = Plan { kept, ..Plan::default() };
        for item in &items {
            plan.summary.count(item.change().map(|change| change.action));
        }
        let mut changes: Vec<_> = items.iter().filter_map(|item| Some((item.key(), item.change()?))).collect();
        changes.sort_by_key(|(key, _)| *key);
        plan.changes = changes.into_iter().map(|(_, change)| change).collect();

        let zones = self.zones_of(&ours, &plan, options.prune).await?;
        let too_many = guarded(options.max_deletes, &zones, &ours, &plan).err();
        Ok(Planned { items, plan, zones, too_many })
    }

    /// Applies what was planned, as far as it may be; one outcome for each record.
    pub async fn apply(&self, planned: Planned, observer: &mut impl Observer) -> Vec<Outcome> {
        let mut items = planned.items;
        let mut outcomes: BTreeMap<usize, Vec<Outcome>> = BTreeMap::new();
        let mut todo = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.rest() {
                Some(rest) => drop(outcomes.insert(index, rest)),
                None => todo.push(index),
            }
        }
        let (mut done, of) = (0, todo.len());
        for round in 0..=ROUNDS {
            let mut changed = Vec::new();
            let mut stopped: Option<Reason> = None;
            for chunk in self.chunks(&items, &todo) {
                let told = match &stopped {
                    Some(why) => {
                        chunk.iter().filter_map(|index| Some((*index, items.get(*index)?.not_begun(why)))).collect()
                    }
                    None => self.write(&items, &chunk).await,
                };
                stopped = stopped.or_else(|| unreachable_reason(&told));
                for (index, told) in told {
                    if round < ROUNDS && told.iter().any(is_changed) {
                        changed.push(index);
                    } else {
                        done += 1;
                        outcomes.insert(index, told);
                    }
                }
                observer.advanced(done, of);
            }
            if changed.is_empty() {
                break;
            }
            todo = self.again(&mut items, changed, &mut outcomes, observer).await;
            done = of - todo.len();
        }
        for (index, told) in &mut outcomes {
            if let (Some(why), Some(first)) = (items.get(*index).and_then(Item::replanned), told.first_mut()) {
                first.warnings.push(why.clone());
            }
        }
        let key = |index: &usize| items.get(*index).map(Item::key);
        let mut outcomes: Vec<_> = outcomes.into_iter().collect();
        outcomes.sort_by(|(one, _), (other, _)| key(one).cmp(&key(other)));
        outcomes.into_iter().flat_map(|(_, told)| told).collect()
    }

    /// What is ours, as record sets that can be applied again.
    ///
    /// # Errors
    ///
    /// It could not be read.
    pub async fn export(&self) -> Result<Vec<Set>, Error> {
        Ok(export::sets(&self.ours().await?))
    }

    /// Everything that bears our mark.
    async fn ours(&self) -> Result<Vec<Entry>, Error> {
        let page = self.dns.list(Filter::default(), dns::usual_call()).await?;
        for problem in &page.problems {
            tracing::warn!(place = problem.place, why = problem.reason.message, "a stored value cannot be read");
        }
        Ok(page.entries.into_iter().filter(|entry| entry.mine && self.is_within(entry)).collect())
    }

    fn is_within(&self, entry: &Entry) -> bool {
        self.within.is_empty() || self.within.iter().any(|zone| zone.holds(&entry.name))
    }

    /// Has the component decide about items, in a dry run.
    async fn decide(&self, items: &mut [Item], which: &[usize], observer: &mut impl Observer) -> Result<(), Error> {
        let (mut done, of) = (0, which.len());
        for chunk in self.chunks(items, which) {
            let changes: Vec<_> = chunk.iter().filter_map(|index| items.get(*index)).flat_map(Item::asked).collect();
            if !changes.is_empty() {
                let call = Call { dry_run: true, ..dns::usual_call() };
                let mut answers = self.dns.apply(changes, call).await?.into_iter();
                for index in &chunk {
                    if let Some(item) = items.get_mut(*index) {
                        let answers: Vec<Answer> = answers.by_ref().take(item.asked().len()).collect();
                        item.decide(&answers)?;
                    }
                }
            }
            done += chunk.len();
            observer.advanced(done, of);
        }
        Ok(())
    }

    /// Writes some items, each on the state that it was planned on.
    async fn write(&self, items: &[Item], which: &[usize]) -> Vec<(usize, Vec<Outcome>)> {
        let chosen: Vec<_> = which.iter().filter_map(|index| Some((*index, items.get(*index)?))).collect();
        let changes: Vec<_> = chosen.iter().flat_map(|(_, item)| item.written()).collect();
        match self.dns.apply(changes, dns::usual_call()).await {
            Err(error) => chosen.iter().map(|(index, item)| (*index, broken(item.words(), &error))).collect(),
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let told = |(index, item): &(usize, &Item)| {
                    let answers: Vec<Answer> = answers.by_ref().take(item.written().len()).collect();
                    (*index, item.tell(&answers))
                };
                chosen.iter().map(told).collect()
            }
        }
    }

    /// Plans sets again that have changed; those that are to be applied now.
    async fn again(
        &self,
        items: &mut [Item],
        changed: Vec<usize>,
        outcomes: &mut BTreeMap<usize, Vec<Outcome>>,
        observer: &mut impl Observer,
    ) -> Vec<usize> {
        let decided = self.decide(items, &changed, &mut ()).await;
        let mut shown = Vec::new();
        let mut todo = Vec::new();
        for index in changed {
            let Some(item) = items.get_mut(index) else { continue };
            if let Err(error) = &decided {
                let why = Reason::from(error);
                outcomes.insert(index, item.not_begun(&why));
                continue;
            }
            item.was_replanned();
            shown.extend(item.change());
            match item.rest() {
                Some(rest) => drop(outcomes.insert(index, rest)),
                None => todo.push(index),
            }
        }
        if !shown.is_empty() && !observer.replanned(&shown) {
            for index in std::mem::take(&mut todo) {
                if let Some(item) = items.get(index) {
                    outcomes.insert(index, item.left());
                }
            }
        }
        todo
    }

    /// Parts of a list of items that are one call each. The items of a name stay together: each sees what those before it did.
    fn chunks(&self, items: &[Item], which: &[usize]) -> Vec<Vec<usize>> {
        let most = self.dns.max_items().min(CHUNK);
        let mut chunks: Vec<Vec<usize>> = Vec::new();
        let mut length = 0;
        let chosen: Vec<_> = which.iter().filter_map(|index| Some((*index, items.get(*index)?))).collect();
        for name in chosen.chunk_by(|(_, one), (_, next)| one.key().is_beside(next.key())) {
            let asked: usize = name.iter().map(|(_, item)| item.asked().len()).sum();
            let indices = name.iter().map(|(index, _)| *index);
            match chunks.last_mut() {
                Some(chunk) if length + asked <= most => {
                    chunk.extend(indices);
                    length += asked;
                }
                _ => {
                    chunks.push(indices.collect());
                    length = asked;
                }
            }
        }
        chunks
    }

    /// The zones that were named to it; empty: the name servers are asked.
    pub fn configured_zones(&self) -> Vec<String> {
        self.zones.iter().flat_map(Zones::iter).map(str::to_owned).collect()
    }

    /// The zones of what is ours and of what would change.
    async fn zones_of(&self, ours: &[Entry], plan: &Plan, is_needed: bool) -> Result<Zones, Error> {
        if let Some(zones) = &self.zones {
            return Ok(zones.clone());
        }
        let stored = ours.iter().map(|entry| value::name_text(&entry.name));
        let names = stored.chain(plan.changes.iter().map(|change| change.name.clone())).collect();
        match Zones::discover(&*self.dns, &names).await {
            // Without the guard's question a plan is only told in fewer groups.
            Err(_) if !is_needed => Ok(Zones::default()),
            found => found,
        }
    }
}

/// The PTRs of wanted addresses: the record sets that they stand in, and their targets.
fn pointers(wanted: &BTreeMap<Key, Vec<&Set>>) -> BTreeSet<(Key, String)> {
    let pointer = |key: &Key, text: &str| {
        let data = value::parse(key.record_type(), text).ok()?;
        Some((Key::new(&pointer::name_of(&data)?, RecordType::PTR), key.name()))
    };
    wanted
        .iter()
        .flat_map(|(key, parts)| parts.iter().flat_map(|part| &part.values).filter_map(|text| pointer(key, text)))
        .collect()
}

/// What is ours, without what belongs to servers, and not wanted; and the number of sets of servers that the wanted lack.
///
/// `pointers` are wanted, too, without being named.
fn lacking<'a>(
    ours: &'a [Entry],
    wanted: &BTreeMap<Key, Vec<&Set>>,
    pointers: &BTreeSet<(Key, String)>,
) -> (BTreeMap<Key, Vec<&'a Entry>>, usize) {
    let mut lacking: BTreeMap<Key, Vec<&Entry>> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for entry in ours {
        let key = Key::new(&entry.name, value::type_of(&entry.data));
        if wanted.contains_key(&key) {
            continue;
        }
        if pointers.contains(&(key.clone(), value::to_text(&entry.data))) {
            continue;
        }
        match entry.resource {
            Some(_) => drop(kept.insert(key)),
            None => lacking.entry(key).or_default().push(entry),
        }
    }
    (lacking, kept.len())
}

/// Counts the names of each zone, and those that a plan deletes record sets of.
fn guarded(limit: MaxDeletes, zones: &Zones, ours: &[Entry], plan: &Plan) -> Result<(), TooManyDeletes> {
    let counted = |names: BTreeSet<String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            *counts.entry(zones.of(&name).unwrap_or("no known zone").to_owned()).or_default() += 1;
        }
        counts
    };
    // What belongs to servers is never pruned, and would only hide how much of the rest is.
    let prunable = ours.iter().filter(|entry| entry.resource.is_none());
    let names = prunable.map(|entry| value::name_text(&entry.name)).collect();
    let deletes = plan.changes.iter().filter(|change| change.action == Action::Delete);
    guard::check(limit, &counted(names), &counted(deletes.map(|change| change.name.clone()).collect()))
}

fn is_changed(outcome: &Outcome) -> bool {
    outcome.outcome == Status::Conflict && outcome.reason.as_ref().is_some_and(|reason| reason.code == "changed")
}

/// Why a whole call came to nothing, when those after it would not fare better.
fn unreachable_reason(told: &[(usize, Vec<Outcome>)]) -> Option<Reason> {
    let mut outcomes = told.iter().flat_map(|(_, told)| told).peekable();
    let first = outcomes.peek()?.reason.clone()?;
    outcomes.all(|outcome| matches!(outcome.outcome, Status::Failed | Status::Unknown)).then_some(first)
}

#[cfg(test)]
mod tests;
