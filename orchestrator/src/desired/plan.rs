//! A plan: what a file would change, for people and as the `data` of the REST API.

use std::fmt;

use dns_manager_host::contract::Entry;
use serde::{Deserialize, Serialize};

use crate::outcome::Reason;
use crate::record::value;

/// What a file would change, in a stable order: by name, from the zone down, then by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// What would not stay as it is, or cannot become what the file says.
    pub changes: Vec<Change>,
    /// How many record sets there are of each.
    pub summary: Summary,
    /// Record sets that the file lacks and that are kept nevertheless: they belong to servers, and go with them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept: usize,
}

/// What would become of one record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlannedChange)]
pub struct Change {
    /// In one word.
    pub action: Action,
    /// Where it stands.
    pub name: String,
    /// `A`, say.
    pub record_type: String,
    /// What is there; null: nothing.
    pub before: Option<State>,
    /// What would be there, or was asked for; null: nothing.
    pub after: Option<State>,
    /// Why not, for `conflict` and `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What would be done and deserves a look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// What would be done with a record set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = PlannedAction)]
pub enum Action {
    /// It is not there yet.
    Create,
    /// It differs.
    Update,
    /// The file lacks it.
    Delete,
    /// Somebody else's data stands there.
    Conflict,
    /// It cannot succeed as asked.
    Refused,
}

impl Action {
    /// Whether applying would write it.
    pub fn is_written(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Delete => true,
            Self::Conflict | Self::Refused => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
        })
    }
}

/// A record set at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlannedState)]
pub struct State {
    /// Seconds; as asked for, where that is no TTL.
    pub ttl: i64,
    /// The values as text.
    pub values: Vec<String>,
}

impl State {
    /// Of stored values; none of no value.
    pub(super) fn of(entries: &[Entry]) -> Option<Self> {
        let ttl = entries.iter().map(|entry| i64::from(entry.ttl)).min()?;
        Some(Self { ttl, values: entries.iter().map(|entry| value::to_text(&entry.data)).collect() })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (ttl {})", self.values.join(", "), self.ttl)
    }
}

/// How many record sets there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlanSummary)]
pub struct Summary {
    /// That would come.
    pub create: usize,
    /// That would change.
    pub update: usize,
    /// That would go.
    pub delete: usize,
    /// That are as the file says.
    pub unchanged: usize,
    /// That belong to somebody else.
    pub conflict: usize,
    /// That cannot become what the file says.
    pub refused: usize,
}

impl Summary {
    pub(super) fn count(&mut self, action: Option<Action>) {
        let counter = match action {
            None => &mut self.unchanged,
            Some(Action::Create) => &mut self.create,
            Some(Action::Update) => &mut self.update,
            Some(Action::Delete) => &mut self.delete,
            Some(Action::Conflict) => &mut self.conflict,
            Some(Action::Refused) => &mut self.refused,
        };
        *counter += 1;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { create, update, delete, unchanged, conflict, refused } = self;
        write!(f, "{create} to create, {update} to update, {delete} to delete, {unchanged} unchanged")?;
        if *conflict > 0 {
            write!(f, ", {conflict} in conflict")?;
        }
        if *refused > 0 {
            write!(f, ", {refused} refused")?;
        }
        Ok(())
    }
}

// Serde hands in a reference.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_told_in_the_words_of_the_rest_api() {
        let state =
            |ttl, values: &[&str]| State { ttl, values: values.iter().map(|text| (*text).to_owned()).collect() };
        let change = Change {
            action: Action::Update,
            name: "web.example.com".to_owned(),
            record_type: "A".to_owned(),
            before: Some(state(300, &["192.0.2.1"])),
            after: Some(state(60, &["192.0.2.2"])),
            reason: None,
            warnings: Vec::new(),
        };
        let conflict = Change {
            action: Action::Conflict,
            before: None,
            reason: Some(Reason { code: "owned-by".to_owned(), message: "taken".to_owned() }),
            ..change.clone()
        };
        let mut plan = Plan { changes: vec![change, conflict], ..Plan::default() };
        for action in [Some(Action::Update), Some(Action::Conflict), None, None] {
            plan.summary.count(action);
        }

        assert_eq!(
            serde_json::to_value(&plan).unwrap(),
            serde_json::json!({
                "changes": [
                    {"action": "update", "name": "web.example.com", "record_type": "A",
                     "before": {"ttl": 300, "values": ["192.0.2.1"]}, "after": {"ttl": 60, "values": ["192.0.2.2"]}},
                    {"action": "conflict", "name": "web.example.com", "record_type": "A",
                     "before": null, "after": {"ttl": 60, "values": ["192.0.2.2"]},
                     "reason": {"code": "owned-by", "message": "taken"}},
                ],
                "summary": {"create": 0, "update": 1, "delete": 0, "unchanged": 2, "conflict": 1, "refused": 0},
            })
        );
        assert_eq!(plan.summary.to_string(), "0 to create, 1 to update, 0 to delete, 2 unchanged, 1 in conflict");
    }
}
