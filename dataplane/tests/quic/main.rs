//! QUIC connection IDs from outside: a data plane of several workers on the loopback, and clients that move.
//!
//! Clients are quinn's and our own HTTP/3 on it, since what is tested is below HTTP. Packets that no client would send are
//! written octet by octet.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancer;
#[path = "../proxy/stage/certificates.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod certificates;
mod client;
#[path = "../proxy/patience.rs"]
mod patience;
mod plane;
#[path = "../proxy/stage/port.rs"]
mod port;
#[path = "../proxy/backend/raw.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod raw;
#[path = "../proxy/stage/table.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod table;
#[path = "../forward/transfer.rs"]
mod transfer;

mod drain;
mod moves;
mod ports;
mod resets;
mod retry;

/// What the shared parts ask of whoever includes them.
const PUBLIC_HTTPS: u16 = 9443;
const PUBLIC_HTTP: u16 = 9080;

async fn listen() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
