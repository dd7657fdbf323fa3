//! Keys and server IDs of QUIC's connection IDs: what the pods of a pod set share so that each knows whose a packet is.
//!
//! ```text
//!   pods (watch) ─────────┐
//!   what pods say ────────┼──► plan ──► keep: one Secret for each pod set, written first ──► Shares ──► publish::feed
//!   the Secret ───────────┘    (pure)         │
//!   time, chance ─────────┘                   └──► summary, metrics, events
//! ```
//!
//! Only the leader plans. Whatever is published was written down before, and a Secret is written only by who has read what
//! it holds: two who both believe that they lead cannot give one server ID twice, nor go back behind what pods have heard.
//! What a key is for is headrace-cid's, and the data plane's.

mod keep;
mod kept;
mod metrics;
mod plan;
mod pods;
mod ring;
mod share;
pub mod summary;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{Api, Client};
use kube_runtime::events::{Event, EventType, Recorder, Reporter};
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::leader::Leadership;
use crate::publish::told::Members;
use crate::publish::{InCluster, Publish, Store};
use keep::{Keeper, Tended};
pub use metrics::QuicMetrics;
use plan::{Planned, Situation};
use pods::Pods;
pub use share::{Share, Shares};
use summary::{PodSetSummary, Summary};

/// How often things are looked at without any news: what is due by the clock is due in minutes and days.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Between two looks: a rollout of a hundred pods is some dozens of writes and not some hundreds.
const PAUSE: Duration = Duration::from_millis(200);

/// For all reads and writes of one pod set.
const TEND_TIMEOUT: Duration = Duration::from_secs(30);

/// For an event, which is told once and not missed if it fails.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the installation says of its keys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the installation, and of its pods.
    pub namespace: String,
    /// The first part of the names of the Secrets; the pod set's name follows.
    pub secrets: String,
    /// Pod sets by name, each with its ServiceAccount.
    pub pod_sets: BTreeMap<String, String>,
    /// Between rotations. `None`: only on demand.
    pub period: Option<SignedDuration>,
    /// Who tells events.
    pub reporter: Reporter,
}

/// What is known at any time: for the push and for `/status`. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Known {
    shares: watch::Sender<Shares>,
    summary: watch::Sender<Arc<Summary>>,
}

impl Known {
    /// What tables have beside what was compiled.
    pub fn shares(&self) -> watch::Receiver<Shares> {
        self.shares.subscribe()
    }

    /// For `/status`.
    pub fn summary(&self) -> Arc<Summary> {
        Arc::clone(&self.summary.borrow())
    }
}

/// Keeps the keys and server IDs of a cluster for as long as it is polled.
pub async fn run(
    client: Client,
    settings: Settings,
    publish: Publish,
    leadership: watch::Receiver<Leadership>,
    known: Known,
    metrics: QuicMetrics,
) {
    let (tell, pods) = watch::channel(None);
    let Settings { namespace, pod_sets, secrets, .. } = &settings;
    let followed = pods::follow(client.clone(), namespace.clone(), pod_sets.clone(), tell);
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let keepers = pod_sets
        .keys()
        .map(|set| (set.clone(), Keeper::new(set, InCluster::new(api.clone(), format!("{secrets}-{set}")))));
    let task = Task {
        keepers: keepers.collect(),
        recorder: Recorder::new(client, settings.reporter.clone()),
        told: BTreeMap::new(),
        settings: settings.clone(),
        known,
        metrics,
    };
    tokio::select! {
        () = followed => {}
        never = task.run(pods, publish.members(), leadership) => match never {},
    }
}

struct Task<S> {
    keepers: BTreeMap<String, Keeper<S>>,
    recorder: Recorder,
    /// Pods whose server IDs were refused, as it was told last.
    told: BTreeMap<String, plan::Refused>,
    settings: Settings,
    known: Known,
    metrics: QuicMetrics,
}

impl<S: Store<Secret>> Task<S> {
    async fn run(
        mut self,
        mut pods: watch::Receiver<Option<Arc<Pods>>>,
        mut members: watch::Receiver<Arc<Members>>,
        mut leadership: watch::Receiver<Leadership>,
    ) -> Infallible {
        let mut was = Leadership::Follower;
        loop {
            let is = *leadership.borrow_and_update();
            if is != was {
                self.keepers.values_mut().for_each(Keeper::forget);
                self.withdraw();
                was = is;
            }
            let seen = pods.borrow_and_update().clone();
            let told = Arc::clone(&members.borrow_and_update());
            // Before the pods are known, nobody knows for whom there is to wait.
            if let (Some(epoch), Some(seen)) = (is.epoch(), seen) {
                self.tend(epoch, &seen, &told).await;
            }
            tokio::time::sleep(PAUSE).await;
            // Who tells these ends with the process.
            tokio::select! {
                _ = leadership.changed() => {}
                Ok(()) = pods.changed() => {}
                Ok(()) = members.changed() => {}
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
            }
        }
    }

