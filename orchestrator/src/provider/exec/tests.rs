//! Real programs: each a few words of the shell.

use std::path::Path;
use std::time::Instant;

use super::*;
use crate::environment::Environment;

const SCHEMA: &str = include_str!("../../../../docs/provider-exec.schema.json");

fn server() -> Server {
    Server::new("web-01.example.com".parse().unwrap(), vec!["192.0.2.1".parse().unwrap()])
}

/// Runs `script` with the verb as `$1`.
fn shell(script: &str) -> Exec {
    Exec::new(Settings {
        program: "/bin/sh".into(),
        arguments: ["-c", script, "provider"].map(str::to_owned).to_vec(),
        variables: Variables::of(&Environment::of_process(), &[]),
        timeout: Duration::from_secs(60),
        status_timeout: Duration::from_secs(60),
        guard: None,
    })
}

/// Whether a document is of this kind, by the published schema.
fn is_valid(kind: &str, document: &serde_json::Value) -> bool {
    let mut schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    schema.as_object_mut().unwrap().remove("anyOf");
    schema["$ref"] = format!("#/$defs/{kind}").into();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap().is_valid(document)
}

/// The process whose number a script wrote there.
async fn written(file: &Path) -> String {
    let began = Instant::now();
    loop {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing was written to {}", file.display());
    }
}

