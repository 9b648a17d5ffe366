//! As whom etcd is entered, and what its refusals mean for whoever runs this.

use super::{Access, Source, calls};
use etcd_client::Error;

/// Somebody's right to the inventory.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// None: nobody logs in.
    user: Option<String>,
    path: String,
}

impl Account {
    pub(super) fn of(access: &Access) -> Self {
        let user = access.credentials.as_ref().map(|(user, _)| user.clone());
        Self { user, path: access.path.clone() }
    }

    /// Says what to do about a refusal.
    pub(super) fn explain(&self, error: Source) -> Source {
        let Some(refusal) = error.downcast_ref() else { return error };
        let Error::GRpcStatus(status) = refusal else { return error };
        let who = self.user.as_ref().map_or("whom the client certificate names".to_owned(), |user| format!("`{user}`"));
        let path = &self.path;
        // By etcd's words: its codes are the same for several things.
        let explained = match status.message().trim_start_matches("etcdserver: ") {
            "permission denied" => format!(
                "permission denied for the user {who}, who needs to read and write all below {path}/: grant it to a role of \
                 theirs, `etcdctl role grant-permission ROLE readwrite --prefix=true {path}/`"
            ),
            "user name is empty" => {
                "etcd asks for a user and a password: set [orchestrator.inventory.credentials], or \
                                     [orchestrator.dns.credentials] if they are those of the records"
                    .to_owned()
            }
            why if why.starts_with("authentication failed") => format!("the login as {who} is refused: {why}"),
            _ if calls::has_no_leader(refusal) => {
                "etcd has no leader: a majority of its members must run, and reach each other".to_owned()
            }
            message => {
                // Each wraps the next one, most of them in the same words.
                let mut words = vec![message.to_owned()];
                words.extend(calls::sources(refusal).map(ToString::to_string).filter(|word| word != "transport error"));
                words.dedup();
                format!("etcd does not answer: {}", words.join(": "))
            }
        };
        explained.into()
    }
}

/// Whether a login was refused because there are no users.
pub(super) fn is_open_to_all(error: &Source) -> bool {
    matches!(error.downcast_ref(), Some(Error::GRpcStatus(status)) if status.message().contains("authentication is not enabled"))
}
