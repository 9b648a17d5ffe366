//! The command line: arguments, and which command they mean.
//!
//! Results go to standard output, everything else to standard error, each as the writer that [`run`] is given.

mod config;
mod demo;
mod doctor;
mod manual;
mod output;
mod plugin;
mod progress;
mod reconcile;
mod record;
mod serve;
mod server;
mod token;
mod zone;

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use dns_manager_host::contract::Code;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, LogFormat};
use crate::environment::Environment;
use crate::registry::VerifyError;
use crate::remote::{ConnectError, Remote, Target};
use crate::telemetry::Telemetry;
use output::{Console, Form};
use progress::Progress;

/// Overrides what is logged, in the form of `RUST_LOG`.
const LOG_VARIABLE: &str = "DNS_MANAGER_LOG";

/// Registers DNS records of servers, and removes them with the servers.
#[derive(Debug, Parser)]
#[command(
    name = "dns-manager",
    version,
    after_help = "Example:
  dns-manager server create web-01.example.com --ip 192.168.1.10 --ip 2001:db8::10

Exit status:
  0 all of it done, 1 something failed or is unknown, 2 bad arguments or configuration

On another machine:
  --server, else $DNS_MANAGER_SERVER, is where `dns-manager serve` listens; then no configuration is read here

Configuration:
  --config, else $DNS_MANAGER_CONFIG, else ./config.toml, else defaults; a variable overrides a value,
  DNS_MANAGER__ORCHESTRATOR__DNS__TTL that of orchestrator.dns.ttl"
)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// How results are written: for people, or as the `data` of the REST API.
    #[arg(long, global = true, value_enum, default_value_t = Form::Table, value_name = "FORM")]
    output: Form,
    /// Has a running `dns-manager serve` do it, on this machine or another. [variable: DNS_MANAGER_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// The file that holds the token for --server. [variable: DNS_MANAGER_TOKEN_FILE]
    #[arg(long, global = true, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// The file of the authorities, in PEM form, one of which issued the certificate of an https --server; those that the system trusts
    /// if absent. [variable: DNS_MANAGER_CA]
    #[arg(long, global = true, value_name = "PATH")]
    ca: Option<PathBuf>,
    /// No progress on standard error, which is for terminals alone; warnings and errors only.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// No colours, as with NO_COLOR.
    #[arg(long, global = true)]
    no_color: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job on this machine: servers come, are reached by name, and go. Needs nothing, leaves nothing.
    #[command(after_help = "Example:
  dns-manager demo")]
    Demo,
    /// Create, delete and show servers.
    #[command(
        subcommand,
        after_help = "Example:
  dns-manager server list"
    )]
    Server(server::Command),
    /// List, change and verify records.
    #[command(
        subcommand,
        after_help = "Example:
  dns-manager record verify web-01.example.com"
    )]
    Record(record::Any),
    /// Compare what is registered with the inventory, and mend what is ours.
    #[command(
        after_help = "Records of servers that are missing are registered again, records of servers that are gone are removed. What was
changed by hand is reported, and put back if orchestrator.reconcile.put_back is true. What is not ours is reported and left.
`serve` does this by itself, as often as orchestrator.reconcile.every says.

Exit status 1 if something is left, or would be mended in a dry run.

Example:
  dns-manager reconcile --dry-run"
    )]
    Reconcile(reconcile::Command),
    /// Serve the REST API until SIGTERM or Ctrl-C.
    #[command(after_help = "Example:
  dns-manager serve --config /etc/dns-manager.toml")]
    Serve,
    /// Create, list and revoke the tokens of the REST API.
    #[command(
        subcommand,
        after_help = "Example:
  dns-manager token list"
    )]
    Token(token::Command),
    /// Look for trouble: one line per check, `ok`, `warn` or `fail`, with what to do.
    #[command(after_help = "Writes a record into each zone, asks the name servers for it, and removes it.
Exit status 1 if a check fails.

