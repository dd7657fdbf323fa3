//! WebSocket by extended CONNECT on HTTP/3 (RFC 9220): many tunnels on a QUIC connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use headrace_http3::client::SendRequest;
use headrace_http3::{Config, Protocol, Tunnel as Http3Tunnel};
use http::{Method, Request, Version};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;

use super::handshake::{Opened, answered};
use super::{ClientError, Dialer, HttpVersion, Offer};

/// How long UDP may stay silent before it is given up: a network that lets it through answers in a fraction of this.
const UDP_TIMEOUT: Duration = Duration::from_secs(3);
/// Home routers forget a UDP flow after half a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A connection on which tunnels can be opened.
#[derive(Clone)]
pub(super) struct Http3 {
    requests: SendRequest,
    /// The socket lives as long as the connection.
    _endpoint: quinn::Endpoint,
}

/// Connects by whichever address answers first, and learns whether the server does extended CONNECT.
pub(super) async fn connect(dialer: &Dialer) -> Result<Http3, ClientError> {
    if !dialer.target.secure {
        return Err(ClientError::NeedsTls);
    }
    let config = client_config(dialer)?;
    let addresses = dialer.target.addresses().await?;
    // All at once: a UDP port that nobody listens on stays silent.
    let mut attempts: FuturesUnordered<_> =
        addresses.into_iter().map(|address| handshake(dialer, config.clone(), address)).collect();
    let mut failure = ClientError::UdpTimeout { within: UDP_TIMEOUT };
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok((endpoint, connection)) => return begin(endpoint, connection).await,
            // What a server said tells more than another's silence.
            Err(ClientError::UdpTimeout { .. }) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn client_config(dialer: &Dialer) -> Result<quinn::ClientConfig, ClientError> {
    let tls = QuicClientConfig::try_from(dialer.tls.config(&[b"h3"])?)
        .expect("the cryptography library has the cipher suite that every QUIC handshake begins with");
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn handshake(
    dialer: &Dialer,
    config: quinn::ClientConfig,
    address: SocketAddr,
) -> Result<(quinn::Endpoint, quinn::Connection), ClientError> {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = quinn::Endpoint::client(SocketAddr::new(any, 0)).map_err(ClientError::Udp)?;
    let connecting = endpoint.connect_with(config, address, &dialer.target.host)?;
    match timeout(UDP_TIMEOUT, connecting).await {
        Ok(connection) => Ok((endpoint, connection?)),
        Err(_) => Err(ClientError::UdpTimeout { within: UDP_TIMEOUT }),
    }
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
        let _ = timeout(UDP_TIMEOUT, endpoint.wait_idle()).await;
    }
}
