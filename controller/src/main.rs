//! The `headrace-controller` program: arguments, runtime, exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use headrace_controller::arguments::Arguments;
use headrace_controller::run;

/// Worlds come and go as a whole, and the C library's allocator keeps what lay between them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    run::main(Arguments::parse())
}
