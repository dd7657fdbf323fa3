//! The subscription over real sockets: a data plane, and controllers that are played with the real publisher over real TLS.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod arrival;
mod authority;
mod broken;
mod controller;
mod http;
#[path = "../proxy/patience.rs"]
mod patience;
mod pod;
#[path = "../proxy/stage/port.rs"]
mod port;
mod program;
mod refusal;
mod report;
mod restart;
mod table;

/// The service as the crate's build script wrote it for tests.
mod service {
    #![allow(
        missing_docs,
        unreachable_pub,
        rust_2018_idioms,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/server/headrace.push.v1.rs"));
}
