//! The UDP socket under a QUIC endpoint: the worker's own of an address, with what other workers and peers bring beside it.
//!
//! Owns what becomes of each datagram that arrives and of each reply, with the rules of [`crate::quic`]; and the bound on
//! what one system call sends. Knows nothing of connections.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};

use crate::metrics::{Handover, UndecodableReason};
use crate::quic::outlet::{Batch, Flow, Inbound, Inlet, Outlet};
use crate::quic::{
    Begun, Group, Membership, PodWorker, Returns, Verdict, first_cid, has_short_header, heir, judge, sift,
};

/// Datagrams in one send (GSO). Every connection keeps a buffer of as many datagrams as it ever sent at once, and most
/// connections are idle tunnels: with 4 it is 5 KB for each, with quinn's 10 it is 13 KB.
const MAX_SEGMENTS: usize = 4;

/// A worker's UDP socket for many connections.
pub(super) struct Socket {
    network: Arc<dyn AsyncUdpSocket>,
    group: Arc<Group>,
    outlet: Arc<Outlet>,
    worker: Arc<PodWorker>,
    port: u16,
    /// Locked by the endpoint's task, which is the only one that receives.
    arriving: Mutex<Arriving>,
    /// Locked by the worker's tasks, which are on one thread.
    returns: Mutex<Returns>,
    /// Whether there is anything in `returns`: mostly there is not.
    has_returns: AtomicBool,
}

/// Both ways by which datagrams come.
struct Arriving {
    inlet: Inlet,
    /// What was too much for one buffer.
    rest: Option<Inbound>,
    begun: Begun,
    /// Which way has its turn: neither may keep the other waiting.
    turn: Way,
}

#[derive(Clone, Copy)]
enum Way {
    Network,
    Queue,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Way::Network => Way::Queue,
            Way::Queue => Way::Network,
        }
    }
}

impl Socket {
    /// Takes a worker's socket of a group over on the current runtime.
    pub(super) fn new(group: Arc<Group>, worker: Arc<PodWorker>) -> io::Result<Arc<Self>> {
        let index = worker.worker.index();
        let network = TokioRuntime.wrap_udp_socket(group.socket(index)?)?;
        let (outlet, inlet) = Outlet::new(Arc::clone(&network));
        let outlet = Arc::new(outlet);
        group.join(index, Arc::clone(&outlet));
        Ok(Arc::new(Self {
            network,
            port: group.address().port(),
            group,
            outlet,
            worker,
            arriving: Mutex::new(Arriving { inlet, rest: None, begun: Begun::default(), turn: Way::Network }),
            returns: Mutex::default(),
            has_returns: AtomicBool::new(false),
        }))
    }

    fn index(&self) -> usize {
        self.worker.worker.index()
    }

