//! The push: who may subscribe, what each pod is sent, and what the pods answer.
//!
//! ```text
//!   shares ─────┐
//!   generations ─► feed ─► hub ◄─► server ◄── listen ◄── pods, over TLS
//!   leadership  ──┘         │         └─ identity: tokens become pods       authority, tls: the certificate
//!                           └─► acknowledgements, refusals, challenges, summary
//! ```
//!
//! Every replica listens and has a certificate; the one that leads publishes, and the others say that they do not. What a
//! table means, and how it travels, is not decided here.

pub mod acknowledgements;
mod authority;
mod feed;
mod hub;
pub mod identity;
mod listen;
mod metrics;
mod paced;
mod pod_set;
mod server;
pub mod summary;
mod tls;
pub(crate) mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::generation::Generation;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::quic::Shares;
use acknowledgements::{Acknowledgements, Refusals};
pub use authority::keep::{InCluster, Store, StoreError};
use hub::Hub;
use identity::Authenticator;
use identity::review::{ReviewTokens, TokenReviews};
use metrics::PushMetrics;
use pod_set::Patience;
use server::PushService;
use summary::Summary;
use tls::PresentedCertificate;
use told::Members;

/// Streams on one connection. A pod has one, and a second while it comes back.
const MAX_STREAMS: u32 = 4;

/// Octets of a request's header section: room for the longest token.
const MAX_HEADER_OCTETS: u32 = 32 * 1024;

/// Octets that a pod may send ahead, on a stream and on a connection: one part of an inventory.
const WINDOW_OCTETS: u32 = 256 * 1024;

/// Streams that a peer may open and reset at once before its connection ends (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 16;

/// After this long without a word a peer is asked whether it is there (RFC 9113 section 6.7).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// And has this long to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the clock is looked at for pods that are late. A tenth of what they have.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// For connections to end after the process was told to.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the installation says of the push.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the installation, and of its pods.
    pub namespace: String,
    /// The headless Service by whose name pods dial.
    pub push_service: String,
    /// Pod sets by name, each with its ServiceAccount.
    pub pod_sets: BTreeMap<String, String>,
    /// How long things may take.
    pub bounds: Bounds,
}

/// How long things may take. The defaults are what is documented; tests have less patience.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A pod whose answer to a table is out for this long is told as overdue. Pods take fractions of a second; this much
    /// is a pod without processor time, or a network that does not carry a large first table.
    pub overdue_after: Duration,
    /// And after this long, in which it took nothing either, its stream ends: what is stuck gets another start.
    pub stalled_after: Duration,
    /// How often the token of an open stream is reviewed. The API server knows at once when a pod is deleted, and
    /// answers eight times in a second for a thousand pods.
    pub reviewed_every: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            overdue_after: Duration::from_secs(30),
            stalled_after: Duration::from_secs(120),
            reviewed_every: Duration::from_secs(120),
        }
    }
}

/// What the push needs from outside of this process.
pub struct Boundary<S, C> {
    /// Where pods dial.
    pub listener: TcpListener,
    /// Who can tell what a token is worth.
    pub reviewer: Arc<dyn ReviewTokens>,
    /// The Secret that keeps the CA.
    pub secret: S,
    /// The ConfigMap from which pods read what to trust.
    pub config_map: C,
}

impl Boundary<InCluster<Secret>, InCluster<ConfigMap>> {
    /// That of a cluster. `ca` is the name of both objects.
    pub fn in_cluster(client: &Client, namespace: &str, ca: &str, listener: TcpListener) -> Self {
        Boundary {
            listener,
            reviewer: Arc::new(TokenReviews::new(client.clone())),
            secret: InCluster::new(Api::namespaced(client.clone(), namespace), ca),
            config_map: InCluster::new(Api::namespaced(client.clone(), namespace), ca),
        }
    }
}

/// The push. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Publish {
    settings: Arc<Settings>,
    hub: Arc<Hub>,
    certificate: Arc<PresentedCertificate>,
    metrics: Arc<PushMetrics>,
}