Example:
  dns-manager doctor --output json")]
    Doctor,
    /// Explain the configuration.
    #[command(
        subcommand,
        after_help = "Example:
  dns-manager config show"
    )]
    Config(config::Command),
    /// Look into components.
    #[command(
        subcommand,
        after_help = "Example:
  dns-manager plugin inspect dns-manager.wasm"
    )]
    Plugin(plugin::Command),
    /// Write what makes a shell complete commands and options.
    #[command(after_help = "Examples:
  dns-manager completions bash > /etc/bash_completion.d/dns-manager
  dns-manager completions zsh > ~/.zfunc/_dns-manager")]
    Completions {
        /// Which.
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command.
    #[command(after_help = "Example:
  dns-manager man /usr/local/share/man/man1")]
    Man {
        /// Where; it is made if it is not there.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All of it done.
    Done,
    /// Something failed or is unknown.
    Failed,
    /// Bad arguments or configuration.
    Usage,
}

impl Exit {
    fn when(is_done: bool) -> Self {
        if is_done { Self::Done } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}

/// Why a command ended early.
enum Failure {
    Usage(anyhow::Error),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        if is_usage(&error) { Self::Usage(error) } else { Self::Failed(error) }
    }
}

/// Whether somebody has to change arguments or configuration; a component that cannot be loaded is named there, too.
fn is_usage(error: &anyhow::Error) -> bool {
    use crate::{lifecycle, remote, serve, token};
    error.is::<crate::config::Error>()
        || error.downcast_ref::<ConnectError>().is_some_and(ConnectError::is_usage)
        || error.is::<crate::name::NameError>()
        || error.downcast_ref().is_some_and(is_invalid)
        || match error.downcast_ref() {
            Some(VerifyError::Refused(_)) => true,
            Some(VerifyError::Dns(error)) => is_invalid(error),
            None => false,
        }
        || error.downcast_ref::<crate::plugin::ConnectError>().is_some_and(|error| !error.is_held())
        || match error.downcast_ref() {
            Some(serve::Error::Connect(error)) => !error.is_held(),
            Some(serve::Error::Tls(_) | serve::Error::NoToken(_)) => true,
            _ => false,
        }
        || matches!(error.downcast_ref(), Some(token::Error::Name { .. }))
        || matches!(error.downcast_ref(), Some(lifecycle::Error::Hostname(_) | lifecycle::Error::Request { .. }))
        || matches!(error.downcast_ref(), Some(remote::Error::Refused(reason)) if reason.code == "invalid")
}

/// Whether a call was none; a service says the same with the code `invalid`.
fn is_invalid(error: &dns_manager_host::Error) -> bool {
    matches!(error, dns_manager_host::Error::Refused(reason) if reason.code == Code::Invalid)
}

/// Parses the arguments (the program's name first) and runs the command.
pub async fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    environment: &Environment,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Exit {
    match parse(arguments, stdout, stderr) {
        Ok(cli) => cli.run(environment, stdout, stderr).await,
        Err(exit) => exit,
    }
}

/// Parses the arguments, the program's name first.
///
/// # Errors
///
/// There is no command to run: help was asked for and shown, or the arguments are wrong, which was said.
pub fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<Cli, Exit> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let text = error.render();
        let (written, exit) = if error.use_stderr() {
            (write!(stderr, "{text}"), Exit::Usage)
        } else {
            (write!(stdout, "{text}"), Exit::Done)
        };
        if written.is_ok() { exit } else { Exit::Failed }
    })
}

/// Sends log lines to standard error. A command's are as `DNS_MANAGER_LOG` says, else warnings; a service's are as the table
/// `orchestrator.log` says, whose filter the variable overrides.
///
/// A service also sends its spans to a collector, as `orchestrator.telemetry` says; what is returned ends that.
///
/// # Errors
///
/// The variable's value is no filter, or the export cannot be started.
pub fn log(environment: &Environment, cli: &Cli) -> anyhow::Result<Option<Telemetry>> {
    // A configuration that cannot be loaded is reported by the command itself.
    let config = if cli.is_service() { Config::load(cli.config.as_deref(), environment).ok() } else { None };
    let (filter, format) = config.as_ref().map_or(("warn", LogFormat::Text), |c| (&*c.log.filter, c.log.format));
    let filter = environment.variable(LOG_VARIABLE).unwrap_or(filter);
    let filter = EnvFilter::try_new(filter).with_context(|| format!("{LOG_VARIABLE}: \"{filter}\" is not a filter"))?;
    let endpoint = config.as_ref().and_then(|config| config.otlp_endpoint.as_ref());
    let telemetry = endpoint.map(|endpoint| Telemetry::start(endpoint)).transpose()?;
    crate::log::subscriber(filter, format, io::stderr, telemetry.as_ref())
        .try_init()
        .map_err(|error| anyhow::anyhow!("starting the log: {error}"))?;
    Ok(telemetry)
}

impl Cli {
    /// Whether this is a service rather than a command.
    pub fn is_service(&self) -> bool {
        matches!(self.command, Command::Serve)
    }

