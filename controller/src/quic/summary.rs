//! What `/status` and `headrace status` say of keys and server IDs. No secret is in it.

use std::collections::BTreeMap;

use headrace_cid::{ConfigId, Phase};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::plan::{Planned, Seen};
use crate::publish::told::Told;

/// Every pod set. Empty where the replica does not lead.
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
    /// Of its keys.
    pub revision: u64,
    /// When the last rotation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Timestamp>,
    /// How connection IDs are made, by number.
    pub configurations: Vec<ConfigurationSummary>,
    /// Pods that have a server ID, by name.
    pub pods: Vec<PodSummary>,
    /// The names of pods that do not hold the newest keys yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// What is wrong with pods that get no server ID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The names of pods of a version that knows no keys. While one is subscribed, no table of the set has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<String>,
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationSummary {
    /// 0 to 6.
    pub number: u8,
    /// `published`, `encoding` or `draining`.
    pub phase: String,
    /// `encrypted` or `clear`.
    pub form: String,
    /// The first revision whose tables say so.
    pub since: u64,
    /// Pods with connections that use it.
    pub used_by: usize,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSummary {
    /// Its name.
    pub name: String,
    /// In hexadecimal.
    pub server_id: String,
    /// `live`, `draining` or `gone`.
    pub standing: String,
    /// The revision of the keys that it goes by; 0 if it said nothing to this leader.
    pub holds: u64,
    /// The configurations that its connections use.
    pub uses: Vec<u8>,
    /// Its QUIC connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
}

impl PodSetSummary {
    pub(super) fn of(planned: &Planned, told: &BTreeMap<String, Told>, seen: &BTreeMap<String, Seen>) -> Self {
        let older = told.iter().filter(|(_, told)| told.is_older());
        let older = older.map(|(uid, _)| seen.get(uid).map_or_else(|| uid.clone(), |seen| seen.name.clone()));
        let kept: &Kept = &planned.kept;
        let uses = |told: &Told, number: u8| told.report.is_some_and(|report| report.uses >> number & 1 == 1);
        let in_tables = kept.configurations.iter().filter(|(_, one)| Phase::from(one.phase).is_in_tables());
        let configurations = in_tables.map(|(number, one)| ConfigurationSummary {
            number: *number,
            phase: Phase::from(one.phase).label().to_owned(),
            form: one.form().label().to_owned(),
            since: one.since,
            used_by: told.values().filter(|told| uses(told, *number)).count(),
        });
        let pods = kept.pods.iter().map(|(uid, pod)| {
            let told = told.get(uid);
            let report = told.and_then(|told| told.report);
            let standing = match (pod.gone.is_some(), pod.is_terminating) {
                (true, _) => "gone",
                (false, true) => "draining",
                (false, false) => "live",
            };
            let numbers = ConfigId::all().map(ConfigId::number);
            PodSummary {
                name: pod.name.clone(),
                server_id: pod.server_id.clone(),
                standing: standing.to_owned(),
                holds: told.map_or(0, Told::holds),
                uses: numbers.filter(|number| told.is_some_and(|told| uses(told, *number))).collect(),
                connections: report.map(|report| {
                    let connections = report.connections;
                    connections.handshaking.saturating_add(connections.open).saturating_add(connections.closing)
                }),
            }
        });
        let mut pods: Vec<_> = pods.collect();
        pods.sort_by(|a, b| (&a.name, &a.server_id).cmp(&(&b.name, &b.server_id)));
        let refused = planned.refused.values().map(|refused| {
            format!("pod {} brings along the server ID of pod {}, and gets none", refused.pod, refused.holder)
        });
        PodSetSummary {
            revision: kept.revision,
            rotated: Some(kept.rotated),
            configurations: configurations.collect(),
            pods,
            waits_for: planned.waits_for.clone(),
            refused: refused.collect(),
            older: older.collect(),
        }
    }
}
