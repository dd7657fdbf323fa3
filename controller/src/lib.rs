//! The controller: reads the cluster, compiles it into routing tables, and sees that what came of it gets where it belongs.
//!
//! ```text
//!  API server ── watch ──► World ── engine ──► Generation ─┬─► publish: tables to data-plane pods, acknowledgements
//!      ▲                             (compile)   quic: keys ─┤   and server IDs of pods
//!      │                                                    ├─► status: conditions, addresses, events
//!      │                                                    └─► service: Services and EndpointSlices of Gateways
//!      └── leader: one of the replicas publishes and writes; the others keep a warm World
//! ```
//!
//! The parts know one another by the values that they exchange, in `tokio::sync::watch` channels: the newest counts, and
//! nobody waits for a slow reader. What a table means is headrace-compile's and headrace-table's business.

#![forbid(unsafe_code)]

pub mod admin;
pub mod arguments;
pub mod engine;
pub mod generation;
pub mod leader;
pub mod metrics;
pub mod publish;
pub mod quic;
pub mod run;
pub mod service;
pub mod status;
pub mod watch;
