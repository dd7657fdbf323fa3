//! What the pods have said: who is subscribed, what each serves, what it cannot use and what it refuses.
//!
//! Owns the answers that status, readiness and the engine ask for. Values only: it must not know of connections, of the
//! API server or of how a table travels.

use std::collections::BTreeMap;
use std::time::Duration;

use headrace_push::{Fault, Version};
use headrace_table::SectionId;
use jiff::Timestamp;

/// Every pod that is subscribed to this controller, by pod set. Empty on a controller that does not lead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acknowledgements {
    /// Every pod set of the installation, also those without a pod. Empty while this controller does not lead.
    pub pod_sets: BTreeMap<String, BTreeMap<PodUid, Pod>>,
}

/// The uid of a Pod object.
pub type PodUid = String;

/// What is known of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// The pod's name, in the namespace of the installation.
    pub name: String,
    /// Since when it is subscribed, across connections that followed each other at once.
    pub since: Timestamp,
    /// What it serves of what this controller knows: absent until it says something that can be placed.
    pub served: Option<Served>,
    /// Since when a newer table waits for its answer.
    pub waiting_since: Option<Timestamp>,
    /// Whether that answer is longer out than a pod needs that is well.
    pub overdue: bool,
    /// What it serves with, and cannot use all the same: a port that is taken, a key that does not load.
    pub faults: Vec<Fault>,
    /// The table that it refused last, until it accepts a newer one.
    pub rejection: Option<Rejection>,
}

/// A table that a pod serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The newest [`Generation`](crate::generation::Generation)`.number` whose table for the pod set is that.
    pub generation: u64,
    /// The version under which it was pushed.
    pub version: Version,
    /// How long it took from the generation to the pod's answer.
    pub lag: Duration,
}

/// A table that a pod did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The generation in which that table was made.
    pub generation: u64,
    /// The version under which it was pushed.
    pub version: Version,
    /// What is wrong with it, by entry or as a whole.
    pub faults: Vec<Fault>,
}

/// How far a generation got in a pod set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every pod of the set serves this generation or a newer one, and there is at least one.
    Everybody {
        /// How many.
        pods: usize,
    },
    /// Some pods have yet to say so.
    Waiting {
        /// How many have.
        acked: usize,
        /// Of how many.
        pods: usize,
        /// The name of the pod that keeps us waiting longest.
        longest: String,
    },
    /// No pod of that set is subscribed.
    Nobody,
}

impl Acknowledgements {
    /// How far a generation got in a pod set.
    pub fn progress(&self, pod_set: &str, generation: u64) -> Progress {
        let Some(pods) = self.pod_sets.get(pod_set).filter(|pods| !pods.is_empty()) else {
            return Progress::Nobody;
        };
        let waiting = pods.values().filter(|pod| !pod.serves(generation));
        // A pod that never was told to be waiting (its table is on its way) waits since it came.
        match waiting.clone().min_by_key(|pod| (pod.waiting_since.unwrap_or(pod.since), &pod.name)) {
            None => Progress::Everybody { pods: pods.len() },
            Some(longest) => Progress::Waiting {
                acked: pods.len() - waiting.count(),
                pods: pods.len(),
                longest: longest.name.clone(),
            },
        }
    }

    /// The pods of a set, by name.
    pub fn pods(&self, pod_set: &str) -> impl Iterator<Item = &Pod> {
        self.pod_sets.get(pod_set).into_iter().flat_map(BTreeMap::values)
    }

    /// What pods of a set say of one entry of the table they serve: the pod's name and its reason.
    pub fn faults_of<'a>(&'a self, pod_set: &str, section: &'a SectionId) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pods(pod_set).flat_map(move |pod| {
            let here = pod.faults.iter().filter(move |fault| fault.section.as_ref() == Some(section));
            here.map(|fault| (pod.name.as_str(), fault.reason.as_str()))
        })
    }
}

impl Pod {
    /// Whether it has said that it serves this generation or a newer one.
    pub fn serves(&self, generation: u64) -> bool {
        self.served.as_ref().is_some_and(|served| served.generation >= generation)
    }
}

/// The entries that pods refuse, for the compiler to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// By entry, the newest refusal of each.
    pub sections: BTreeMap<SectionId, Refusal>,
}

/// Why an entry is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The generation whose table was refused: the object of that generation's world is the one that is meant. An object
    /// that has changed since is to be tried again.
    pub generation: u64,
    /// What the pod says is wrong with it.
    pub message: String,
    /// Which pod said so. `None` if the entry is too large to be sent to any.
    pub pod: Option<String>,
}

#[cfg(test)]
mod tests;
