//! WebTransport with peers that share no code with this crate, as clients and as servers: web-transport-quinn and wtransport.
//! Both speak the drafts before flow control, and know one session for a connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../loopback/endpoints.rs"]
#[allow(dead_code, reason = "plain requests have tests of their own, which use the rest")]
mod endpoints;
#[path = "../webtransport/site.rs"]
#[allow(dead_code, reason = "this crate's own client has tests of its own, which use the rest")]
mod site;

mod web_transport_quinn;
mod wtransport;
