//! One connection with one tunnel to the echo.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headrace_cid::ConnectionId;
use headrace_http3::{Protocol, Tunnel};
use http::{Method, Request};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

use crate::certificates::client_tls;

/// Octets of one write.
const PIECE: usize = 64 << 10;

/// A client.
pub(crate) struct Client {
    endpoint: quinn::Endpoint,
    connection: quinn::Connection,
    tunnel: Tunnel,
    _requests: headrace_http3::client::SendRequest,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    /// Connects by a first packet with this ID, or one of chance.
    pub(crate) async fn connect(to: SocketAddr, first: Option<ConnectionId>) -> Self {
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let tls = QuicClientConfig::try_from(client_tls(&["h3"])).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        if let Some(first) = first {
            let first = quinn::ConnectionId::new(first.as_slice());
            config.initial_dst_cid_provider(Arc::new(move || first));
        }
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(to, "a.example.com").unwrap().await.unwrap();
        let (mut driver, mut requests) =
            headrace_http3::client::connect(connection.clone(), &headrace_http3::Config::default());
        let driver = tokio::spawn(async move { drop(driver.drive().await) });
        let request = Request::builder().method(Method::CONNECT).uri("https://a.example.com/");
        let mut request = request.header("sec-websocket-version", "13").body(()).unwrap();
        request.extensions_mut().insert(Protocol::WEBSOCKET);
        let (send, mut receive) = requests.send_request(request).await.unwrap();
        assert_eq!(receive.response().await.unwrap().status(), 200);
        let tunnel = Tunnel::new(send, receive);
        Self { endpoint, connection, tunnel, _requests: requests, _driver: AbortOnDropHandle::new(driver) }
    }

    /// Goes on from another port.
    pub(crate) fn moves(&self) {
        self.endpoint.rebind(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
    }

    /// Sends so much and takes it back, and tells how many seconds that took.
    pub(crate) async fn transfer(&mut self, octets: usize) -> f64 {
        let begun = Instant::now();
        let (mut from, mut to) = tokio::io::split(&mut self.tunnel);
        let sending = async {
            let piece = vec![7; PIECE];
            let mut left = octets;
            while left > 0 {
                let count = left.min(PIECE);
                to.write_all(&piece[..count]).await.unwrap();
                left -= count;
            }
            to.flush().await.unwrap();
        };
        let receiving = async {
            let (mut left, mut buffer) = (octets, vec![0; PIECE]);
            while left > 0 {
                let count = from.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the tunnel ended");
                left -= count;
            }
        };
        tokio::join!(sending, receiving);
        begun.elapsed().as_secs_f64()
    }

    /// One echo after the other, and how long each took, the fastest first.
    pub(crate) async fn round_trips(&mut self, count: usize, octets: usize) -> Vec<Duration> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(Duration::from_secs_f64(self.transfer(octets).await));
        }
        times.sort();
        times
    }

    /// Datagrams of both directions so far, as they passed here.
    pub(crate) fn datagrams(&self) -> u64 {
        let stats = self.connection.stats();
        stats.udp_tx.datagrams + stats.udp_rx.datagrams
    }

    /// Packets that were sent and did not arrive.
    pub(crate) fn lost(&self) -> u64 {
        self.connection.stats().path.lost_packets
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.close(0x100_u32.into(), b"");
    }
}
