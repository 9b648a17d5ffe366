//! Servers that a program of the user's creates and deletes: it is called with a verb and a JSON document on its standard
//! input, and answers with one on its standard output. `docs/providers.md` is the protocol.
//!
//! `request` and `answer` are the documents, `call` is one run of the program with its limits, `line` takes its standard
//! error apart for the log, and [`guard`] sees to it that the program does not outlive this process.

mod answer;
mod call;
pub mod guard;
mod line;
mod request;
mod start;
mod variables;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use variables::Variables;

use super::{Error, Provider, Status};
use crate::server::Server;
use answer::Answer;
use request::{Request, Verb};

/// How the program is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// What it is given before the verb.
    pub arguments: Vec<String>,
    /// All the environment variables that it has.
    pub variables: Variables,
    /// How long it may take to create, stop or delete a server.
    pub timeout: Duration,
    /// How long it may take to say how far one is.
    pub status_timeout: Duration,
    /// Calls [`guard::run`] when it is started with [`guard::ARGUMENT`] first. None: a program that runs while this
    /// process is killed goes on by itself.
    pub guard: Option<PathBuf>,
}

/// The provider.
#[derive(Debug)]
pub struct Exec {
    settings: Settings,
}

impl Exec {
    /// With these settings; the program is not run before there is something to do.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    async fn ask(&self, verb: Verb, server: &Server) -> Result<Answer, Error> {
        let limit = if verb == Verb::Status { self.settings.status_timeout } else { self.settings.timeout };
        let request = Request::new(verb, server, limit);
        let ended = call::call(&self.settings, &request, limit).await;
        let called = format!("`{} {verb}`", self.settings.name());
        let answer = ended.and_then(|ended| answer::judge(&ended));
        answer.map_err(|error| Error { message: format!("{called}: {}", error.message), ..error })
    }

    async fn act(&self, verb: Verb, server: &Server) -> Result<(), Error> {
        self.ask(verb, server).await.map(drop)
    }
}

impl Settings {
    /// The program as people are told of it.
    fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }
}

impl Provider for Exec {
    fn check(&self, _: &[IpAddr]) -> Result<(), Error> {
        // Which addresses it can give is the program's to say, when it creates the server.
        Ok(())
    }

    fn create<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.act(Verb::Create, server))
    }

    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Status, Error>> {
        Box::pin(async {
            let answer = self.ask(Verb::Status, server).await?;
            answer.status().map_err(|error| Error {
                message: format!("`{} {}`: {}", self.settings.name(), Verb::Status, error.message),
                ..error
            })
        })
    }

    fn stop<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.act(Verb::Stop, server))
    }

    fn delete<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.act(Verb::Delete, server))
    }
}

#[cfg(test)]
mod tests;
