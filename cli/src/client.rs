//! WebSocket tunnels from the client's side, over each HTTP version, and WebTransport sessions over HTTP/3.
//!
//! Owns dialling and handshakes. Every tunnel is a byte pipe in the end; what frames run through it is for those who
//! open it.

mod connection;
mod error;
mod handshake;
mod http1;
mod http2;
mod http3;
mod prefixed;
mod quic;
mod target;
mod tcp;
mod tls;
mod webtransport;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use connection::Connection;
pub(crate) use error::ClientError;
pub(crate) use handshake::{Offer, Opened, RESERVED};
pub(crate) use target::{Resolve, Target, Url};
pub(crate) use tls::{Roots, TlsSettings};
pub(crate) use webtransport::Carrier;

/// A byte pipe.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The octets of one WebSocket, whatever carries them.
pub(crate) type Tunnel = Box<dyn Duplex>;

/// The versions of HTTP, the newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HttpVersion {
    Http1,
    Http2,
    Http3,
}

impl HttpVersion {
    /// As people write it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            HttpVersion::Http1 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2",
            HttpVersion::Http3 => "HTTP/3",
        }
    }

    /// What carries a WebSocket there.
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            HttpVersion::Http1 => "Upgrade, RFC 6455",
            HttpVersion::Http2 => "extended CONNECT, RFC 8441",
            HttpVersion::Http3 => "extended CONNECT, RFC 9220",
        }
    }
}

/// Where to, trusting whom.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) target: Target,
    pub(crate) tls: TlsSettings,
}
