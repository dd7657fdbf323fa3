//! Every client stays on its connection, whichever worker and whichever pod its packets come to.
//!
//! ```text
//!   table ──► Membership: configurations, own server ID, peers          Pod: what the workers share
//!                 │                       │                              │
//!                 ▼                       ▼                              ├── Groups: the sockets of each address,
//!   Issuers: IDs that fit the worker   sorting: whose a packet is        │           one for each worker, in order,
//!     (one PodWorker each)                │                              │           steered by the kernel
//!                                         ├─ ours ──────► the endpoint   │
//!                                         ├─ a worker's ► its Outlet ────┘
//!                                         └─ a peer's ──► Forwarder
//! ```
//!
//! Owns connection IDs in this process, and the ways between its sockets. What an ID is made of is headrace-cid's; the
//! sockets under endpoints are [`crate::listener`]'s, which asks here what to do with what arrives.

mod forward;
mod group;
mod heirs;
mod issuing;
mod membership;
pub(crate) mod outlet;
mod paths;
pub(crate) mod report;
mod reset;
mod restarts;
mod returns;
#[cfg(test)]
pub(crate) mod scene;
mod sorting;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use headrace_cid::{Issued, Layout, ServerId, Steering, Workers};
use headrace_table::Table;
use prometheus::IntCounter;
use quinn::EndpointConfig;
use quinn::udp::Transmit;

use self::group::Groups;
use self::issuing::{Generator, Issuers};
use self::membership::{Alone, Place};
use self::outlet::{Forwarder, Inbound, Outlet, Refused};
use self::reset::ResetKey;
use crate::metrics::{HopPeers, Metrics, UnroutableReason, WorkerMetrics};

pub(crate) use self::forward::Hop;
pub(crate) use self::group::Group;
pub(crate) use self::heirs::{Begun, first_cid, heir};
pub(crate) use self::membership::Membership;
pub(crate) use self::paths::{LOOK_INTERVAL, Paths};
pub(crate) use self::returns::Returns;
pub(crate) use self::sorting::{Verdict, has_short_header, judge, sift};

/// How a data plane finds itself among those that share its clients.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// The pod's UID, by which tables name it; none where tables name nobody, as in standalone.
    pub uid: Option<Box<str>>,
    /// The server ID that the AWS Load Balancer Controller gave this pod (`AWS_LBC_QUIC_SERVER_ID`): then connection IDs
    /// are those that the Network Load Balancer reads. Every pod of a pod set has one, or none has.
    pub aws_server_id: Option<ServerId>,
    /// Where packets are taken that came to other pods; nowhere by default, and then none are forwarded either.
    pub hop_address: Option<SocketAddr>,
    /// Where it is counted how often this pod's process was started: a directory that outlives the process and not the
    /// pod. Without one, each start is the first.
    pub directory: Option<PathBuf>,
    /// Whether the kernel is asked to bring packets to their worker. It is by default; otherwise, and where it may not be
    /// asked, workers bring them to each other.
    pub kernel_steering: bool,
}

impl Default for PodConfig {
    fn default() -> Self {
        Self { uid: None, aws_server_id: None, hop_address: None, directory: None, kernel_steering: true }
    }
}

/// Octets of chance, for keys and IDs.
pub(crate) fn chance<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).expect("a process without a source of chance cannot serve TLS either");
    octets
}

/// What all workers share.
pub(crate) struct Pod {
    steering: Steering,
    place: Place,
    membership: Arc<ArcSwap<Membership>>,
    groups: Groups,
    hop_address: Option<SocketAddr>,
    is_leaving: AtomicBool,
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pod").field("steering", &self.steering).finish_non_exhaustive()
    }
}

impl Pod {
    /// Counts this start, and is on its own until a table says otherwise.
    ///
    /// # Errors
    /// The count cannot be read or written.
    pub(crate) fn new(config: &PodConfig, workers: Workers) -> io::Result<Self> {
        let layout = if config.aws_server_id.is_some() { Layout::AWS_NLB } else { Layout::SINGLE_BLOCK };
        let steering = Steering::by_last_octet(layout.cid_len(), workers).expect("every layout has a last octet");
        let restart = config.directory.as_deref().map_or(Ok(0), restarts::count)?;
        let place = Place {
            uid: config.uid.as_deref().map(Arc::from),
            layout,
            aws: config.aws_server_id,
            restart,
            alone: Alone::draw(),
        };
        Ok(Self {
            steering,
            membership: Arc::new(ArcSwap::from_pointee(Membership::alone(&place))),
            place,
            groups: Groups::new(config.kernel_steering.then_some(steering), workers),
            hop_address: config.hop_address,
            is_leaving: AtomicBool::new(false),
        })
    }

    /// Goes by what a table says from now on: what is issued and what arrives after this call is judged by it.
    pub(crate) fn adopt(&self, table: &Table) {
        let before = self.membership();
        // The common change is one of routes, and cached keys are dear.
        let same_keys = before.keys.as_ref() == table.keys();
        if same_keys && (table.keys().is_none() || before.is_of(table.peers())) {
            return;
        }
        self.membership.store(Arc::new(Membership::of(table, &self.place)));
    }

    /// Who is who at the moment.
    pub(crate) fn membership(&self) -> Arc<Membership> {
        self.membership.load_full()
    }

