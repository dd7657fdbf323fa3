//! A client with WebSocket tunnels on one QUIC connection, which moves from address to address.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use headrace_http3::{Protocol, Tunnel};
use http::{Method, Request};
use quinn::crypto::rustls::QuicClientConfig;
use tokio_util::task::AbortOnDropHandle;

use crate::certificates::client_tls;
use crate::patience::within;

/// One connection.
pub(crate) struct Client {
    pub(crate) connection: quinn::Connection,
    endpoint: quinn::Endpoint,
    opener: headrace_http3::client::SendRequest,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let tls = QuicClientConfig::try_from(client_tls(&["h3"])).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        let connecting = endpoint.connect(to, "a.example.com").unwrap();
        let connection = within("a connection", connecting).await.unwrap();
        let (mut driver, opener) =
            headrace_http3::client::connect(connection.clone(), &headrace_http3::Config::default());
        let driver = tokio::spawn(async move { drop(driver.drive().await) });
        Self { connection, endpoint, opener, _driver: AbortOnDropHandle::new(driver) }
    }

    /// A tunnel to the echo.
    pub(crate) async fn tunnel(&mut self) -> Tunnel {
        let request = Request::builder().method(Method::CONNECT).uri("https://a.example.com/");
        let mut request = request.header("sec-websocket-version", "13").body(()).unwrap();
        request.extensions_mut().insert(Protocol::WEBSOCKET);
        let (send, mut recv) = within("a tunnel", self.opener.send_request(request)).await.unwrap();
        assert_eq!(within("an answer", recv.response()).await.unwrap().status(), 200);
        Tunnel::new(send, recv)
    }

    /// Whether the pod takes more requests on this connection: it has not said GOAWAY.
    pub(crate) fn is_open(&self) -> bool {
        self.opener.is_open()
    }

    /// Goes on from another port, as behind a NAT that has forgotten.
    pub(crate) fn moves(&self) {
        self.endpoint.rebind(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.endpoint.close(0x100_u32.into(), b"");
    }
}
