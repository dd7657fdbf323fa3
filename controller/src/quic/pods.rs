//! The data-plane pods that there are: those of the installation's namespace, by pod set.
//!
//! Owns the watch. That a pod is gone is said to clients of it, so it is said by nothing less than the API server's own list:
//! what EndpointSlices leave out may just be late. Listed page by page, since a streamed list that breaks does not say
//! whether it began anew. It must not know what is concluded from a pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use kube_runtime::watcher::{self, Event};
use kube_runtime::{WatchStreamExt as _, watcher as watch_pods};
use tokio::sync::watch;

use super::plan::Seen;

/// The label that tells a pod's set.
const POD_SET_LABEL: &str = "headrace.dev/pod-set";

/// Every pod of every set of the installation, by set and UID.
pub(crate) type Pods = BTreeMap<String, BTreeMap<String, Seen>>;

/// Watches until it is dropped. Nothing is told before the first whole list.
pub(crate) async fn follow(
    client: Client,
    namespace: String,
    pod_sets: BTreeMap<String, String>,
    tell: watch::Sender<Option<Arc<Pods>>>,
) {
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels(POD_SET_LABEL);
    let mut events = std::pin::pin!(watch_pods(api, config).default_backoff());
    let mut known: BTreeMap<String, (String, Seen)> = BTreeMap::new();
    let mut listing = None;
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "data-plane pods cannot be watched: keys and server IDs stay as they are");
                continue;
            }
        };
        match event {
            Event::Init => listing = Some(BTreeMap::new()),
            Event::InitApply(pod) => {
                if let (Some(listing), Some((uid, entry))) = (&mut listing, read(&pod, &pod_sets)) {
                    listing.insert(uid, entry);
                }
            }
            Event::InitDone => known = listing.take().unwrap_or_default(),
            Event::Apply(pod) => match read(&pod, &pod_sets) {
                Some((uid, entry)) => drop(known.insert(uid, entry)),
                None => drop(pod.metadata.uid.and_then(|uid| known.remove(&uid))),
            },
            Event::Delete(pod) => drop(pod.metadata.uid.and_then(|uid| known.remove(&uid))),
        }
        if listing.is_none() {
            tell.send_if_modified(|told| {
                let pods = by_set(&known, &pod_sets);
                let is_news = told.as_deref() != Some(&pods);
                *told = Some(Arc::new(pods));
                is_news
            });
        }
    }
}

/// Every set is there, also one without a pod.
fn by_set(known: &BTreeMap<String, (String, Seen)>, pod_sets: &BTreeMap<String, String>) -> Pods {
    let mut pods: Pods = pod_sets.keys().map(|set| (set.clone(), BTreeMap::new())).collect();
    for (uid, (set, seen)) in known {
        pods.entry(set.clone()).or_default().insert(uid.clone(), seen.clone());
    }
    pods
}

/// A pod's UID and set, and what matters of it. `None` is one of another installation: it runs as somebody else.
fn read(pod: &Pod, pod_sets: &BTreeMap<String, String>) -> Option<(String, (String, Seen))> {
    let set = pod.metadata.labels.as_ref()?.get(POD_SET_LABEL)?;
    let account = pod.spec.as_ref()?.service_account_name.as_ref()?;
    if pod_sets.get(set) != Some(account) {
        return None;
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let seen = Seen {
        name: pod.metadata.name.clone().unwrap_or_default(),
        address: status.and_then(|status| status.pod_ip.as_deref()).and_then(|address| address.parse().ok()),
        is_terminating: pod.metadata.deletion_timestamp.is_some(),
        has_ended: matches!(phase, Some("Failed" | "Succeeded")),
    };
    Some((pod.metadata.uid.clone()?, (set.clone(), seen)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn which_pods_are_ours_and_how_they_are() {
        let sets = BTreeMap::from([("default".to_owned(), "headrace-dataplane".to_owned())]);
        let pod = |set: &str, account: &str, extra: serde_json::Value, status: serde_json::Value| -> Pod {
            let mut metadata = json!({"name": "p", "uid": "u", "labels": {"headrace.dev/pod-set": set}});
            metadata.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let spec = json!({"containers": [], "serviceAccountName": account});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
        };
        let seen = |address: Option<&str>, is_terminating, has_ended| {
            let address = address.map(|address| address.parse().unwrap());
            Some((
                "u".to_owned(),
                ("default".to_owned(), Seen { name: "p".to_owned(), address, is_terminating, has_ended }),
            ))
        };
        let (ours, plain) = ("headrace-dataplane", json!({}));
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let running = json!({"phase": "Running", "podIP": "fd00::1"});
        for (pod, expected) in [
            (pod("default", ours, plain.clone(), json!({"phase": "Pending"})), seen(None, false, false)),
            (pod("default", ours, plain.clone(), running.clone()), seen(Some("fd00::1"), false, false)),
            (pod("default", ours, deleted, running.clone()), seen(Some("fd00::1"), true, false)),
            (pod("default", ours, plain.clone(), json!({"phase": "Failed"})), seen(None, false, true)),
            (pod("default", "other-dataplane", plain.clone(), running.clone()), None),
            (pod("edge", ours, plain, running), None),
        ] {
            assert_eq!(read(&pod, &sets), expected);
        }
    }
}
