//! Watches: what the API server has becomes the World.
//!
//! ```text
//!  discovery ──► follow (one for each kind) ──┐
//!                                             ├──► Store ──► Snapshot
//!  references ─► named  (one for each Secret) ┘
//! ```
//!
//! Owns which watches run. A kind that the API server does not have is waited for, and is nobody else's trouble: the World
//! has none of it. It must not know what the World is compiled to.

mod backoff;
mod discovery;
mod entry;
mod follow;
mod kinds;
mod named;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::listenersets::ListenerSet;
use gateway_api::referencegrants::ReferenceGrant;
use headrace_compile::{Key, Kind, Reference, References};
use headrace_crds::{EdgePolicy, GatewayParameters, WebSocketRoute, WebTransportRoute};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::core::ApiResource;
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::metrics::{Counters, Metrics};
use backoff::Backoff;
use discovery::Presence;
pub(crate) use discovery::summary as missing_summary;
use entry::Entry;
use follow::{Follower, Restart, Sink, Streaming};
use kinds::Watched;
pub use store::{KindState, Revision, Snapshot, Store, Unreadable};

/// How often the API server is asked which kinds it has, while some are missing. Two or three small reads each time.
const DISCOVERY_INTERVAL_MISSING: Duration = Duration::from_secs(3);

/// How often while none is. A watch whose kind is gone asks at once.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(15);

/// Between two discoveries, whoever asks.
const DISCOVERY_PAUSE: Duration = Duration::from_secs(1);

/// For one discovery.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often in a row a kind must not be there before it counts as gone. An API server that starts may not know its
/// CustomResourceDefinitions yet, and a table must not be emptied by that. When a definition is deleted its objects are
/// deleted one by one first, and that is seen at once.
const LOOKS_BEFORE_GONE: u32 = 3;

/// Wakes discovery.
pub(crate) type Asked = Arc<Notify>;

/// What every watch needs.
#[derive(Clone)]
pub(crate) struct Context {
    client: Client,
    store: Arc<Store>,
    streaming: Streaming,
    metrics: WatchMetrics,
    asked: Asked,
}

/// What is counted of watches.
#[derive(Clone, Debug)]
pub struct WatchMetrics {
    restarts: Counters<(Kind, Restart)>,
}

impl WatchMetrics {
    /// All zero.
    pub fn new(metrics: &Metrics) -> Self {
        WatchMetrics {
            restarts: metrics.counters(
                "watch_restarts_total",
                "Watches that started anew: what they resumed from had expired, the API server refused, or the connection broke.",
            ),
        }
    }
}

/// Keeps `store` up to date with the cluster, until it is dropped. `references` says which Secrets and ConfigMaps to read.
pub async fn watch(
    client: Client,
    store: Arc<Store>,
    references: watch::Receiver<Arc<References>>,
    metrics: WatchMetrics,
) {
    let context = Context { client, store, streaming: Streaming::default(), metrics, asked: Asked::default() };
    let kinds = Kinds {
        context: context.clone(),
        watches: BTreeMap::new(),
        absences: BTreeMap::new(),
        tasks: JoinSet::new(),
        told: None,
    };
    tokio::join!(kinds.run(), named::follow_references(context, references));
}

/// The watches of whole kinds.
struct Kinds {
    context: Context,
    watches: BTreeMap<Kind, (ApiResource, AbortHandle)>,
    /// How often in a row each kind was not there.
    absences: BTreeMap<Kind, u32>,
    tasks: JoinSet<()>,
    /// What was last said about kinds that are missing.
    told: Option<String>,
}

