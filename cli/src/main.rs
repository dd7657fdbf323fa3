//! The `headrace` command.
//!
//! Owns nothing: reads the arguments, runs the command they name, and turns what came of it into an exit code.

#![forbid(unsafe_code)]

/// Idle tunnels are many small allocations beside the large ones of handshakes that are over. The C library's allocator
/// leaves the gaps between them unused: a fifth more for each connection of HTTP/2 (docs/operations.md has the figures).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod args;
mod bench;
mod check;
mod client;
mod cluster;
mod connect;
mod development_ca;
mod manifest;
mod output;
mod report;
mod standalone;
mod status;
mod table;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match args.run() {
        Ok(code) => code,
        Err(error) => {
            output::complain(&format!("headrace: {error:#}"));
            ExitCode::from(args::EXIT_FAILURE)
        }
    }
}
