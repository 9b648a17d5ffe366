//! Ends the program with the process that called it, even if that one is killed.
//!
//! A process that is killed has no time to end what it started; the program would go on beside the next process's try. So
//! it is started by this: a process between the two, which waits for the end of either. When the caller's comes first, it
//! kills the whole group, itself included. (The kernel's own signal at a parent's death reaches the program alone, not what
//! that started, and comes when the *thread* that started it ends.)

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// The first argument of a process that is a guard.
pub const ARGUMENT: &str = "exec-guard";

/// This process's own binary, where it can be a guard.
pub fn own_binary() -> Option<PathBuf> {
    // Stays true when the file is replaced while this process runs.
    cfg!(target_os = "linux").then(|| PathBuf::from("/proc/self/exe"))
}

/// Is the guard, if these are the arguments of one; its exit status is the program's.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    (arguments.next()? == ARGUMENT).then(|| watch::watch(arguments))
}

#[cfg(target_os = "linux")]
mod watch {
    use std::ffi::OsString;
    use std::io::{self, Write as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, ExitCode, ExitStatus};

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, getpid, getppid, kill_current_process_group, kill_process,
        pidfd_open, setrlimit,
    };

    use super::super::start::why_not_started;

    pub(super) fn watch(arguments: impl Iterator<Item = OsString>) -> ExitCode {
        match guarded(arguments) {
            Ok(status) => end_like(status),
            Err(message) => {
                // In the words of the protocol, since the caller reads an answer; it notices by itself if that is not read.
                let answer = serde_json::json!({"error": {"message": message}});
                let _ = writeln!(io::stdout(), "{answer}");
                ExitCode::FAILURE
            }
        }
    }

    fn guarded(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitStatus, String> {
        let caller = arguments.next().and_then(|id| id.to_str()?.parse().ok()).and_then(Pid::from_raw);
        let (Some(caller), Some(program)) = (caller, arguments.next()) else {
            return Err("the guard is called with a process id and a program".to_owned());
        };
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("the guard cannot {what}: {error}");
        let calling = pidfd_open(caller, PidfdFlags::empty()).map_err(|error| failed("watch its caller", &error))?;
        // Its number may be another process's by now; as long as it is the parent, it is the one.
        if getppid() != Some(caller) {
            return Err("the caller of the guard has ended".to_owned());
        }
        let mut child = Command::new(&program)
            .args(arguments)
            .spawn()
            .map_err(|error| format!("{} does not start: {}", program.display(), why_not_started(&error)))?;
        let running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let running = running.ok_or_else(|| failed("watch the program", &"it has no process id"))?;
        match pidfd_open(running, PidfdFlags::empty()) {
            Ok(running) => wait(&running, &calling),
            Err(error) => {
                // It is not left alone.
                let _ = child.kill();
                return Err(failed("watch the program", &error));
            }
        }
        child.wait().map_err(|error| failed("wait for the program", &error))
    }

    /// Waits until the program has ended. Does not return if the caller ends first.
    fn wait(running: &OwnedFd, calling: &OwnedFd) {
        loop {
            let mut ends = [PollFd::new(running, PollFlags::IN), PollFd::new(calling, PollFlags::IN)];
            // Interrupted by a signal, say: then it is asked again.
            let _ = poll(&mut ends, None);
            let [running, calling] = ends.map(|end| !end.revents().is_empty());
            if calling {
                let _ = kill_current_process_group(Signal::KILL);
            }
            if running {
                return;
            }
        }
    }

    /// The caller sees how the program ended.
    fn end_like(status: ExitStatus) -> ExitCode {
        if let Some(code) = status.code().and_then(|code| u8::try_from(code).ok()) {
            return ExitCode::from(code);
        }
        if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
            // The program's memory may be written to a file, this one's tells nothing.
            let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
            let _ = kill_process(getpid(), signal);
        }
        ExitCode::FAILURE
    }
}

#[cfg(not(target_os = "linux"))]
mod watch {
    use std::ffi::OsString;
    use std::process::ExitCode;

    /// [`super::own_binary`] names none here.
    pub(super) fn watch(_: impl Iterator<Item = OsString>) -> ExitCode {
        ExitCode::FAILURE
    }
}
