//! Generates the service of the push from its description. The messages are headrace-push's.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::error::Error;

/// From here, as the manifest's directory is where a build script runs.
const PROTO: &str = "../dataplane/push/proto/headrace/push/v1/push.proto";
const INCLUDE: &str = "../dataplane/push/proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let described = protox::compile([PROTO], [INCLUDE])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(true)
        .extern_path(".headrace.push.v1", "::headrace_push::proto")
        .compile_fds(described)?;
    Ok(())
}
