//! QUIC connections of clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;

use super::{Connection, get};
use crate::patience::within;
use crate::stage::certificates::client_tls;
use crate::stage::{HOST, Stage};

/// One QUIC connection on an endpoint of its own.
pub(crate) struct Client {
    pub(crate) connection: quinn::Connection,
    /// Absent where it is another's.
    endpoint: Option<quinn::Endpoint>,
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
        Ok(Self { connection, endpoint: Some(endpoint) })
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
        if let Some(endpoint) = &self.endpoint {
            endpoint.close(0x100_u32.into(), b"");
        }
    }
}

/// A client that comes back: its TLS sessions and tokens outlive its connections, and it sends early data where it may.
pub(crate) struct Returning(quinn::Endpoint);

impl Returning {
    pub(crate) fn new() -> Self {
        let mut tls = client_tls(&["h3"]);
        tls.enable_early_data = true;
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let tls = QuicClientConfig::try_from(tls).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        Self(endpoint)
    }

    pub(crate) fn begin(&self, address: SocketAddr) -> quinn::Connecting {
        self.0.connect(address, HOST).unwrap()
    }

    /// A connection whose handshake is over.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Client {
        let connection = within("a handshake", self.begin(address)).await.unwrap();
        Client { connection, endpoint: None }
    }

    /// One that is used before its handshake is over, if the client has a session that allows it.
    pub(crate) fn connect_early(&self, address: SocketAddr) -> Option<(Client, quinn::ZeroRttAccepted)> {
        let (connection, accepted) = self.begin(address).into_0rtt().ok()?;
        Some((Client { connection, endpoint: None }, accepted))
    }

    /// A request that is answered, after which the client has what it needs to come back.
    pub(crate) async fn visit(&self, address: SocketAddr) {
        let mut connection = Connection::on(self.connect(address).await).await;
        assert_eq!(connection.fetch(get("/visit")).await.unwrap().status, 200);
    }
}
