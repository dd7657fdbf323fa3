//! What the programs tell: the controller's `/status`, and of the data plane's metrics the few that are shown.
//!
//! Owns what is read of them. What another version adds is passed over, and what it leaves out is absent here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A controller's `/status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Controller {
    pub(super) version: String,
    pub(super) leader: bool,
    pub(super) kinds: Vec<Kind>,
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) push: Push,
    pub(super) quic: Quic,
}

/// How far the watch of a kind is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Kind {
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
}

/// An object that the controller cannot read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Unreadable {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) reason: String,
}

/// What the pods of pod sets share for QUIC.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Quic {
    pub(super) pod_sets: BTreeMap<String, Keys>,
}

/// Keys and server IDs of a pod set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Keys {
    pub(super) revision: u64,
    pub(super) rotated: Option<String>,
    pub(super) configurations: Vec<Configuration>,
    pub(super) pods: Vec<Member>,
    pub(super) waits_for: Vec<String>,
    pub(super) refused: Vec<String>,
    pub(super) older: Vec<String>,
}

/// A configuration of connection IDs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Configuration {
    pub(super) number: u8,
    pub(super) phase: String,
    pub(super) form: String,
    pub(super) since: u64,
    pub(super) used_by: u64,
}

/// A pod that has a server ID.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) server_id: String,
    pub(super) standing: String,
    pub(super) holds: u64,
    pub(super) uses: Vec<u8>,
    pub(super) connections: Option<u64>,
}

/// The pods that are subscribed to a leader.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Push {
    pub(super) pod_sets: BTreeMap<String, PodSet>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSet {
    pub(super) current: Option<Version>,
    pub(super) pods: Vec<Subscriber>,
}

/// A version of a pod set's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Version {
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) digest: String,
}

/// What a leader knows of one pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Subscriber {
    pub(super) name: String,
    pub(super) serves: Option<Version>,
    pub(super) lag_seconds: Option<f64>,
    pub(super) overdue: bool,
    pub(super) faults: Vec<String>,
    pub(super) rejection: Option<Rejection>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rejection {
    pub(super) faults: Vec<String>,
}

/// A Gateway, where it is reached, and what is behind it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Gateway {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) accepted: bool,
    pub(super) addresses: Vec<String>,
    pub(super) listeners: Vec<Listener>,
    pub(super) service: Option<Service>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) attached_routes: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) r#type: String,
    pub(super) pod_set: String,
    pub(super) ports: Vec<String>,
}

/// The sum of a metric over its label sets; absent where there is none of that name.
pub(super) fn metric(text: &str, name: &str) -> Option<f64> {
    let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let values = series.filter(|(series, _)| series.split('{').next() == Some(name));
    values.filter_map(|(_, value)| value.parse::<f64>().ok()).fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_name() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n";
        assert_eq!((metric(text, "a"), metric(text, "ab"), metric(text, "b")), (Some(5.0), Some(7.0), None));
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_absent_is_empty() {
        let told: Controller =
            serde_json::from_str(r#"{"leader": true, "news": 1, "push": {"podSets": {"a": {}}}}"#).unwrap();
        assert!(told.leader && told.gateways.is_empty() && told.push.pod_sets["a"].current.is_none());
    }
}
