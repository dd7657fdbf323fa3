//! The ways of datagrams into and out of a worker's UDP socket that do not lead over the network: what another worker or a
//! peer brings goes in by the worker's queue, and what a peer wants sent to its clients goes out by the socket.
//!
//! ```text
//!              kernel ──► listener::udp::Socket ──► endpoint          of the worker whose packet it is
//!                            │    ▲         │
//!     another worker's:      │    │         │ replies to clients whose packets come through a peer
//!     Outlet::put_in ◄───────┤    │ queue   ▼
//!     a peer's:              │    │      Forwarder::answer
//!     Forwarder::forward ◄───┘    │
//!                                 └── Outlet::put_in ◄── other workers, and what peers bring (Pod::deliver)
//! ```
//!
//! Owns the queue with its bounds, and the face of whoever knows the way to peers ([`Forwarder`]). Knows neither how a
//! connection ID is read nor how peers are reached.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use headrace_cid::ServerId;
use quinn::AsyncUdpSocket;
use quinn::udp::{EcnCodepoint, Transmit};
use tokio::sync::mpsc;

/// Batches that wait for a worker to take them in. A worker that is busy for a millisecond misses some hundred at the rate
/// that one core can receive.
const QUEUE_BATCHES: usize = 1024;

/// Octets of all waiting batches: as much as the kernel holds for a socket (`socket::UDP_BUFFER_SIZE`). Beyond either,
/// datagrams are lost, as they are there, and QUIC sends them again.
const QUEUE_OCTETS: usize = 2 * 1024 * 1024;

/// Between which addresses datagrams came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// The client's address, which is IPv6 where the socket is.
    pub(crate) client: SocketAddr,
    /// The address of ours that it sent to, and that replies are sent from. In a peer's network where they come through
    /// one.
    pub(crate) local_ip: Option<IpAddr>,
    /// What the network said of congestion.
    pub(crate) ecn: Option<EcnCodepoint>,
}

/// Datagrams of one client on one port, back to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    pub(crate) flow: Flow,
    /// Octets of each datagram but the last, which may be shorter. Never 0.
    pub(crate) stride: usize,
    /// At least one datagram.
    pub(crate) octets: &'a [u8],
}

/// Where replies have to leave: the peer at which the client's packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entrance {
    /// Whose address the client sends to.
    pub(crate) peer: ServerId,
    /// By what the peer finds the worker that it received the packets with. Only a [`Forwarder`] knows what it means.
    pub(crate) steer: u8,
    /// The peer's address that the client sends to. A connection goes on to name the one that it began with.
    pub(crate) local_ip: Option<IpAddr>,
}

/// Datagrams on their way into a worker's socket.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) flow: Flow,
    /// As in [`Batch::stride`].
    pub(crate) stride: usize,
    pub(crate) octets: Bytes,
    /// Through whom they came. `None` is another worker of this process.
    pub(crate) entrance: Option<Entrance>,
}

