//! Real QUIC over the loopback: this crate against itself, against h3, and against peers that break the protocol.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod endpoints;
mod hostile;
mod hostile_server;
mod interop;
mod own;
mod raw;
