//! What lies between a client and the pods: a NAT that may forget, and a balancer that knows nothing of QUIC.
//!
//! Each address of a client has a flow: a socket of an address and a port of its own towards one pod, which these two decide
//! on. What any other pod sends to that socket does not get through, as behind every NAT. When a flow is forgotten, the
//! client's next packet comes to some pod from another address.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::network::{TEST, client};

/// Octets of the largest datagram.
const MAX_DATAGRAM: usize = 65_536;

/// Packets with a short header after which a client's handshake is confirmed. Before that it must not move (RFC 9000
/// section 9).
const CONFIRMED: usize = 4;

/// A running relay.
pub(crate) struct Relay {
    /// Where clients send to.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

struct Shared {
    front: UdpSocket,
    state: Mutex<State>,
}

struct State {
    pods: Vec<SocketAddr>,
    flows: HashMap<SocketAddr, Flow>,
    /// How many flows there were.
    made: usize,
    /// How many of them went to each pod.
    to: HashMap<SocketAddr, usize>,
    /// The last packet with a short header that a client sent.
    last: Vec<u8>,
}

/// One address of a client, as the pods see it.
struct Flow {
    socket: Arc<UdpSocket>,
    back: JoinHandle<()>,
    /// Packets with a short header so far.
    short: usize,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.back.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the packets of a client go out, which is made if it is not there.
    fn flow(self: &Arc<Self>, from: SocketAddr) -> Result<Arc<UdpSocket>> {
        let mut state = self.state();
        if let Some(flow) = state.flows.get(&from) {
            return Ok(Arc::clone(&flow.socket));
        }
        let socket = std::net::UdpSocket::bind((client(state.made), 0))?;
        let mut hasher = DefaultHasher::new();
        socket.local_addr()?.hash(&mut hasher);
        let pod = state.pods[usize::try_from(hasher.finish() % state.pods.len() as u64)?];
        socket.connect(pod)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let back = tokio::spawn(back(Arc::clone(self), Arc::clone(&socket), from));
        state.flows.insert(from, Flow { socket: Arc::clone(&socket), back, short: 0 });
        state.made += 1;
        *state.to.entry(pod).or_default() += 1;
        Ok(socket)
    }
}

impl Relay {
    /// Before these pods.
    pub(crate) async fn start(pods: Vec<SocketAddr>) -> Result<Self> {
        let front = UdpSocket::bind((TEST, 0)).await?;
        let state = State { pods, flows: HashMap::new(), made: 0, to: HashMap::new(), last: Vec::new() };
        let shared = Arc::new(Shared { front, state: Mutex::new(state) });
        let address = shared.front.local_addr()?;
        Ok(Self { address, running: tokio::spawn(forth(Arc::clone(&shared))), shared })
    }

    /// Forgets every flow by which more than a handshake has passed.
    pub(crate) fn forget(&self) {
        self.shared.state().flows.retain(|_, flow| flow.short < CONFIRMED);
    }

    /// Sends what comes to these pods, each client from a new address.
    pub(crate) fn turn_to(&self, pods: Vec<SocketAddr>) {
        let mut state = self.shared.state();
        state.pods = pods;
        state.flows.clear();
    }

    /// How many flows there have been, and how many of them each pod got.
    pub(crate) fn flows(&self) -> (usize, HashMap<SocketAddr, usize>) {
        let state = self.shared.state();
        (state.made, state.to.clone())
    }

    /// The last packet with a short header that a client sent.
    pub(crate) fn last_packet(&self) -> Vec<u8> {
        self.shared.state().last.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.abort();
        self.shared.state().flows.clear();
    }
}

/// From clients to pods. What a socket does not take is lost, as in any network.
async fn forth(shared: Arc<Shared>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok((length, from)) = shared.front.recv_from(&mut buffer).await else { continue };
        let packet = &buffer[..length];
        // RFC 9000 section 17.3.
        if packet.first().is_some_and(|first| first & 0x80 == 0) {
            let mut state = shared.state();
            state.last.clear();
            state.last.extend_from_slice(packet);
            if let Some(flow) = state.flows.get_mut(&from) {
                flow.short += 1;
            }
        }
        if let Ok(flow) = shared.flow(from) {
            drop(flow.send(packet).await);
        }
    }
}

/// From a flow's pod to its client.
async fn back(shared: Arc<Shared>, socket: Arc<UdpSocket>, to: SocketAddr) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // A pod that is not there refuses, by ICMP, which is an error of the next call.
        if let Ok(length) = socket.recv(&mut buffer).await {
            drop(shared.front.send_to(&buffer[..length], to).await);
        }
    }
}