/// Who knows the way to peers. Each worker has one, which is called on its thread only.
///
/// Nothing here waits: what cannot be sent at once is dropped and counted by who drops it.
pub(crate) trait Forwarder: fmt::Debug + Send + Sync {
    /// Brings datagrams that came to this port to the live peer whose connection they are for, or that is to take a new
    /// connection in our place.
    fn forward(&self, owner: &ServerId, port: u16, batch: &Batch<'_>);

    /// Has a peer send datagrams from this port to a client whose packets come through it. Says whether the peer is one
    /// that could; if it is none any more, they leave here.
    fn answer(&self, entrance: &Entrance, port: u16, reply: &Transmit<'_>) -> bool;
}

/// The queue is full, or its worker does not serve the port any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// The other ways of one worker's socket, for all other threads. Clones are the same.
#[derive(Clone)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Inbound>,
    /// Octets that wait.
    held: Arc<AtomicUsize>,
    socket: Arc<dyn AsyncUdpSocket>,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Outlet {
    /// The ways of a socket, and what the socket itself takes from.
    pub(crate) fn new(socket: Arc<dyn AsyncUdpSocket>) -> (Self, Inlet) {
        let (queue, taken) = mpsc::channel(QUEUE_BATCHES);
        let held = Arc::new(AtomicUsize::new(0));
        (Self { queue, held: Arc::clone(&held), socket }, Inlet { queue: taken, held })
    }

    /// Has the worker take datagrams as if they had come by its socket.
    pub(crate) fn put_in(&self, inbound: Inbound) -> Result<(), Refused> {
        let octets = inbound.octets.len();
        if self.held.fetch_add(octets, Ordering::Relaxed) + octets > QUEUE_OCTETS {
            self.held.fetch_sub(octets, Ordering::Relaxed);
            return Err(Refused);
        }
        self.queue.try_send(inbound).map_err(|_| {
            self.held.fetch_sub(octets, Ordering::Relaxed);
            Refused
        })
    }

    /// Sends by the socket, past everything that its endpoint knows.
    ///
    /// # Errors
    /// The socket's, [`io::ErrorKind::WouldBlock`] among them: then the datagrams are lost.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // Whoever made the batch did not know how many datagrams this socket sends at once.
        let length = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for contents in transmit.contents.chunks(length * self.socket.max_transmit_segments()) {
            let segment_size = (contents.len() > length).then_some(length);
            let Transmit { destination, ecn, src_ip, .. } = *transmit;
            self.socket.try_send(&Transmit { destination, ecn, contents, segment_size, src_ip })?;
        }
        Ok(())
    }
}

/// The end of the queue at which the socket is.
#[derive(Debug)]
pub(crate) struct Inlet {
    queue: mpsc::Receiver<Inbound>,
    held: Arc<AtomicUsize>,
}

impl Inlet {
    /// The next batch, or a wake-up when there is one.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Inbound> {
        match self.queue.poll_recv(cx) {
            Poll::Ready(Some(inbound)) => {
                self.held.fetch_sub(inbound.octets.len(), Ordering::Relaxed);
                Poll::Ready(inbound)
            }
            // Nobody has the other end any more, so that nothing will come.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use quinn::{Runtime as _, TokioRuntime};

    use super::*;

    fn inbound(octets: usize) -> Inbound {
        let flow = Flow { client: "127.0.0.1:1".parse().unwrap(), local_ip: None, ecn: None };
        Inbound { flow, stride: octets, octets: vec![7; octets].into(), entrance: None }
    }

    fn outlet() -> (Outlet, Inlet) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        Outlet::new(TokioRuntime.wrap_udp_socket(socket).unwrap())
    }

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order() {
        let (outlet, mut inlet) = outlet();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(inlet.poll_take(cx).is_pending());
        for octets in [1, 2, 3] {
            outlet.put_in(inbound(octets)).unwrap();
        }
        for octets in [1, 2, 3] {
            let Poll::Ready(taken) = inlet.poll_take(cx) else { panic!("nothing there") };
            assert_eq!(taken.octets.len(), octets);
        }
        drop(outlet);
        assert!(inlet.poll_take(cx).is_pending(), "an end that nobody holds is no reason to spin");
    }

    #[tokio::test]
    async fn the_queue_is_bounded_by_number_and_by_octets() {
        for (octets, fit) in [(1, QUEUE_BATCHES), (64 * 1024, QUEUE_OCTETS / (64 * 1024))] {
            let (outlet, mut inlet) = outlet();
            for _ in 0..fit {
                outlet.put_in(inbound(octets)).unwrap();
            }
            assert_eq!(outlet.put_in(inbound(octets)), Err(Refused));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(inlet.poll_take(cx).is_ready());
            assert_eq!(outlet.put_in(inbound(octets)), Ok(()), "what was taken makes room");
            drop(inlet);
            assert_eq!(outlet.put_in(inbound(1)), Err(Refused));
        }
    }
}