    /// Nothing is known to who does not lead, or leads anew.
    fn withdraw(&mut self) {
        self.known.shares.send_replace(Shares::Awaited);
        self.known.summary.send_replace(Arc::default());
        self.show();
    }

    /// Looks at every pod set. One that cannot be kept stays as it was.
    async fn tend(&mut self, epoch: u64, seen: &Pods, members: &Members) {
        let mut refused = BTreeMap::new();
        for (set, keeper) in &mut self.keepers {
            let (no_pods, nothing) = (BTreeMap::new(), BTreeMap::new());
            let told = members.get(set).unwrap_or(&nothing);
            let situation = Situation {
                seen: seen.get(set).unwrap_or(&no_pods),
                told,
                asked: None,
                period: self.settings.period,
                now: Timestamp::now(),
            };
            match timeout(TEND_TIMEOUT, keeper.tend(situation, &mut draw)).await {
                Ok(Ok(Tended { planned, is_new })) => {
                    if is_new {
                        self.metrics.written();
                        tracing::debug!(
                            pod_set = set,
                            revision = planned.kept.revision,
                            "QUIC's keys and server IDs are written"
                        );
                    }
                    publish(&self.known, epoch, set, &planned, PodSetSummary::of(&planned, told, situation.seen));
                    refused.extend(planned.refused);
                }
                Ok(Err(error)) => {
                    self.metrics.failed();
                    tracing::warn!(pod_set = set, %error, "QUIC's keys cannot be kept up to date: nothing new is published of them");
                }
                Err(_) => {
                    keeper.forget();
                    self.metrics.failed();
                    tracing::warn!(pod_set = set, "QUIC's keys cannot be kept up to date: no answer in time");
                }
            }
        }
        self.show();
        self.tell(refused).await;
    }

    fn show(&self) {
        let names: Vec<String> = self.keepers.keys().cloned().collect();
        self.metrics.show(&names, &self.known.summary.borrow().pod_sets);
    }

    /// Tells of pods that get no server ID, once of each.
    async fn tell(&mut self, refused: BTreeMap<String, plan::Refused>) {
        for (uid, news) in refused.iter().filter(|(uid, _)| !self.told.contains_key(*uid)) {
            let note = format!(
                "AWS_LBC_QUIC_SERVER_ID is that of pod {}: packets of its clients would be for two pods. This one gets no \
                 server ID, and is not ready.",
                news.holder
            );
            tracing::warn!(pod = news.pod, holder = news.holder, "a pod brings along the server ID of another one");
            let pod = ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(news.pod.clone()),
                namespace: Some(self.settings.namespace.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            };
            let event = Event {
                type_: EventType::Warning,
                reason: "ServerIdInUse".to_owned(),
                note: Some(note),
                action: "Allotting".to_owned(),
                secondary: None,
            };
            match timeout(EVENT_TIMEOUT, self.recorder.publish(&event, &pod)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an event was not written"),
                Err(_) => tracing::debug!("an event was not written in time"),
            }
        }
        self.told = refused;
    }
}

/// Lets the push have what was written.
fn publish(known: &Known, epoch: u64, set: &str, planned: &Planned, summary: PodSetSummary) {
    // Pods of neighbouring versions are served by one controller while they are replaced.
    let share = summary.older.is_empty().then(|| Arc::new(Share::of(&planned.kept)));
    known.shares.send_if_modified(|shares| {
        if !matches!(shares, Shares::Of { epoch: of, .. } if *of == epoch) {
            *shares = Shares::Of { epoch, pod_sets: BTreeMap::new() };
        }
        let Shares::Of { pod_sets, .. } = shares else { return false };
        let is_news = pod_sets.get(set) != Some(&share);
        if is_news {
            pod_sets.insert(set.to_owned(), share);
        }
        is_news
    });
    known.summary.send_modify(|known| {
        Arc::make_mut(known).pod_sets.insert(set.to_owned(), summary);
    });
}

/// Octets of chance.
fn draw(octets: &mut [u8]) {
    default_provider()
        .secure_random
        .fill(octets)
        .expect("a process without a source of chance cannot serve TLS either");
}
