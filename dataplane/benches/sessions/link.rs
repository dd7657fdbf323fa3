//! What the load opens streams on and sends datagrams by: a session, or bare QUIC.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use headrace_http3::Config;
use headrace_http3::client::{self, SendRequest};
use headrace_http3::webtransport::{self, Session};
use http::Request;
use quinn::crypto::rustls::QuicClientConfig;
use tokio_util::task::AbortOnDropHandle;

use crate::certificates::client_tls;
use crate::floor::{self, BARE};

/// What clients ask for.
const HOST: &str = "a.example.com";

/// Sessions that the load has on one connection, at most.
const SESSIONS: u32 = 100;

/// A client's socket. Its connections share it, as a browser's share none: what is measured is at the other end.
pub(crate) struct Clients {
    endpoint: quinn::Endpoint,
    server: SocketAddr,
    is_bare: bool,
}

/// A connection.
pub(crate) struct Client {
    quic: quinn::Connection,
    /// With what drives it, where there are sessions.
    requests: Option<(SendRequest, AbortOnDropHandle<()>)>,
}

/// A session, or a connection that stands for one.
#[derive(Clone)]
pub(crate) enum Link {
    Session(Session),
    Bare(quinn::Connection),
}

/// A stream's sending half.
pub(crate) enum Sender {
    Session(webtransport::SendStream),
    Bare(quinn::SendStream),
}

/// Its receiving half.
pub(crate) enum Receiver {
    Session(webtransport::RecvStream),
    Bare(quinn::RecvStream),
}

impl Clients {
    pub(crate) fn new(server: SocketAddr, is_bare: bool) -> Self {
        let alpn = if is_bare { BARE } else { "h3" };
        let tls = QuicClientConfig::try_from(client_tls(&[alpn])).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(floor::transport(0));
        let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(config);
        Self { endpoint, server, is_bare }
    }

    pub(crate) async fn connect(&self) -> Result<Client, String> {
        let connecting = self.endpoint.connect(self.server, HOST).unwrap();
        let quic = connecting.await.map_err(|error| format!("no connection: {error}"))?;
        if self.is_bare {
            return Ok(Client { quic, requests: None });
        }
        let webtransport = webtransport::Config { max_sessions: SESSIONS, ..webtransport::Config::default() };
        let config = Config { webtransport: Some(webtransport), ..Config::default() };
        let (mut connection, requests) = client::connect(quic.clone(), &config);
        let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.drive().await) }));
        Ok(Client { quic, requests: Some((requests, driver)) })
    }
}

impl Client {
    /// Another session, or what there is.
    pub(crate) async fn link(&mut self) -> Result<Link, String> {
        let Some((requests, _)) = &mut self.requests else { return Ok(Link::Bare(self.quic.clone())) };
        let request = Request::builder().uri(format!("https://{HOST}/")).body(()).unwrap();
        match webtransport::connect::<_, &str>(requests, request, &[]).await {
            Ok((session, _)) => Ok(Link::Session(session)),
            Err(error) => Err(format!("no session: {error} ({error:?})")),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.quic.close(0x100_u32.into(), b"");
    }
}

impl Link {
    pub(crate) async fn open(&self) -> (Sender, Receiver) {
        match self {
            Self::Session(session) => {
                let (send, recv) = session.open_bi().await.unwrap();
                (Sender::Session(send), Receiver::Session(recv))
            }
            Self::Bare(quic) => {
                let (send, recv) = quic.open_bi().await.unwrap();
                (Sender::Bare(send), Receiver::Bare(recv))
            }
        }
    }

    pub(crate) fn send_datagram(&self, payload: &[u8]) {
        match self {
            Self::Session(session) => session.send_datagram(payload).unwrap(),
            Self::Bare(quic) => quic.send_datagram(Bytes::copy_from_slice(payload)).unwrap(),
        }
    }

    pub(crate) async fn datagram(&self) -> Bytes {
        match self {
            Self::Session(session) => session.recv_datagram().await.unwrap(),
            Self::Bare(quic) => quic.read_datagram().await.unwrap(),
        }
    }
}

impl Sender {
    pub(crate) async fn write(&mut self, octets: &[u8]) -> usize {
        match self {
            Self::Session(stream) => stream.write_data(octets).await.unwrap(),
            Self::Bare(stream) => stream.write(octets).await.unwrap(),
        }
    }

    pub(crate) async fn write_all(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let written = self.write(octets).await;
            octets = &octets[written..];
        }
    }
}

impl Receiver {
    /// Octets that came, at least one.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> usize {
        let read = match self {
            Self::Session(stream) => stream.read_data(buffer).await.unwrap(),
            Self::Bare(stream) => stream.read(buffer).await.unwrap().unwrap_or(0),
        };
        assert!(read > 0, "the stream ended");
        read
    }

    pub(crate) async fn read_exactly(&mut self, mut left: usize, buffer: &mut [u8]) {
        while left > 0 {
            let size = left.min(buffer.len());
            left -= self.read(&mut buffer[..size]).await;
        }
    }
}
