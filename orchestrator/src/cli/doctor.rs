//! `doctor`

use anyhow::Context as _;

use super::output::{Console, printable};
use super::{Exit, Failure, Settings};
use crate::config::Config;
use crate::doctor::{self, Check, Level};
use crate::interruption::Interruption;

pub(super) async fn run(settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let checks = match Config::load(settings.file.as_deref(), settings.environment) {
        Ok(config) => {
            console.waiting("checking");
            let mut interruption = Interruption::listen().context("listening for signals")?;
            doctor::examine(&config, interruption.came()).await
        }
        Err(error) => doctor::misconfigured(&error),
    };
    console.result(checks.as_slice(), lines)?;
    Ok(Exit::when(checks.iter().all(|check| check.level != Level::Fail)))
}

fn lines(checks: &[Check]) -> String {
    checks.iter().map(|check| printable(&check.to_string()) + "\n").collect()
}
