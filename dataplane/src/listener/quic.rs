//! QUIC listeners: one endpoint for each worker and address, and what a connection may use.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use headrace_table::{QuicOptions, Retry};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, MtuDiscoveryConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};

use super::handshake;
use super::udp::Socket;
use crate::certificates::EarlyData;
use crate::downstream;
use crate::downstream::http3::INITIAL_STREAMS;
use crate::metrics::{HandshakeResult, RetryReason, Transport};
use crate::quic::Group;
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
pub(crate) const UNI_STREAMS: u32 = 8;

/// Credit of one stream: what a client may have under way to a backend that does not read.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;

/// Credit of a whole connection without WebTransport sessions, each of which adds its own.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Octets of a connection that are sent and not acknowledged; at 100 ms it allows 80 Mbit/s.
pub(crate) const SEND_WINDOW: u64 = 1024 * 1024;

/// Octets of datagrams that a connection keeps in either direction. What comes is taken at once, and waits for its session
/// in a queue of its own; what goes waits for congestion only, and is no use when it is late. Some fifty packets.
pub(crate) const DATAGRAM_BUFFER: usize = 64 * 1024;

/// What every connection may use. Low where quinn allots memory ahead.
fn transport(sessions: Sessions) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE_TIMEOUT.into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(INITIAL_STREAMS.into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        // Nothing else uses datagrams: without sessions a buffer for them would only be a place to fill.
        .datagram_receive_buffer_size((sessions == Sessions::Offered).then_some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER);
    transport
}

/// Whether clients may open WebTransport sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sessions {
    Offered,
    Off,
}

/// What an endpoint of that port takes connections with.
fn config(worker: &Worker, port: u16, early_data: EarlyData, sessions: Sessions) -> io::Result<ServerConfig> {
    let tls = &worker.shared.tls;
    let tls = QuicServerConfig::try_from(tls.quic_config(tls.port(port), early_data)).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    worker.shared.tokens.configure(&mut config);
    let mut transport = transport(sessions);
    if let Some(longest) = worker.quic.longest_datagram() {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(longest);
        transport.mtu_discovery_config(Some(discovery));
    }
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// What connections are taken with, by what the table says of the port when they come.
struct Configs {
    early: [Arc<ServerConfig>; 2],
    late: [Arc<ServerConfig>; 2],
}

impl Configs {
    fn new(worker: &Worker, port: u16) -> io::Result<Self> {
        let make = |early, sessions| config(worker, port, early, sessions).map(Arc::new);
        let both = |early| io::Result::Ok([make(early, Sessions::Offered)?, make(early, Sessions::Off)?]);
        Ok(Self { early: both(EarlyData::Taken)?, late: both(EarlyData::Refused)? })
    }

    fn of(&self, options: &QuicOptions) -> (EarlyData, Arc<ServerConfig>) {
        let (early_data, configs) =
            if options.zero_rtt { (EarlyData::Taken, &self.early) } else { (EarlyData::Refused, &self.late) };
        let [offered, off] = configs;
        (early_data, Arc::clone(if options.webtransport.enabled { offered } else { off }))
    }
}

/// Makes a worker's endpoint on an address. It drives itself on the current runtime.
///
/// # Errors
/// The socket's.
pub(crate) fn bind(group: Arc<Group>, worker: &Worker, port: u16) -> io::Result<Endpoint> {
    let config = config(worker, port, EarlyData::Refused, Sessions::Off)?;
    let endpoint_config = worker.quic.endpoint_config(group.address());
    let (socket, runtime) = (Socket::new(group, Arc::clone(&worker.quic))?, Arc::new(TokioRuntime));
    Endpoint::new_with_abstract_socket(endpoint_config, Some(config), socket, runtime)
}

/// Accepts until the endpoint is closed or this is dropped.
pub(crate) async fn accept(worker: Arc<Worker>, endpoint: Endpoint, port: u16) {
    let configs = match Configs::new(&worker, port) {
        Ok(configs) => configs,
        Err(error) => return tracing::error!(%error, port, "QUIC cannot be served"),
    };
    while let Some(incoming) = endpoint.accept().await {
        admit(&worker, &endpoint, incoming, port, &configs);
    }
}

fn admit(worker: &Arc<Worker>, endpoint: &Endpoint, incoming: Incoming, port: u16, configs: &Configs) {
    let Some(options) = served(worker, port).filter(|_| endpoint.open_connections() < MAX_CONNECTIONS) else {
        // CONNECTION_REFUSED (RFC 9000 section 20.1) sends the client to TCP at once; silence would only later.
        worker.metrics.handshakes_total(Transport::Quic, HandshakeResult::Refused).inc();
        return incoming.refuse();
    };
    if !incoming.remote_address_validated()
        && let Some(reason) = retry_reason(worker, options.retry)
    {
        match incoming.retry() {
            Ok(()) => worker.metrics.retry_sent_total(reason).inc(),
            Err(error) => tracing::debug!(%error, "a Retry could not be sent"),
        }
        return;
    }
    let (early_data, config) = configs.of(&options);
    match incoming.accept_with(config) {
        Ok(connecting) => {
            let under_way = worker.half_open.enter();
            downstream::spawn(handshake::serve(Arc::clone(worker), connecting, port, early_data, options, under_way));
        }
        Err(error) => {
            tracing::debug!(%error, "a QUIC connection was refused");
            worker.metrics.handshakes_total(Transport::Quic, HandshakeResult::Refused).inc();
        }
    }
}

/// Why a client is to show that its address is its own: what the port asks for, and the process at least.
fn retry_reason(worker: &Worker, port: Retry) -> Option<RetryReason> {
    match worker.shared.retry.max(port) {
        Retry::Always => Some(RetryReason::Always),
        Retry::UnderLoad if worker.half_open.are_many() => Some(RetryReason::UnderLoad),
        Retry::UnderLoad | Retry::Never => None,
    }
}

/// What holds for new connections now. An endpoint outlives its listener for as long as it has connections.
fn served(worker: &Worker, port: u16) -> Option<QuicOptions> {
    if worker.drain.has_started() {
        return None;
    }
    worker.view().snapshot.table.port(port).filter(|port| port.http3).map(|port| port.quic)
}
