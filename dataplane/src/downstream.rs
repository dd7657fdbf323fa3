//! Client connections by HTTP version: each turns its own form of a request into the one that the proxy and the tunnels
//! take, and their answers back.
//!
//! Owns what is said on a client's connection: framing, resets, GOAWAY, idle connections. Knows nothing of routes.

pub(crate) mod early_data;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod http3;
mod streams;

pub(crate) use self::streams::StreamGuard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access_log::AccessLogger;
use crate::drain::TaskGuard;
pub(crate) use crate::metrics::Version;
use crate::metrics::{Transport, WorkerMetrics};

/// What is known of a client's connection once its handshake is over. One per connection, and as
/// old as it: every exchange on the connection holds it.
pub(crate) struct Downstream {
    /// The client's address when the connection was accepted.
    pub(crate) peer: SocketAddr,
    /// The port that it came in by.
    pub(crate) port: u16,
    /// Whether it is encrypted.
    pub(crate) tls: bool,
    /// The name that TLS was set up for, as the client wrote it.
    pub(crate) server_name: Option<Box<str>>,
    /// What is spoken on it.
    pub(crate) version: Version,
    transport: Transport,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) access_log: AccessLogger,
    /// A drain waits for it.
    _counted: TaskGuard,
}

/// A connection without a request for this long is closed; clients open another when they need one. Tunnels are requests
/// too, so a connection that carries one is never idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a client may take for a request's head, counted from its first octet (slow-loris).
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Decoded octets of a request's header section; what browsers and the common backends take at most.
const MAX_HEADER_SECTION: u32 = 64 * 1024;

/// Requests and tunnels at once on one connection of HTTP/2 or HTTP/3.
const MAX_STREAMS: u32 = 256;

/// A connection whose handshake is over.
pub(crate) struct Arrival {
    pub(crate) transport: Transport,
    pub(crate) peer: SocketAddr,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) version: Version,
}

impl Downstream {
    /// Counts the connection until this is dropped.
    pub(crate) fn new(
        arrival: Arrival,
        metrics: Arc<WorkerMetrics>,
        access_log: AccessLogger,
        counted: TaskGuard,
    ) -> Self {
        let Arrival { transport, peer, port, tls, server_name, version } = arrival;
        metrics.connections_total(transport).inc();
        metrics.connections_open(transport).inc();
        // A dual-stack address of an IPv4 client is that client's address.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Self { peer, port, tls, server_name, version, transport, metrics, access_log, _counted: counted }
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.metrics.connections_open(self.transport).dec();
    }
}

/// Starts a task whose memory goes with its future.
///
/// A task lives as long as any waker of it, and a socket or a stream that it handed on may keep one for as long as a tunnel
/// lives. In a box of its own, the future's memory does not wait for that.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(Box::pin(future));
}
