//! What goes to each other pod: the one family with a series for every peer.
//!
//! Owns which peers have series, so that those of pods that are long gone go too. Knows nothing of how packets go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headrace_cid::ServerId;
use prometheus::core::{Collector, Desc};
use prometheus::{IntCounter, IntCounterVec, Opts, proto};

use super::label::{HopKind, HopSent};

pub(super) const NAME: &str = "headrace_dataplane_hop_sent_total";
pub(super) const HELP: &str = "UDP datagrams of clients for other pods, by the server ID of the pod.";

/// The labels, with their values; a peer's is its server ID.
pub(super) const LABELS: [(&str, &[&str]); 3] = [("kind", HopKind::LABELS), ("peer", &[]), ("result", HopSent::LABELS)];

/// Datagrams for peers, by peer.
#[derive(Clone)]
pub(crate) struct HopPeers {
    sent: IntCounterVec,
    known: Arc<Mutex<BTreeSet<ServerId>>>,
}

/// Datagrams for one peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerSent([[IntCounter; HopSent::LABELS.len()]; HopKind::LABELS.len()]);

impl HopPeers {
    pub(super) fn new() -> Self {
        let sent = IntCounterVec::new(Opts::new(NAME, HELP), &LABELS.map(|(name, _)| name))
            .expect("name, help and labels are literals");
        Self { sent, known: Arc::default() }
    }

    /// The peers from now on: series of others are not shown any more, whoever still counts in them.
    pub(crate) fn keep<'a>(&self, peers: impl Iterator<Item = &'a ServerId>) {
        let peers: BTreeSet<ServerId> = peers.copied().collect();
        for peer in &peers {
            self.of(peer);
        }
        for gone in self.known().extract_if(.., |known| !peers.contains(known)) {
            let gone = gone.to_string();
            for (kind, result) in combinations() {
                // It is there, as is everything of whom is known.
                let _ = self.sent.remove_label_values(&[kind, &gone, result]);
            }
        }
    }

    /// A peer's counters. Their series are shown until it is not among those that are kept.
    pub(crate) fn of(&self, peer: &ServerId) -> PeerSent {
        self.known().insert(*peer);
        let peer = peer.to_string();
        let series = |kind, result| self.sent.with_label_values(&[kind, peer.as_str(), result]);
        let kinds = std::array::from_fn(|kind| {
            std::array::from_fn(|result| series(HopKind::LABELS[kind], HopSent::LABELS[result]))
        });
        PeerSent(kinds)
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<ServerId>> {
        // A set is whole between any two steps.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn combinations() -> impl Iterator<Item = (&'static str, &'static str)> {
    HopKind::LABELS.iter().flat_map(|kind| HopSent::LABELS.iter().map(|result| (*kind, *result)))
}

impl PeerSent {
    /// The counter of what became of some.
    pub(crate) fn sent(&self, kind: HopKind, result: HopSent) -> &IntCounter {
        &self.0[kind as usize][result as usize]
    }
}

impl Collector for HopPeers {
    fn desc(&self) -> Vec<&Desc> {
        self.sent.desc()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        self.sent.collect()
    }
}
