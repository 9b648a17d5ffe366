//! Trees that others wrote: what cannot be read is named, the rest is listed.

use std::collections::BTreeSet;

use dns_manager_host::{Call, contract::Filter};
use dns_manager_tests::{
    app,
    cases::{Case, Cases, Service},
    change::{a, add},
    site::on_every_etcd,
};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_tree_is_listed_and_nothing_in_it_is_touched() {
    let Some(cases) = Cases::load() else { return };
    on_every_etcd(&["ex.test", "skydns.test", "example.org", "in-addr.arpa"], async |site| {
        let manager = app::manager(site).await;
        let gateway = site.gateway();
        for case in trees(&cases) {
            gateway.delete_below("/").await;
            gateway.put_all(&case.services.iter().map(Service::entry).collect::<Vec<_>>()).await;
            let before = site.tree().await;

            let listed = manager.list_all(Filter::default(), Call::default()).await;

            let page = listed.unwrap_or_else(|error| panic!("{}: {error:?}", case.id));
            assert!(page.entries.iter().all(|entry| !entry.mine || owned(case)), "{}: {:#?}", case.id, page.entries);
            for broken in broken(case) {
                assert!(
                    page.problems.iter().any(|problem| problem.place == broken),
                    "{}: {broken} is not named",
                    case.id
                );
            }
            app::apply(&manager, vec![add("ours.ex.test", 300, [a("10.0.0.1")])]).await;
            let after = site.tree().await;
            for (key, stored) in &before.entries {
                assert_eq!(after.entries.get(key), Some(stored), "{}: {key}", case.id);
            }
        }
    })
    .await;
}

/// The cases with a content below the usual path.
fn trees(cases: &Cases) -> Vec<&Case> {
    let mut seen = BTreeSet::new();
    cases
        .cases
        .iter()
        .filter(|case| !case.services.is_empty() && case.subkind.is_none())
        .filter(|case| case.services.iter().all(|service| service.key.starts_with("/skydns/")))
        // Many lookups share a content.
        .filter(|case| seen.insert(format!("{:?}", case.services)))
        .collect()
}

/// The keys whose value is no JSON object.
fn broken(case: &Case) -> Vec<&str> {
    let is_object = |json: &Value| match json {
        Value::String(raw) => {
            serde_json::from_str::<Value>(raw).is_ok_and(|value| value.is_object() || value.is_null())
        }
        other => other.is_object(),
    };
    case.services.iter().filter(|service| !is_object(&service.json)).map(|service| service.key.as_str()).collect()
}

/// Whether the content is of an owner whose mark is ours.
fn owned(case: &Case) -> bool {
    case.services.iter().any(|service| service.json["owner"] == app::OWNER)
}
