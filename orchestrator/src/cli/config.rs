//! `config show`

use clap::Subcommand;

use super::output::{Console, Rows};
use super::{Exit, Failure, Settings};
use crate::config::Shown;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every value in force and where it came from, secrets masked.
    #[command(after_help = "Examples:
  dns-manager config show --output json
  dns-manager config show --corefile >> Corefile")]
    Show {
        /// Print the block of CoreDNS's Corefile that fits these settings instead.
        #[arg(long)]
        corefile: bool,
    },
}

pub(super) fn run(command: &Command, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Show { corefile: true } => {
            let config = settings.load(console)?;
            console.result(&config.corefile(), Clone::clone)?;
            Ok(Exit::Done)
        }
        Command::Show { corefile: false } => {
            let config = settings.load(console)?;
            console.result(config.shown(), table)?;
            Ok(Exit::Done)
        }
    }
}

fn table(shown: &[Shown]) -> String {
    let mut rows = Rows::new(&["KEY", "VALUE", "SOURCE"]);
    for Shown { key, value, source } in shown {
        let value = match value {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        rows.add(&[key, &value, source]);
    }
    rows.text()
}
