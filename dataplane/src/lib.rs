//! The data plane: sockets, TLS and QUIC, HTTP on all three versions, tunnels, backends, drain.
//!
//! Given a [`Table`](headrace_table::Table), it serves it; given another, it serves that without losing a connection.
//! Knows nothing of Kubernetes. Tables come from whoever holds the [`DataPlane`]; a [`Subscription`] is one who does, and
//! takes them from a controller.
//!
//! ```text
//!     Subscription (thread): what a controller publishes
//!        │
//! DataPlane ── publish ──► Worker (thread) ── Sockets ── listener::{tcp, quic}
//!                             │                              │ connection
//!                             │                              ▼
//!                             │                  downstream::{http1, http2, http3}
//!                             │                      │ request          │ handshake     │ session (http3)
//!                             ▼                      ▼                  ▼               ▼
//!                        View (snapshot) ◄── route ── proxy          tunnel ── relay  session ── relay
//!                                                    └─── upstream ─────┴───────────────┘
//! ```

#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod body;
mod certificates;
mod downstream;
mod drain;
mod exchange;
mod failure;
mod headers;
mod listener;
mod metrics;
mod proxy;
mod quic;
mod route;
mod scratch;
mod session;
mod snapshot;
mod socket;
mod start;
mod subscription;
mod thread;
mod tunnel;
mod upstream;
mod worker;

pub use access_log::AccessLog;
pub use headrace_table::Retry;
pub use metrics::{Description, Metrics, Transport, describe};
pub use quic::PodConfig;
pub use start::{BindFailure, CertificateFailure, Config, DataPlane, DrainReport, Published, StartError};
pub use subscription::{ControllerAddress, NotAControllerAddress, Subscription, SubscriptionConfig};
pub use upstream::BackendFailure;
