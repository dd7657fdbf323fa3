//! WebTransport over real QUIC on the loopback: this crate against itself, and against peers that break the protocol.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../loopback/endpoints.rs"]
#[allow(dead_code, reason = "plain requests have tests of their own, which use the rest")]
mod endpoints;
#[path = "../loopback/raw.rs"]
#[allow(dead_code, reason = "plain requests have tests of their own, which use the rest")]
mod raw;

mod ends;
mod hostile;
mod limits;
mod sessions;
mod site;
