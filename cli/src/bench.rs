//! `headrace bench`: load for a proxy, and what it costs the proxy.
//!
//! Owns the three measurements: echoes in a closed loop, idle tunnels, a reader that does not read. It frames messages by
//! itself so as to take as little as possible of the machine that the proxy runs on.

mod echo;
mod frame;
mod held;
mod process;

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::args::Format;
use crate::client::{HttpVersion, Target};
use crate::connect::DialArgs;
use crate::output::Output;

pub(crate) use echo::echo;
pub(crate) use process::Pid;

/// What `bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Where to: an echo, or for --slow-reader something that sends without end
    #[arg(long, value_name = "URL")]
    url: Target,
    #[command(flatten)]
    dial: DialArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// The process whose CPU time and memory are told
    #[arg(long)]
    pid: Option<Pid>,
    /// Open every tunnel, hold them, and tell what they cost in memory
    #[arg(long, requires = "pid", conflicts_with = "slow_reader")]
    idle: bool,
    /// How long idle tunnels are held
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    hold: u64,
    /// Open every tunnel, read nothing from it for so long, and tell how memory grows
    #[arg(long, value_name = "SECONDS", requires = "pid")]
    slow_reader: Option<u64>,
    /// With --slow-reader: send all the while, so that an echo has something to send back
    #[arg(long, requires = "slow_reader")]
    push: bool,
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How much load.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Connections; over HTTP/1.1 each tunnel is one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
    /// Tunnels on each connection
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tunnels: u32,
    /// Echoes in all
    #[arg(long, default_value_t = 10_000)]
    pub(crate) messages: u64,
    /// Octets in a message
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub(crate) size: u32,
    /// Messages in flight on each tunnel
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) concurrency: u32,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Measured {
    Echo(echo::EchoReport),
    Held(held::HeldReport),
}

impl Measured {
    /// As text for people, or as one JSON object.
    pub(crate) fn render(&self, format: Format) -> String {
        match (format, self) {
            (Format::Json, _) => {
                format!("{}\n", serde_json::to_string(self).expect("a report is a flat map with string keys"))
            }
            (Format::Text, Measured::Echo(report)) => report.text(),
            (Format::Text, Measured::Held(report)) => report.text(),
        }
    }
}

/// Measures.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(args))?;
    Output::Stdout.text(&report.render(args.output))?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &BenchArgs) -> anyhow::Result<Measured> {
    let dialer = args.dial.dialer(&args.url)?;
    let offer = args.dial.offer();
    // A measurement of whichever version happens to work is none.
    let version = args.dial.version().unwrap_or(if args.url.secure { HttpVersion::Http3 } else { HttpVersion::Http1 });
    match (args.pid, args.idle, args.slow_reader) {
        (Some(pid), true, _) => {
            held::idle(&dialer, &offer, version, &args.load, pid, Duration::from_secs(args.hold)).await
        }
        (Some(pid), _, Some(seconds)) => {
            let time = Duration::from_secs(seconds);
            held::slow_reader(&dialer, &offer, version, &args.load, pid, time, args.push).await
        }
        _ => echo(&dialer, &offer, version, &args.load, args.pid).await,
    }
}
