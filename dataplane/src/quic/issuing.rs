//! The connection IDs that a worker gives to its clients, as quinn asks for them.
//!
//! Owns the worker's issuers, and when a new membership is taken up. Knows nothing of packets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headrace_cid::{Incarnation, Issued, Issuer, Steering, Worker};
use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;

use super::{Membership, PodWorker, chance};

/// How long an ID is good for. After that its client is given another and asked to retire it (RFC 9000 section 5.1.2): a
/// key that is replaced is not kept alive for days by tunnels that last for days.
pub(crate) const CID_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Allotments of a server ID that one process lives to see at most. More would mean that whoever allots goes round in
/// circles, and the nonces of each have to be remembered.
const MAX_ALLOTMENTS: usize = 64;

/// What a worker issues IDs with. It has one from its start to its end, since two would draw the same nonces.
pub(super) struct Issuers(Mutex<State>);

struct State {
    steering: Steering,
    worker: Worker,
    /// By allotment, since another is another incarnation. `None` is what the process has without a table's keys.
    by_allotment: BTreeMap<Option<u32>, Issuer>,
    current: Option<Option<u32>>,
    adopted: Option<Arc<Membership>>,
    /// For who has no allotment: it never adopts anything.
    nobody: Issuer,
}

impl Issuers {
    pub(super) fn new(steering: Steering, worker: Worker) -> Self {
        Self(Mutex::new(State {
            steering,
            worker,
            by_allotment: BTreeMap::new(),
            current: None,
            adopted: None,
            nobody: Issuer::new(Incarnation::ONLY, steering, worker),
        }))
    }

    /// A new ID, by the newest membership, and how it came about.
    pub(super) fn issue(&self, membership: &Arc<Membership>) -> Issued {
        // Only the worker's own thread comes here, so that nobody waits.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.adopted.as_ref().is_some_and(|adopted| Arc::ptr_eq(adopted, membership)) {
            state.adopt(membership);
        }
        state.current().issue(&chance())
    }
}

impl State {
    fn adopt(&mut self, membership: &Arc<Membership>) {
        self.adopted = Some(Arc::clone(membership));
        self.current = None;
        let Some((allotment, incarnation)) = membership.incarnation else { return };
        if !self.by_allotment.contains_key(&allotment) && self.by_allotment.len() >= MAX_ALLOTMENTS {
            tracing::error!("this process was allotted too many server IDs: connection IDs name nobody");
            return;
        }
        let (steering, worker) = (self.steering, self.worker);
        let issuer = self.by_allotment.entry(allotment).or_insert_with(|| Issuer::new(incarnation, steering, worker));
        issuer.adopt(&membership.configs);
        self.current = Some(allotment);
    }

    fn current(&mut self) -> &mut Issuer {
        self.current.and_then(|allotment| self.by_allotment.get_mut(&allotment)).unwrap_or(&mut self.nobody)
    }
}

/// A worker's issuers, as one of its endpoints has them.
pub(super) struct Generator(pub(super) Arc<PodWorker>);

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let issued = self.0.issue();
        ConnectionId::new(issued.cid().as_slice())
    }

    /// Asked for packets with a short header that are of no connection: `Ok` has a stateless reset sent.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        let membership = self.0.pod.membership();
        let Some(owner) = membership.may_reset(cid) else { return Err(InvalidCid) };
        self.0.metrics.quic_resets_total(owner).inc();
        Ok(())
    }

    fn cid_len(&self) -> usize {
        self.0.pod.steering.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        Some(CID_LIFETIME)
    }
}
