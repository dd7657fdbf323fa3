//! One QUIC connection to one endpoint: the sockets that all of a worker's share, TLS, and what became of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use headrace_http3::client::{self, SendRequest};
use headrace_http3::{Code, Config};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, TransportConfig, TransportErrorCode, VarInt};
use rustls::AlertDescription;
use tokio::time::timeout;

use super::{Place, Upstream, lock};
use crate::failure::Failure;
use crate::listener::quic;
use crate::metrics::ConnectResult;
use crate::session;
use crate::upstream::ClientTls;

/// As long as TCP and TLS may take together would be long for one round trip; a UDP port with nobody behind it is often
/// silent, and another endpoint may be alive.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A backend that is silent for this long is gone. Shorter than for clients: between pods no path is lost for so long.
const IDLE_TIMEOUT: VarInt = VarInt::from_u32(30_000);

/// A PING this often asks whether it is.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

const ALPN: &[u8] = b"h3";

static TRANSPORT: LazyLock<Arc<TransportConfig>> = LazyLock::new(|| {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE_TIMEOUT.into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        // Every session adds its own.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(quic::UNI_STREAMS.into())
        .stream_receive_window(quic::STREAM_WINDOW.into())
        .receive_window(quic::CONNECTION_WINDOW.into())
        .send_window(quic::SEND_WINDOW)
        .datagram_receive_buffer_size(Some(quic::DATAGRAM_BUFFER))
        .datagram_send_buffer_size(quic::DATAGRAM_BUFFER);
    Arc::new(transport)
});

/// What HTTP/3 is told towards backends.
static HTTP3: LazyLock<Config> =
    LazyLock::new(|| Config { webtransport: Some(session::upstream_config()), ..Config::default() });

/// The sockets, made when they are first needed, and TLS by place.
#[derive(Default)]
pub(super) struct Dialler {
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
    /// With the sessions that can be resumed.
    configs: Mutex<HashMap<Place, quinn::ClientConfig>>,
}

impl Dialler {
    fn slot(&self, towards: SocketAddr) -> (&Mutex<Option<Endpoint>>, IpAddr) {
        match towards.ip() {
            IpAddr::V4(_) => (&self.v4, Ipv4Addr::UNSPECIFIED.into()),
            IpAddr::V6(_) => (&self.v6, Ipv6Addr::UNSPECIFIED.into()),
        }
    }

    fn forget(&self, towards: SocketAddr) {
        lock(self.slot(towards).0).take();
    }

    fn endpoint(&self, towards: SocketAddr) -> Result<Endpoint, Fault> {
        let (slot, any) = self.slot(towards);
        let mut slot = lock(slot);
        if let Some(endpoint) = &*slot {
            return Ok(endpoint.clone());
        }
        let endpoint = Endpoint::client(SocketAddr::new(any, 0)).map_err(Fault::Socket)?;
        Ok(slot.insert(endpoint).clone())
    }

    fn config(&self, place: Place, tls: &ClientTls) -> Result<quinn::ClientConfig, Fault> {
        let mut configs = lock(&self.configs);
        if let Some(config) = configs.get(&place) {
            return Ok(config.clone());
        }
        let mut tls = (*tls.config()).clone();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = QuicClientConfig::try_from(tls).map_err(|_| Fault::Setup)?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::clone(&TRANSPORT));
        configs.insert(place, config.clone());
        Ok(config)
    }

    pub(super) fn sweep(&self, named: impl Fn(&Place) -> bool) {
        lock(&self.configs).retain(|place, _| named(place));
    }

    /// Ends every connection, and returns when that was said.
    pub(super) async fn close(&self) {
        for slot in [&self.v4, &self.v6] {
            let endpoint = lock(slot).take();
            if let Some(endpoint) = endpoint {
                let code = VarInt::from_u64(Code::H3_NO_ERROR.value()).expect("a code is a QUIC integer");
                endpoint.close(code, b"");
                endpoint.wait_idle().await;
            }
        }
    }
}

