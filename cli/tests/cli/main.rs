//! The `headrace` program as its users run it: arguments and files in, lines and exit codes out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod bench;
mod check;
mod connect;
mod echo_server;
mod forward;
mod program;
mod standalone;
mod webtransport;
mod webtransport_server;