    /// Which worker a packet belongs to.
    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Opens the sockets of the hop, where this pod takes part in it.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) fn open_hop(&self, kernel_steering: bool) -> io::Result<Option<Arc<Hop>>> {
        let Some(address) = self.hop_address else { return Ok(None) };
        Hop::bind(address, self.steering.workers(), self.place.restart, kernel_steering).map(Arc::new).map(Some)
    }

    /// Whether a table that names pods names this one. One that it does not name is found by nobody else, so that it should
    /// not be sent clients. Who has no name waits for none.
    pub(crate) fn is_named(&self) -> bool {
        let membership = self.membership.load();
        membership.keys.is_none() || self.place.uid.is_none() || membership.own.is_some()
    }

    /// Gives new connections to peers from now on, where there are any.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether new connections are given to peers.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// The sockets of an address, opened if nobody had any.
    ///
    /// # Errors
    /// Not every worker can have one.
    pub(crate) fn group(&self, address: SocketAddr) -> io::Result<Arc<Group>> {
        self.groups.open(address)
    }

    /// Brings what a peer received to the workers whose it is, on the same port. What is for yet another pod goes nowhere:
    /// two pods that each take the other for the owner of an ID would send it to and fro for ever.
    pub(crate) fn deliver(&self, port: u16, inbound: &Inbound) -> Result<(), Refused> {
        let membership = self.membership.load();
        let mut result = Ok(());
        // No worker has it yet.
        let judge = |datagram: &[u8]| sorting::judge(&membership, &self.steering, usize::MAX, datagram).0;
        sorting::share(&inbound.octets, inbound.stride, judge, |verdict, range| {
            let worker = match verdict {
                Verdict::Worker(worker) => worker,
                Verdict::Keep => 0,
                Verdict::Peer(_) => return result = Err(Refused),
            };
            let part = Inbound { octets: inbound.octets.slice(range), ..inbound.clone() };
            let outlet = self.outlet(port, inbound.flow.client.is_ipv6(), worker);
            if outlet.is_none_or(|outlet| outlet.put_in(part).is_err()) {
                result = Err(Refused);
            }
        });
        result
    }

    /// Sends what a peer replied to a client of ours, from the port that the client sent to.
    ///
    /// # Errors
    /// The socket's, or none is open on that port.
    pub(crate) fn send(&self, port: u16, worker: usize, transmit: &Transmit<'_>) -> io::Result<()> {
        let outlet = self.outlet(port, transmit.destination.is_ipv6(), worker);
        outlet.ok_or(io::ErrorKind::NotConnected)?.send(transmit)
    }

    fn outlet(&self, port: u16, is_ipv6: bool, worker: usize) -> Option<Arc<Outlet>> {
        self.groups.of(port, is_ipv6)?.outlet(worker)
    }
}

/// What the endpoints of one worker share.
pub(crate) struct PodWorker {
    pub(crate) pod: Arc<Pod>,
    pub(crate) worker: headrace_cid::Worker,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Datagrams that this worker's sockets have received.
    pub(crate) datagrams: IntCounter,
    /// Datagrams for peers.
    pub(crate) hop_peers: HopPeers,
    issuers: Issuers,
    forwarder: OnceLock<Arc<dyn Forwarder>>,
    pub(crate) paths: Paths,
}

impl fmt::Debug for PodWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodWorker").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl PodWorker {
    /// One of a process, which counts in a block of its own.
    pub(crate) fn new(pod: Arc<Pod>, index: usize, process: &Metrics, metrics: Arc<WorkerMetrics>) -> Self {
        let worker = pod.steering.workers().worker(index).expect("workers are those that are steered to");
        let issuers = Issuers::new(pod.steering, worker);
        Self {
            pod,
            worker,
            metrics,
            datagrams: process.datagrams(index),
            hop_peers: process.hop_peers().clone(),
            issuers,
            forwarder: OnceLock::new(),
            paths: Paths::default(),
        }
    }

    /// Who knows the way to peers, if anybody does.
    pub(crate) fn forwarder(&self) -> Option<&Arc<dyn Forwarder>> {
        self.forwarder.get()
    }

    /// Says who knows the way to peers. The first who does stays.
    pub(crate) fn set_forwarder(&self, forwarder: Arc<dyn Forwarder>) {
        let _the_first_stays = self.forwarder.set(forwarder);
    }

    /// What an endpoint on an address is made with.
    pub(crate) fn endpoint_config(self: &Arc<Self>, address: SocketAddr) -> EndpointConfig {
        let reset = ResetKey::new(Arc::clone(&self.pod.membership), address);
        let mut config = EndpointConfig::new(Arc::new(reset));
        if let Some(longest) = self.longest_datagram() {
            config.max_udp_payload_size(longest).expect("it is no less than the 1200 octets of RFC 9000 section 14");
        }
        let worker = Arc::clone(self);
        config.cid_generator(move || Box::new(Generator(Arc::clone(&worker))));
        config
    }

    /// How long a datagram may be that another pod may have to bring.
    pub(crate) fn longest_datagram(&self) -> Option<u16> {
        self.pod.hop_address.map(|_| forward::MAX_UDP_PAYLOAD)
    }

    fn issue(&self) -> Issued {
        let issued = self.issuers.issue(&self.pod.membership.load());
        if let Issued::Unroutable(_, why) = issued {
            self.metrics.quic_unroutable_issued_total(UnroutableReason::from(why)).inc();
        }
        issued
    }
}
