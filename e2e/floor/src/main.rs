//! What the benchmarks stand on: a backend that costs next to nothing, and bare quinn endpoints as the floor that no
//! HTTP/3 proxy on quinn can go below, with the load that drives them.
//!
//! Owns the command line and the runtime. It must not know Headrace: nothing here links any of its crates.

mod backend;
mod cpu;
mod load;
mod quic;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;

/// A lean WebSocket backend, bare quinn endpoints, and a closed loop that drives the latter.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// WebSocket over HTTP/1.1: /echo, /flood (sends as fast as it can), and /counters of what is open and was sent
    Backend {
        /// Where to listen; port 0 takes a free one, which the first line of output names
        #[arg(long)]
        listen: SocketAddr,
    },
    /// A QUIC endpoint that returns the octets of every bidirectional stream
    QuicEcho {
        #[command(flatten)]
        identity: Identity,
    },
    /// A QUIC endpoint that opens a tunnel to a backend's /echo for every bidirectional stream, and copies octets
    QuicRelay {
        #[command(flatten)]
        identity: Identity,
        /// The backend
        #[arg(long)]
        backend: SocketAddr,
    },
    /// Drives quic-echo or quic-relay: a closed loop of echoes, or idle streams
    Load(load::LoadArgs),
}

/// What a QUIC endpoint answers as.
#[derive(clap::Args)]
struct Identity {
    /// Where to listen; port 0 takes a free one, which the first line of output names
    #[arg(long)]
    listen: SocketAddr,
    /// The certificate chain, PEM
    #[arg(long)]
    cert: PathBuf,
    /// Its private key, PEM
    #[arg(long)]
    key: PathBuf,
}

/// One thread each, so that a process can be pinned to one core and its CPU time counts one core's work.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Backend { listen } => {
            let listener = TcpListener::bind(listen).await?;
            say(&format!("listening on {}", listener.local_addr()?))?;
            backend::serve(listener).await
        }
        Command::QuicEcho { identity } => quic::server::serve(&identity, quic::server::Service::Echo).await,
        Command::QuicRelay { identity, backend } => {
            quic::server::serve(&identity, quic::server::Service::Relay { backend }).await
        }
        Command::Load(arguments) => load::run(arguments).await,
    }
}

/// One line to standard output, at once.
fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
