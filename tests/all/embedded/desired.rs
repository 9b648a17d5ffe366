//! Files of records on the embedded default: alone, and beside a running `serve` that holds the store.

use dns_manager_tests::{cli::Installation, port::free_address};
use serde_json::json;

fn installation() -> Installation {
    Installation::new(&format!("[orchestrator.embedded]\ndns_listen = \"{}\"\n", free_address()))
}

/// So many record sets, more than one call of the component takes.
fn many(count: usize, last: usize) -> String {
    let set = |number: usize| {
        format!(
            "- {{name: n{number}.example.com, record_type: A, values: [10.{last}.{}.{}]}}\n",
            number / 250,
            number % 250
        )
    };
    (0..count).map(set).collect()
}

#[tokio::test]
async fn files_work_alone_and_beside_a_running_service() {
    let installation = installation();
    let run = async |arguments: &[&str]| installation.run(arguments).await;
    installation.write("records.yaml", "- {name: web.example.com, record_type: A, values: [10.0.0.1, 10.0.0.2]}\n");
    installation.write("none.yaml", "[]\n");
    let plan = "example.com\n  + web.example.com A ttl 300\n      + 10.0.0.1\n      + 10.0.0.2\n\n\
                Plan: 1 to create, 0 to update, 0 to delete, 0 unchanged.\n";
    let done = "Applied: 2 created, 0 updated, 0 deleted, 0 unchanged (records).\n";
    let exported = "- name: web.example.com\n  record_type: A\n  ttl: 300\n  values:\n  - 10.0.0.1\n  - 10.0.0.2\n";

    for is_served in [false, true] {
        let serving = if is_served { Some(installation.serve().await) } else { None };
        assert_eq!(run(&["record", "plan", "records.yaml"]).await.succeeded().stdout, plan);
        assert_eq!(run(&["record", "apply", "records.yaml"]).await.succeeded().stdout, format!("{plan}{done}"));
        let again = run(&["record", "apply", "records.yaml", "--output", "json"]).await.succeeded().json();
        assert_eq!((&again[0]["outcome"], &again[1]["outcome"]), (&json!("unchanged"), &json!("unchanged")));
        assert_eq!(run(&["record", "export"]).await.succeeded().stdout, exported);
        let guarded = run(&["record", "apply", "none.yaml", "--prune", "--max-deletes", "0"]).await;
        assert!(guarded.status == 1 && guarded.stderr.contains("1 of the 1 names of example.com"), "{guarded:?}");
        let pruned = run(&["record", "apply", "none.yaml", "--prune", "--output", "json"]).await.succeeded().json();
        assert_eq!(pruned[0]["outcome"], "deleted", "{pruned}");
        assert_eq!(run(&["record", "export"]).await.succeeded().stdout, "[]\n");
        drop(serving);
    }
}

#[tokio::test]
async fn a_large_file_is_applied_in_parts() {
    let installation = installation();
    installation.write("one.yaml", &many(1500, 1));
    installation.write("two.yaml", &many(1500, 2));

    let applied = installation.run(&["record", "apply", "one.yaml"]).await.succeeded();
    assert!(applied.stdout.ends_with("Applied: 1500 created, 0 updated, 0 deleted, 0 unchanged (records).\n"));
    assert_eq!(applied.stderr, "", "a bar is for terminals");
    let serving = installation.serve().await;
    let changed = installation.run(&["record", "apply", "two.yaml", "--prune", "--output", "json"]).await.succeeded();

    let outcomes = changed.json();
    let count = |word: &str| outcomes.as_array().unwrap().iter().filter(|outcome| outcome["outcome"] == word).count();
    assert_eq!((count("created"), count("deleted")), (1500, 1500));
    drop(serving);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_all_at_once_with_status_2() {
    let installation = installation();
    installation.write(
        "records.yaml",
        "- name: a.example.com\n  record_typ: A\n  values: [10.0.0.1]\n- {name: b.example.com, record_type: A, values: [10.0.0.999], ttl: soon}\n",
    );
    installation.write("broken.json", "[{\"name\": \"a.example.com\",\n  \"record_type\": \"A\" \"values\": []}]\n");

    for command in ["plan", "apply"] {
        let wrong = installation.run(&["record", command, "records.yaml"]).await;
        assert_eq!((wrong.status, wrong.stdout.as_str()), (2, ""), "{wrong:?}");
        let form =
            "write a record set, such as {name: web-01.example.com, record_type: A, ttl: 300, values: [192.168.1.10]}";
        assert_eq!(
            wrong.stderr,
            format!(
                "error: records.yaml:1:3: \"record_type\" is missing: {form}\n\
                 error: records.yaml:2:3: unknown key \"record_typ\": write \"record_type\"\n\
                 error: records.yaml:4:50: \"10.0.0.999\" is not an IPv4 address, such as 192.168.1.10\n\
                 error: records.yaml:4:68: \"soon\" is not a TTL: write a number of seconds, such as 300, or leave ttl out\n"
            )
        );
        let broken = installation.run(&["record", command, "broken.json"]).await;
        assert_eq!(broken.status, 2, "{broken:?}");
        assert!(broken.stderr.starts_with("error: broken.json:2:"), "{broken:?}");
        let absent = installation.run(&["record", command, "absent.yaml"]).await;
        assert_eq!(absent.status, 2, "{absent:?}");
        assert!(absent.stderr.starts_with("error: absent.yaml: it cannot be read: "), "{absent:?}");
        let most = installation.run(&["record", command, "records.yaml", "--max-deletes", "half"]).await;
        assert_eq!(most.status, 2, "{most:?}");
    }
}