impl Kinds {
    async fn run(mut self) {
        let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| !Reference::is_kind(*kind)).collect();
        loop {
            let start = Instant::now();
            let is_settled = match timeout(DISCOVERY_TIMEOUT, discovery::discover(&self.context.client, &kinds)).await {
                Ok(Ok(found)) => self.adjust(found).await,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the API server does not say which kinds it has");
                    false
                }
                Err(_) => {
                    tracing::warn!("the API server does not say in time which kinds it has");
                    false
                }
            };
            let interval = if is_settled { DISCOVERY_INTERVAL } else { DISCOVERY_INTERVAL_MISSING };
            let _ = timeout(interval, self.context.asked.notified()).await;
            tokio::time::sleep_until(start + DISCOVERY_PAUSE).await;
        }
    }

    /// Starts and stops watches by what was found. Says whether every kind is there.
    async fn adjust(&mut self, found: BTreeMap<Kind, Presence>) -> bool {
        while self.tasks.try_join_next().is_some() {}
        let mut missing = BTreeMap::new();
        for (kind, presence) in found {
            match presence {
                Presence::Served(api) => {
                    self.absences.remove(&kind);
                    self.start(kind, api);
                }
                Presence::Missing(reason) => {
                    let absences = self.absences.entry(kind).or_default();
                    *absences = absences.saturating_add(1);
                    if !self.watches.contains_key(&kind) || *absences >= LOOKS_BEFORE_GONE {
                        self.stop(kind, &reason);
                    }
                    missing.insert(kind, reason);
                }
            }
        }
        self.tell(discovery::summary(missing.iter().map(|(kind, reason)| (*kind, reason.as_str()))));
        match timeout(DISCOVERY_TIMEOUT, discovery::gateway_api_version(&self.context.client)).await {
            Ok(Ok(version)) => self.context.store.gateway_api_version(version),
            Ok(Err(error)) => tracing::warn!(%error, "the version of the Gateway API's CRDs is not known"),
            Err(_) => tracing::warn!("the version of the Gateway API's CRDs is not known in time"),
        }
        missing.is_empty()
    }

    /// One line in the log whenever it is another.
    fn tell(&mut self, summary: Option<String>) {
        if self.told == summary {
            return;
        }
        match &summary {
            Some(line) => tracing::warn!("{line}; going on with what is there"),
            None => tracing::info!("every kind is there"),
        }
        self.told = summary;
    }

    fn start(&mut self, kind: Kind, api: ApiResource) {
        if let Some((watched, task)) = self.watches.get(&kind) {
            if *watched == api {
                return;
            }
            task.abort();
        }
        self.context.store.listing(kind);
        let task = match kind {
            Kind::GatewayClass => self.spawn::<GatewayClass>(&api),
            Kind::Gateway => self.spawn::<Gateway>(&api),
            Kind::ListenerSet => self.spawn::<ListenerSet>(&api),
            Kind::GatewayParameters => self.spawn::<GatewayParameters>(&api),
            Kind::EdgePolicy => self.spawn::<EdgePolicy>(&api),
            Kind::HttpRoute => self.spawn::<HttpRoute>(&api),
            Kind::WebSocketRoute => self.spawn::<WebSocketRoute>(&api),
            Kind::WebTransportRoute => self.spawn::<WebTransportRoute>(&api),
            Kind::Ingress => self.spawn::<Ingress>(&api),
            Kind::IngressClass => self.spawn::<IngressClass>(&api),
            Kind::Service => self.spawn::<Service>(&api),
            Kind::EndpointSlice => self.spawn::<EndpointSlice>(&api),
            Kind::BackendTlsPolicy => self.spawn::<BackendTlsPolicy>(&api),
            Kind::Node => self.spawn::<Node>(&api),
            Kind::Namespace => self.spawn::<Namespace>(&api),
            Kind::ReferenceGrant => self.spawn::<ReferenceGrant>(&api),
            // By name alone.
            Kind::Secret | Kind::ConfigMap => return,
        };
        self.watches.insert(kind, (api, task));
    }

    fn spawn<K: Watched>(&mut self, api: &ApiResource) -> AbortHandle {
        let follower = Follower::<K> {
            api: Api::all_with(self.context.client.clone(), api),
            selector: None,
            streaming: self.context.streaming.clone(),
            metrics: self.context.metrics.clone(),
            asked: Arc::clone(&self.context.asked),
            backoff: Backoff::default(),
        };
        self.tasks.spawn(follower.follow(All { store: Arc::clone(&self.context.store) }))
    }

    fn stop(&mut self, kind: Kind, reason: &str) {
        if let Some((_, task)) = self.watches.remove(&kind) {
            task.abort();
        }
        let store = &self.context.store;
        match kind {
            Kind::GatewayClass => store.missing::<GatewayClass>(reason),
            Kind::Gateway => store.missing::<Gateway>(reason),
            Kind::ListenerSet => store.missing::<ListenerSet>(reason),
            Kind::GatewayParameters => store.missing::<GatewayParameters>(reason),
            Kind::EdgePolicy => store.missing::<EdgePolicy>(reason),
            Kind::HttpRoute => store.missing::<HttpRoute>(reason),
            Kind::WebSocketRoute => store.missing::<WebSocketRoute>(reason),
            Kind::WebTransportRoute => store.missing::<WebTransportRoute>(reason),
            Kind::BackendTlsPolicy => store.missing::<BackendTlsPolicy>(reason),
            Kind::ReferenceGrant => store.missing::<ReferenceGrant>(reason),
            // Of Kubernetes itself: always there.
            Kind::Ingress
            | Kind::IngressClass
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Node
            | Kind::Namespace
            | Kind::Secret
            | Kind::ConfigMap => {}
        }
    }
}

/// Where the watch of a whole kind puts objects.
struct All {
    store: Arc<Store>,
}

impl<K: Watched> Sink<K> for All {
    fn listed(&mut self, entries: Vec<Entry<K>>) {
        self.store.replace(entries);
    }

    fn applied(&mut self, entry: Entry<K>) {
        self.store.apply(entry);
    }

    fn deleted(&mut self, key: &Key) {
        self.store.delete::<K>(key);
    }
}
