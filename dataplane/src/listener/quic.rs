//! QUIC listeners: one endpoint for each worker and address, and what a connection may use.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headrace_http3::server::Connection;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{Connecting, Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt};

use super::tcp::HANDSHAKE_TIMEOUT;
use super::udp::Socket;
use crate::Retry;
use crate::certificates::quic_handshake_result;
use crate::downstream::http3::INITIAL_STREAMS;
use crate::downstream::{self, Arrival, Version, http3};
use crate::metrics::{HandshakeResult, Transport};
use crate::socket;
use crate::worker::Worker;

/// Connections of one worker on one address, those in their handshake included. TCP has the limit on open files; here
/// nothing else would end a flood before memory does: at some 50 KB each, 2.5 GB.
const MAX_CONNECTIONS: usize = 50_000;

/// A connection whose peer is silent for this long is gone (RFC 9000 section 10.1).
const IDLE_TIMEOUT: VarInt = VarInt::from_u32(60_000);

/// A PING this often keeps an idle tunnel's connection, and the NAT bindings on its way, alive. Well below the 30 s
/// after which many NATs forget a UDP flow (RFC 4787 section 4.3 asks for two minutes and is seldom obeyed).
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Control and two QPACK streams (RFC 9114 section 6.2), and a few of kinds that we do not know.
const UNI_STREAMS: VarInt = VarInt::from_u32(8);

/// Credit of one stream: what a client may have under way to a backend that does not read.
const STREAM_WINDOW: VarInt = VarInt::from_u32(256 * 1024);

/// Credit of a whole connection.
const CONNECTION_WINDOW: VarInt = VarInt::from_u32(1024 * 1024);

/// Octets of a connection that are sent and not acknowledged; at 100 ms it allows 80 Mbit/s.
const SEND_WINDOW: u64 = 1024 * 1024;

/// What every connection may use. Low where quinn allots memory ahead.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE_TIMEOUT.into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(INITIAL_STREAMS.into())
        .max_concurrent_uni_streams(UNI_STREAMS)
        .stream_receive_window(STREAM_WINDOW)
        .receive_window(CONNECTION_WINDOW)
        .send_window(SEND_WINDOW)
        // No datagrams before WebTransport: a buffer for them would only be a place to fill.
        .datagram_receive_buffer_size(None);
    transport
}

/// Makes the endpoint of one address. It drives itself on the current runtime.
///
/// # Errors
/// The socket's.
pub(crate) fn bind(address: SocketAddr, tls: Arc<rustls::ServerConfig>) -> io::Result<Endpoint> {
    let socket = socket::udp_socket(address)?;
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport()));
    let (socket, runtime) = (Socket::new(socket)?, Arc::new(TokioRuntime));
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(config), socket, runtime)
}

/// Accepts until the endpoint is closed or this is dropped.
pub(crate) async fn accept(worker: Arc<Worker>, endpoint: Endpoint, port: u16) {
    while let Some(incoming) = endpoint.accept().await {
        admit(&worker, &endpoint, incoming, port);
    }
}

fn admit(worker: &Arc<Worker>, endpoint: &Endpoint, incoming: Incoming, port: u16) {
    if !is_served(worker, port) || endpoint.open_connections() >= MAX_CONNECTIONS {
        // CONNECTION_REFUSED (RFC 9000 section 20.1) sends the client to TCP at once; silence would only later.
        worker.metrics.handshakes_total(Transport::Quic, HandshakeResult::Refused).inc();
        return incoming.refuse();
    }
    if worker.shared.retry == Retry::Always && !incoming.remote_address_validated() {
        if let Err(error) = incoming.retry() {
            tracing::debug!(%error, "a Retry could not be sent");
        }
        return;
    }
    match incoming.accept() {
        Ok(connecting) => {
            downstream::spawn(serve(Arc::clone(worker), connecting, port));
        }
        Err(error) => {
            tracing::debug!(%error, "a QUIC connection was refused");
            worker.metrics.handshakes_total(Transport::Quic, HandshakeResult::Refused).inc();
        }
    }
}

/// An endpoint outlives its listener for as long as it has connections.
fn is_served(worker: &Worker, port: u16) -> bool {
    !worker.drain.has_started() && worker.view().snapshot.table.port(port).is_some_and(|port| port.http3)
}

async fn serve(worker: Arc<Worker>, connecting: Connecting, port: u16) {
    let Some(quic) = establish(&worker, connecting).await else { return };
    let server_name = quic
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.server_name.map(String::into_boxed_str));
    let peer = quic.remote_address();
    let (transport, version) = (Transport::Quic, Version::Http3);
    let downstream = worker.admit(Arrival { transport, peer, port, tls: true, server_name, version });
    let connection = Connection::new(quic, &worker.shared.http3);
    // On a task of its own: what the handshake needed is let go of.
    downstream::spawn(http3::serve(worker, downstream, connection));
}

async fn establish(worker: &Worker, connecting: Connecting) -> Option<quinn::Connection> {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await;
    let result = match &handshake {
        Ok(Ok(_)) => HandshakeResult::Ok,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a QUIC handshake failed");
            quic_handshake_result(error)
        }
        Err(_) => HandshakeResult::Timeout,
    };
    worker.metrics.handshakes_total(Transport::Quic, result).inc();
    handshake.ok()?.ok()
}