    /// Runs the command.
    pub async fn run(self, environment: &Environment, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Exit {
        let progress = Progress::of(environment, self.quiet);
        let mut console = Console::new(self.output, progress, stdout, stderr);
        let settings = Settings {
            file: self.config,
            server: self.server,
            token_file: self.token_file,
            ca: self.ca,
            is_plain: self.no_color,
            environment,
        };
        if let (Some(_), Some(command)) = (&settings.server, self.command.only_here()) {
            console.error(&format!("`dns-manager {command}` works on this machine alone: leave --server out"));
            return Exit::Usage;
        }
        let ended = match self.command {
            Command::Demo => demo::run(&mut console).await,
            Command::Server(command) => server::run(command, &settings, &mut console).await,
            Command::Record(command) => record::run(command, &settings, &mut console).await,
            Command::Serve => serve::run(&settings, &mut console).await,
            Command::Reconcile(command) => reconcile::run(command, &settings, &mut console).await,
            Command::Token(command) => token::run(command, &settings, &mut console),
            Command::Doctor => doctor::run(&settings, &mut console).await,
            Command::Config(command) => config::run(&command, &settings, &mut console),
            Command::Plugin(command) => plugin::run(command, &mut console).await,
            Command::Completions { shell } => manual::completions(shell, &mut console),
            Command::Man { directory } => manual::pages(&settings.environment.directory.join(directory), &mut console),
        };
        let (error, exit) = match ended {
            Ok(exit) => return exit,
            Err(Failure::Usage(error)) => (error, Exit::Usage),
            Err(Failure::Failed(error)) => (error, Exit::Failed),
        };
        for line in crate::error_chain(error.as_ref()).lines() {
            console.error(line);
        }
        exit
    }
}

impl Command {
    /// The name of a command that no service can do for us.
    fn only_here(&self) -> Option<&'static str> {
        match self {
            Self::Server(_) | Self::Record(_) | Self::Reconcile(_) => None,
            Self::Demo => Some("demo"),
            Self::Serve => Some("serve"),
            Self::Token(_) => Some("token"),
            Self::Doctor => Some("doctor"),
            Self::Config(_) => Some("config"),
            Self::Plugin(_) => Some("plugin"),
            Self::Completions { .. } => Some("completions"),
            Self::Man { .. } => Some("man"),
        }
    }
}

/// Where the configuration comes from, or the service that does the work.
struct Settings<'a> {
    file: Option<PathBuf>,
    server: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    is_plain: bool,
    environment: &'a Environment,
}

/// Where a running service is.
const SERVER_VARIABLE: &str = "DNS_MANAGER_SERVER";
/// Where the token for it is, and the authorities of its certificate.
const TOKEN_FILE_VARIABLE: &str = "DNS_MANAGER_TOKEN_FILE";
const CA_VARIABLE: &str = "DNS_MANAGER_CA";

impl Settings<'_> {
    /// The service that is to do the work, if one was named; it has answered.
    async fn remote(&self, console: &mut Console<'_>) -> Result<Option<Remote>, Failure> {
        let Some(url) = self.server.as_deref().or_else(|| self.environment.variable(SERVER_VARIABLE)) else {
            return Ok(None);
        };
        let variable = |name| self.environment.variable(name).map(Path::new);
        let token = match self.token_file.as_deref().or_else(|| variable(TOKEN_FILE_VARIABLE)) {
            None => None,
            Some(file) => Some(self.named("--token-file", file, std::fs::read_to_string)?),
        };
        let mut target = Target::parse(url, token.as_deref())?;
        // Whoever sets the variable may have a service without TLS, too.
        if let Some(file) = self.ca.as_deref().or_else(|| variable(CA_VARIABLE).filter(|_| target.is_secure())) {
            let pem = self.named("--ca", file, std::fs::read)?;
            target = target.trusting(&file.display().to_string(), &pem)?;
        }
        if let Some(warning) = target.warning() {
            console.warning(&warning);
        }
        let (remote, warning) = Remote::connect(&target).await?;
        if let Some(warning) = warning {
            console.warning(&warning);
        }
        Ok(Some(remote))
    }

    /// The octets of a file; `-` is standard input.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        if file == Path::new("-") {
            let mut octets = Vec::new();
            io::stdin().read_to_end(&mut octets).map(|_| octets)
        } else {
            std::fs::read(self.environment.directory.join(file))
        }
    }

    /// What is in a file that an option names.
    fn named<T>(
        &self,
        option: &'static str,
        file: &Path,
        read: impl FnOnce(PathBuf) -> io::Result<T>,
    ) -> Result<T, ConnectError> {
        read(self.environment.directory.join(file)).map_err(|source| {
            let file = file.display().to_string();
            ConnectError::File { option, file, source }
        })
    }

    /// Loads the configuration and says what deserves a look.
    fn load(&self, console: &mut Console<'_>) -> Result<Config, Failure> {
        let config = Config::load(self.file.as_deref(), self.environment)?;
        for warning in &config.warnings {
            console.warning(warning);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The words of a command line, as a shell would give them.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
        for character in line.split(" >").next().unwrap_or_default().chars() {
            match character {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
                other => word.push(other),
            }
        }
        words.push(word);
        words
    }

    fn check(command: &clap::Command, path: &[&str]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let called = path.join(" ");
        assert!(examples.iter().any(|line| line.starts_with(&called)), "`{called} --help` has no example of itself");
        for example in examples.into_iter().filter(|line| line.starts_with("dns-manager")) {
            if let Err(error) = Cli::try_parse_from(words(example)) {
                panic!("`{called} --help` shows `{example}`: {error}");
            }
        }
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            check(sub, &[path, &[sub.get_name()]].concat());
        }
    }

    #[test]
    fn every_command_shows_an_example_that_can_be_typed() {
        let mut command = Cli::command();
        command.build();
        check(&command, &["dns-manager"]);
    }
}
