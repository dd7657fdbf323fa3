//! What the tasks of one worker share: its view of the table, its pool of backend connections, its counters.
//!
//! Workers share the snapshot and nothing else that a request's path could wait for. Knows nothing of sockets: the thread
//! that a worker runs on is [`crate::thread`].

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use headrace_table::Retry;
use http::HeaderValue;

use crate::access_log::AccessLogger;
use crate::certificates::ServerTls;
use crate::downstream::{Arrival, Downstream};
use crate::drain::{DrainHandle, DrainWatch, TaskCount};
use crate::listener::half_open::HalfOpen;
use crate::listener::token::Tokens;
use crate::metrics::{Metrics, WorkerMetrics};
use crate::quic::{Hop, Pod, PodWorker};
use crate::snapshot::Snapshot;
use crate::upstream::Pool;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) bind: Vec<IpAddr>,
    pub(crate) retry: Retry,
    pub(crate) tls: ServerTls,
    pub(crate) tokens: Tokens,
    pub(crate) pod: Arc<Pod>,
    pub(crate) hop: Option<Arc<Hop>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLogger,
    pub(crate) drain: DrainHandle,
    pub(crate) connections: TaskCount,
}

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) quic: Arc<PodWorker>,
    pub(crate) drain: DrainWatch,
    pub(crate) half_open: HalfOpen,
    view: ArcSwap<View>,
    draws: AtomicU64,
}

/// A snapshot as this worker serves it.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    alt_svc: HashMap<u16, HeaderValue>,
}

impl View {
    /// A snapshot with what is to be said of HTTP/3 by port.
    pub(crate) fn new(snapshot: Arc<Snapshot>, alt_svc: HashMap<u16, HeaderValue>) -> Self {
        Self { snapshot, alt_svc }
    }

    /// The same of another snapshot.
    pub(crate) fn with(&self, snapshot: Arc<Snapshot>) -> Self {
        Self::new(snapshot, self.alt_svc.clone())
    }

    /// What to say of HTTP/3 on a port, when there is something to say.
    pub(crate) fn alt_svc(&self, port: u16) -> Option<&HeaderValue> {
        self.alt_svc.get(&port)
    }
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, index: usize) -> Self {
        let metrics = shared.metrics.worker();
        let quic = PodWorker::new(Arc::clone(&shared.pod), index, &shared.metrics, Arc::clone(&metrics));
        let view = View::new(Arc::new(Snapshot::empty()), HashMap::new());
        Self {
            quic: Arc::new(quic),
            metrics,
            pool: Arc::default(),
            half_open: HalfOpen::default(),
            drain: shared.drain.watch(),
            view: ArcSwap::from_pointee(view),
            draws: AtomicU64::new(RandomState::new().hash_one(std::thread::current().id())),
            shared,
        }
    }

    /// What is served now. Held for the length of a request at most.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Serves another view from now on.
    pub(crate) fn set_view(&self, view: View) {
        self.view.store(Arc::new(view));
    }

    /// Counts a connection in.
    pub(crate) fn admit(&self, arrival: Arrival) -> Arc<Downstream> {
        let counted = self.shared.connections.enter();
        Arc::new(Downstream::new(arrival, Arc::clone(&self.metrics), self.shared.access_log.clone(), counted))
    }

    /// A number for choosing a backend or an endpoint: evenly spread, not secret (SplitMix64).
    pub(crate) fn draw(&self) -> u64 {
        let mut z = self.draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
