//! What WebTransport costs a data plane: memory of sessions and streams that are idle, CPU time of datagrams and messages,
//! how fast one stream is, and what a reader does that does not read. `cargo bench --bench sessions`; `-- --help` lists
//! the options.
//!
//! ```text
//!   this process, one core: load ── QUIC ──► another, another core: proxy ── QUIC, TCP, UDP ──► this process: backend
//! ```
//!
//! The proxy is a process of its own and a fresh one for every measurement, so that its CPU time and its memory are nobody
//! else's: a data plane, bare quinn that relays or echoes streams and datagrams (the floors), or Envoy where `--envoy`
//! says where it is.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints what it found"
)]

#[path = "../../tests/proxy/backend/authority.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod authority;
mod backend;
#[path = "../../tests/proxy/stage/certificates.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod certificates;
mod floor;
mod link;
mod load;
mod measure;
#[path = "../../tests/proxy/stage/port.rs"]
mod port;
mod process;
mod report;
mod serve;
#[path = "../../tests/proxy/stage/table.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod table;
mod target;

use std::path::PathBuf;

use clap::Parser;

use self::backend::Backend;
use self::measure::{Extent, Figure};
use self::target::{Surroundings, Target};

/// As the data plane's program has it: what an idle session takes depends on it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the shared parts ask of whoever includes them.
const PUBLIC_HTTPS: u16 = 9443;
const PUBLIC_HTTP: u16 = 9080;

#[derive(Parser)]
struct Options {
    /// That everything runs, in a few seconds: no figures.
    #[arg(long)]
    quick: bool,
    /// Rounds of what is measured by time.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only this; may be repeated.
    #[arg(long)]
    target: Vec<Target>,
    /// Only figures whose name has this in it; may be repeated.
    #[arg(long)]
    figure: Vec<String>,
    /// Where Envoy is, to be measured beside.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// The core of what is measured.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// The core of the load and the backend.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Where the samples go, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Serves what standard input says, for the process that measures.
    #[arg(long, hide = true)]
    serve: bool,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    if options.serve {
        return serve::run();
    }
    process::pin_to(options.load_core);
    let extent = Extent::new(options.quick, options.rounds);
    let targets: Vec<Target> = if options.target.is_empty() { Target::ALL.to_vec() } else { options.target };
    let targets: Vec<Target> =
        targets.into_iter().filter(|target| *target != Target::Envoy || options.envoy.is_some()).collect();
    let asked =
        |figure: Figure| options.figure.is_empty() || options.figure.iter().any(|part| figure.name().contains(part));
    let figures: Vec<Figure> = Figure::ALL.into_iter().filter(|figure| asked(*figure)).collect();
    let beside = Surroundings { backend: Backend::start(), core: options.proxy_core, envoy: options.envoy };
    let samples = measure::all(&targets, &figures, &extent, &beside);
    if let Some(path) = options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&samples).unwrap()).unwrap();
    }
    println!("{}", report::markdown(&samples));
}
