//! The table `orchestrator.provider`.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::provider::{Kind, Settings, exec};

fn with_provider(lines: &str) -> Given {
    Given::file(&format!("[orchestrator.provider]\n{lines}\n"))
}

fn add_program(given: &Given, mode: u32) -> PathBuf {
    let program = given.directory.path().join("cloud");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
    program
}

#[test]
fn a_program_is_taken_from_beside_the_file_with_its_arguments_as_they_are() {
    let given = with_provider(
        "kind = \"exec\"\nprogram = \"cloud\"\narguments = [\"-v\", \"\", \"-v\"]\nenvironment = [\"CLOUD_TOKEN\"]\n\
         timeout = \"2m\"\nprobes = [\"tcp:22\", \"http://:8080/healthz\"]",
    );
    let program = add_program(&given, 0o755);

    let provider = given.load().unwrap().provider;

    assert_eq!(
        provider.kind,
        Kind::Exec(exec::Settings {
            program,
            arguments: ["-v", "", "-v"].map(str::to_owned).to_vec(),
            environment: vec!["CLOUD_TOKEN".to_owned()],
            timeout: Duration::from_secs(120),
            status_timeout: Duration::from_secs(10),
            guard: None,
        })
    );
    let probes: Vec<_> = provider.probes.iter().map(ToString::to_string).collect();
    assert_eq!(probes, ["tcp:22", "http://:8080/healthz"]);
    let usual = Given::file("").load().unwrap().provider;
    assert_eq!(usual, Settings { kind: Kind::Static, probes: Vec::new() });
}

#[test]
fn a_program_that_cannot_be_run_is_refused_at_once() {
    let text = "kind = \"exec\"\nprogram = \"cloud\"";
    let place = |given: &Given| {
        format!("config.toml:3: orchestrator.provider.program: {}/cloud", given.directory.path().display())
    };
    let given = with_provider(text);
    let missing = format!("{}: it cannot be run: No such file or directory (os error 2)", place(&given));
    assert_eq!(given.error(), missing);

    add_program(&given, 0o644);
    assert_eq!(given.error(), format!("{}: it is not executable: `chmod +x` makes it so", place(&given)));

    let given = with_provider(text);
    fs::create_dir(given.directory.path().join("cloud")).unwrap();
    assert_eq!(given.error(), format!("{}: it cannot be run: it is no file", place(&given)));
}

#[test]
fn what_does_not_fit_the_provider_says_what_to_write() {
    for (lines, expected) in [
        (
            "kind = \"cloud\"",
            "2: orchestrator.provider.kind: \"cloud\" is not a provider: write \"static\", \"local\" or \"exec\"",
        ),
        (
            "kind = \"exec\"",
            "2: orchestrator.provider.kind: orchestrator.provider.program is not set: which program creates servers?",
        ),
        (
            "kind = \"local\"\nprogram = \"cloud\"",
            "3: orchestrator.provider.program: the provider \"local\" runs no program: write kind = \"exec\", or remove this",
        ),
        (
            "timeout = \"5s\"",
            "2: orchestrator.provider.timeout: the provider \"static\" runs no program: write kind = \"exec\", or remove this",
        ),
        ("arguments = \"-v\"", "2: orchestrator.provider.arguments: \"-v\" is not a list: write [\"-v\"]"),
        (
            "probes = [\"tcp\"]",
            "2: orchestrator.provider.probes: \"tcp\" is not a probe: write \"tcp:22\" or \"http://:8080/healthz\", say",
        ),
        (
            "timout = \"5s\"",
            "2: unknown key \"orchestrator.provider.timout\": the nearest known one is \"orchestrator.provider.timeout\"",
        ),
    ] {
        let error = with_provider(lines).error();
        assert_eq!(error.lines().next(), Some(format!("config.toml:{expected}").as_str()), "{error}");
    }
}
