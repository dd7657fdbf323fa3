//! Somebody on the way between two pods, who sees every hop packet, and keeps a copy.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// A running tap.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    _running: AbortOnDropHandle<()>,
}

impl Tap {
    /// In front of a pod's hop.
    pub(crate) async fn start(hop: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let copies = Arc::clone(&seen);
        let running = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
                copies.lock().unwrap().push(buffer[..length].to_vec());
                drop(socket.send_to(&buffer[..length], hop).await);
            }
        });
        Self { address, seen, _running: AbortOnDropHandle::new(running) }
    }

    /// What has passed.
    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().clone()
    }
}
