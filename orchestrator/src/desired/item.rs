//! One record set on its way: what is asked for it, what the component decided, what became of it. Pure.

use dns_manager_host::Error;
use dns_manager_host::contract::{
    self as contract, Action as Ask, Code, Entry, Outcome as Answer, Reason as Why, RecordSet, Selector, Status as Word,
};

use super::plan::{Action, Change, State};
use super::set::{Key, Set};
use crate::change;
use crate::outcome::{Asked, Outcome, Reason, Status};
use crate::record::{RecordType, Ttl, value};

/// One record set on its way.
pub(super) struct Item {
    key: Key,
    asked: Asked,
    wish: Wish,
    decided: Option<Decided>,
    replanned: Option<Reason>,
}

/// What is to become of it.
enum Wish {
    /// These changes, one after the other.
    Put(Vec<contract::Change>),
    /// These values go.
    Delete(contract::Change),
    /// It cannot be put into the contract's words; why, in all, and for each value.
    Refused(Reason, Vec<Outcome>),
}

/// What the component decided.
struct Decided {
    /// None: it is as it should be.
    change: Option<Change>,
    /// What was there.
    before: Option<State>,
    /// The state that each change was planned on.
    tokens: Vec<Option<String>>,
}

impl Item {
    /// A set that is to be exactly what its parts say; `ttl` is for one that names none.
    pub(super) fn put(key: Key, parts: &[&Set], ttl: Ttl) -> Self {
        let name = key.name();
        let record_type = key.record_type();
        let asked_ttl = parts.iter().find_map(|part| part.ttl);
        let texts: Vec<String> = parts.iter().flat_map(|part| part.values.clone()).collect();
        let mut asked = change::asked(&name, Some(record_type), None);
        asked.ttl = Some(asked_ttl.unwrap_or(ttl.seconds().into()));
        let refused = |asked, why, outcomes| Self {
            key: key.clone(),
            asked,
            wish: Wish::Refused(why, outcomes),
            decided: None,
            replanned: None,
        };
        let ttl = match asked_ttl.map_or(Ok(ttl), Ttl::try_from) {
            Ok(ttl) => ttl,
            Err(error) => {
                let why = Reason::invalid(error.to_string());
                asked.values = if change::too_many(&texts).is_some() { Vec::new() } else { texts };
                let outcomes = asked.all(Status::Refused, Some(why.clone()));
                return refused(asked, why, outcomes);
            }
        };
        let data = match change::parse_values(&asked, Some(record_type), &texts) {
            Ok(data) => data,
            Err(outcomes) => {
                if let Some(why) = change::too_many(&texts) {
                    return refused(asked, why, outcomes);
                }
                let wrong = texts.iter().find_map(|text| value::parse(record_type, text).err());
                let why = Reason::invalid(wrong.map(|error| error.to_string()).unwrap_or_default());
                asked.values = texts;
                return refused(asked, why, outcomes);
            }
        };
        let asked = change::with_values(asked, &data);
        let set = |data: Vec<_>| RecordSet { name: name.clone(), ttl: Some(ttl.seconds()), data };
        let mut steps = Vec::new();
        if let [part] = parts {
            steps.push(change::of(Ask::Replace(set(data)), part.resource.clone()));
        } else {
            // Each server's values, then no others: what replaces would give all new values to one.
            let mut rest = data.clone().into_iter();
            for part in parts {
                let own = rest.by_ref().take(part.values.len()).collect();
                steps.push(change::of(Ask::Add(set(own)), part.resource.clone()));
            }
            steps.push(change::of(Ask::Replace(set(data)), None));
        }
        Self { key, asked, wish: Wish::Put(steps), decided: None, replanned: None }
    }

    /// Whether values are to go, and nothing else.
    pub(super) fn is_deletion(&self) -> bool {
        matches!(self.wish, Wish::Delete(_))
    }

