//! What commands that change records say of the configured zones first.

use super::Failure;
use super::output::Console;
use crate::config::Config;
use crate::dns::Dns;
use crate::plugin::ConnectError;
use crate::zones;

/// Stops a command that would write into a zone that nobody serves.
pub(super) async fn require(config: &Config, dns: &dyn Dns, console: &mut Console<'_>) -> Result<(), Failure> {
    for warning in zones::check(config, dns).await.map_err(ConnectError::from)? {
        console.warning(&warning);
    }
    Ok(())
}

/// Warns only: what is left of a zone that is served no longer may be removed.
pub(super) async fn look(config: &Config, dns: &dyn Dns, console: &mut Console<'_>) {
    match zones::check(config, dns).await {
        Ok(warnings) => warnings.iter().for_each(|warning| console.warning(warning)),
        Err(error) => console.warning(&error.to_string()),
    }
}
