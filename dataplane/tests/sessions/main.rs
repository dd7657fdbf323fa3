//! WebTransport through the data plane, over real sockets on the loopback: with this project's own HTTP/3 at both ends, and
//! with web-transport-quinn and wtransport, which share no code with it, as clients and as backends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../proxy/backend/authority.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod authority;
#[path = "../proxy/stage/certificates.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod certificates;
#[path = "../proxy/patience.rs"]
mod patience;
#[path = "../proxy/stage/port.rs"]
mod port;
#[path = "../proxy/backend/raw.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod raw;
#[path = "../proxy/stage/table.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod table;

mod backend;
mod client;
mod stage;

mod answers;
mod ends;
mod hostile;
mod limits;
mod mixed;
mod pressure;
mod relay;
mod tcp;
mod udp;
mod web_transport_quinn;
mod wtransport;

/// What the shared parts ask of whoever includes them.
const PUBLIC_HTTPS: u16 = 9443;
const PUBLIC_HTTP: u16 = 9080;

async fn listen() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
