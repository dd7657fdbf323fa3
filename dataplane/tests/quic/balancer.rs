//! A balancer in front of data planes, for one client: it knows nothing of QUIC, and where it sends packets is told to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// A running balancer.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    _running: AbortOnDropHandle<()>,
}

impl Balancer {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = front.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let shared = Arc::clone(&target);
        let running = tokio::spawn(async move {
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = front.recv_from(&mut up) => {
                        client = Some(from);
                        let to = *shared.lock().unwrap();
                        drop(back.send_to(&up[..length], to).await);
                    }
                    Ok((length, from)) = back.recv_from(&mut down) => {
                        // What an earlier target still has to say is lost, as if it were dead.
                        let is_target = from == *shared.lock().unwrap();
                        if let Some(client) = client.filter(|_| is_target) {
                            drop(front.send_to(&down[..length], client).await);
                        }
                    }
                }
            }
        });
        Self { address, target, _running: AbortOnDropHandle::new(running) }
    }

    /// Sends packets elsewhere from now on.
    pub(crate) fn turn_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }
}