impl Upstream<'_> {
    /// Connects over QUIC. The peer has proved by then that it is who the backend says.
    pub(super) async fn dial_http3(&self, place: Place) -> Result<SendRequest, Failure> {
        let Some(tls) = self.tls else { return Err(Failure::BackendTls) };
        let outcome = match timeout(CONNECT_TIMEOUT, self.connect_http3(place, tls)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Connection(ConnectionError::TimedOut)),
        };
        let result = outcome.as_ref().map_or_else(Fault::result, |_| ConnectResult::Ok);
        self.metrics.upstream_connects_total(result).inc();
        let connected = outcome.map_err(|fault| {
            let (backend, endpoint, name) = (&*self.backend.id, place.endpoint, tls.server_name());
            tracing::warn!(backend, %endpoint, server_name = ?name, %fault, "QUIC with a backend failed");
            fault.failure()
        })?;
        let (mut connection, requests) = client::connect(connected, &HTTP3);
        let endpoint = place.endpoint;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, %endpoint, "a backend's HTTP/3 connection ended");
            }
        });
        Ok(requests)
    }

    async fn connect_http3(&self, place: Place, tls: &ClientTls) -> Result<quinn::Connection, Fault> {
        let dialler = &self.pool.http3.dialler;
        let config = dialler.config(place, tls)?;
        let endpoint = dialler.endpoint(place.endpoint)?;
        match endpoint.connect_with(config, place.endpoint, &tls.server_name().to_str()) {
            Ok(connecting) => connecting.await.map_err(Fault::Connection),
            Err(error) => {
                if matches!(error, quinn::ConnectError::EndpointStopping) {
                    // Its socket failed: the next one gets another.
                    dialler.forget(place.endpoint);
                }
                Err(Fault::Connect(error))
            }
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("no socket: {0}")]
    Socket(std::io::Error),
    #[error("TLS of the backend cannot be had over QUIC")]
    Setup,
    #[error("{0}")]
    Connect(quinn::ConnectError),
    #[error("{0}")]
    Connection(ConnectionError),
}

impl Fault {
    /// Whose doing a failed handshake is: TLS's, the certificate's in particular, or of what is below.
    fn result(&self) -> ConnectResult {
        match self {
            Self::Socket(_) | Self::Connect(_) => ConnectResult::Failed,
            Self::Setup => ConnectResult::Tls,
            Self::Connection(ConnectionError::TimedOut) => ConnectResult::Timeout,
            Self::Connection(ConnectionError::TransportError(error)) if is_certificate(error.code) => {
                ConnectResult::Certificate
            }
            Self::Connection(ConnectionError::TransportError(error)) if is_crypto(error.code) => ConnectResult::Tls,
            Self::Connection(ConnectionError::ConnectionClosed(close)) if is_crypto(close.error_code) => {
                ConnectResult::Tls
            }
            Self::Connection(ConnectionError::ConnectionClosed(close))
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                ConnectResult::Refused
            }
            Self::Connection(_) => ConnectResult::Failed,
        }
    }

    fn failure(&self) -> Failure {
        match self.result() {
            ConnectResult::Tls => Failure::BackendTls,
            ConnectResult::Certificate => Failure::BackendCertificate,
            _ => Failure::Unreachable,
        }
    }
}

/// RFC 9001 section 4.8: a TLS alert is a connection error with its number.
fn is_crypto(code: TransportErrorCode) -> bool {
    let first = u64::from(TransportErrorCode::crypto(0));
    (first..=first + u64::from(u8::MAX)).contains(&u64::from(code))
}

/// The alerts that this side sends when it does not take a certificate (RFC 8446 section 6.2), among them rustls' for one
/// whose signature is not its issuer's.
fn is_certificate(code: TransportErrorCode) -> bool {
    [
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
        AlertDescription::DecryptError,
        AlertDescription::CertificateRequired,
    ]
    .into_iter()
    .any(|alert| code == TransportErrorCode::crypto(alert.into()))
}