impl Publish {
    /// At rest until [`run`](Self::run).
    pub fn new(settings: Settings, metrics: &Metrics) -> Self {
        let Settings { namespace, push_service, pod_sets, bounds } = &settings;
        let metrics = Arc::new(PushMetrics::new(metrics, pod_sets.keys().map(String::as_str)));
        let patience = Patience { overdue_after: bounds.overdue_after, stalled_after: bounds.stalled_after };
        let hub = Hub::new(pod_sets.keys().cloned(), patience, Arc::clone(&metrics));
        let certificate = PresentedCertificate::new(format!("{push_service}.{namespace}.svc"));
        Self { settings: Arc::new(settings), hub, certificate, metrics }
    }

    /// What the pods have said. Empty while this replica does not lead.
    pub fn acknowledgements(&self) -> watch::Receiver<Arc<Acknowledgements>> {
        self.hub.acknowledgements()
    }

    /// What the pods say of their QUIC connections. Empty while this replica does not lead.
    pub(crate) fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.hub.members()
    }

    /// What the pods refuse, for the engine to have it left out. Empty while this replica does not lead.
    pub fn refusals(&self) -> watch::Receiver<Arc<Refusals>> {
        self.hub.refusals()
    }

    /// The highest epoch that a pod has from another leader, if that is above ours: 0 if there was none. Whoever holds the
    /// Lease takes one above it; pods take nothing from a leader with a lower one.
    pub fn challenges(&self) -> watch::Receiver<u64> {
        self.hub.challenges()
    }

    /// For `/status`.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.hub.acknowledgements().borrow(), |pod_set| self.hub.current(pod_set))
    }

    /// Serves until it is stopped, or until generations and leadership end. To be called once.
    pub async fn run<S: Store<Secret>, C: Store<ConfigMap>>(
        self,
        boundary: Boundary<S, C>,
        generations: watch::Receiver<Option<Arc<Generation>>>,
        shares: watch::Receiver<Shares>,
        leadership: watch::Receiver<Leadership>,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let Boundary { listener, reviewer, secret, config_map } = boundary;
        let served = self.serve(listener, reviewer, stop.clone());
        let kept = authority::keep::keep(&secret, &config_map, &self.certificate, &self.metrics);
        let fed = feed::feed(Arc::clone(&self.hub), generations, shares, leadership);
        tokio::select! {
            served = served => served,
            () = fed => Ok(()),
            () = kept => Ok(()),
            () = self.hub.tell() => Ok(()),
            () = look_at_the_clock(&self.hub) => Ok(()),
            () = give_up_after(&stop) => Ok(()),
        }
    }

    fn serve(
        &self,
        listener: TcpListener,
        reviewer: Arc<dyn ReviewTokens>,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), tonic::transport::Error>> + use<> {
        let Settings { namespace, pod_sets, bounds, .. } = &*self.settings;
        let (hub, metrics) = (Arc::clone(&self.hub), Arc::clone(&self.metrics));
        let authenticator = Arc::new(Authenticator::new(reviewer, namespace.clone(), pod_sets, Arc::clone(&metrics)));
        let tls = self.certificate.server_config();
        let connections = listen::accept(listener, tls, Arc::clone(&metrics), stop.clone());
        let service = PushService::new(hub, authenticator, metrics, bounds.reviewed_every, stop.clone());
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_HEADER_OCTETS)
            .initial_stream_window_size(WINDOW_OCTETS)
            .initial_connection_window_size(WINDOW_OCTETS)
            .http2_max_pending_accept_reset_streams(Some(MAX_RESET_STREAMS))
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(service.into_server())
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.cancelled_owned())
    }
}

async fn look_at_the_clock(hub: &Hub) {
    let mut clock = tokio::time::interval(CLOCK_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        hub.look_at_the_clock();
    }
}

async fn give_up_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
}
