//! Why there is no tunnel, and whether another HTTP version may give one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use headrace_http3::webtransport;
use http::Response;

/// Why a connection was not made or a tunnel not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no address for {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{address}: {source}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("{address}: no answer within {} s", within.as_secs())]
    TcpTimeout { address: SocketAddr, within: Duration },
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(#[from] rustls::Error),
    #[error("{0} is no name that a certificate could have")]
    ServerName(String),
    #[error("no answer within {} s", within.as_secs())]
    Timeout { within: Duration },
    #[error("no answer to UDP within {} s", within.as_secs())]
    UdpTimeout { within: Duration },
    #[error("the server does not offer WebTransport: {0}")]
    NoWebTransport(webtransport::draft::Unmet),
    #[error("the connection takes no more sessions")]
    NoMoreSessions,
    #[error("no session: {0}")]
    Session(#[source] Box<webtransport::ConnectError>),
    #[error("needs TLS: use wss://")]
    NeedsTls,
    #[error("ALPN chose {0}")]
    Alpn(String),
    #[error("the server does not offer SETTINGS_ENABLE_CONNECT_PROTOCOL")]
    NoExtendedConnect,
    #[error("UDP socket: {0}")]
    Udp(#[source] io::Error),
    #[error("QUIC: {0}")]
    QuicConnect(#[from] quinn::ConnectError),
    #[error("QUIC: {0}")]
    Quic(#[from] quinn::ConnectionError),
    #[error("{0}")]
    Http2(#[from] h2::Error),
    #[error("{0}")]
    Http3(#[from] headrace_http3::StreamError),
    #[error("{0}")]
    Http3Connection(#[from] headrace_http3::Error),
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    #[error("not a WebSocket handshake: {0}")]
    Handshake(&'static str),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
    #[error("the answer is {}", .0.status())]
    Refused(Box<Response<()>>),
}

impl ClientError {
    /// Whether an older HTTP version may do better: not once a server has answered for this URL.
    pub(crate) fn allows_fallback(&self) -> bool {
        match self {
            // RFC 9220, section 3: a server that does not know the protocol says so with 501.
            ClientError::Refused(response) => response.status() == http::StatusCode::NOT_IMPLEMENTED,
            ClientError::Handshake(_) | ClientError::Request(_) | ClientError::Resolve { .. } => false,
            _ => true,
        }
    }
}
