//! Who leads: one replica publishes tables and writes to the API server, the others stand by.
//!
//! A Lease (coordination.k8s.io/v1) says who, in the way of client-go's leader election: whoever holds it renews it, and who
//! has not seen it change for its whole duration may take it. Writes go by resourceVersion, so that of two who try one
//! succeeds. Time is that of this process alone; clocks of two machines are never compared. [`election`] decides, this file
//! carries out. It must not know what a leader does.

pub mod election;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use election::{Election, Step};

/// For one request about the Lease. A leader has several of them before it must step down.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// For letting go of the Lease when the process ends.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// What this replica is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// Another replica leads, or nobody does, or nobody knows. Publish nothing, write nothing.
    #[default]
    Follower,
    /// This replica leads.
    Leader {
        /// Greater than that of every leader before; the first part of the version of a table.
        epoch: u64,
    },
}

impl Leadership {
    /// The epoch of a leader.
    pub const fn epoch(self) -> Option<u64> {
        match self {
            Leadership::Follower => None,
            Leadership::Leader { epoch } => Some(epoch),
        }
    }

    /// Whether this replica leads.
    pub const fn is_leader(self) -> bool {
        matches!(self, Leadership::Leader { .. })
    }
}

/// What is counted of leadership.
#[derive(Clone, Debug)]
pub struct LeaderMetrics {
    leader: IntGauge,
    changes: IntCounter,
    epoch: IntGauge,
}

impl LeaderMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        LeaderMetrics {
            leader: metrics.gauge("leader", "1 while this replica leads, else 0."),
            changes: metrics
                .counter("leadership_changes_total", "Times that this replica became the leader or ceased to be."),
            epoch: metrics.gauge("leader_epoch", "The epoch of this replica's last leadership; 0 before the first."),
        }
    }

    fn changed(&self, leadership: Leadership) {
        self.changes.inc();
        self.leader.set(i64::from(leadership.is_leader()));
        if let Some(epoch) = leadership.epoch() {
            self.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        }
    }
}

/// Takes part in the election.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    election: Election,
    leadership: watch::Sender<Leadership>,
    challenges: watch::Receiver<u64>,
    metrics: LeaderMetrics,
}

impl Candidate {
    /// A candidate of that identity, which must be its own alone: the pod's name. `challenges` is the highest epoch of
    /// another leader that any pod has met.
    pub fn new(
        client: Client,
        namespace: &str,
        lease: &str,
        identity: &str,
        challenges: watch::Receiver<u64>,
        metrics: LeaderMetrics,
    ) -> Self {
        Candidate {
            leases: Api::namespaced(client, namespace),
            name: lease.to_owned(),
            election: Election::new(lease, namespace, identity),
            leadership: watch::Sender::new(Leadership::Follower),
            challenges,
            metrics,
        }
    }

    /// What this replica is.
    pub fn subscribe(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Takes part until `shutdown`, and then lets go of the Lease, so that a successor need not wait for it to expire.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let round = async {
                self.round().await;
                // A leader whose renewals fail steps down on time, whatever its requests do.
                self.tell();
                tokio::time::sleep(election::RETRY_INTERVAL).await;
            };
            if shutdown.run_until_cancelled(round).await.is_none() {
                break;
            }
        }
        self.release().await;
    }

    /// Looks at the Lease, and takes or renews it if that is for us to do.
    async fn round(&mut self) {
        let deadline = self.election.deadline(Instant::now());
        let work = self.attempt();
        match deadline {
            Some(deadline) => drop(tokio::time::timeout_at(deadline, work).await),
            None => work.await,
        }
    }

    async fn attempt(&mut self) {
        self.election.challenged(*self.challenges.borrow());
        // An expiry is counted from before the request: what the API server saw was later.
        let start = Instant::now();
        let lease = match timeout(REQUEST_TIMEOUT, self.leases.get_opt(&self.name)).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(error)) => return tracing::warn!(%error, "the Lease cannot be read"),
            Err(_) => return tracing::warn!("the Lease cannot be read in time"),
        };
        let step = self.election.observe(lease.as_ref(), start, jiff::Timestamp::now());
        self.tell();
        let parameters = PostParams::default();
        let (written, what) = match &step {
            Step::Wait => return,
            Step::Create(lease) => (timeout(REQUEST_TIMEOUT, self.leases.create(&parameters, lease)).await, "created"),
            Step::Replace(lease) => {
                (timeout(REQUEST_TIMEOUT, self.leases.replace(&self.name, &parameters, lease)).await, "written")
            }
        };
        match written {
            Ok(Ok(lease)) => self.election.written(&lease, start),
            // Another was faster. The next look says who.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                tracing::debug!("another replica has written the Lease");
            }
            Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be {what}"),
            Err(_) => tracing::warn!("the Lease cannot be {what} in time"),
        }
    }

    async fn release(mut self) {
        let Some(lease) = self.election.release(jiff::Timestamp::now()) else { return };
        // Nobody may act as the leader any more when the Lease says that there is none.
        self.tell();
        match timeout(RELEASE_TIMEOUT, self.leases.replace(&self.name, &PostParams::default(), &lease)).await {
            Ok(Ok(_)) => tracing::info!("the Lease is released"),
            Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be released, and expires"),
            Err(_) => tracing::warn!("the Lease cannot be released in time, and expires"),
        }
    }

    /// Tells everybody if it is news.
    fn tell(&self) {
        let now = self.election.leadership(Instant::now());
        let is_news = self.leadership.send_if_modified(|before| std::mem::replace(before, now) != now);
        if is_news {
            self.metrics.changed(now);
            match now {
                Leadership::Leader { epoch } => tracing::info!(epoch, "this replica leads"),
                Leadership::Follower => tracing::info!("this replica follows"),
            }
        }
    }
}
