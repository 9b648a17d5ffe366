//! `token create|list|revoke`

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use super::output::{Console, Rows};
use super::{Exit, Failure, Settings};
use crate::name::Name;
use crate::timestamp::Timestamp;
use crate::token::{Role, Store, Token, Wanted};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token and print it; it cannot be shown again.
    #[command(
        after_help = "read: lists, verification, plans; write: changes of records and servers; admin: repair, reconcile, adopt and
release, too. A running `serve` knows it at once.

Example:
  dns-manager token create ci --role write --zone example.com --expires 90d > ci.token"
    )]
    Create {
        /// What it is called, in lists and in the audit log.
        name: String,
        /// What it allows.
        #[arg(long, value_enum, default_value_t = Role::Read, value_name = "ROLE")]
        role: Role,
        /// Limits it to names in this zone; may be repeated.
        #[arg(long = "zone", value_name = "ZONE")]
        zones: Vec<Name>,
        /// When it ends by itself: 90d, say.
        #[arg(long, value_parser = expires, value_name = "DURATION")]
        expires: Option<Duration>,
    },
    /// List all tokens, without their secrets.
    #[command(after_help = "Example:
  dns-manager token list")]
    List,
    /// End a token; a running `serve` refuses it at once.
    #[command(after_help = "Example:
  dns-manager token revoke ci")]
    Revoke {
        /// What it is called.
        name: String,
    },
}

/// A token as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    id: &'a str,
    role: Role,
    zones: &'a [Name],
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    expired: bool,
    /// Of a new one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(token: &'a Token) -> Self {
        Self {
            name: &token.name,
            id: &token.id,
            role: token.role,
            zones: &token.zones,
            created_at: token.created_at,
            expires_at: token.expires_at,
            expired: token.is_expired(),
            token: None,
        }
    }
}

pub(super) fn run(command: Command, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let store = Store::new(settings.load(console)?.access.tokens);
    match command {
        Command::Create { name, role, zones, expires } => {
            let (token, presented) = store.create(Wanted { name, role, zones, expires })?;
            let shown = Shown { token: Some(&presented), ..Shown::new(&token) };
            console.result(&shown, |_| format!("{presented}\n"))?;
            console.note(&format!("keep it: it is not shown again; {} has its hash alone", store.path().display()));
        }
        Command::List => {
            let tokens = store.read()?;
            console.result(&tokens.iter().map(Shown::new).collect::<Vec<_>>(), |tokens| table(tokens))?;
        }
        Command::Revoke { name } => {
            let token = store.revoke(&name)?;
            console.result(&Shown::new(&token), |token| format!("{} is revoked\n", token.name))?;
        }
    }
    Ok(Exit::Done)
}

fn table(tokens: &[Shown<'_>]) -> String {
    let mut rows = Rows::new(&["NAME", "ID", "ROLE", "ZONES", "CREATED", "EXPIRES"]);
    for token in tokens {
        let zones = token.zones.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        let zones = if zones.is_empty() { "all".to_owned() } else { zones };
        let expires = match token.expires_at {
            None => "never".to_owned(),
            Some(at) if token.expired => format!("{at} (expired)"),
            Some(at) => at.to_string(),
        };
        let role = token.role.to_string();
        rows.add(&[token.name, token.id, &role, &zones, &token.created_at.to_string(), &expires]);
    }
    rows.text()
}

/// What lasts longer does not end for anybody; and years have four digits.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

fn expires(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => Err("it is longer than a hundred years: leave --expires out".to_owned()),
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("it would be over at once: write 90d, say".to_owned()),
        Err(error) => Err(format!("{error}: write 90d, say")),
    }
}
