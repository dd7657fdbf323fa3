//! One connection to one endpoint: TCP, TLS where the backend asks for it, and what became of both.
//!
//! A backend that asks for TLS is never spoken to without: every way on from here that fails is a [`Failure`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{ClientTls, Stream, Upstream};
use crate::failure::Failure;
use crate::metrics::{ConnectResult, WorkerMetrics};
use crate::socket::connect_options;

/// A dead endpoint must not hold a request for long: another one may be alive.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longer than [`CONNECT_TIMEOUT`], which the kernel of an idle machine keeps: a handshake waits for an application that
/// may be busy, and for its signature.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets that TLS takes on beyond what the socket takes: one record's worth (RFC 8446 section 5.1), so that a stalled
/// tunnel holds little.
const SEND_BUFFER: usize = 16 * 1024;

/// What is to be spoken over TLS (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// Also what a peer without ALPN speaks.
    Http1,
    /// Only with a peer that says so: RFC 9113 section 3.3 has no prior knowledge over TLS.
    Http2,
}

impl Alpn {
    fn octets(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

impl Upstream<'_> {
    /// Connects to an endpoint. Over TLS, the peer has proved by then that it is who the backend says.
    pub(crate) async fn connect(&self, endpoint: SocketAddr, alpn: Alpn) -> Result<Stream, Failure> {
        let outcome = match self.tls {
            None => dial(endpoint).await.map(Stream::Clear),
            // In a box, so that a request in clear text has no room for a handshake in its task.
            Some(tls) => Box::pin(self.secure(tls, endpoint, alpn)).await,
        };
        let result = outcome.as_ref().map_or_else(Fault::result, |_| ConnectResult::Ok);
        self.metrics.upstream_connects_total(result).inc();
        outcome.map_err(|fault| {
            if let (Fault::Tls(_) | Fault::Certificate(_) | Fault::NoHttp2, Some(tls)) = (&fault, self.tls) {
                let (backend, name) = (&*self.backend.id, tls.server_name());
                tracing::warn!(backend, %endpoint, server_name = ?name, %fault, "TLS with a backend failed");
            } else {
                tracing::debug!(%endpoint, %fault, "connecting to an endpoint failed");
            }
            fault.failure()
        })
    }

    async fn secure(&self, tls: &ClientTls, endpoint: SocketAddr, alpn: Alpn) -> Result<Stream, Fault> {
        let stream = dial(endpoint).await?;
        let connector = TlsConnector::from(self.pool.config(self.place(endpoint), tls));
        let handshake = connector.with_alpn(vec![alpn.octets().to_vec()]).connect(tls.server_name().clone(), stream);
        let mut stream = match timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(outcome) => outcome.map_err(Fault::of_handshake)?,
            Err(_) => return Err(Fault::HandshakeTimeout),
        };
        let session = stream.get_mut().1;
        if alpn == Alpn::Http2 && session.alpn_protocol() != Some(alpn.octets()) {
            return Err(Fault::NoHttp2);
        }
        session.set_buffer_limit(Some(SEND_BUFFER));
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Connects to an endpoint that is spoken to in whatever a client speaks.
pub(crate) async fn dial_stream(endpoint: SocketAddr, metrics: &WorkerMetrics) -> Result<TcpStream, Failure> {
    let outcome = dial(endpoint).await;
    let result = outcome.as_ref().map_or_else(Fault::result, |_| ConnectResult::Ok);
    metrics.upstream_connects_total(result).inc();
    outcome.map_err(|fault| {
        tracing::debug!(%endpoint, %fault, "connecting to an endpoint failed");
        fault.failure()
    })
}

async fn dial(endpoint: SocketAddr) -> Result<TcpStream, Fault> {
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await {
        Ok(Ok(stream)) => {
            // A socket that refuses its options still carries bytes.
            let _still_works = connect_options(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => Err(Fault::Connect(error)),
        Err(_) => Err(Fault::ConnectTimeout),
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Connect(io::Error),
    #[error("no answer in time")]
    ConnectTimeout,
    #[error("{0}")]
    Tls(io::Error),
    #[error("{0}")]
    Certificate(rustls::Error),
    #[error("it does not choose h2 by ALPN")]
    NoHttp2,
    #[error("no TLS handshake in time")]
    HandshakeTimeout,
}

impl Fault {
    fn of_handshake(error: io::Error) -> Self {
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match fault {
            Some(fault @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => {
                Self::Certificate(fault.clone())
            }
            _ => Self::Tls(error),
        }
    }

    fn result(&self) -> ConnectResult {
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => ConnectResult::Refused,
            Self::Connect(_) => ConnectResult::Failed,
            Self::ConnectTimeout | Self::HandshakeTimeout => ConnectResult::Timeout,
            Self::Tls(_) | Self::NoHttp2 => ConnectResult::Tls,
            Self::Certificate(_) => ConnectResult::Certificate,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Connect(_) | Self::ConnectTimeout => Failure::Unreachable,
            Self::Tls(_) | Self::NoHttp2 | Self::HandshakeTimeout => Failure::BackendTls,
            Self::Certificate(_) => Failure::BackendCertificate,
        }
    }
}
