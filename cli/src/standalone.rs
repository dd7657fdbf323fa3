//! `headrace standalone`: manifests served on this machine, without a cluster.
//!
//! Owns the order of things: start, serve, reload, drain. Judging manifests, compiling and serving are others' work.

mod arguments;
mod serving;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use headrace_dataplane::DataPlane;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::args::EXIT_USAGE;
use crate::check;
use crate::development_ca::DevelopmentCa;
use crate::manifest::{Manifests, STDIN};
use crate::output::complain;

pub(crate) use arguments::StandaloneArgs;
use serving::Serving;
use watch::Watcher;

/// How often a port is tried that something else is listening on.
const BIND_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Serves until a signal comes.
pub(crate) fn run(args: &StandaloneArgs) -> anyhow::Result<ExitCode> {
    if args.check {
        return check::check(&args.manifests.filename, crate::args::Format::Text);
    }
    start_log();
    let output = args.output();
    let manifests = Manifests::load(&args.manifests.filename, None);
    if manifests.has_unreadable() {
        for problem in &manifests.problems {
            complain(&problem.to_string());
        }
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let config = args.config();
    let bind = config.bind.clone();
    let data_plane = DataPlane::start(config).context("the data plane does not start")?;
    let ca = DevelopmentCa::at(&args.manifests.data_dir);
    let serving = Serving::new(data_plane, ca, manifests, bind, output);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(serving, args))
}

async fn serve(mut serving: Serving, args: &StandaloneArgs) -> anyhow::Result<ExitCode> {
    // Before anything is served: a signal that comes early is not lost.
    let mut stop = Stop::new()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    serving.begin().await?;
    let mut watcher = Watcher::new();
    watcher.follow(serving.manifests());
    let paths: Vec<_> = args.manifests.filename.iter().filter(|path| path.as_os_str() != STDIN).cloned().collect();
    let watches = paths.len() == args.manifests.filename.len();
    loop {
        tokio::select! {
            () = stop.signal() => break,
            () = watcher.changed(), if watches => {}
            () = sleep(BIND_RETRY_INTERVAL), if serving.has_unbound() => {
                serving.again().await;
                continue;
            }
            _ = hang_up.recv() => serving.reopen_access_log(),
        }
        // Standard input is read once.
        if watches {
            serving.reload(&paths).await;
            watcher.follow(serving.manifests());
        }
    }
    complain("draining; once more and it ends at once");
    tokio::select! {
        report = serving.drain() => {
            complain(&format!("drained: {} connections finished, {} were cut", report.finished, report.cut));
            Ok(ExitCode::SUCCESS)
        }
        () = stop.signal() => Ok(ExitCode::from(crate::args::EXIT_FAILURE)),
    }
}

/// SIGTERM or SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Diagnostics go to standard error; `RUST_LOG` chooses.
fn start_log() {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
