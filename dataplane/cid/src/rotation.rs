//! How one configuration replaces another, as the controller sees it.
//!
//! Owns which number is in which phase and when it may go on. Knows neither keys nor time: who wants to rotate says when,
//! and pods report what they hold.
//!
//! ```text
//!  publish()          every pod holds it          another encodes       every pod encodes with          every pod holds
//!     │                                                                 the other, none uses it         the removal
//!     ▼                                                                                                      │
//!  Published ──────────► Encoding ───────────────► Draining ───────────► Withdrawn ──────────────────────────▼ free
//!  (decodes)             (decodes, encodes)        (decodes)             (in no table)
//! ```
//!
//! Every change makes a new revision, and the tables of that revision say what the phases say. So at any moment:
//!
//! 1. **Who encodes is understood.** A pod encodes when its table says `Encoding`, and that revision is made only after
//!    all pods hold one in which the configuration is at least `Published`.
//! 2. **Nothing in use is taken away.** A configuration is withdrawn when all pods hold a revision since which nobody
//!    encodes with it, and none of them has a connection that uses it.
//! 3. **A number never means two keys.** It is given again when no pod holds a table with its last use, and those that
//!    were used longest ago come first.
//!
//! All pods are those that may still serve, whether or not they are connected at the moment: one that is away is reported
//! with the last revision that it held.

use std::collections::BTreeMap;

use crate::ConfigId;

/// Where a configuration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It decodes at who has heard of it.
    Published,
    /// It decodes everywhere, and new IDs are made with it.
    Encoding,
    /// It decodes for the sake of IDs that were made with it.
    Draining,
    /// It is in no table any more, and its number waits for pods that hold an older one.
    Withdrawn,
}

impl Phase {
    /// Whether tables have it.
    pub const fn is_in_tables(self) -> bool {
        !matches!(self, Phase::Withdrawn)
    }

    /// For status and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Phase::Published => "published",
            Phase::Encoding => "encoding",
            Phase::Draining => "draining",
            Phase::Withdrawn => "withdrawn",
        }
    }
}

/// A phase, and the revision in which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The phase.
    pub phase: Phase,
    /// The first revision whose tables say so.
    pub since: u64,
}

/// What one pod says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The newest revision that it serves by, and would serve by if it started again now; 0 for a pod of which nothing
    /// was heard.
    pub holds: u64,
    /// The configurations of IDs that its clients may still send, seen while it held that revision: those that
    /// connections have not retired, and those of Retry packets whose tokens are still good.
    pub uses: ConfigSet,
}

/// A set of configurations' numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigSet(u8);

impl ConfigSet {
    /// Whether it is in there.
    pub const fn contains(self, id: ConfigId) -> bool {
        self.0 >> id.number() & 1 == 1
    }

    /// Puts it in there.
    pub fn insert(&mut self, id: ConfigId) {
        self.0 |= 1 << id.number();
    }
}

impl FromIterator<ConfigId> for ConfigSet {
    fn from_iter<I: IntoIterator<Item = ConfigId>>(ids: I) -> Self {
        let mut set = Self::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

/// Why no configuration can be published now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// One is published that some pod has not got yet.
    #[error("configuration {0} is published and does not encode yet")]
    Underway(ConfigId),
    /// All numbers that are allowed are taken. The one that is longest in its phase is named.
    #[error("all configurations are in use; {0} is the oldest of them")]
    NoneFree(ConfigId),
}

/// Phases that no rotation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARotation {
    /// More than one is published.
    #[error("two configurations are published")]
    TwoPublished,
    /// More than one encodes.
    #[error("two configurations encode")]
    TwoEncoding,
    /// A phase began in a revision that is yet to come.
    #[error("configuration {0} is ahead of its revision")]
    Ahead(ConfigId),
}

/// The rotation of a pod set's configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    revision: u64,
    standings: BTreeMap<ConfigId, Standing>,
    /// When each number became free.
    freed: [u64; ConfigId::COUNT],
}

impl Rotation {
    /// One without configurations.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that was kept: its revision, and what [`Rotation::standings`] said.
    pub fn restore(
        revision: u64,
        standings: impl IntoIterator<Item = (ConfigId, Standing)>,
    ) -> Result<Self, NotARotation> {
        let standings: BTreeMap<ConfigId, Standing> = standings.into_iter().collect();
        let count = |phase| standings.values().filter(|standing| standing.phase == phase).count();
        if count(Phase::Published) > 1 {
            return Err(NotARotation::TwoPublished);
        }
        if count(Phase::Encoding) > 1 {
            return Err(NotARotation::TwoEncoding);
        }
        if let Some((id, _)) = standings.iter().find(|(_, standing)| standing.since > revision) {
            return Err(NotARotation::Ahead(*id));
        }
        // Which of the free numbers was free longest is not kept: any of them may be given again.
        Ok(Self { revision, standings, freed: [0; ConfigId::COUNT] })
    }

