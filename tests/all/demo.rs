//! `dns-manager demo`, as somebody types it who has nothing yet.

use dns_manager_tests::cli::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_the_whole_job_and_leaves_nothing() {
    let installation = Installation::new("");
    let temporary = tempfile::TempDir::with_prefix("dns-manager-").unwrap();
    let variables = [("TMPDIR", temporary.path().to_str().unwrap())];

    let ran = installation.run_with(&["demo"], &variables).await.succeeded();

    for (what, times) in
        [("A over UDP: NOERROR 127.", 7), ("A over TCP: NOERROR 127.", 3), ("NXDOMAIN", 3), ("says \"", 4)]
    {
        let seen = ran.stdout.matches(what).count();
        assert!(seen >= times, "`{what}` {seen} times instead of {times}:\n{}", ran.stdout);
    }
    assert!(ran.stdout.contains("web-01.example.com -> ") && ran.stdout.contains("says \"web-02.example.com at"));
    assert!(ran.stdout.contains("All as told"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "it leaves nothing behind");
    assert!(!installation.folder().join("state").exists(), "nor in the user's state directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_in_json_is_its_steps() {
    let ran = Installation::new("").run(&["demo", "--output", "json"]).await.succeeded();
    let steps = ran.json();
    let steps = steps.as_array().unwrap();
    assert_eq!(steps.len(), 7, "{steps:#?}");
    assert!(steps.iter().all(|step| step["step"].is_string() && !step["seen"].as_array().unwrap().is_empty()));
}
