//! Telling the inventory that a name resolves, after this process has verified it.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::output::Console;
use crate::cli::{Failure, server};
use crate::config::Config;
use crate::dns::Dns;
use crate::inventory;
use crate::registry::Selection;

/// Has the server of this name marked as verified, if there is one; a service that holds the inventory looks for itself.
pub(super) async fn confirm(
    name: &str,
    selection: &Selection,
    dns: &Arc<dyn Dns>,
    config: &Config,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if !inventory::may_exist(config) {
        return Ok(());
    }
    // Who holds the inventory may be waiting for the records, which this process holds.
    match server::open_within(config, Duration::ZERO, console).await? {
        server::Access::Alone(inventory) => {
            let confirmed = server::lifecycle(config, Arc::clone(dns), Arc::clone(&inventory)).confirm(name).await;
            inventory.leave().await;
            confirmed?;
        }
        server::Access::Through(remote) => drop(remote.verify(selection, Duration::ZERO).await?),
    }
    Ok(())
}
