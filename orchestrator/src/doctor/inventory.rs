//! Whether the inventory in etcd can be read and written.

use uuid::Uuid;

use super::{Check, Examination, Level};
use crate::config::Inventory;
use crate::inventory::{self, etcd::Access};

impl Examination<'_> {
    /// Reads it, and takes and gives back a claim on a server that nobody has.
    pub(super) async fn check_inventory(&mut self) {
        let Inventory::Etcd(etcd) = &self.config.inventory else { return };
        let why = match inventory::open(self.config).await {
            Err(error) => crate::error_chain(&error),
            Ok(inventory) => {
                let claimed = inventory.claim(Uuid::now_v7()).await;
                inventory.leave().await;
                match claimed {
                    Ok(Some(_)) => {
                        let saw =
                            format!("servers are kept in etcd under {}, which can be read and written", etcd.path);
                        self.add("inventory", Level::Ok, saw, "");
                        return;
                    }
                    Ok(None) => "the lease in etcd ended while it was used".to_owned(),
                    Err(error) => crate::error_chain(&error),
                }
            }
        };
        let remedy = remedy(etcd, &why);
        self.checks.push(Check::new("inventory", Level::Fail, why, remedy));
    }
}

fn remedy(etcd: &Access, why: &str) -> String {
    if why.contains("permission denied") {
        return format!("etcdctl role grant-permission ROLE readwrite --prefix=true {}/", etcd.path);
    }
    "see orchestrator.inventory, and whether an etcd with a quorum runs at its urls".to_owned()
}
