//! What stands behind the data plane: an HTTP server that records, a WebSocket echo that is strict, plain TCP for
//! everything that no good server would do, and TLS to be put in front of any of them.

pub(crate) mod authority;
mod echo;
mod origin;
mod raw;
mod tls_front;

pub(crate) use self::echo::EchoServer;
pub(crate) use self::origin::Origin;
pub(crate) use self::raw::{Raw, accept_for, read_head, switch};
pub(crate) use self::tls_front::TlsFront;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which nobody listens, for as long as this is held.
pub(crate) struct Nobody(socket2::Socket);

impl Nobody {
    pub(crate) fn new() -> Self {
        // Bound, so that nobody else gets it, and not listening: connections are refused.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}
