//! Asking an installation: which pods there are, what each says, and what of it is not as it should be.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

use super::{pods, told};
use crate::cluster::Cluster;

const CONTROLLER: &str = "app.kubernetes.io/name=headrace,app.kubernetes.io/component=controller";
const DATA_PLANE: &str = "app.kubernetes.io/name=headrace,app.kubernetes.io/component=dataplane";

/// The label that tells a pod's set.
const POD_SET_LABEL: &str = "headrace.dev/pod-set";

/// An installation.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Installation {
    pub(super) controllers: Vec<ControllerPod>,
    pub(super) pods: Vec<DataPlanePod>,
    pub(super) gateways: Vec<told::Gateway>,
    /// Keys and server IDs of QUIC's connection IDs, by pod set.
    pub(super) quic: BTreeMap<String, told::Keys>,
    /// What is not as it should be, each in a sentence that says where to look.
    pub(super) troubles: Vec<String>,
}

/// A pod of the controller.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ControllerPod {
    pub(super) name: String,
    pub(super) ready: bool,
    pub(super) leads: bool,
    pub(super) version: String,
}

/// A pod of the data plane.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataPlanePod {
    pub(super) pod_set: String,
    pub(super) name: String,
    pub(super) ready: bool,
    pub(super) serves: Option<told::Version>,
    /// Whether that is what the leader publishes.
    pub(super) is_current: bool,
    pub(super) lag_seconds: Option<f64>,
    /// Open now; absent when the pod did not answer.
    pub(super) tunnels: Option<f64>,
    pub(super) connections: Option<f64>,
}

/// Asks every pod of an installation.
pub(super) async fn installation(cluster: &Cluster, namespace: &str) -> anyhow::Result<Installation> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let list = |selector: &'static str| {
        let api = api.clone();
        async move { api.list(&ListParams::default().labels(selector)).await }
    };
    let controllers =
        list(CONTROLLER).await.with_context(|| format!("the pods of {namespace} cannot be listed"))?.items;
    let data_plane = list(DATA_PLANE).await?.items;
    anyhow::ensure!(
        !controllers.is_empty() || !data_plane.is_empty(),
        "there is no Headrace in namespace {namespace}: name its namespace with --namespace"
    );
    let mut asked = Installation::default();
    let leader = asked.ask_controllers(&api, &controllers).await;
    asked.ask_data_plane(&api, &data_plane, leader.as_ref()).await;
    if let Some(leader) = leader {
        asked.judge(&leader);
        (asked.gateways, asked.quic) = (leader.gateways, leader.quic.pod_sets);
    }
    Ok(asked)
}

impl Installation {
    async fn ask_controllers(&mut self, api: &Api<Pod>, controllers: &[Pod]) -> Option<told::Controller> {
        let mut leader = None;
        for pod in controllers {
            let name = name(pod);
            let answer = match pods::get(api, pod, "/status").await {
                Ok(text) => serde_json::from_str(&text).map_err(|error| format!("its /status is strange: {error}")),
                Err(error) => Err(error.to_string()),
            };
            let told: told::Controller = answer.unwrap_or_else(|error| {
                self.troubles.push(format!("controller {name}: {error}"));
                told::Controller::default()
            });
            let ready = is_ready(pod);
            self.controllers.push(ControllerPod { name, ready, leads: told.leader, version: told.version.clone() });
            if told.leader {
                leader = Some(told);
            }
        }
        if leader.is_none() {
            let hint = "pods serve their last good table, and no change takes effect; see the controllers' logs";
            self.troubles.push(format!("no controller leads: {hint}"));
        }
        leader
    }

