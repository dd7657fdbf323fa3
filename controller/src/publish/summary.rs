//! What `/status` and `headrace status` say of the pods.

use std::collections::BTreeMap;

use headrace_push::Version;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::acknowledgements::{Acknowledgements, Pod};

/// The pods that are subscribed, by pod set. Empty on a controller that does not lead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// By name.
    pub pod_sets: BTreeMap<String, PodSetSummary>,
}

/// One pod set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSetSummary {
    /// What its pods are to serve. Absent until something was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<VersionSummary>,
    /// Its pods, by name.
    pub pods: Vec<PodSummary>,
}

/// A version in the parts that people compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionSummary {
    /// Grows with each leader.
    pub epoch: u64,
    /// Grows with each table of one leader.
    pub generation: u64,
    /// Of the table, in hexadecimal.
    pub digest: String,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSummary {
    /// Its name.
    pub name: String,
    /// Since when it is subscribed.
    pub since: Timestamp,
    /// What it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<VersionSummary>,
    /// How long that took to get there, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// Since when its answer to something newer is out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
    /// Whether that is longer than a pod needs that is well.
    pub overdue: bool,
    /// What of it cannot be served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What it refused last, until it accepts a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectionSummary>,
}

/// A table that a pod refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectionSummary {
    /// Which.
    pub version: VersionSummary,
    /// Why.
    pub faults: Vec<String>,
}

impl Summary {
    /// From what the pods said, and what they are to serve.
    pub(crate) fn of(acknowledgements: &Acknowledgements, current: impl Fn(&str) -> Option<Version>) -> Self {
        let pod_sets = acknowledgements.pod_sets.iter().map(|(name, pods)| {
            let mut pods: Vec<_> = pods.values().map(PodSummary::of).collect();
            pods.sort_by(|a, b| (&a.name, a.since).cmp(&(&b.name, b.since)));
            (name.clone(), PodSetSummary { current: current(name).map(VersionSummary::from), pods })
        });
        Summary { pod_sets: pod_sets.collect() }
    }
}

impl PodSummary {
    fn of(pod: &Pod) -> Self {
        let in_words = |faults: &[headrace_push::Fault]| faults.iter().map(ToString::to_string).collect();
        PodSummary {
            name: pod.name.clone(),
            since: pod.since,
            serves: pod.served.as_ref().map(|served| served.version.into()),
            lag_seconds: pod.served.as_ref().map(|served| served.lag.as_secs_f64()),
            waiting_since: pod.waiting_since,
            overdue: pod.overdue,
            faults: in_words(&pod.faults),
            rejection: pod.rejection.as_ref().map(|rejection| RejectionSummary {
                version: rejection.version.into(),
                faults: in_words(&rejection.faults),
            }),
        }
    }
}

impl From<Version> for VersionSummary {
    fn from(version: Version) -> Self {
        VersionSummary { epoch: version.epoch, generation: version.generation, digest: format!("{:x}", version.digest) }
    }
}