    /// What the kernel has, without what is not this worker's. A buffer of which nothing is left has length 0.
    fn poll_network(
        &self,
        cx: &mut Context<'_>,
        begun: &mut Begun,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.network.poll_recv(cx, bufs, meta))?;
        let membership = self.worker.pod.membership();
        for (buffer, meta) in bufs.iter_mut().zip(meta).take(count) {
            // The endpoint would go round for ever with datagrams of no length.
            meta.stride = if meta.stride == 0 { meta.len } else { meta.stride };
            self.worker.datagrams.inc_by(meta.len.div_ceil(meta.stride.max(1)) as u64);
            meta.len = self.sort(&membership, begun, &mut buffer[..meta.len], meta);
            if meta.len > 0 {
                self.came_here(&meta.addr);
            }
        }
        Poll::Ready(Ok(count))
    }

    /// Gives away what is not this worker's, and says how many octets are left.
    fn sort(&self, membership: &Membership, begun: &mut Begun, octets: &mut [u8], meta: &RecvMeta) -> usize {
        let flow = Flow { client: meta.addr, local_ip: meta.dst_ip, ecn: meta.ecn };
        let judge = |datagram: &[u8]| match self.judge(membership, begun, datagram) {
            // A worker that has no endpoint here has no connection here, so that we may answer for it.
            Verdict::Worker(worker) if self.group.outlet(worker).is_none() => Verdict::Keep,
            verdict => verdict,
        };
        let give = |verdict, octets: &[u8]| match verdict {
            Verdict::Keep => {}
            Verdict::Worker(worker) => {
                let octets = Bytes::copy_from_slice(octets);
                self.hand_over(worker, Inbound { flow, stride: meta.stride, octets, entrance: None });
            }
            Verdict::Peer(owner) => {
                if let Some(forwarder) = self.worker.forwarder() {
                    forwarder.forward(&owner, self.port, &Batch { flow, stride: meta.stride, octets });
                }
            }
        };
        sift(octets, meta.stride, judge, give)
    }

    /// Whose a datagram is: by its ID, and, once this pod is to go, by whether it is of a connection that began here.
    fn judge(&self, membership: &Membership, begun: &mut Begun, datagram: &[u8]) -> Verdict {
        let (verdict, unroutable) = judge(membership, self.worker.pod.steering(), self.index(), datagram);
        let Some(why) = unroutable else { return verdict };
        if has_short_header(datagram) {
            self.worker.metrics.quic_undecodable_total(UndecodableReason::from(why)).inc();
        } else if let Some(cid) = first_cid(datagram) {
            if !self.worker.pod.is_leaving() {
                begun.note(cid);
            } else if !begun.contains(cid)
                && self.worker.forwarder().is_some()
                && let Some(heir) = heir(membership, cid)
            {
                self.worker.metrics.quic_given_away_total().inc();
                return Verdict::Peer(heir);
            }
        }
        verdict
    }

    fn hand_over(&self, worker: usize, inbound: Inbound) {
        let datagrams = inbound.octets.len().div_ceil(inbound.stride.max(1)) as u64;
        let taken = self.group.outlet(worker).is_some_and(|outlet| outlet.put_in(inbound).is_ok());
        let result = if taken { Handover::Taken } else { Handover::Dropped };
        self.worker.metrics.quic_handed_over_total(result).add(datagrams);
    }

    /// What others have brought.
    fn poll_queue(
        &self,
        cx: &mut Context<'_>,
        arriving: &mut Arriving,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<usize> {
        let mut count = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta) {
            let inbound = match arriving.rest.take() {
                Some(rest) => rest,
                None => match arriving.inlet.poll_take(cx) {
                    Poll::Ready(inbound) => inbound,
                    Poll::Pending => break,
                },
            };
            (*meta, arriving.rest) = fill(buffer, inbound, |inbound| self.came_by_queue(inbound));
            count += 1;
        }
        if count > 0 { Poll::Ready(count) } else { Poll::Pending }
    }

    fn came_by_queue(&self, inbound: &Inbound) {
        match inbound.entrance {
            Some(entrance) => {
                self.returns().note(inbound.flow.client, entrance);
                self.has_returns.store(true, Ordering::Relaxed);
            }
            None => self.came_here(&inbound.flow.client),
        }
    }

    /// A client's packets come to this process: replies need not go by a peer any more.
    fn came_here(&self, client: &SocketAddr) {
        if self.has_returns.load(Ordering::Relaxed) {
            let mut returns = self.returns();
            returns.forget(client);
            self.has_returns.store(!returns.is_empty(), Ordering::Relaxed);
        }
    }

    /// Whether a peer sends it for us.
    fn answered_by_peer(&self, transmit: &Transmit<'_>) -> bool {
        if !self.has_returns.load(Ordering::Relaxed) {
            return false;
        }
        let entrance = self.returns().of(&transmit.destination);
        let (Some(entrance), Some(forwarder)) = (entrance, self.worker.forwarder()) else { return false };
        let answered = forwarder.answer(&entrance, self.port, transmit);
        if !answered {
            self.came_here(&transmit.destination);
        }
        answered
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn returns(&self) -> MutexGuard<'_, Returns> {
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts as many whole datagrams as fit into a buffer; what does not fit comes back. A datagram that is longer than any that
/// was promised to be taken is lost.
fn fill(buffer: &mut [u8], inbound: Inbound, took: impl FnOnce(&Inbound)) -> (RecvMeta, Option<Inbound>) {
    let Inbound { flow, stride, octets, .. } = &inbound;
    let room = buffer.len() - buffer.len() % (*stride).max(1);
    let len = if octets.len() <= buffer.len() { octets.len() } else { room };
    buffer[..len].copy_from_slice(&octets[..len]);
    let mut meta = RecvMeta::default();
    (meta.addr, meta.dst_ip, meta.ecn, meta.stride, meta.len) = (flow.client, flow.local_ip, flow.ecn, *stride, len);
    took(&inbound);
    let rest = (len > 0 && len < octets.len()).then(|| Inbound { octets: octets.slice(len..), ..inbound.clone() });
    (meta, rest)
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.group.leave(self.index(), &self.outlet);
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.network).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.answered_by_peer(transmit) { Ok(()) } else { self.network.try_send(transmit) }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arriving = self.arriving();
        let first = arriving.turn;
        for way in [first, first.other()] {
            let count = match way {
                Way::Network => self.poll_network(cx, &mut arriving.begun, bufs, meta),
                Way::Queue => self.poll_queue(cx, &mut arriving, bufs, meta).map(Ok),
            };
            if count.is_ready() {
                arriving.turn = way.other();
                return count;
            }
        }
        // Both have been asked, so that each of them wakes the task.
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.network.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.network.max_transmit_segments().min(MAX_SEGMENTS)
    }

    fn max_receive_segments(&self) -> usize {
        self.network.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.network.may_fragment()
    }
}

#[cfg(test)]
mod tests;
