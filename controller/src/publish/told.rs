//! What pods say of their QUIC connections, beside what they serve.
//!
//! Owns the values alone, apart from the acknowledgements: connections come and go all the time, and who waits for a table
//! is not woken by that.

use std::collections::BTreeMap;

use headrace_push::{Member, Report};

use super::acknowledgements::PodUid;

/// What every pod that is subscribed said, by pod set and UID. Empty on a controller that does not lead.
pub(crate) type Members = BTreeMap<String, BTreeMap<PodUid, Told>>;

/// What a pod said to this leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether it has introduced itself.
    pub(crate) greeted: bool,
    /// What packets find it by.
    pub(crate) member: Option<Member>,
    /// The revision of the keys in the newest table that it acknowledged; 0 for one without.
    pub(crate) acknowledged: u64,
    /// What its connections use.
    pub(crate) report: Option<Report>,
}

impl Told {
    /// Whether it is of a version that knows no keys, and would not follow a table that has them.
    pub(crate) fn is_older(&self) -> bool {
        self.greeted && self.member.is_none()
    }

    /// The revision that it holds and goes by. A report tells by which it was made; one from before the newest table says
    /// nothing of what came with that.
    pub(crate) fn holds(&self) -> u64 {
        self.report.map_or(0, |report| report.revision.min(self.acknowledged))
    }
}
