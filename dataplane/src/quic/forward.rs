//! The hop to other pods: datagrams that arrived here and are a peer's go there, what arrived at a peer and is ours comes
//! in, and so do the replies of both ways.
//!
//! ```text
//!   client ──► Socket ── forward ──► Sending ── Forward ──► peer's Receiving ── deliver ──► its Socket ──► endpoint
//!                                                                                                            │
//!   client ◄── Socket ◄── send ── Receiving ◄── Return ── peer's Sending ◄── answer ── its Socket ◄──────────┘
//!          (the entry)                                                       (the owner)
//! ```
//!
//! Owns the hop's sockets, one for each worker, and what comes and goes by them. What a packet is, who may send one and how
//! many, is headrace-hop's; whose a datagram is, [`super::sorting`]'s; by which pod replies go, [`crate::listener`]'s.
//!
//! The two ways of a packet from a client to the other pod's endpoint and back have no task in the middle that waits: what
//! a socket does not take at once is lost and counted, as it would be in the network.

mod batch;
mod congestion;
mod receiving;
mod roster;
mod sending;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use headrace_cid::Workers;
use headrace_hop::{Boot, OVERHEAD, steering};
use quinn::{Runtime as _, TokioRuntime};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::receiving::Receiving;
use self::sending::Sending;
use super::{PodWorker, chance};
use crate::metrics::Transport;
use crate::socket;

/// What the network between pods carries in one packet, at least. Networks that wrap packets have less than Ethernet's
/// 1,500 and mostly wrap no more than 50 octets; larger datagrams are lost there, and QUIC finds that out by probing
/// (RFC 9000 section 14.3).
const POD_NETWORK_MTU: u16 = 1_500;

/// Octets of the headers of IPv6 and UDP.
const IP_AND_UDP: u16 = 40 + 8;

/// The largest datagram that fits through the hop. Connections are made with this as the most that a client may send
/// (`max_udp_payload_size`, RFC 9000 section 18.2) and as the most that is probed for towards it, because any of them may
/// come by a peer from its next packet on.
pub(crate) const MAX_UDP_PAYLOAD: u16 = POD_NETWORK_MTU - IP_AND_UDP - OVERHEAD as u16;

const _: () = assert!(MAX_UDP_PAYLOAD >= 1_200, "QUIC needs 1,200 octets (RFC 9000 section 14)");

/// Packets that wait because the kernel brought them to another worker: none, where it steers. Of at most 1,452 octets
/// each, 1.5 MB.
const MAX_WAITING: usize = 1_024;

/// The hop's sockets, which all workers' are opened at once: the kernel's filter names a socket by its place in the order
/// of binding.
#[derive(Debug)]
pub(crate) struct Hop {
    boot: Boot,
    workers: Workers,
    members: Box<[Member]>,
}

/// What there is for each worker.
#[derive(Debug)]
struct Member {
    socket: UdpSocket,
    /// Packets that arrived at another worker's socket.
    queue: mpsc::Sender<Bytes>,
    taken: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

impl Hop {
    /// Binds a socket for each worker of a process that was started so often before in its pod.
    ///
    /// # Errors
    /// The address cannot be had, or somebody has it.
    pub(crate) fn bind(address: SocketAddr, workers: Workers, restarts: u32, is_steered: bool) -> io::Result<Self> {
        socket::is_free(address, Transport::Quic)?;
        let member = |_| {
            let (queue, taken) = mpsc::channel(MAX_WAITING);
            Ok(Member { socket: socket::udp_socket(address)?, queue, taken: Mutex::new(Some(taken)) })
        };
        let members: Box<[Member]> = workers.all().map(member).collect::<io::Result<_>>()?;
        if let (true, Some(first)) = (is_steered, members.first())
            && let Err(error) = socket::steer(&first.socket, &steering::filter(workers))
        {
            tracing::warn!(%address, %error, "the kernel does not steer packets of peers: workers hand them over");
        }
        // A clock before 1970 is as good as one at it: the restarts come first.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let boot = Boot::new(restarts, u64::try_from(started).unwrap_or(u64::MAX), chance());
        Ok(Self { boot, workers, members })
    }

    /// Sends and receives for a worker, on the current runtime, which is the worker's own. It receives until the handle is
    /// dropped.
    ///
    /// # Errors
    /// The process has no descriptor left, or the worker has been started before.
    pub(crate) fn start(self: &Arc<Self>, worker: &PodWorker) -> io::Result<AbortOnDropHandle<()>> {
        let member = &self.members[worker.worker.index()];
        let queue = member.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let queue = queue.ok_or(io::ErrorKind::AlreadyExists)?;
        let socket = TokioRuntime.wrap_udp_socket(member.socket.try_clone()?)?;
        worker.set_forwarder(Arc::new(Sending::new(Arc::clone(&socket), worker, self.boot)?));
        let receiving = Receiving::new(socket, queue, worker, Arc::clone(self));
        Ok(AbortOnDropHandle::new(tokio::spawn(receiving.run())))
    }

    /// Has another worker take a packet. It is lost where too many wait.
    fn hand_over(&self, worker: usize, packet: &[u8]) -> bool {
        self.members.get(worker).is_some_and(|member| {
            // Nothing is copied for a queue that is full.
            member.queue.try_reserve().is_ok_and(|place| {
                place.send(Bytes::copy_from_slice(packet));
                true
            })
        })
    }
}

#[cfg(test)]
mod tests;
