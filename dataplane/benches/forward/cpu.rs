//! CPU time of the threads of pods in this process (proc(5), `schedstat`).

use std::collections::BTreeSet;
use std::fs;

/// The name of the first worker of every pod.
const FIRST: &str = "worker-0";

/// The threads of two pods.
pub(crate) struct Pods([Vec<u32>; 2]);

/// What they have used, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used(pub(crate) [u64; 2]);

/// Threads of this process that are workers.
pub(crate) fn workers() -> BTreeSet<u32> {
    let ids = fs::read_dir("/proc/self/task").unwrap();
    let ids = ids.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    ids.filter(|id| name(*id).starts_with("worker-")).collect()
}

fn name(id: u32) -> String {
    // One that has ended meanwhile is none of ours.
    fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default()
}

impl Pods {
    /// The two pods that were started one after the other since then.
    pub(crate) fn since(before: &BTreeSet<u32>) -> Self {
        let mut pods = [Vec::new(), Vec::new()];
        let mut seen = 0;
        for id in workers().difference(before) {
            seen += usize::from(name(*id).trim_end() == FIRST);
            pods[seen - 1].push(*id);
        }
        assert!(seen == 2, "each pod has a first worker");
        Self(pods)
    }

    pub(crate) fn cpu(&self) -> Used {
        Used([0, 1].map(|pod: usize| self.0[pod].iter().map(|id| cpu_of(*id)).sum()))
    }
}

impl Used {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self([0, 1].map(|pod: usize| self.0[pod] - before.0[pod]))
    }
}

/// Nanoseconds on a CPU, in user and in system.
fn cpu_of(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}
