//! QUIC connections of clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;

use crate::patience::within;
use crate::stage::Stage;
use crate::stage::certificates::client_tls;

/// One QUIC connection on an endpoint of its own.
pub(crate) struct Client {
    pub(crate) connection: quinn::Connection,
    endpoint: quinn::Endpoint,
}

impl Client {
    pub(crate) async fn connect(stage: &Stage, server_name: &str) -> Self {
        Self::try_connect(stage, server_name).await.unwrap()
    }

    pub(crate) async fn try_connect(stage: &Stage, server_name: &str) -> Result<Self, quinn::ConnectionError> {
        Self::connect_to(stage.https_address(), server_name).await
    }

    pub(crate) async fn connect_to(address: SocketAddr, server_name: &str) -> Result<Self, quinn::ConnectionError> {
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let tls = QuicClientConfig::try_from(client_tls(&["h3"])).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        let connection = endpoint.connect(address, server_name).unwrap().await?;
        Ok(Self { connection, endpoint })
    }

    /// Whether a new connection is refused at once (RFC 9000 section 20.1), so that a client can turn to TCP.
    pub(crate) async fn is_refused(address: SocketAddr, server_name: &str) -> bool {
        match within("an answer to an Initial", Self::connect_to(address, server_name)).await {
            Err(quinn::ConnectionError::ConnectionClosed(close)) => {
                close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED
            }
            _ => false,
        }
    }

    /// The certificate that was shown.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        let identity = self.connection.peer_identity().unwrap();
        let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
        chain[0].to_vec()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.endpoint.close(0x100_u32.into(), b"");
    }
}
