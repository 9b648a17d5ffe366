//! From one status and two sets to an outcome per record.

use super::*;

fn entry(last: u8, ttl: u32) -> contract::Entry {
    contract::Entry {
        name: "web.example.com".to_owned(),
        ttl,
        data: contract::Rdata::A((192, 0, 2, last)),
        owner: Some("default".to_owned()),
        mine: true,
        resource: None,
        attributes: Vec::new(),
    }
}

fn outcome(status: contract::Status, before: &[contract::Entry], after: &[contract::Entry]) -> contract::Outcome {
    contract::Outcome {
        status,
        reason: None,
        warnings: Vec::new(),
        before: before.to_vec(),
        after: after.to_vec(),
        token: None,
        attributes: Vec::new(),
    }
}

fn asked(values: &[&str]) -> Asked {
    Asked {
        name: "Web.example.com.".to_owned(),
        record_type: Some(RecordType::A),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        ttl: Some(300),
        resource: None,
    }
}

/// `value outcome ttl` of each.
fn told(outcomes: &[Outcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| {
            let value = outcome.value.as_deref().unwrap_or("-");
            let ttl = outcome.ttl.map_or_else(|| "-".to_owned(), |ttl| ttl.to_string());
            format!("{value} {} {ttl}", outcome.outcome)
        })
        .collect()
}

#[test]
fn a_value_that_was_absent_is_created_and_its_neighbours_are_not_mentioned() {
    let found = outcome(contract::Status::Updated, &[entry(1, 300)], &[entry(1, 300), entry(2, 300)]);

    assert_eq!(told(&asked(&["192.0.2.2"]).expand(&found)), ["192.0.2.2 created 300"]);
}

#[test]
fn a_neighbour_that_took_the_new_ttl_is_updated() {
    let found = outcome(contract::Status::Updated, &[entry(1, 300)], &[entry(1, 60), entry(2, 60)]);

    assert_eq!(told(&asked(&["192.0.2.2"]).expand(&found)), ["192.0.2.1 updated 60", "192.0.2.2 created 60"]);
}

#[test]
fn a_replaced_value_is_deleted_and_one_that_stays_unchanged() {
    let found = outcome(contract::Status::Updated, &[entry(1, 300), entry(2, 300)], &[entry(2, 300), entry(3, 300)]);

    assert_eq!(
        told(&asked(&["192.0.2.2", "192.0.2.3"]).expand(&found)),
        ["192.0.2.2 unchanged 300", "192.0.2.3 created 300", "192.0.2.1 deleted 300"]
    );
}

#[test]
fn a_value_that_changes_its_resource_is_updated() {
    let with_resource = contract::Entry { resource: Some("id".to_owned()), ..entry(1, 300) };
    let found = outcome(contract::Status::Updated, &[entry(1, 300)], &[with_resource]);

    assert_eq!(told(&asked(&["192.0.2.1"]).expand(&found)), ["192.0.2.1 updated 300"]);
}

#[test]
fn removing_what_is_absent_leaves_it_unchanged() {
    let found = outcome(contract::Status::Unchanged, &[entry(1, 300)], &[entry(1, 300)]);

    assert_eq!(told(&asked(&["192.0.2.9"]).expand(&found)), ["192.0.2.9 unchanged 300"]);
    assert_eq!(told(&asked(&[]).expand(&found)), <[String; 0]>::default());
}

#[test]
fn what_was_not_done_carries_its_reason_on_every_value_asked_for() {
    let found = contract::Outcome {
        reason: Some(contract::Reason {
            code: contract::Code::OwnedBy(Some("other".to_owned())),
            message: "web.example.com belongs to other".to_owned(),
            attributes: Vec::new(),
        }),
        ..outcome(contract::Status::Conflict, &[entry(1, 300)], &[entry(1, 300)])
    };

    let outcomes = asked(&["192.0.2.2", "192.0.2.3"]).expand(&found);

    assert_eq!(told(&outcomes), ["192.0.2.2 conflict 300", "192.0.2.3 conflict 300"]);
    assert_eq!(
        serde_json::to_value(&outcomes[1]).unwrap(),
        serde_json::json!({
            "name": "web.example.com", "record_type": "A", "value": "192.0.2.3", "ttl": 300, "outcome": "conflict",
            "reason": {"code": "owned-by", "message": "web.example.com belongs to other"},
        })
    );
}

#[test]
fn a_removal_that_failed_names_what_it_would_have_removed() {
    let foreign = contract::Entry { mine: false, ..entry(2, 300) };
    let found = outcome(contract::Status::Failed, &[entry(1, 60), foreign], &[]);
    let everything = Asked { record_type: None, ttl: None, ..asked(&[]) };

    assert_eq!(told(&everything.expand(&found)), ["192.0.2.1 failed 60"]);
    assert_eq!(told(&everything.expand(&outcome(contract::Status::Failed, &[], &[]))), ["- failed -"]);
}
