//! TCP and TLS on it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ClientError, Dialer, Tunnel};

/// How long one address may take to accept a connection, and how long a TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the first address that answers.
pub(super) async fn connect(dialer: &Dialer) -> Result<TcpStream, ClientError> {
    let mut failure = None;
    for address in dialer.target.addresses().await? {
        failure = Some(match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A message is a packet: nothing follows that is worth waiting for.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(source)) => ClientError::Tcp { address, source },
            Err(_) => ClientError::TcpTimeout { address, within: CONNECT_TIMEOUT },
        });
    }
    Err(failure.expect("a target has at least one address"))
}

/// Connects and makes a TLS handshake that offers these protocols.
pub(super) async fn connect_tls(dialer: &Dialer, alpn: &[&[u8]]) -> Result<TlsStream<TcpStream>, ClientError> {
    let config = dialer.tls.config(alpn)?;
    let name = server_name(dialer)?;
    let stream = connect(dialer).await?;
    match timeout(CONNECT_TIMEOUT, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(done) => done.map_err(ClientError::Tls),
        Err(_) => Err(ClientError::Timeout { within: CONNECT_TIMEOUT }),
    }
}

/// Connects with TLS where the URL asks for it.
pub(super) async fn connect_any(dialer: &Dialer, alpn: &[&[u8]]) -> Result<Tunnel, ClientError> {
    match dialer.target.secure {
        true => Ok(Box::new(connect_tls(dialer, alpn).await?)),
        false => Ok(Box::new(connect(dialer).await?)),
    }
}

pub(super) fn server_name(dialer: &Dialer) -> Result<ServerName<'static>, ClientError> {
    let host = &dialer.target.host;
    ServerName::try_from(host.clone()).map_err(|_| ClientError::ServerName(host.clone()))
}
