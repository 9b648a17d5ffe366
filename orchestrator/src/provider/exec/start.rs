//! Programs that the system does not start.

use std::io;

/// What is wrong with a program that the system does not start.
pub(super) fn why_not_started(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{error}; neither may the interpreter in its first line (#!) be missing"),
        io::ErrorKind::PermissionDenied => format!("{error}; `chmod +x` makes it executable"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            format!("{error}; does a script begin with a line such as #!/bin/sh?")
        }
        _ => error.to_string(),
    }
}