/// Waits until a process is gone, or only its number is left.
async fn gone(process: &str) {
    // `1234 (sleep) S ...`: one that has ended may wait for somebody to take note.
    let runs = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    };
    let began = Instant::now();
    while runs() {
        assert!(began.elapsed() < Duration::from_secs(20), "process {process} is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_request_is_what_the_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let provider = shell(&format!("cat > {}/$1; echo '{{\"status\": \"absent\"}}'", folder.path().display()));
    let mut server = server();
    server.begin("create");
    server.begin("create");

    provider.create(&server).await.unwrap();
    provider.status(&server).await.unwrap();
    provider.stop(&server).await.unwrap();
    provider.delete(&server).await.unwrap();

    for verb in ["create", "status", "stop", "delete"] {
        let text = std::fs::read_to_string(folder.path().join(verb)).unwrap();
        let request: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(is_valid("request", &request), "{text}");
        let expected = serde_json::json!({
            "version": 1,
            "verb": verb,
            "attempt": 2,
            "timeout_ms": 60000,
            "server": {"id": server.id, "hostname": "web-01.example.com", "addresses": ["192.0.2.1"]},
        });
        assert_eq!(request, expected);
    }
}

#[tokio::test]
async fn the_schema_and_the_program_agree_about_status_answers() {
    for (answer, is_understood) in [
        (r#"{"status": "absent"}"#, true),
        (r#"{"status": "pending"}"#, true),
        (r#"{"status": "pending", "detail": "it boots", "since": 3}"#, true),
        (r#"{"status": "ready", "addresses": ["192.0.2.1", "2001:db8::1"]}"#, true),
        (r#"{"status": "ready"}"#, false),
        (r#"{"status": "ready", "addresses": []}"#, false),
        (r#"{"status": "ready", "addresses": ["192.0.2.1/24"]}"#, false),
        (r#"{"status": "ready", "addresses": ["web-01"]}"#, false),
        (r#"{"status": "ready", "addresses": "192.0.2.1"}"#, false),
        (r#"{"status": "up"}"#, false),
        (r#"{"status": 1}"#, false),
        (r#"{}"#, false),
        (r#"[]"#, false),
    ] {
        let document = serde_json::from_str(answer).unwrap();
        assert_eq!(is_valid("statusAnswer", &document), is_understood, "{answer}");
        let status = shell(&format!("echo '{answer}'")).status(&server()).await;
        assert_eq!(status.is_ok(), is_understood, "{answer}: {status:?}");
    }
    for failure in [r#"{"error": {"message": "m"}}"#, r#"{"error": {"message": "m", "may_pass": false}}"#] {
        let document = serde_json::from_str(failure).unwrap();
        assert!(is_valid("statusAnswer", &document) && is_valid("otherAnswer", &document), "{failure}");
    }
    let nonsense = serde_json::json!({"error": "m"});
    assert!(!is_valid("otherAnswer", &nonsense));
    shell("echo '{\"error\": \"m\"}'").create(&server()).await.unwrap_err();
    assert!(is_valid("otherAnswer", &serde_json::json!({})));
}

#[tokio::test]
async fn whatever_goes_wrong_is_named() {
    for (script, expected) in [
        (
            "echo whatever; echo 'the cloud is gone' >&2; exit 3",
            Error::passing("`sh create`: it ended with exit status 3: the cloud is gone"),
        ),
        ("kill -9 $$", Error::passing("`sh create`: it was killed by signal 9")),
        (
            "echo '{\"error\": {\"message\": \"no such image\", \"may_pass\": false}}'; exit 1",
            Error::lasting("`sh create`: no such image"),
        ),
        (
            "echo made",
            Error::lasting(
                "`sh create`: its answer is not one JSON document (expected value at line 1 column 1); it begins with: made",
            ),
        ),
        ("yes", Error::lasting("`sh create`: it answered with more than 1048576 octets, and was ended")),
    ] {
        assert_eq!(shell(script).create(&server()).await, Err(expected), "{script}");
    }
    // It reads nothing, and closes what it could read from.
    shell("exec <&-; exit 0").create(&server()).await.unwrap();
    let flood = shell("yes 'a line' | head -n 200000 >&2; echo '{\"status\": \"absent\"}'");
    assert_eq!(flood.status(&server()).await, Ok(Status::Absent));
}

#[tokio::test]
async fn a_program_that_does_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("provider");
    std::fs::write(&file, "no program").unwrap();
    for (program, expected) in [
        (folder.path().join("missing"), "No such file or directory (os error 2); neither may the interpreter"),
        (file, "Permission denied (os error 13); `chmod +x` makes it executable"),
    ] {
        let mut provider = shell("");
        provider.settings.program = program.clone();
        let error = provider.create(&server()).await.unwrap_err();
        let name = program.file_name().unwrap().to_str().unwrap();
        let expected = format!("`{name} create`: {} does not start: {expected}", program.display());
        assert!(error.may_pass && error.message.starts_with(&expected), "{error} instead of {expected}");
    }
}

#[tokio::test]
async fn a_program_sees_the_variables_that_were_named_and_no_others() {
    let environment = Environment {
        variables: ["PATH", "CLOUD_TOKEN", "ETCD_PASSWORD"].map(|name| (name.to_owned(), "hush".to_owned())).into(),
        ..Environment::default()
    };
    let mut provider =
        shell(r#"echo "{\"status\": \"pending\", \"detail\": \"$PATH,$CLOUD_TOKEN,$ETCD_PASSWORD,$CARGO_PKG_NAME\"}""#);
    provider.settings.variables = Variables::of(&environment, &["CLOUD_TOKEN".to_owned(), "NOT_SET".to_owned()]);

    assert_eq!(provider.status(&server()).await, Ok(Status::Pending("hush,hush,,".to_owned())));
    assert_eq!(format!("{:?}", provider.settings.variables), r#"{"CLOUD_TOKEN", "PATH"}"#);
}

#[tokio::test]
async fn at_the_time_limit_all_of_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("process");
    let mut provider = shell(&format!("echo 'it hangs' >&2; sleep 1000 & echo $! > {}; wait", file.display()));
    provider.settings.timeout = Duration::from_secs(5);

    let error = provider.create(&server()).await;

    let expected = "`sh create`: it took longer than 5s, and was ended; it said last: it hangs";
    assert_eq!(error, Err(Error::passing(expected)));
    gone(&written(&file).await).await;
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("process");
    let (provider, server) = (shell(&format!("sleep 1000 & echo $! > {}; wait", file.display())), server());

    let process = tokio::select! {
        ended = provider.create(&server) => panic!("it ended by itself: {ended:?}"),
        process = written(&file) => process,
    };

    gone(&process).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_neither_holds_the_answer_up_nor_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("process");
    let provider = shell(&format!("sleep 1000 & echo $! > {}; echo '{{\"status\": \"absent\"}}'", file.display()));

    let began = Instant::now();
    assert_eq!(provider.status(&server()).await, Ok(Status::Absent));

    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    gone(&written(&file).await).await;
}
