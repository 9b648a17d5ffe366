//! Desired state: `record plan|apply|export` and their REST paths, on real etcd and CoreDNS.

use std::{sync::Arc, time::Duration};

use dns_manager_tests::{
    app,
    change::{a, add},
    cli::Installation,
    proxy::{Fault, Proxy, Request},
    site::on_every_etcd,
    wait,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const ZONES: &[&str] = &["example.com", "example.org"];

const FILE: &str = "\
- name: web-01.example.com
  record_type: A
  ttl: 60
  values: [192.168.1.10, 192.168.1.11]
- {name: web-01.example.com, record_type: AAAA, values: [2001:db8::10]}
- {name: www.example.com, record_type: CNAME, values: [web-01.example.com]}
- {name: example.com, record_type: MX, ttl: 3600, values: [10 mail.example.com]}
- {name: example.com, record_type: TXT, values: ['v=spf1 \"mx\" -all', '']}
- {name: _sip._tcp.example.com, record_type: SRV, values: [10 60 5060 sip.example.com]}
- {name: web-01.example.org, record_type: A, values: [192.168.2.10]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_applied_and_then_there_is_nothing_to_do() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run(arguments).await;
        installation.write("records.yaml", FILE);
        run(&["record", "register", "web-01.example.com", "A", "192.168.1.9", "192.168.1.10"]).await.succeeded();
        run(&["record", "register", "www.example.com", "A", "192.168.1.9"]).await.succeeded();
        let before = site.tree().await;

        let planned = run(&["record", "plan", "records.yaml", "--prune"]).await;

        assert_eq!((planned.status, planned.stderr.as_str()), (0, ""), "{planned:?}");
        let plan = "\
example.com
  + example.com MX ttl 3600
      + 10 mail.example.com
  + example.com TXT ttl 300
      + \"\"
      + v=spf1 \"mx\" -all
  + _sip._tcp.example.com SRV ttl 300
      + 10 60 5060 sip.example.com
  ~ web-01.example.com A ttl 300 -> 60
      - 192.168.1.9
        192.168.1.10
      + 192.168.1.11
  + web-01.example.com AAAA ttl 300
      + 2001:db8::10
  - www.example.com A ttl 300
      - 192.168.1.9
  + www.example.com CNAME ttl 300
      + web-01.example.com

example.org
  + web-01.example.org A ttl 300
      + 192.168.2.10

Plan: 6 to create, 1 to update, 1 to delete, 0 unchanged.
";
        assert_eq!(planned.stdout, plan);
        assert_eq!(site.tree().await, before, "a plan writes nothing");

        let applied = run(&["record", "apply", "records.yaml", "--prune"]).await.succeeded();
        assert_eq!(
            applied.stdout,
            format!("{plan}Applied: 8 created, 1 updated, 2 deleted, 0 unchanged (records).\n"),
            "{applied:?}"
        );
        assert_eq!(
            site.coredns.ask("www.example.com", "A").await.answers,
            [
                "www.example.com. 300 CNAME web-01.example.com.",
                "web-01.example.com. 60 A 192.168.1.10",
                "web-01.example.com. 60 A 192.168.1.11",
            ]
        );

        let after = site.tree().await;
        let again = run(&["record", "apply", "records.yaml", "--prune", "--output", "json"]).await.succeeded();
        assert_eq!(site.tree().await, after, "what is there already is not written, and the revision stays");
        let outcomes = again.json();
        let outcomes = outcomes.as_array().unwrap();
        assert!(outcomes.len() == 9 && outcomes.iter().all(|outcome| outcome["outcome"] == "unchanged"), "{outcomes:?}");
        let nothing = run(&["record", "plan", "records.yaml"]).await.succeeded();
        assert_eq!(
            nothing.stdout,
            "Nothing to do: everything is as the file says.\nPlan: 0 to create, 0 to update, 0 to delete, 7 unchanged.\n"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_applied_to_an_empty_tree_makes_the_same_octet_for_octet() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        installation.write("records.yaml", FILE);
        installation.run(&["record", "apply", "records.yaml"]).await.succeeded();
        for arguments in [
            &["server", "create", "db-01.example.com", "--ip", "192.168.1.20"] as &[&str],
            // Beside the server's address, one that is nobody's.
            &["record", "register", "db-01.example.com", "A", "192.168.1.21"],
            &["record", "register", "odd.example.com", "TXT", "\\# 3 02ff01", "a\tb", "1.5", "~", "\\# not generic"],
        ] {
            installation.run(arguments).await.succeeded();
        }

        for form in ["table", "json"] {
            let full = site.tree().await;
            let exported = installation.run(&["record", "export", "--output", form]).await.succeeded();
            let untouched = installation.run_with_input(&["record", "apply", "-", "--prune"], &exported.stdout).await;
            assert_eq!(untouched.status, 0, "{untouched:?}");
            assert_eq!(site.tree().await, full, "{form}: an export of what is there changes nothing");

            site.gateway().delete_below("/").await;
            assert!(site.tree().await.is_empty());
            let restored = installation.run_with_input(&["record", "apply", "-"], &exported.stdout).await;

            assert_eq!(restored.status, 0, "{restored:?}");
            assert_eq!(site.tree().await.values(), full.values(), "{form}: {}", exported.stdout);
        }
        installation.run(&["server", "delete", "db-01.example.com"]).await.succeeded();
        let listed = installation.run(&["record", "list", "--name", "db-01.example.com", "--output", "json"]).await;
        let expected = json!([{"name": "db-01.example.com", "record_type": "A", "value": "192.168.1.21", "ttl": 300}]);
        assert_eq!(listed.succeeded().json(), expected, "a server takes its own values with it, restored ones too");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_deletes_what_is_ours_and_nobody_elses() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let foreign = r#"{"host":"10.9.9.9","ttl":300}"#;
        site.gateway().put("/skydns/com/example/foreign", foreign).await;
        installation.run(&["server", "create", "db-01.example.com", "--ip", "192.168.1.20"]).await.succeeded();
        installation.run(&["record", "register", "old.example.com", "A", "192.168.1.30"]).await.succeeded();
        installation.write("records.json", r#"[{"name": "new.example.com", "record_type": "A", "values": ["192.168.1.40"]}]"#);

        let without = installation.run(&["record", "plan", "records.json"]).await.succeeded();
        assert!(without.stdout.contains("Plan: 1 to create, 0 to update, 0 to delete, 0 unchanged.\n"), "{without:?}");
        let applied = installation.run(&["record", "apply", "records.json", "--prune", "--yes"]).await.succeeded();

        let told = "Plan: 1 to create, 0 to update, 1 to delete, 0 unchanged.\n1 record set that the file lacks belongs to a server \
                    and stays; delete the server instead.\n";
        assert!(applied.stdout.contains(told), "{}", applied.stdout);
        let names = |records: Value| -> Vec<String> {
            let name = |record: &Value| record["name"].as_str().unwrap().to_owned();
            records.as_array().unwrap().iter().map(name).collect()
        };
        let listed = installation.run(&["record", "list", "--output", "json"]).await.succeeded().json();
        assert_eq!(names(listed), ["db-01.example.com", "foreign.example.com", "new.example.com"]);
        assert_eq!(site.tree().await.values()["/skydns/com/example/foreign"], foreign);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_deletes_much_is_refused_unless_that_is_allowed() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let file = |count: usize| -> String {
            let set = |number| format!("- {{name: n{number}.example.com, record_type: A, values: [10.0.0.{number}]}}\n");
            (1..=count).map(set).collect()
        };
        installation.write("all.yaml", &file(10));
        installation.write("some.yaml", &file(6));
        installation.run(&["record", "apply", "all.yaml"]).await.succeeded();
        let full = site.tree().await;
        let why = "error: nothing is applied: record sets of 4 of the 10 names of example.com would be deleted (40 %), and 30% is \
                   the most; if that is meant, allow it with --max-deletes (max_deletes), as a number of names or a share of a \
                   zone's, such as 4\n";

        for arguments in [
            &["record", "apply", "some.yaml", "--prune", "--yes"] as &[&str],
            &["record", "plan", "some.yaml", "--prune"],
        ] {
            let refused = installation.run(arguments).await;
            assert_eq!((refused.status, refused.stderr.as_str()), (1, why), "{arguments:?}: {refused:?}");
            assert!(refused.stdout.contains("0 to update, 4 to delete, 6 unchanged."), "{refused:?}");
        }
        let refused = installation.run(&["record", "apply", "some.yaml", "--prune", "--max-deletes", "3"]).await;
        assert_eq!(refused.status, 1, "{refused:?}");
        assert_eq!(site.tree().await, full);

        // Without configured zones, name servers tell which zone that is.
        let discovering = Installation::with_dns(&[
            format!("coredns_url = \"{}\"", site.etcd.url()),
            format!("nameservers = [\"{}\"]", site.coredns.address()),
            format!("owner = \"{}\"", app::OWNER),
        ]);
        discovering.write("some.yaml", &file(6));
        let refused = discovering.run(&["record", "apply", "some.yaml", "--prune"]).await;
        assert_eq!((refused.status, refused.stderr.as_str()), (1, why), "{refused:?}");

        let allowed = installation.run(&["record", "apply", "some.yaml", "--prune", "--max-deletes", "40%"]).await;
        assert_eq!(allowed.status, 0, "{allowed:?}");
        assert_eq!(app::entries(&app::manager(site).await).await.len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_set_stops_only_itself() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        site.gateway().put("/skydns/com/example/taken", r#"{"host":"10.9.9.9","ttl":300}"#).await;
        installation.write(
            "records.yaml",
            "\
- {name: good.example.com, record_type: A, values: [10.0.0.1]}
- {name: bad.example.com, record_type: A, values: [10.0.0.2, nonsense]}
- {name: elsewhere.test, record_type: A, values: [10.0.0.3]}
- {name: taken.example.com, record_type: A, values: [10.0.0.4]}
- {name: fine.example.com, record_type: CNAME, values: [good.example.com]}
",
        );

        for command in ["plan", "apply"] {
            let ran = installation.run(&["record", command, "records.yaml"]).await;

            assert_eq!(ran.status, 1, "{ran:?}");
            assert!(
                ran.stdout
                    .contains("Plan: 2 to create, 0 to update, 0 to delete, 0 unchanged, 1 in conflict, 2 refused."),
                "{ran:?}"
            );
            for expected in [
                "error: records.yaml:2:62: bad.example.com A",
                "error: records.yaml:3:3: elsewhere.test A",
                "error: records.yaml:4:3: taken.example.com A",
            ] {
                assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
            }
        }
        assert_eq!(site.coredns.ask("good.example.com", "A").await.answers, ["good.example.com. 300 A 10.0.0.1"]);
        assert_eq!(
            site.coredns.ask("fine.example.com", "CNAME").await.answers,
            ["fine.example.com. 300 CNAME good.example.com."]
        );
        assert_eq!(app::entries(&app::manager(site).await).await.iter().filter(|entry| entry.mine).count(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_turned_round_and_a_name_may_be_spelt_otherwise() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        installation.write(
            "one.yaml",
            "- {name: a.example.com, record_type: CNAME, values: [z.example.com]}
- {name: z.example.com, record_type: A, values: [10.0.0.1]}
- {name: B\u{fc}cher.Example.com., record_type: A, values: [10.0.0.2]}
",
        );
        installation.write(
            "other.yaml",
            "- {name: z.example.com, record_type: CNAME, values: [a.example.com]}
- {name: a.example.com, record_type: A, values: [10.0.0.1]}
- {name: '\\120n--bcher-kva.example.com', record_type: A, values: [10.0.0.2]}
",
        );
        for file in ["one.yaml", "other.yaml", "one.yaml"] {
            let applied = installation.run(&["record", "apply", file, "--prune"]).await;
            assert_eq!((applied.status, applied.stderr.as_str()), (0, ""), "{applied:?}");
            let written = site.tree().await;
            let again = installation.run(&["record", "apply", file, "--prune"]).await.succeeded();
            assert!(again.stdout.starts_with("Nothing to do"), "{again:?}");
            assert_eq!(site.tree().await, written);
        }
        assert_eq!(
            site.coredns.ask("xn--bcher-kva.example.com", "A").await.answers,
            ["xn--bcher-kva.example.com. 300 A 10.0.0.2"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_changed_in_between_is_planned_again_and_shown() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("web.example.com", 300, [a("10.0.0.1")])]).await;
        let proxy = Proxy::start(site.etcd.address()).await;
        let installation = Installation::with_dns(&[
            format!("coredns_url = \"{}\"", proxy.url()),
            format!("nameservers = [\"{}\"]", site.coredns.address()),
            "zones = [\"example.com\", \"example.org\"]".to_owned(),
            format!("owner = \"{}\"", app::OWNER),
        ]);
        installation.write(
            "records.yaml",
            "- {name: web.example.com, record_type: A, values: [10.0.0.5]}\n- {name: other.example.com, record_type: A, values: [10.0.0.6]}\n",
        );
        let gate = Arc::new(Semaphore::new(0));
        proxy.inject(usize::MAX, Fault::HeldRequest(Arc::clone(&gate)), Request::is_write);

        let applying = installation.run(&["record", "apply", "records.yaml", "--yes", "--output", "json"]);
        let meddling = async {
            wait::until("it begins to write", Duration::from_secs(60), async || {
                (!proxy.writes().is_empty()).then_some(())
            })
            .await;
            app::done(&manager, vec![add("web.example.com", 60, [a("10.0.0.2")])]).await;
            gate.close();
        };
        let (ran, ()) = tokio::join!(applying, meddling);

        assert_eq!(ran.status, 0, "{ran:?}");
        let shown = "warning: changed after it was planned, and planned again:
example.com
  ~ web.example.com A ttl 60 -> 300
      - 10.0.0.1
      - 10.0.0.2
      + 10.0.0.5
";
        assert!(ran.stderr.starts_with(shown), "{}", ran.stderr);
        let outcomes = ran.json();
        let warned: Vec<_> = outcomes
            .as_array()
            .unwrap()
            .iter()
            .filter(|outcome| outcome["warnings"][0]["code"] == "replanned")
            .map(|outcome| outcome["name"].clone())
            .collect();
        assert_eq!(warned, ["web.example.com"], "{outcomes}");
        assert_eq!(site.coredns.ask("web.example.com", "A").await.answers, ["web.example.com. 300 A 10.0.0.5"]);
        assert_eq!(site.coredns.ask("other.example.com", "A").await.answers, ["other.example.com. 300 A 10.0.0.6"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_api_plans_and_applies_the_same() {
    on_every_etcd(ZONES, async |site| {
        let serving = Installation::of(site).serve().await;
        let sets = json!([{"name": "web.example.com", "record_type": "A", "ttl": 60, "values": ["10.0.0.1"]}]);

        let planned = serving.call("POST", "/api/v1/dns/plan", Some(sets.clone())).await;

        let plan = json!({
            "changes": [{
                "action": "create", "name": "web.example.com", "record_type": "A",
                "before": null, "after": {"ttl": 60, "values": ["10.0.0.1"]},
            }],
            "summary": {"create": 1, "update": 0, "delete": 0, "unchanged": 0, "conflict": 0, "refused": 0},
        });
        assert_eq!(planned, (200, json!({"success": true, "data": plan})));
        assert!(site.tree().await.is_empty());
        let outcome = |word: &str| {
            let outcome = json!({"name": "web.example.com", "record_type": "A", "value": "10.0.0.1", "ttl": 60, "outcome": word});
            (200, json!({"success": true, "data": [outcome]}))
        };
        assert_eq!(serving.call("POST", "/api/v1/dns/apply", Some(sets.clone())).await, outcome("created"));
        let written = site.tree().await;
        assert_eq!(serving.call("POST", "/api/v1/dns/apply", Some(sets.clone())).await, outcome("unchanged"));
        assert_eq!(site.tree().await, written);
        assert_eq!(
            serving.call("GET", "/api/v1/dns/export", None).await,
            (200, json!({"success": true, "data": sets}))
        );

        let (status, body) = serving.call("POST", "/api/v1/dns/apply?prune=true&max_deletes=0", Some(json!([]))).await;
        assert_eq!((status, &body["error"]["code"]), (409, &json!("too-many-deletes")), "{body}");
        assert_eq!(body["data"]["summary"]["delete"], 1, "{body}");
        assert_eq!(site.tree().await, written);
        let object = json!({"record_sets": [{"name": "elsewhere.test", "record_type": "A", "values": ["10.0.0.1"]}], "prune": true});
        let (status, body) = serving.call("POST", "/api/v1/dns/apply", Some(object)).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("outside-zones")), "{body}");
        let words: Vec<_> = body["data"].as_array().unwrap().iter().map(|outcome| outcome["outcome"].clone()).collect();
        assert_eq!(words, ["deleted", "refused"], "{body}");
        assert!(site.tree().await.is_empty());

        let wrong = json!([{"name": "a.example.com", "record_type": "AX", "values": "x"}]);
        let (status, body) = serving.call("POST", "/api/v1/dns/plan", Some(wrong)).await;
        assert_eq!(
            (status, body["error"]["message"].as_str().unwrap()),
            (
                400,
                "body:1:40: \"AX\" is not a record type: write A, AAAA, CNAME, TXT, MX, SRV, PTR or NS, say; body:1:54: this is a \
                 text, and \"values\" is a list: write [192.168.1.10], say"
            )
        );
    })
    .await;
}
