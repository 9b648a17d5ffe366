//! The binary at a terminal, and what somebody in front of it would see.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{cli::Ran, wait};

const SIZE: Winsize = Winsize { ws_row: 25, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that is running, with a terminal as its standard error.
#[derive(Debug)]
pub struct OnTerminal {
    process: tokio::process::Child,
    seen: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl OnTerminal {
    pub(crate) fn start(mut command: Command) -> Self {
        let (ours, theirs) = pair();
        command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(theirs);
        let mut command = tokio::process::Command::from(command);
        let process = command.kill_on_drop(true).spawn().expect("the binary runs");
        // What is open here would keep the terminal from ending.
        drop(command);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reading = {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || read(File::from(ours), &seen))
        };
        Self { process, seen, reading }
    }

    /// All that was written to the terminal so far, with what moves the cursor.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("nobody panics while reading")).into_owned()
    }

    /// Waits until the terminal has shown this.
    pub async fn shows(&self, what: &str) {
        let is_seen = async || self.seen().contains(what).then_some(());
        wait::until(&format!("the terminal shows {what:?}"), PATIENCE, is_seen).await;
    }

    /// Waits for the end; standard error is all that the terminal showed.
    pub async fn ended(self) -> Ran {
        let Self { process, seen, reading } = self;
        let output = tokio::time::timeout(PATIENCE, process.wait_with_output()).await;
        let mut ran = Ran::of(output.expect("it ends").expect("its output is read"));
        reading.join().expect("the terminal is read to its end");
        ran.stderr = String::from_utf8_lossy(&seen.lock().expect("nobody panics while reading")).into_owned();
        ran
    }
}

/// Reads until the last program has let go of the terminal, which the system calls an error.
fn read(mut terminal: File, seen: &Mutex<Vec<u8>>) {
    let mut octets = [0; 4096];
    while let Ok(count @ 1..) = terminal.read(&mut octets) {
        seen.lock().expect("nobody panics while reading").extend_from_slice(&octets[..count]);
    }
}

/// A terminal: our end, and the one of the program.
fn pair() -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there is a terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("the terminal is ours");
    tcsetwinsize(&ours, SIZE).expect("the terminal has a size");
    let path = ptsname(&ours, Vec::new()).expect("the terminal has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(path, flags, Mode::empty()).expect("the terminal opens");
    (ours, theirs)
}
