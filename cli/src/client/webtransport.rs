//! WebTransport sessions on HTTP/3 connections, from the client's side.
//!
//! Owns what this side allows a server, and what a failure means to whoever wanted a session. What runs over a session
//! is for those who open it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headrace_http3::client::SendRequest;
use headrace_http3::webtransport::{self, ConnectError, Session};
use http::{Request, Response};

use super::handshake::answered;
use super::{ClientError, Dialer, Offer, quic};

/// A server that has gone without a word is missed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// A third of that: two packets may be lost.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What a stream may have under way: 80 Mbit/s over 100 ms.
const STREAM_WINDOW: u32 = 1 << 20;
/// What all streams of a connection may have under way. It bounds what waits here for slow readers.
const WINDOW: u32 = 8 << 20;
/// Datagrams of a session that wait to be read, beyond which the oldest are dropped.
const MAX_DATAGRAMS: usize = 256;
/// The same in octets: that many of the size that paths take.
const MAX_DATAGRAM_OCTETS: usize = MAX_DATAGRAMS * 1500;

/// An HTTP/3 connection on which sessions can be opened.
#[derive(Debug)]
pub(crate) struct Carrier {
    requests: SendRequest,
    endpoint: quinn::Endpoint,
    retired: AtomicBool,
}

impl Carrier {
    /// Connects by whichever address answers first.
    pub(crate) async fn connect(dialer: &Dialer) -> Result<Self, ClientError> {
        let (endpoint, connection) = quic::connect(dialer, transport()).await?;
        let config = headrace_http3::Config { webtransport: Some(allowed()), ..headrace_http3::Config::default() };
        let (mut connection, requests) = headrace_http3::client::connect(connection, &config);
        // Ends when every session is gone, and the carrier too; its errors reach whoever uses those.
        tokio::spawn(async move { connection.drive().await });
        Ok(Self { requests, endpoint, retired: AtomicBool::new(false) })
    }

    /// Opens one more session.
    pub(crate) async fn open(&self, dialer: &Dialer, offer: &Offer) -> Result<(Session, Response<()>), ClientError> {
        let mut request = Request::builder().uri(dialer.target.uri()?).body(())?;
        request.headers_mut().extend(offer.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut requests = self.requests.clone();
        answered(webtransport::connect(&mut requests, request, &offer.subprotocols)).await
    }

    /// Whether more sessions may be asked for.
    pub(crate) fn is_open(&self) -> bool {
        self.requests.is_open() && !self.retired.load(Ordering::Relaxed)
    }

    /// No more sessions are to be opened on it. Those that there are go on.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Waits until the server has been told that nobody will use the connection again. Sessions must be gone, and it
    /// must have no other user.
    pub(crate) async fn close(self) {
        let Carrier { requests, endpoint, .. } = self;
        drop(requests);
        quic::wait_idle(&endpoint).await;
    }

    /// Its socket, to wait for after everybody has dropped the carrier.
    pub(crate) fn farewell(&self) -> impl Future<Output = ()> + Send + use<> {
        let endpoint = self.endpoint.clone();
        async move { quic::wait_idle(&endpoint).await }
    }
}

fn transport() -> quinn::TransportConfig {
    let allowed = allowed();
    let mut transport = quinn::TransportConfig::default();
    let idle = IDLE_TIMEOUT.try_into().expect("QUIC can say some seconds");
    transport.max_idle_timeout(Some(idle)).keep_alive_interval(Some(KEEP_ALIVE));
    transport.stream_receive_window(STREAM_WINDOW.into()).receive_window(WINDOW.into());
    transport.max_concurrent_bidi_streams(allowed.max_streams_bidi.into());
    transport.max_concurrent_uni_streams((allowed.max_streams_uni + HTTP3_STREAMS).into());
    transport
}

/// The unidirectional streams of HTTP/3 itself: control and QPACK's two (RFC 9114, section 6.2, and RFC 9204).
const HTTP3_STREAMS: u32 = 3;

fn allowed() -> webtransport::Config {
    webtransport::Config {
        max_data: WINDOW.into(),
        stream_window: STREAM_WINDOW.into(),
        max_datagrams: MAX_DATAGRAMS,
        max_datagram_octets: MAX_DATAGRAM_OCTETS,
        ..webtransport::Config::default()
    }
}

impl From<ConnectError> for ClientError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(response) => ClientError::Refused(response),
            ConnectError::Stream(error) if error.is_unprocessed() => ClientError::NoMoreSessions,
            ConnectError::TooMany => ClientError::NoMoreSessions,
            ConnectError::Stream(error) => ClientError::Http3(error),
            ConnectError::Unmet(unmet) => ClientError::NoWebTransport(unmet),
            other => ClientError::Session(Box::new(other)),
        }
    }
}
