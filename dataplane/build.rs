//! Writes the client of the push, whose messages are headrace-push's. Its server is for tests, which play the controller.

use std::path::{Path, PathBuf};

const PROTOS: &str = "push/proto";
const PUSH: &str = "headrace/push/v1/push.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={PROTOS}");
    let descriptors = protox::compile([PUSH], [PROTOS])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let sides: [(&str, bool, bool); 2] = [("client", true, false), ("server", false, true)];
    for (side, client, server) in sides {
        let directory: &Path = &out.join(side);
        std::fs::create_dir_all(directory)?;
        tonic_prost_build::configure()
            .build_client(client)
            .build_server(server)
            .build_transport(false)
            .emit_rerun_if_changed(false)
            .extern_path(".headrace.push.v1", "::headrace_push::proto")
            .out_dir(directory)
            .compile_fds(descriptors.clone())?;
    }
    Ok(())
}
