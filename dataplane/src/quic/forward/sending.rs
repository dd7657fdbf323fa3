//! What a worker sends to peers.
//!
//! Owns the buffer in which packets are made, and the addresses of peers. Waits for nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use headrace_cid::ServerId;
use headrace_hop::{Boot, Envelope, Kind, Sender};
use quinn::AsyncUdpSocket;
use quinn::udp::Transmit;

use super::batch::MAX_OCTETS;
use super::congestion::{codepoint_of, ecn_of};
use super::roster;
use crate::metrics::{HopKind, HopPeers, HopSent, PeerSent};
use crate::quic::outlet::{Batch, Entrance, Forwarder};
use crate::quic::{Membership, Pod, PodWorker};

/// A worker's way to its peers.
pub(super) struct Sending {
    socket: Arc<dyn AsyncUdpSocket>,
    is_ipv6: bool,
    pod: Arc<Pod>,
    peers: HopPeers,
    /// By what answers find this worker.
    index: u8,
    /// What time is told from.
    start: Instant,
    /// Locked by the worker's own thread only.
    state: Mutex<State>,
}

struct State {
    sender: Sender,
    adopted: Option<Arc<Membership>>,
    ways: BTreeMap<ServerId, Way>,
    /// Empty between calls; as large as the largest batch so far.
    packets: Vec<u8>,
}

/// The way to one peer.
struct Way {
    address: SocketAddr,
    sent: PeerSent,
}

impl Way {
    fn count(&self, kind: Kind, result: HopSent, datagrams: usize) {
        self.sent.sent(kind.into(), result).inc_by(datagrams as u64);
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Sending {
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>, worker: &PodWorker, boot: Boot) -> io::Result<Self> {
        let index = u8::try_from(worker.worker.index()).expect("a process has at most 128 workers");
        let sender = Sender::new(boot, worker.worker);
        let state = State { sender, adopted: None, ways: BTreeMap::new(), packets: Vec::new() };
        Ok(Self {
            is_ipv6: socket.local_addr()?.is_ipv6(),
            socket,
            pod: Arc::clone(&worker.pod),
            peers: worker.hop_peers.clone(),
            index,
            start: Instant::now(),
            state: Mutex::new(state),
        })
    }

    /// The state, by the newest membership.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let membership = self.pod.membership();
        if !state.adopted.as_ref().is_some_and(|adopted| Arc::ptr_eq(adopted, &membership)) {
            state.sender.adopt(&roster::roster(&membership).unwrap_or_else(roster::nobody));
            let ways = roster::ways(&membership, self.is_ipv6);
            let with_counters = |(peer, address)| (peer, Way { address, sent: self.peers.of(&peer) });
            state.ways = ways.into_iter().map(with_counters).collect();
            state.adopted = Some(membership);
        }
        state
    }

    /// Sends datagrams of which the same is said, in as few calls as the system allows.
    fn send(&self, state: &mut State, peer: &ServerId, envelope: &Envelope, octets: &[u8], stride: usize) {
        let State { sender, packets, ways, .. } = state;
        let Some(way) = ways.get(peer) else { return };
        let destination = way.address;
        packets.clear();
        let length = match sender.seal(peer, envelope, octets, stride, packets) {
            Ok(length) => length,
            Err(unsealed) => {
                tracing::debug!(%peer, %unsealed, "datagrams were not sent to a peer");
                return way.count(envelope.kind, HopSent::Unsealed, octets.len().div_ceil(stride.max(1)));
            }
        };
        let most = self.socket.max_transmit_segments().min(MAX_OCTETS / length).max(1);
        for contents in packets.chunks(length * most) {
            let ecn = codepoint_of(envelope.ecn);
            let segment_size = (contents.len() > length).then_some(length);
            let transmit = Transmit { destination, ecn, contents, segment_size, src_ip: None };
            let sent = self.socket.try_send(&transmit).is_ok();
            let result = if sent { HopSent::Sent } else { HopSent::Blocked };
            way.count(envelope.kind, result, contents.len().div_ceil(length));
        }
    }
}

impl Forwarder for Sending {
    fn forward(&self, owner: &ServerId, port: u16, batch: &Batch<'_>) {
        let (stride, octets) = (batch.stride.max(1), batch.octets);
        let datagrams = octets.len().div_ceil(stride);
        let mut state = self.state();
        let State { ways, sender, .. } = &mut *state;
        let Some(way) = ways.get(owner) else {
            return self.peers.of(owner).sent(HopKind::Forward, HopSent::NoWay).inc_by(datagrams as u64);
        };
        let admitted = sender.admit(owner, datagrams, self.start.elapsed());
        if admitted < datagrams {
            way.count(Kind::Forward, HopSent::Limited, datagrams - admitted);
        }
        let octets = &octets[..octets.len().min(admitted * stride)];
        let mut envelope = Envelope {
            kind: Kind::Forward,
            steering: 0,
            answer: self.index,
            ecn: ecn_of(batch.flow.ecn),
            client: batch.flow.client,
            local: batch.flow.local_ip,
            port,
        };
        // A client that changes its ID within a batch may change the worker by it.
        let octet_of = |datagram: &[u8]| self.pod.steering().octet_of(datagram).unwrap_or_default();
        super::super::sorting::share(octets, stride, octet_of, |octet, range| {
            envelope.steering = octet;
            self.send(&mut state, owner, &envelope, &octets[range], stride);
        });
    }

    fn answer(&self, entrance: &Entrance, port: u16, reply: &Transmit<'_>) -> bool {
        let mut state = self.state();
        if !state.ways.contains_key(&entrance.peer) {
            return false;
        }
        let envelope = Envelope {
            kind: Kind::Return,
            steering: entrance.steer,
            answer: 0,
            ecn: ecn_of(reply.ecn),
            client: reply.destination,
            local: entrance.local_ip,
            port,
        };
        let stride = reply.segment_size.unwrap_or(reply.contents.len());
        self.send(&mut state, &entrance.peer, &envelope, reply.contents, stride);
        true
    }
}
