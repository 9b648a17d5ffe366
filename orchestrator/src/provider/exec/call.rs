//! One run of the program: the request in, the answer out, and nothing of it left afterwards.
//!
//! The program leads a process group of its own, which is killed when the run is over, however that comes about: it ended, it
//! took too long, or nobody waits for it any more. What is to stay after it starts a session of its own (`setsid`).

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use super::Settings;
use super::answer::Ended;
use super::guard;
use super::line::Lines;
use super::request::Request;
use super::start::why_not_started;
use crate::provider::Error;

/// An answer is a few lines; more than this is a mistake.
const MOST_OUTPUT: usize = 1024 * 1024;
/// After its end: how long what it wrote may take to arrive, and what was killed to go.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the program.
///
/// # Errors
///
/// It did not start, took longer than `limit`, or wrote too much.
pub(super) async fn call(settings: &Settings, request: &Request<'_>, limit: Duration) -> Result<Ended, Error> {
    let document = serde_json::to_vec(request)
        .map_err(|error| Error::lasting(format!("the request cannot be written as JSON: {error}")))?;
    let mut child = command(settings, request).spawn().map_err(|error| not_started(settings, &error))?;
    let group = Group::of(&child);

    let (mut output, mut lines) = (Vec::new(), Lines::default());
    let mut show = |line: &str| {
        tracing::info!(hostname = %request.server.hostname, verb = %request.verb, "provider: {line}");
    };
    let exchanged = {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let exchange = async {
            tokio::try_join!(write(stdin, &document), take(stdout, &mut output), follow(stderr, &mut lines, &mut show))
        };
        tokio::time::timeout(limit, see_through(&mut child, &group, exchange)).await
    };
    lines.end(&mut show);
    drop(group);
    let last_words = lines.last().to_owned();
    let problem = match exchanged {
        Ok(Ok(status)) => return Ok(Ended { status, output, last_words }),
        Ok(Err(Broken::TooMuch)) => {
            Error::lasting(format!("it answered with more than {MOST_OUTPUT} octets, and was ended"))
        }
        Ok(Err(Broken::Io(error))) => Error::passing(format!("its output cannot be read: {error}")),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            let said = if last_words.is_empty() { String::new() } else { format!("; it said last: {last_words}") };
            Error::passing(format!("it took longer than {limit}, and was ended{said}"))
        }
    };
    // So that it is gone before it is called again. One that cannot be killed is left to the system.
    let _ = tokio::time::timeout(GRACE, child.wait()).await;
    Err(problem)
}

fn command(settings: &Settings, request: &Request<'_>) -> Command {
    let mut command = match &settings.guard {
        Some(guard) => {
            let mut command = Command::new(guard);
            command.arg(guard::ARGUMENT).arg(std::process::id().to_string()).arg(&settings.program);
            command
        }
        None => Command::new(&settings.program),
    };
    command.args(&settings.arguments).arg(request.verb.as_str()).env_clear().envs(settings.variables.iter());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    command
}

fn not_started(settings: &Settings, error: &io::Error) -> Error {
    let program = settings.guard.as_ref().unwrap_or(&settings.program);
    // It was there when the configuration was read.
    Error::passing(format!("{} does not start: {}", program.display(), why_not_started(error)))
}

/// Why there is no answer.
enum Broken {
    TooMuch,
    Io(io::Error),
}

/// Waits until the program has ended and all that it wrote is here.
async fn see_through(
    child: &mut Child,
    group: &Group,
    exchange: impl Future<Output = Result<((), (), ()), Broken>>,
) -> Result<ExitStatus, Broken> {
    tokio::pin!(exchange);
    let status = tokio::select! {
        exchanged = &mut exchange => {
            exchanged?;
            return child.wait().await.map_err(Broken::Io);
        }
        status = child.wait() => status.map_err(Broken::Io)?,
    };
    group.kill();
    // What has left the group may still hold the streams open; then there is no end to wait for.
    match tokio::time::timeout(GRACE, exchange).await {
        Ok(exchanged) => exchanged.map(|_| status),
        Err(_) => Ok(status),
    }
}

async fn write(stdin: Option<ChildStdin>, document: &[u8]) -> Result<(), Broken> {
    if let Some(mut stdin) = stdin {
        // A program that knows from its verb what to do need not read it.
        let _ = stdin.write_all(document).await;
        let _ = stdin.shutdown().await;
    }
    Ok(())
}

async fn take(stdout: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) -> Result<(), Broken> {
    let Some(stdout) = stdout else { return Ok(()) };
    let most = u64::try_from(MOST_OUTPUT).unwrap_or(u64::MAX);
    stdout.take(most.saturating_add(1)).read_to_end(output).await.map_err(Broken::Io)?;
    if output.len() > MOST_OUTPUT { Err(Broken::TooMuch) } else { Ok(()) }
}

async fn follow(
    stderr: Option<impl AsyncRead + Unpin>,
    lines: &mut Lines,
    show: &mut impl FnMut(&str),
) -> Result<(), Broken> {
    let Some(mut stderr) = stderr else { return Ok(()) };
    let mut piece = vec![0; 8192];
    loop {
        let count = stderr.read(&mut piece).await.map_err(Broken::Io)?;
        match piece.get(..count) {
            None | Some([]) => return Ok(()),
            Some(octets) => lines.push(octets, show),
        }
    }
}

/// The processes of one run; they are killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn kill(&self) {
        if let Some(group) = self.0 {
            // Mostly it is empty by now. Its number is not given out again within the moment since its leader's end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
