//! `headrace-dataplane`: serves what a controller publishes, in a pod.
//!
//! Owns the order of things: start, subscribe, and on a signal leave, drain and end. What is served and how is the library's.

#![forbid(unsafe_code)]

/// Idle tunnels are many small allocations beside the large ones of handshakes that are over. The C library's allocator
/// leaves the gaps between them unused (docs/operations.md has the figures).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod arguments;
mod log;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use headrace_dataplane::{DataPlane, Subscription};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use self::arguments::Arguments;

/// Told to end at once, with connections open.
const EXIT_CUT: u8 = 1;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    log::start(arguments.log_format);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // Before anything is served: a signal that comes early is not lost.
    let mut stop = Stop::new()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let plane = Arc::new(DataPlane::start(arguments.config()).context("the data plane does not start")?);
    let subscription = Subscription::start(Arc::clone(&plane), arguments.subscription())
        .context("the subscription to the controller does not start")?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), controllers = %arguments.controllers(), "started");
    loop {
        tokio::select! {
            () = stop.signal() => break,
            _ = hang_up.recv() => plane.reopen_access_log(),
        }
    }
    tokio::select! {
        () = end(plane, subscription, arguments.drain_delay()) => Ok(ExitCode::SUCCESS),
        () = stop.signal() => {
            tracing::warn!("told twice: ending at once");
            Ok(ExitCode::from(EXIT_CUT))
        }
    }
}

/// The pod is taken out of its Services while it is told to end, and both take their time: tables are still taken and new
/// connections served until everybody has heard of it.
async fn end(plane: Arc<DataPlane>, subscription: Subscription, delay: Duration) {
    plane.leave_rotation();
    tracing::info!(delay_seconds = delay.as_secs(), "leaving; once more and it ends at once");
    sleep(delay).await;
    subscription.end().await;
    let Some(plane) = Arc::into_inner(plane) else {
        unreachable!("the subscription, which has ended, held the only other");
    };
    tracing::info!("draining");
    let report = plane.drain().await;
    tracing::info!(finished = report.finished, cut = report.cut, "drained");
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
