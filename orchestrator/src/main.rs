//! `dns-manager`: see [`dns_manager_orchestrator`].

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use dns_manager_orchestrator::cli::{self, Exit};
use dns_manager_orchestrator::environment::Environment;
use dns_manager_orchestrator::provider::exec::guard;

/// How long the end waits for what cannot be broken off, such as the system's search for a name.
const BLOCKED_WITHIN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if let Some(ended) = guard::run(std::env::args_os()) {
        return ended;
    }
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let environment = Environment { guard: guard::own_binary(), ..Environment::of_process() };
    let cli = match cli::parse(std::env::args_os(), &mut stdout, &mut stderr) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let started = cli::log(&environment, &cli)
        .and_then(|telemetry| Ok((tokio::runtime::Builder::new_multi_thread().enable_all().build()?, telemetry)));
    match started {
        Ok((runtime, telemetry)) => {
            let exit = runtime.block_on(cli.run(&environment, &mut stdout, &mut stderr));
            if let Some(telemetry) = telemetry {
                telemetry.end();
            }
            runtime.shutdown_timeout(BLOCKED_WITHIN);
            exit.into()
        }
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(stderr, "error: {error:#}");
            Exit::Usage.into()
        }
    }
}
