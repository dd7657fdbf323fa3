//! A balancer in front of pods that knows nothing of QUIC: each address of a client goes to one pod, the next address to
//! the next. What another pod sends to a client does not reach it, as behind every NAT.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Packets of a client that wait for their turn.
const QUEUE: usize = 4096;

/// A running balancer.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    flows: Arc<AtomicUsize>,
    _running: AbortOnDropHandle<()>,
}

impl Balancer {
    pub(crate) async fn start(pods: Vec<SocketAddr>) -> Self {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let address = front.local_addr().unwrap();
        let flows = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&flows);
        let running = tokio::spawn(async move {
            let mut known: HashMap<SocketAddr, (mpsc::Sender<Vec<u8>>, AbortOnDropHandle<()>)> = HashMap::new();
            let mut buffer = [0; 2048];
            while let Ok((length, client)) = front.recv_from(&mut buffer).await {
                let (queue, _) = known.entry(client).or_insert_with(|| {
                    let pod = pods[count.fetch_add(1, Ordering::Relaxed) % pods.len()];
                    let (queue, packets) = mpsc::channel(QUEUE);
                    let flow = tokio::spawn(flow(Arc::clone(&front), client, pod, packets));
                    (queue, AbortOnDropHandle::new(flow))
                });
                // One that is too slow loses packets.
                let _lost = queue.try_send(buffer[..length].to_vec());
            }
        });
        Self { address, flows, _running: AbortOnDropHandle::new(running) }
    }

    /// Addresses of clients so far.
    pub(crate) fn flows(&self) -> usize {
        self.flows.load(Ordering::Relaxed)
    }
}

/// Packets of one address of a client, to its pod and back.
async fn flow(front: Arc<UdpSocket>, client: SocketAddr, pod: SocketAddr, mut packets: mpsc::Receiver<Vec<u8>>) {
    let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    // The kernel drops what comes from anywhere else.
    back.connect(pod).await.unwrap();
    let mut buffer = [0; 2048];
    loop {
        tokio::select! {
            packet = packets.recv() => match packet {
                Some(packet) => drop(back.send(&packet).await),
                None => break,
            },
            Ok(length) = back.recv(&mut buffer) => drop(front.send_to(&buffer[..length], client).await),
        }
    }
}