    /// These values of a set are to go.
    pub(super) fn delete(key: Key, entries: &[&Entry]) -> Self {
        let data: Vec<_> = entries.iter().map(|entry| entry.data.clone()).collect();
        let mut asked = change::with_values(change::asked(&key.name(), Some(key.record_type()), None), &data);
        asked.ttl = entries.iter().map(|entry| i64::from(entry.ttl)).min();
        let selector = Selector { name: key.name(), rr_type: Some(key.record_type().number()), data, resource: None };
        let change = change::of(Ask::Remove(selector), None);
        Self { key, asked, wish: Wish::Delete(change), decided: None, replanned: None }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// What was asked for, for its outcomes.
    pub(super) fn words(&self) -> &Asked {
        &self.asked
    }

    /// By name; at one name, what goes before what comes.
    pub(super) fn order(&self) -> (Vec<String>, bool, u16) {
        let comes = !matches!(self.wish, Wish::Delete(_));
        (self.key.labels().to_vec(), comes, self.key.record_type().number())
    }

    /// Whether an alias is to stand there.
    pub(super) fn is_new_alias(&self) -> bool {
        matches!(self.wish, Wish::Put(_)) && self.key.record_type() == RecordType::CNAME
    }

    /// What to ask the component in a dry run: which state the set is in, then the changes.
    pub(super) fn asked(&self) -> Vec<contract::Change> {
        let steps = self.steps();
        if steps.is_empty() {
            return Vec::new();
        }
        let state = change::nothing(self.key.name(), self.key.record_type());
        std::iter::once(state).chain(steps.iter().cloned()).collect()
    }

    /// The changes, each on the state that it was planned on.
    pub(super) fn written(&self) -> Vec<contract::Change> {
        let tokens = self.decided.as_ref().map(|decided| decided.tokens.as_slice()).unwrap_or_default();
        let expecting = |(step, token): (&contract::Change, &Option<String>)| contract::Change {
            expect: token.clone(),
            ..step.clone()
        };
        self.steps().iter().zip(tokens).map(expecting).collect()
    }

    fn steps(&self) -> &[contract::Change] {
        match &self.wish {
            Wish::Put(steps) => steps,
            Wish::Delete(step) => std::slice::from_ref(step),
            Wish::Refused(..) => &[],
        }
    }

    /// Takes the answers to what was [`asked`](Self::asked).
    ///
    /// # Errors
    ///
    /// The component could not decide, and would not about another set either.
    pub(super) fn decide(&mut self, answers: &[Answer]) -> Result<(), Error> {
        let Some((state, steps)) = answers.split_first() else { return Ok(()) };
        let before = State::of(&state.before);
        let after = steps.last().map(|last| last.after.as_slice()).unwrap_or_default();
        let stopped = steps.iter().find(|step| !step.status.is_done());
        let (action, after, reason) = match stopped {
            Some(stopped) => {
                let why = stopped
                    .reason
                    .clone()
                    .unwrap_or_else(|| Why::new(Code::Other("unknown".to_owned()), "no reason was given"));
                let action = match stopped.status {
                    Word::Conflict => Action::Conflict,
                    Word::Failed | Word::Unknown if is_passing(&why.code) => return Err(Error::Refused(why)),
                    _ => Action::Refused,
                };
                (Some(action), self.wanted(), Some(Reason::from(&why)))
            }
            None => match self.of_a_server(state) {
                Some(reason) => (Some(Action::Conflict), None, Some(reason)),
                None => (action(&before, after, steps), State::of(after), None),
            },
        };
        let is_written = action.is_some_and(Action::is_written);
        let change = action.map(|action| Change {
            action,
            name: self.key.name(),
            record_type: self.key.record_type().to_string(),
            before: before.clone(),
            after,
            reason,
            warnings: if is_written { warnings(state, steps) } else { Vec::new() },
        });
        let tokens = std::iter::once(state).chain(steps).map(|answer| answer.token.clone()).collect();
        self.decided = Some(Decided { change, before, tokens });
        Ok(())
    }

    /// A value that was nobody's when it was to be deleted, and belongs to a server by now.
    fn of_a_server(&self, state: &Answer) -> Option<Reason> {
        let Wish::Delete(_) = self.wish else { return None };
        let is_meant = |entry: &&Entry| self.asked.values.contains(&value::to_text(&entry.data));
        let (entry, server) =
            state.before.iter().filter(is_meant).find_map(|entry| Some((entry, entry.resource.as_ref()?)))?;
        let text = value::to_text(&entry.data);
        let message =
            format!("`{text}` belongs to the server `{server}` by now, and goes with it: it is left as it is");
        Some(Reason { code: "owned-by".to_owned(), message })
    }

    /// What was asked for; of a deletion, nothing.
    fn wanted(&self) -> Option<State> {
        match self.wish {
            Wish::Delete(_) => None,
            Wish::Put(_) | Wish::Refused(..) => {
                Some(State { ttl: self.asked.ttl.unwrap_or_default(), values: self.asked.values.clone() })
            }
        }
    }

    /// What would become of it; none: it stays as it is.
    pub(super) fn change(&self) -> Option<Change> {
        match &self.wish {
            Wish::Refused(why, _) => Some(Change {
                action: Action::Refused,
                name: self.key.name(),
                record_type: self.key.record_type().to_string(),
                before: None,
                after: self.wanted(),
                reason: Some(why.clone()),
                warnings: Vec::new(),
            }),
            Wish::Put(_) | Wish::Delete(_) => self.decided.as_ref()?.change.clone(),
        }
    }

    /// The outcomes, if there is nothing to write.
    pub(super) fn rest(&self) -> Option<Vec<Outcome>> {
        if let Wish::Refused(_, outcomes) = &self.wish {
            return Some(outcomes.clone());
        }
        let change = self.change();
        let status = match change.as_ref().map(|change| change.action) {
            None => Status::Unchanged,
            Some(Action::Conflict) => Status::Conflict,
            Some(Action::Refused) => Status::Refused,
            Some(Action::Create | Action::Update | Action::Delete) => return None,
        };
        Some(self.asked.all(status, change.and_then(|change| change.reason)))
    }

    /// The outcomes of what was [`written`](Self::written).
    pub(super) fn tell(&self, answers: &[Answer]) -> Vec<Outcome> {
        let (Some(first), Some(last)) = (answers.first(), answers.last()) else { return Vec::new() };
        let telling = answers.iter().find(|answer| !answer.status.is_done()).unwrap_or(last);
        let mut whole = Answer { before: first.before.clone(), ..telling.clone() };
        whole.warnings = answers.iter().flat_map(|answer| answer.warnings.clone()).collect();
        if whole.status == Word::Unchanged && answers.iter().any(|answer| answer.status != Word::Unchanged) {
            whole.status = Word::Updated;
        }
        self.asked.expand(&whole)
    }

    /// Surely not written, for this reason.
    pub(super) fn not_begun(&self, why: &Reason) -> Vec<Outcome> {
        self.asked.all(Status::Failed, Some(why.clone()))
    }

    /// Not written, since somebody looked at the new plan and did not want it.
    pub(super) fn left(&self) -> Vec<Outcome> {
        let message = "it changed after it was planned, and is left as it is".to_owned();
        self.asked.all(Status::Conflict, Some(Reason { code: "changed".to_owned(), message }))
    }

    /// That it was planned again, and from which state.
    pub(super) fn replanned(&self) -> Option<&Reason> {
        self.replanned.as_ref()
    }

    pub(super) fn was_replanned(&mut self) {
        let state = match self.decided.as_ref().and_then(|decided| decided.before.as_ref()) {
            Some(state) => state.to_string(),
            None => "nothing".to_owned(),
        };
        let message = format!(
            "{} {} changed after it was planned, and was planned again: there is {state} now",
            self.key.name(),
            self.key.record_type()
        );
        self.replanned = Some(Reason { code: "replanned".to_owned(), message });
    }

    /// Compares with what somebody was shown.
    pub(super) fn compare(&mut self, shown: Option<&Change>) {
        let before = |change: Option<&Change>| change.map(|change| (change.action, change.before.clone()));
        if self.decided.is_some() && before(self.change().as_ref()) != before(shown) {
            self.was_replanned();
        }
    }
}

fn action(before: &Option<State>, after: &[Entry], steps: &[Answer]) -> Option<Action> {
    if steps.iter().all(|step| step.status == Word::Unchanged) {
        return None;
    }
    Some(match (before, after) {
        (_, []) => Action::Delete,
        (None, _) => Action::Create,
        (Some(_), _) => Action::Update,
    })
}

/// Whether trying again may help, for any set.
fn is_passing(code: &Code) -> bool {
    matches!(code, Code::Unavailable | Code::Deadline | Code::Contention | Code::Protocol)
}

/// What the component says, and which values of servers go.
fn warnings(state: &Answer, steps: &[Answer]) -> Vec<Reason> {
    let stays = |entry: &Entry| {
        steps.last().is_some_and(|last| {
            last.after.iter().any(|after| value::to_text(&after.data) == value::to_text(&entry.data))
        })
    };
    let goes = |entry: &Entry| {
        let server = entry.resource.as_ref().filter(|_| !stays(entry))?;
        let message =
            format!("`{}` belongs to the server `{server}`, and would go from its name", value::to_text(&entry.data));
        Some(Reason { code: "of-server".to_owned(), message })
    };
    let said = steps.iter().flat_map(|step| &step.warnings).map(Reason::from);
    said.chain(state.before.iter().filter_map(goes)).collect()
}
