//! The `headrace` command.
//!
//! Owns nothing: reads the arguments, runs the command they name, and turns what came of it into an exit code.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod check;
mod client;
mod connect;
mod development_ca;
mod manifest;
mod output;
mod report;
mod standalone;
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
