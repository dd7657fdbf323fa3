//! What must hold, told in assertions.

use std::collections::{BTreeMap, HashMap, HashSet};

use headrace_push::limits::MAX_SECTIONS;
use headrace_push::{Held, Publisher, Version};
use headrace_table::wire;

/// Everything that was published, and what each pod served.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    published: HashMap<Version, wire::Table>,
    /// By pod: the last version, and all.
    served: BTreeMap<usize, (Version, HashSet<Version>)>,
}

impl Checks {
    /// Some controller published, whether it did lead or not.
    pub(crate) fn published(&mut self, version: Version, table: wire::Table) {
        if let Some(before) = self.published.get(&version) {
            assert_eq!(*before, table, "one version is one table");
            return;
        }
        self.published.insert(version, table);
    }

    /// A pod serves, by a decision, an adoption or a restart.
    pub(crate) fn serves(&mut self, pod: usize, held: &Held) {
        let table = held.sections.table().expect("what is served was decoded before");
        let published = self.published.get(&held.version).expect("a pod serves only what somebody published");
        assert_eq!(*published, table, "pod {pod} serves as {} what was published as that", held.version);
        let (last, all) = self.served.entry(pod).or_insert_with(|| (held.version, HashSet::new()));
        assert!(held.version.order() >= last.order(), "pod {pod} went back from {last} to {}", held.version);
        *last = held.version;
        all.insert(held.version);
    }

    /// A pod's volume is gone: what starts next is another pod.
    pub(crate) fn forgotten(&mut self, pod: usize) {
        self.served.remove(&pod);
    }

    /// A publisher believes that a pod serves a version.
    pub(crate) fn acknowledged(&self, pod: usize, version: Version) {
        let Some((_, all)) = self.served.get(&pod) else { return };
        assert!(all.contains(&version), "pod {pod} acknowledged {version}, which it never served");
    }

    /// Nothing that a publisher keeps grows with time: it follows from its streams.
    pub(crate) fn bounded(publisher: &Publisher, streams: usize) {
        let mut subscribers = 0;
        for (_, state) in publisher.subscribers() {
            subscribers += 1;
            assert!(state.listed <= MAX_SECTIONS);
            if let (Some(in_flight), Some(pending)) = (state.in_flight, state.pending) {
                assert!(in_flight.order() < pending.order(), "what is pending is newer than what is in flight");
            }
        }
        assert!(subscribers <= streams, "{subscribers} subscribers of {streams} streams");
        assert!(publisher.retained() <= 1 + 2 * subscribers, "a table is kept that nobody needs");
    }
}

/// How often the interesting things happened, so that a simulation in which nothing does is no success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

/// What must have happened in a run of all seeds.
const INTERESTING: &[&str] = &[
    "accepted",
    "reported",
    "adopted",
    "inventory asked",
    "rejected",
    "broken in mid transfer",
    "candidate outlived its stream",
    "restart from the file",
    "started with nothing",
    "pod crashed",
    "controller crashed",
    "stale leader published",
    "newer epoch: stepped down",
    "newer epoch: raised",
    "faults changed",
    "part did not end its section",
];

impl Coverage {
    pub(crate) fn count(&mut self, what: &'static str) {
        assert!(INTERESTING.contains(&what), "{what} is not counted");
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn and(mut self, other: Coverage) -> Coverage {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
        self
    }

    pub(crate) fn assert_everything_happened(&self) {
        for what in INTERESTING {
            assert!(self.0.contains_key(what), "in no run: {what}");
        }
    }
}
