//! The data plane from outside: real sockets on the loopback, independent clients, backends that look closely.
//!
//! A case that holds on every HTTP version is written once and run on each. Nothing here knows the crate's inside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backend;
mod client;
mod path;
mod patience;
mod stage;

mod alt_svc;
mod backend_tls;
mod blame;
mod drain;
mod early_data;
mod expect;
mod floods;
mod frames;
mod headers;
mod hosts;
mod plain;
mod plain_pressure;
mod publish;
mod sessions;
mod tokens;
mod tunnel;
mod tunnel_ends;
mod tunnel_handshake;
mod tunnel_pressure;
mod upstream;
