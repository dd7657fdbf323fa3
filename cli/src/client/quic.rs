//! QUIC connections with `h3` spoken on them, whatever runs over that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;

use super::{ClientError, Dialer};

/// How long UDP may stay silent before it is given up: a network that lets it through answers in a fraction of this.
const UDP_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects by whichever address answers first. The socket lives as long as the endpoint or the connection does.
pub(super) async fn connect(
    dialer: &Dialer,
    transport: quinn::TransportConfig,
) -> Result<(quinn::Endpoint, quinn::Connection), ClientError> {
    if !dialer.target.secure {
        return Err(ClientError::NeedsTls);
    }
    let config = client_config(dialer, transport)?;
    let addresses = dialer.target.addresses().await?;
    // All at once: a UDP port that nobody listens on stays silent.
    let mut attempts: FuturesUnordered<_> =
        addresses.into_iter().map(|address| handshake(dialer, config.clone(), address)).collect();
    let mut failure = ClientError::UdpTimeout { within: UDP_TIMEOUT };
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(connected) => return Ok(connected),
            // What a server said tells more than another's silence.
            Err(ClientError::UdpTimeout { .. }) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn client_config(dialer: &Dialer, transport: quinn::TransportConfig) -> Result<quinn::ClientConfig, ClientError> {
    let tls = QuicClientConfig::try_from(dialer.tls.config(&[b"h3"])?)
        .expect("the cryptography library has the cipher suite that every QUIC handshake begins with");
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

/// Waits until the server has been told that a connection is over, or has had the time to hear it.
pub(super) async fn wait_idle(endpoint: &quinn::Endpoint) {
    let _ = timeout(UDP_TIMEOUT, endpoint.wait_idle()).await;
}
