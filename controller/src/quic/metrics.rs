//! What is counted of the keys and server IDs of pod sets.

use std::collections::BTreeMap;

use prometheus::IntCounter;

use super::summary::PodSetSummary;
use crate::metrics::{GaugesBy, Metrics};

/// The metrics of QUIC's keys.
#[derive(Clone, Debug)]
pub struct QuicMetrics {
    revision: GaugesBy,
    configurations: GaugesBy,
    pods: GaugesBy,
    waits_for: GaugesBy,
    refused: GaugesBy,
    rotated: GaugesBy,
    written: IntCounter,
    failed: IntCounter,
}

impl QuicMetrics {
    /// All zero.
    pub fn new<'s>(metrics: &Metrics, pod_sets: impl Iterator<Item = &'s str> + Clone) -> Self {
        let by = |name, help| metrics.gauges_by(name, help, "pod_set", pod_sets.clone());
        QuicMetrics {
            revision: by("quic_keys_revision", "The revision of the keys that are published to a pod set."),
            configurations: by(
                "quic_configurations",
                "Configurations of connection IDs that the tables of a pod set hold.",
            ),
            pods: by(
                "quic_server_ids",
                "Pods of a set that have a server ID, those that are gone for a while included.",
            ),
            waits_for: by(
                "quic_rotation_waits_for_pods",
                "Pods of a set that do not hold the newest keys yet: a rotation goes on when there is none.",
            ),
            refused: by(
                "quic_server_ids_refused",
                "Pods of a set that bring along the server ID of another pod, and get none: they are not ready.",
            ),
            rotated: by(
                "quic_keys_rotated_timestamp_seconds",
                "When the last rotation of a pod set's keys began, in seconds since 1970.",
            ),
            written: metrics
                .counter("quic_keys_written_total", "Times that the Secret of a pod set's keys was written."),
            failed: metrics.counter(
                "quic_keys_failed_total",
                "Times that the Secret of a pod set's keys could not be read or written. Tables stay as they are.",
            ),
        }
    }

    pub(super) fn written(&self) {
        self.written.inc();
    }

    pub(super) fn failed(&self) {
        self.failed.inc();
    }

    /// Shows how pod sets stand. Zero for those that are not there: this replica does not lead.
    pub(super) fn show(&self, names: &[String], pod_sets: &BTreeMap<String, PodSetSummary>) {
        let nothing = PodSetSummary::default();
        for name in names {
            let set = pod_sets.get(name).unwrap_or(&nothing);
            let show = |gauges: &GaugesBy, value: i64| gauges.of(name).into_iter().for_each(|gauge| gauge.set(value));
            let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            show(&self.revision, i64::try_from(set.revision).unwrap_or(i64::MAX));
            show(&self.configurations, count(set.configurations.len()));
            show(&self.pods, count(set.pods.len()));
            show(&self.waits_for, count(set.waits_for.len()));
            show(&self.refused, count(set.refused.len()));
            show(&self.rotated, set.rotated.map_or(0, |rotated| rotated.as_second()));
        }
    }
}
