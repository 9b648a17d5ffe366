//! Being told to stop by a signal.

use std::io;

use tokio::signal;

/// Ctrl-C, and on Unix SIGTERM and SIGHUP: noticed from the moment that this is made, so that nothing is left behind half done.
pub(crate) struct Interruption {
    #[cfg(unix)]
    signals: [signal::unix::Signal; 3],
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
            let signals =
                [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
            Ok(Self { signals })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Ends when one came, be it long ago.
    pub(crate) async fn came(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate, hangup] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        }
        #[cfg(not(unix))]
        // Without signals nobody can interrupt.
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
