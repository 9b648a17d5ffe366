//! `completions`, `man`: what shells and `man` know of the commands.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::output::Console;
use super::{Cli, Exit, Failure};

const NAME: &str = "dns-manager";

pub(super) fn completions(shell: Shell, console: &mut Console<'_>) -> Result<Exit, Failure> {
    // Whole first: the generator takes no error of the writer.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    console.stdout.write_all(&script)?;
    console.stdout.flush()?;
    Ok(Exit::Done)
}

pub(super) fn pages(directory: &Path, console: &mut Console<'_>) -> Result<Exit, Failure> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .with_context(|| {
            format!("writing manual pages into {}: name a directory that can be written", directory.display())
        })?;
    console.note(&format!("read them with `man -l {}`", directory.join("dns-manager.1").display()));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run;
    use crate::environment::Environment;

    async fn ran(arguments: &[&str]) -> (Exit, String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let arguments = [&[NAME], arguments].concat();
        let exit = run(arguments, &Environment::default(), &mut stdout, &mut stderr).await;
        (exit, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    #[tokio::test]
    async fn every_shell_completes_every_command() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let (exit, script, stderr) = ran(&["completions", shell]).await;
            assert_eq!((exit, stderr.as_str()), (Exit::Done, ""), "{shell}");
            for word in ["record", "unregister", "token-file"] {
                assert!(script.contains(word), "{shell} does not complete {word}");
            }
        }
    }

    #[tokio::test]
    async fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("new/man1");
        let (exit, stdout, _) = ran(&["--quiet", "man", into.to_str().unwrap()]).await;
        assert_eq!((exit, stdout.as_str()), (Exit::Done, ""));

        for name in ["dns-manager", "dns-manager-server-create", "dns-manager-record-apply", "dns-manager-serve"] {
            let page = std::fs::read_to_string(into.join(format!("{name}.1")))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(page.contains(".TH ") && page.contains("Example"), "{name}: {page}");
        }

        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (exit, _, stderr) = ran(&["man", file.to_str().unwrap()]).await;
        assert_eq!(exit, Exit::Failed);
        assert!(stderr.contains("name a directory that can be written"), "{stderr}");
    }

    #[tokio::test]
    async fn what_works_here_alone_says_so() {
        for command in [&["doctor"][..], &["serve"], &["demo"], &["config", "show"], &["completions", "bash"]] {
            let (exit, _, stderr) = ran(&[command, &["--server", "http://127.0.0.1:1"]].concat()).await;
            assert_eq!(exit, Exit::Usage, "{command:?}");
            assert!(stderr.starts_with("error: `dns-manager ") && stderr.ends_with("leave --server out\n"), "{stderr}");
        }
    }
}
