//! Being told to stop by a signal.

use std::io;

use tokio::signal;

/// Ctrl-C, and on Unix SIGTERM and SIGHUP: noticed from the moment that this is made, so that nothing is left behind half done.
pub(crate) struct Interruption {
    #[cfg(unix)]
    signals: [signal::unix::Signal; 2],
    /// None: the end of a session is left to the system, and to whoever had it ignored.
    #[cfg(unix)]
    hangup: Option<signal::unix::Signal>,
}

impl Interruption {
    /// Begins to listen; from now on these signals do not end the process by themselves.
    ///
    /// # Errors
    ///
    /// The system does not let us listen.
    pub(crate) fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use signal::unix::{SignalKind, signal};
            let hangup = Some(signal(SignalKind::hangup())?);
            Ok(Self { hangup, ..Self::listen_but_for_hangup()? })
        }
        #[cfg(not(unix))]
        Self::listen_but_for_hangup()
    }

    /// The same, but for SIGHUP: to listen for that would undo `nohup`, which has it ignored, so that what is begun with it
    /// outlives its session.
    ///
    /// # Errors
    ///
    /// The system does not let us listen.
    pub(crate) fn listen_but_for_hangup() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use signal::unix::{SignalKind, signal};
            let signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
            Ok(Self { signals, hangup: None })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Ends when one came, be it long ago.
    pub(crate) async fn came(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            let hung_up = async {
                match &mut self.hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = hung_up => {}
            }
        }
        #[cfg(not(unix))]
        // Without signals nobody can interrupt.
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
