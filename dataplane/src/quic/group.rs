//! The UDP sockets of an address: one for each worker, all of them in one SO_REUSEPORT group and in the order of the
//! workers, because the kernel's filter names a socket by its place.
//!
//! Owns that order. The kernel appends a socket that joins a group, and moves its last one into the place of one that
//! leaves, so sockets join and leave together only: whoever opens an address first opens it for all workers, and no
//! socket is closed before all are. A worker that lets go of its endpoint early takes the same socket again.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use headrace_cid::{Steering, Workers};

use super::outlet::Outlet;
use crate::socket;

/// The sockets of an address.
#[derive(Debug)]
pub(crate) struct Group {
    address: SocketAddr,
    members: Box<[Member]>,
}

/// What a group has for each worker.
#[derive(Debug)]
struct Member {
    socket: UdpSocket,
    /// While the worker has an endpoint here.
    outlet: ArcSwapOption<Outlet>,
    /// Whether the worker could do without: it has no endpoint here, or one that refuses new connections and has no other.
    is_idle: AtomicBool,
}

impl Group {
    /// Binds a socket for each worker. Without a steering, the kernel spreads packets as it likes.
    ///
    /// # Errors
    /// One cannot be bound. Then none is.
    fn bind(address: SocketAddr, workers: Workers, steering: Option<&Steering>) -> io::Result<Self> {
        let member = |_| {
            let socket = socket::udp_socket(address)?;
            Ok(Member { socket, outlet: ArcSwapOption::empty(), is_idle: AtomicBool::new(true) })
        };
        let members: Box<[Member]> = workers.all().map(member).collect::<io::Result<_>>()?;
        if let (Some(steering), Some(first)) = (steering, members.first())
            && let Err(error) = socket::steer(&first.socket, &steering.filter())
        {
            tracing::warn!(%address, %error, "the kernel does not steer packets: workers hand them over");
        }
        Ok(Self { address, members })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A worker's socket, again and again the same one.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn socket(&self, worker: usize) -> io::Result<UdpSocket> {
        self.members[worker].socket.try_clone()
    }

    /// The other ways into and out of a worker's socket, while it has an endpoint.
    pub(crate) fn outlet(&self, worker: usize) -> Option<Arc<Outlet>> {
        self.members.get(worker)?.outlet.load_full()
    }

    /// The worker has an endpoint from now on.
    pub(crate) fn join(&self, worker: usize, outlet: Arc<Outlet>) {
        self.members[worker].outlet.store(Some(outlet));
    }

    /// The endpoint with this outlet is gone. The worker may have another one already.
    pub(crate) fn leave(&self, worker: usize, outlet: &Arc<Outlet>) {
        self.members[worker].outlet.compare_and_swap(&Some(Arc::clone(outlet)), None);
    }

    /// The worker serves here from now on.
    pub(crate) fn wanted_by(&self, worker: usize) {
        self.members[worker].is_idle.store(false, Ordering::Release);
    }

    /// The worker would let go, because it refuses new connections and has no other. Says whether it may: as long as
    /// another cannot, packets for this one still come, and are answered best by its endpoint.
    pub(crate) fn may_be_left(&self, worker: usize) -> bool {
        self.members[worker].is_idle.store(true, Ordering::Release);
        self.members.iter().all(|member| member.is_idle.load(Ordering::Acquire))
    }
}

/// All groups that somebody holds.
#[derive(Debug)]
pub(super) struct Groups {
    steering: Option<Steering>,
    workers: Workers,
    /// Read for each packet that a peer brings, written when an address is opened.
    groups: ArcSwap<BTreeMap<(u16, IpAddr), Weak<Group>>>,
    opening: Mutex<()>,
}

impl Groups {
    /// None yet. Without a steering, the kernel is not asked to steer.
    pub(super) fn new(steering: Option<Steering>, workers: Workers) -> Self {
        Self { steering, workers, groups: ArcSwap::default(), opening: Mutex::new(()) }
    }

    /// The group of an address.
    pub(super) fn open(&self, address: SocketAddr) -> io::Result<Arc<Group>> {
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.port(), address.ip());
        if let Some(group) = self.groups.load().get(&key).and_then(Weak::upgrade) {
            return Ok(group);
        }
        let group = Arc::new(Group::bind(address, self.workers, self.steering.as_ref())?);
        let mut groups = BTreeMap::clone(&self.groups.load());
        groups.retain(|_, group| group.strong_count() > 0);
        groups.insert(key, Arc::downgrade(&group));
        self.groups.store(Arc::new(groups));
        Ok(group)
    }

    /// A group of a port by the family of its addresses. A pod has one of each: where there are several, the first.
    pub(super) fn of(&self, port: u16, is_ipv6: bool) -> Option<Arc<Group>> {
        let least = IpAddr::from([0_u8; 4]);
        let groups = self.groups.load();
        let mut of_port = groups.range((port, least)..).take_while(|((number, _), _)| *number == port);
        of_port.find(|((_, ip), group)| ip.is_ipv6() == is_ipv6 && group.strong_count() > 0)?.1.upgrade()
    }
}

#[cfg(test)]
mod tests;
