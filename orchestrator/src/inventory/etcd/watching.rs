//! Telling of every change below a prefix, whoever made it.
//!
//! A watch begins at the present, so that it asks for no revision that may have been compacted. What came before it, or
//! between two of them, is made good by telling that anything may have changed: whoever cares reads anew.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::{Client, WatchOptions, WatchResponse};

use super::Source;
use crate::inventory::{Changed, Notices};

const PAUSE: Duration = Duration::from_millis(500);

/// Watches for ever.
pub(super) async fn keep(client: Client, prefix: String, notices: Notices) {
    loop {
        if let Err(error) = over_one_stream(&client, &prefix, &notices).await {
            tracing::debug!(%error, "the watch of the inventory has ended; it begins anew");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn over_one_stream(client: &Client, prefix: &str, notices: &Notices) -> Result<(), Source> {
    let options = WatchOptions::new().with_prefix();
    let mut stream = client.watch_client().watch(prefix, Some(options)).await?;
    while let Some(answer) = stream.message().await? {
        if answer.canceled() {
            let why = match answer.compact_revision() {
                0 => answer.cancel_reason().to_owned(),
                revision => format!("what came up to revision {revision} was compacted before it was told"),
            };
            return Err(why.into());
        }
        if answer.created() {
            notices.tell(Changed::Anything);
        } else {
            notices.tell(changed(&answer, prefix));
        }
    }
    Err("etcd has ended it".into())
}

/// Whose keys these are. One that is nobody's is left to who reads all: they say what is wrong with it.
fn changed(answer: &WatchResponse, prefix: &str) -> Changed {
    let hostname = |key: &[u8]| std::str::from_utf8(key).ok()?.strip_prefix(prefix)?.parse().ok();
    let keys = answer.events().iter().filter_map(etcd_client::Event::kv).map(etcd_client::KeyValue::key);
    let hostnames: Option<BTreeSet<_>> = keys.map(hostname).collect();
    hostnames.map_or(Changed::Anything, Changed::Servers)
}
