//! TLS towards clients: one configuration for TCP and one for QUIC per port, over certificates that may change at any
//! time, and what a failed handshake is counted as.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use headrace_table::Keys;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, Error, ServerConfig, SupportedProtocolVersion, version};

use super::sessions::{Sessions, Tickets};
use super::{CertificateIndex, provider};
use crate::metrics::{HandshakeResult, Transport, WorkerMetrics};

/// On TCP, HTTP/2 before HTTP/1.1 (RFC 7301 section 3.2: the server chooses).
const TCP_ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// RFC 9114 section 3.1.
const QUIC_ALPN: [&[u8]; 1] = [b"h3"];

/// Tickets after a TLS 1.3 handshake. A client of ours opens one connection and keeps it: one ticket is enough to come
/// back with, and each costs some 250 octets and a record.
const TLS13_TICKETS: usize = 1;

/// What rustls says when a resolver has no key. A test holds it to that.
const NO_KEY: &str = "no server certificate chain resolved";

/// What all TLS of this process towards clients shares.
#[derive(Clone, Debug)]
pub(crate) struct ServerTls {
    index: Arc<ArcSwap<CertificateIndex>>,
    tcp_tickets: Arc<Tickets>,
    quic_tickets: Arc<Tickets>,
    sessions: Sessions,
}

/// Whether requests are taken that come before the handshake is complete (RFC 9001 section 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyData {
    /// They are not, and clients come back with tickets that are good at every pod.
    Refused,
    /// They are, of clients that come back to this process.
    Taken,
}

impl ServerTls {
    /// Without certificates: every handshake fails until there are some. Fails if there is no randomness for ticket keys.
    pub(crate) fn new(metrics: &Arc<WorkerMetrics>) -> Result<Self, Error> {
        // Shared by workers, since a client comes back to any of them; not by transports, since a ticket is for one.
        let tickets = |transport| Tickets::new(transport, Arc::clone(metrics)).map(Arc::new);
        Ok(Self {
            index: Arc::default(),
            tcp_tickets: tickets(Transport::Tcp)?,
            quic_tickets: tickets(Transport::Quic)?,
            sessions: Sessions::new(Arc::clone(metrics)),
        })
    }

    /// Takes over the secrets that the pods share, if there are any: tickets are good at all of them from now on.
    pub(crate) fn share(&self, keys: Option<&Keys>) {
        let Some(keys) = keys else { return };
        for tickets in [&self.tcp_tickets, &self.quic_tickets] {
            tickets.share(keys.tickets.iter().map(|secret| secret.octets.expose()));
        }
    }

    /// Replaces all certificates, for all handshakes from now on. Open connections keep theirs.
    pub(crate) fn swap(&self, index: CertificateIndex) {
        self.index.store(Arc::new(index));
    }

    /// The certificates of one port, now and after every swap.
    pub(crate) fn port(&self, port: u16) -> PortCertificates {
        PortCertificates { index: Arc::clone(&self.index), port }
    }

    /// TLS 1.2 and 1.3 with HTTP/2 and HTTP/1.1, for one port.
    pub(crate) fn tcp_config(&self, port: PortCertificates) -> Arc<ServerConfig> {
        let mut config = config(&[&version::TLS13, &version::TLS12], &TCP_ALPN, port);
        config.ticketer = Arc::clone(&self.tcp_tickets) as _;
        Arc::new(config)
    }

    /// TLS 1.3 with HTTP/3 (RFC 9001 section 4.2), for one port.
    pub(crate) fn quic_config(&self, port: PortCertificates, early_data: EarlyData) -> Arc<ServerConfig> {
        let number = port.port;
        let mut config = config(&[&version::TLS13], &QUIC_ALPN, port);
        match early_data {
            EarlyData::Refused => config.ticketer = Arc::clone(&self.quic_tickets) as _,
            EarlyData::Taken => {
                config.session_storage = self.sessions.port(number);
                // RFC 9001 section 4.6.1: QUIC's own flow control is the limit.
                config.max_early_data_size = u32::MAX;
            }
        }
        Arc::new(config)
    }
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
    certificates: PortCertificates,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("the provider has cipher suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.send_tls13_tickets = TLS13_TICKETS;
    // Tickets keep a session's state at the client: nothing to bound here, and no lock that workers share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // What a replayed request may do is the application's to know (RFC 8470): none is taken where nobody asks for it.
    config.max_early_data_size = 0;
    // Nothing is sent to a client that has not proved that it is there.
    config.send_half_rtt_data = false;
    config.max_fragment_size = None;
    config
}

/// The certificates of one port.
#[derive(Clone, Debug)]
pub(crate) struct PortCertificates {
    index: Arc<ArcSwap<CertificateIndex>>,
    port: u16,
}

impl ResolvesServerCert for PortCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.index.load().find(self.port, hello.server_name(), hello.signature_schemes());
        if key.is_none() {
            // The alert is rustls' choice: access_denied, where RFC 6066 section 3 has unrecognized_name.
            tracing::debug!(port = self.port, name = hello.server_name(), "no certificate for the name");
        }
        key
    }
}

/// What an error of a TLS handshake over TCP is counted as.
pub(crate) fn tcp_handshake_result(error: &io::Error) -> HandshakeResult {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::General(text)) if text == NO_KEY => HandshakeResult::NoCertificate,
        Some(Error::AlertReceived(_)) => HandshakeResult::Alert,
        None if error.kind() == io::ErrorKind::TimedOut => HandshakeResult::Timeout,
        _ => HandshakeResult::Failed,
    }
}

/// What an error of a QUIC connection before it was established is counted as.
pub(crate) fn quic_handshake_result(error: &quinn::ConnectionError) -> HandshakeResult {
    use quinn::{ConnectionError, TransportErrorCode};
    // RFC 9001 section 4.8: a TLS alert is a connection error with its number. Our only use of access_denied is rustls'
    // for a resolver without a key.
    let crypto_errors = u64::from(TransportErrorCode::crypto(0))..=u64::from(TransportErrorCode::crypto(u8::MAX));
    match error {
        ConnectionError::TransportError(error)
            if error.code == TransportErrorCode::crypto(AlertDescription::AccessDenied.into()) =>
        {
            HandshakeResult::NoCertificate
        }
        ConnectionError::ConnectionClosed(close) if crypto_errors.contains(&u64::from(close.error_code)) => {
            HandshakeResult::Alert
        }
        ConnectionError::TimedOut => HandshakeResult::Timeout,
        _ => HandshakeResult::Failed,
    }
}
