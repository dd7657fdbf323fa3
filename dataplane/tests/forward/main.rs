//! Packets that come to the wrong pod: several data planes at addresses of their own on the loopback, clients behind a
//! balancer that sends each of their addresses to another pod, and whoever means harm to the hop between pods.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancer;
#[path = "../proxy/stage/certificates.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod certificates;
#[path = "../quic/client.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod client;
mod cluster;
#[path = "../proxy/patience.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod patience;
#[path = "../proxy/stage/port.rs"]
mod port;
#[path = "../proxy/backend/raw.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod raw;
#[path = "../proxy/stage/table.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod table;
mod tap;
mod transfer;

mod beginnings;
mod hostile;
mod moves;
mod peers;

/// What the shared parts ask of whoever includes them.
const PUBLIC_HTTPS: u16 = 9443;
const PUBLIC_HTTP: u16 = 9080;

async fn listen() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
