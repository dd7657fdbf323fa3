//! Drives a floor with what `headrace bench` drives a proxy with: as many connections, streams and messages, the same
//! sizes, the same closed loop.
//!
//! Owns the command line of it and what it prints.

mod closed_loop;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;
use tokio::task::LocalSet;

use crate::say;
use closed_loop::Measured;
use streams::Stream;

/// The load.
#[derive(clap::Args)]
pub(crate) struct LoadArgs {
    /// Where the floor listens
    #[arg(long)]
    server: SocketAddr,
    /// What it is
    #[arg(long)]
    floor: Floor,
    /// The CA of its certificate, PEM
    #[arg(long)]
    ca: PathBuf,
    /// How many connections
    #[arg(long, default_value_t = 10)]
    connections: usize,
    /// How many streams on each connection
    #[arg(long, default_value_t = 10)]
    tunnels: usize,
    /// How many echoes to measure, over all streams
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// How many octets a message has
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// The process whose CPU time is reported
    #[arg(long)]
    pid: u32,
    /// Only open the streams, print a line, and keep them for so many seconds
    #[arg(long, value_name = "SECONDS")]
    hold: Option<u64>,
}

/// What the other side makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Floor {
    /// The same octets come back.
    Echo,
    /// A WebSocket backend is behind it: a masked frame goes out, an unmasked one comes back.
    Relay,
}

/// Opens the streams, drives them, and prints one JSON object.
pub(crate) async fn run(arguments: LoadArgs) -> anyhow::Result<()> {
    LocalSet::new().run_until(drive(arguments)).await
}

async fn drive(arguments: LoadArgs) -> anyhow::Result<()> {
    let streams = streams::open(&arguments).await?;
    if let Some(seconds) = arguments.hold {
        say(&format!("holding {} streams", streams.len()))?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    let Measured { seconds, cpu_seconds, latency_us } =
        closed_loop::run(streams, arguments.messages, arguments.pid).await?;
    let report = json!({
        "messages": latency_us.len(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "p50_us": latency_us.value_at_quantile(0.5),
        "p99_us": latency_us.value_at_quantile(0.99),
    });
    Ok(say(&report.to_string())?)
}
