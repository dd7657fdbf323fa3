//! WebSocket by extended CONNECT on HTTP/3 (RFC 9220): many tunnels on a QUIC connection.

use std::time::Duration;

use headrace_http3::client::SendRequest;
use headrace_http3::{Config, Protocol, Tunnel as Http3Tunnel};
use http::{Method, Request, Version};

use super::handshake::{Opened, answered};
use super::{ClientError, Dialer, HttpVersion, Offer, quic};

/// Home routers forget a UDP flow after half a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A connection on which tunnels can be opened.
#[derive(Clone)]
pub(super) struct Http3 {
    requests: SendRequest,
    /// The socket lives as long as the connection.
    _endpoint: quinn::Endpoint,
}

/// Connects, and learns whether the server does extended CONNECT.
pub(super) async fn connect(dialer: &Dialer) -> Result<Http3, ClientError> {
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    let (endpoint, connection) = quic::connect(dialer, transport).await?;
    begin(endpoint, connection).await
}

async fn begin(endpoint: quinn::Endpoint, connection: quinn::Connection) -> Result<Http3, ClientError> {
    let (mut connection, requests) = headrace_http3::client::connect(connection, &Config::default());
    // Ends when every request and tunnel is gone; its errors reach whoever uses those.
    tokio::spawn(async move { connection.drive().await });
    if !answered(requests.peer_settings()).await?.enable_connect_protocol {
        return Err(ClientError::NoExtendedConnect);
    }
    Ok(Http3 { requests, _endpoint: endpoint })
}

impl Http3 {
    /// Opens one more tunnel.
    pub(super) async fn open(&self, dialer: &Dialer, offer: &Offer) -> Result<Opened, ClientError> {
        answered(self.extended_connect(dialer, offer)).await
    }

    async fn extended_connect(&self, dialer: &Dialer, offer: &Offer) -> Result<Opened, ClientError> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_3)
            .uri(dialer.target.uri()?)
            .extension(Protocol::WEBSOCKET)
            .body(())?;
        offer.write(&mut request)?;
        let (send, mut recv) = self.requests.clone().send_request(request).await?;
        let response = recv.response().await?;
        if !response.status().is_success() {
            return Err(ClientError::Refused(Box::new(response)));
        }
        offer.judge(&response)?;
        let tunnel = Box::new(Http3Tunnel::new(send, recv));
        Ok(Opened { tunnel, response, version: HttpVersion::Http3 })
    }

    /// Tells the server that nobody will use the connection again, and waits until it has been told.
    pub(super) async fn close(self) {
        let Http3 { requests, _endpoint: endpoint } = self;
        drop(requests);
        quic::wait_idle(&endpoint).await;
    }
}
