//! A client on this project's own HTTP/3.

use std::net::Ipv4Addr;
use std::sync::Arc;

use headrace_http3::client::{self, SendRequest};
use headrace_http3::webtransport::{self, ConnectError, RecvStream, Session};
use headrace_http3::{Config, StreamError};
use http::{Request, Response};
use quinn::crypto::rustls::QuicClientConfig;

use crate::certificates::client_tls;
use crate::patience::within;
use crate::stage::Stage;

/// The host that requests name unless a test says otherwise.
pub(crate) const HOST: &str = "a.example.com";

/// A connection to a data plane. It is driven until it ends.
pub(crate) struct Client {
    pub(crate) requests: SendRequest,
    pub(crate) quic: quinn::Connection,
}

/// Credit of a client's stream.
pub(crate) const WINDOW: u32 = 256 << 10;

/// QUIC as clients configure it that trust the tests' certificates.
pub(crate) fn quic_config() -> quinn::ClientConfig {
    let tls = QuicClientConfig::try_from(client_tls(&["h3"])).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((WINDOW * 16).into())
        .max_concurrent_bidi_streams(600_u32.into())
        .max_concurrent_uni_streams(600_u32.into());
    config.transport_config(Arc::new(transport));
    config
}

/// A QUIC connection to a data plane.
pub(crate) async fn quic(stage: &Stage) -> quinn::Connection {
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = endpoint.connect_with(quic_config(), stage.address, HOST).unwrap();
    within("a QUIC connection", connecting).await.unwrap()
}

impl Client {
    pub(crate) async fn connect(stage: &Stage) -> Self {
        Self::with(stage, webtransport::Config::default()).await
    }

    pub(crate) async fn with(stage: &Stage, webtransport: webtransport::Config) -> Self {
        let quic = quic(stage).await;
        let config = Config { webtransport: Some(webtransport), ..Config::default() };
        let (mut connection, requests) = client::connect(quic.clone(), &config);
        tokio::spawn(async move { connection.drive().await });
        Self { requests, quic }
    }

    /// Asks for a session.
    pub(crate) async fn ask(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        subprotocols: &[&str],
    ) -> Result<(Session, Response<()>), ConnectError> {
        let request = request(path, headers);
        within("an answer", webtransport::connect(&mut self.requests, request, subprotocols)).await
    }

    /// Asks for a session, which there is.
    pub(crate) async fn session(&mut self, path: &str) -> Session {
        self.ask(path, &[], &[]).await.unwrap().0
    }

    /// Asks for a session, and is refused with a status.
    pub(crate) async fn refused(&mut self, path: &str, headers: &[(&str, &str)]) -> Response<()> {
        match self.ask(path, headers, &[]).await {
            Err(ConnectError::Refused(response)) => *response,
            other => panic!("{path}: {other:?}"),
        }
    }
}

pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().uri(format!("https://{HOST}{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

/// Reads a stream to its end.
pub(crate) async fn read_all(recv: &mut RecvStream) -> Result<Vec<u8>, StreamError> {
    let (mut content, mut octets) = (Vec::new(), vec![0; 5000]);
    loop {
        match within("octets of a stream", recv.read_data(&mut octets)).await? {
            0 => return Ok(content),
            size => content.extend_from_slice(&octets[..size]),
        }
    }
}

/// Octets that are easily told from others.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}