    async fn ask_data_plane(&mut self, api: &Api<Pod>, data_plane: &[Pod], leader: Option<&told::Controller>) {
        let subscribers: BTreeMap<&str, (&told::Subscriber, Option<&told::Version>)> = leader
            .iter()
            .flat_map(|leader| leader.push.pod_sets.values())
            .flat_map(|set| set.pods.iter().map(|pod| (pod.name.as_str(), (pod, set.current.as_ref()))))
            .collect();
        for pod in data_plane {
            let name = name(pod);
            let metrics = pods::get(api, pod, "/metrics").await;
            if let Err(error) = &metrics {
                self.troubles.push(format!("pod {name}: {error}"));
            }
            let metrics = metrics.unwrap_or_default();
            let (subscriber, current) = subscribers.get(name.as_str()).copied().unzip();
            let serves = subscriber.and_then(|subscriber| subscriber.serves.clone());
            let labels = pod.metadata.labels.as_ref();
            self.pods.push(DataPlanePod {
                pod_set: labels.and_then(|labels| labels.get(POD_SET_LABEL)).cloned().unwrap_or_default(),
                ready: is_ready(pod),
                is_current: serves.is_some() && serves.as_ref() == current.flatten(),
                serves,
                lag_seconds: subscriber.and_then(|subscriber| subscriber.lag_seconds),
                tunnels: told::metric(&metrics, "headrace_dataplane_tunnels_open"),
                connections: told::metric(&metrics, "headrace_dataplane_connections_open"),
                name,
            });
        }
        if leader.is_some() {
            let lost = self.pods.iter().filter(|pod| pod.ready && !subscribers.contains_key(pod.name.as_str()));
            let lost: Vec<String> = lost
                .map(|pod| {
                    format!("pod {}: it is not subscribed to the leader, and gets no change: see its log", pod.name)
                })
                .collect();
            self.troubles.extend(lost);
        }
    }

    fn judge(&mut self, leader: &told::Controller) {
        for told::Kind { kind, reason, .. } in leader.kinds.iter().filter(|kind| kind.state == "missing") {
            let reason = reason.as_deref().unwrap_or("it is not installed");
            self.troubles.push(format!("{kind}: {reason}; everything else is served"));
        }
        for told::Unreadable { kind, namespace, name, reason } in &leader.unreadable {
            self.troubles.push(format!("{kind} {namespace}/{name} cannot be read: {reason}"));
        }
        for subscriber in leader.push.pod_sets.values().flat_map(|set| &set.pods) {
            let name = &subscriber.name;
            if subscriber.overdue {
                self.troubles.push(format!("pod {name}: it has not answered to a newer table: see its log"));
            }
            for fault in &subscriber.faults {
                self.troubles.push(format!("pod {name}: {fault}"));
            }
            for fault in subscriber.rejection.iter().flat_map(|rejection| &rejection.faults) {
                self.troubles.push(format!("pod {name} refused a table: {fault}"));
            }
        }
        for (set, keys) in &leader.quic.pod_sets {
            self.judge_keys(set, keys);
        }
        for gateway in &leader.gateways {
            let name = format!("Gateway {}/{}", gateway.namespace, gateway.name);
            if !gateway.accepted {
                self.troubles.push(format!("{name}: it is not accepted: see its conditions"));
            } else if gateway.addresses.is_empty() {
                self.troubles.push(format!("{name}: it has no address: see its conditions and its Service"));
            }
        }
    }
}

impl Installation {
    fn judge_keys(&mut self, set: &str, keys: &told::Keys) {
        for refused in &keys.refused {
            self.troubles.push(format!("pod set {set}: {refused}"));
        }
        for older in &keys.older {
            let hint = "while it is there, no pod of the set can forward packets to another";
            self.troubles.push(format!("pod set {set}: pod {older} is of an older version: {hint}"));
        }
        let is_rotating = keys.configurations.iter().any(|one| one.phase == "published");
        for pod in keys.waits_for.iter().filter(|_| is_rotating) {
            let hint = "new keys of connection IDs wait for it: see its log";
            self.troubles.push(format!("pod set {set}: pod {pod} does not hold revision {}; {hint}", keys.revision));
        }
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