    /// Of the newest tables. It grows with every change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Every configuration that is not free.
    pub fn standings(&self) -> impl Iterator<Item = (ConfigId, Standing)> {
        self.standings.iter().map(|(id, standing)| (*id, *standing))
    }

    /// Where one stands. `None` is a free number.
    pub fn phase(&self, id: ConfigId) -> Option<Phase> {
        self.standings.get(&id).map(|standing| standing.phase)
    }

    /// The one that encodes.
    pub fn encoding(&self) -> Option<ConfigId> {
        self.in_phase(Phase::Encoding)
    }

    fn in_phase(&self, phase: Phase) -> Option<ConfigId> {
        let standings = self.standings().filter(|(_, standing)| standing.phase == phase);
        standings.min_by_key(|(_, standing)| standing.since).map(|(id, _)| id)
    }

    fn enter(&mut self, id: ConfigId, phase: Phase) {
        self.standings.insert(id, Standing { phase, since: self.revision });
    }

    /// Publishes a new configuration, to which the caller gives a new key, and says its number.
    pub fn publish(&mut self) -> Result<ConfigId, NotNow> {
        self.publish_among(|_| true)
    }

    /// As [`Rotation::publish`], with one of the numbers that are allowed: who watches reads a configuration's number, and
    /// some balancers know only one.
    pub fn publish_among(&mut self, is_allowed: impl Fn(ConfigId) -> bool) -> Result<ConfigId, NotNow> {
        if let Some(id) = self.in_phase(Phase::Published) {
            return Err(NotNow::Underway(id));
        }
        let free = ConfigId::all().filter(|id| is_allowed(*id) && !self.standings.contains_key(id));
        let Some(id) = free.min_by_key(|id| self.freed[id.index()]) else {
            let taken = self.standings().filter(|(id, _)| is_allowed(*id));
            let oldest = taken.min_by_key(|(id, standing)| (standing.since, *id));
            return Err(NotNow::NoneFree(oldest.map_or(ConfigId::FIRST, |(id, _)| id)));
        };
        self.revision += 1;
        self.enter(id, Phase::Published);
        Ok(id)
    }

    /// Takes a configuration out of the tables though IDs of it are in use: those connections are cut off from whoever
    /// is not their own pod. For a key that somebody else has got, or when no number is free. Says whether it was
    /// draining; one that encodes has to be replaced first.
    pub fn abandon(&mut self, id: ConfigId) -> bool {
        let is_draining = self.phase(id) == Some(Phase::Draining);
        if is_draining {
            self.revision += 1;
            self.enter(id, Phase::Withdrawn);
        }
        is_draining
    }

    /// Takes every step that the reports of all pods allow, and says whether tables change by it. Then there is a new
    /// revision to publish.
    ///
    /// Without pods there is nobody to wait for, so whoever has not found out yet which pods there are must not ask.
    pub fn advance(&mut self, pods: &[Report]) -> bool {
        let before = self.revision;
        let all_hold = |since: u64| pods.iter().all(|pod| pod.holds >= since);

        for (id, standing) in self.standings().collect::<Vec<_>>() {
            let goes = match standing.phase {
                Phase::Published | Phase::Encoding => false,
                Phase::Draining | Phase::Withdrawn => all_hold(standing.since),
            };
            let is_used = pods.iter().any(|pod| pod.uses.contains(id));
            match standing.phase {
                Phase::Draining if goes && !is_used => {
                    self.begin_change(before);
                    self.enter(id, Phase::Withdrawn);
                }
                Phase::Withdrawn if goes => {
                    // No table says anything of it: this is no new revision.
                    self.standings.remove(&id);
                    self.freed[id.index()] = self.revision;
                }
                _ => {}
            }
        }

        let published = self.in_phase(Phase::Published).filter(|id| all_hold(self.standings[id].since));
        if let Some(next) = published {
            self.begin_change(before);
            if let Some(last) = self.encoding() {
                self.enter(last, Phase::Draining);
            }
            self.enter(next, Phase::Encoding);
        }
        self.revision != before
    }

    /// All changes of one call are in one revision.
    fn begin_change(&mut self, before: u64) {
        self.revision = before + 1;
    }
}

#[cfg(test)]
mod tests;
