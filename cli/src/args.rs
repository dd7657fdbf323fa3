//! The command line: what can be asked for, and which module does it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{bench, check, connect, standalone, status};

/// Something was not accepted, or did not work.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// What was given cannot be used: clap's own code for a wrong command line, and ours for files that cannot be read.
pub(crate) const EXIT_USAGE: u8 = 2;
/// A WebSocket ended in bad order.
pub(crate) const EXIT_CLOSED_BADLY: u8 = 3;

/// Real-time ingress: WebSocket over HTTP/1.1, HTTP/2 and HTTP/3, from Kubernetes manifests.
#[derive(Debug, Parser)]
#[command(name = "headrace", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve manifests on this machine, without a cluster
    Standalone(standalone::StandaloneArgs),
    /// Judge manifests, or the objects of a cluster, without serving them
    Check(check::CheckArgs),
    /// Say how an installation in a cluster is: pods, what each serves, Gateways, tunnels
    Status(status::StatusArgs),
    /// Talk over a WebSocket or a WebTransport session: lines in, messages out
    Connect(connect::ConnectArgs),
    /// Put load on a proxy and measure what it costs
    Bench(bench::BenchArgs),
}

/// Manifests, the same for every command that reads them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ManifestArgs {
    /// Manifest files, or directories to search for *.yaml, *.yml and *.json; `-` is standard input
    #[arg(short, long, value_name = "DIR-or-FILE", required = true, num_args = 1..)]
    pub(crate) filename: Vec<PathBuf>,
    /// Where the development CA and its certificates are kept
    #[arg(long, value_name = "DIR", default_value = ".headrace", env = "HEADRACE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
}

/// How reports are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

impl Args {
    /// Does what is asked for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Standalone(args) => standalone::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Connect(args) => connect::run(&args),
            Command::Bench(args) => bench::run(&args),
        }
    }
}
