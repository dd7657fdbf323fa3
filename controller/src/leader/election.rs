//! The election: what to write to the Lease, and whether we lead.
//!
//! Pure: the Lease as it was read and the time are arguments. Others' times in the Lease are not looked at: it has expired
//! when this process has not seen it change for as long as it says it lasts.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;

use super::Leadership;

/// For how long the Lease is good after a renewal, and so how long nobody leads when a leader vanishes. The pods serve on
/// meanwhile.
pub const LEASE_DURATION: Duration = Duration::from_secs(10);

/// A leader that could not renew for so long steps down. The rest of the Lease's duration is for what it had begun to write.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(7);

/// Between two looks at the Lease, and so between two renewals: three may fail in a row.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What a Lease that nobody holds says it lasts: the API server wants it to be positive.
const RELEASED_SECONDS: i32 = 1;

/// The annotation that carries the epoch from leader to leader.
pub const EPOCH: &str = "headrace.dev/epoch";

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing now: another holds it, or may still.
    Wait,
    /// There is none: create this one.
    Create(Box<Lease>),
    /// Write this one over it, if it is still as it was read.
    Replace(Box<Lease>),
}

/// The Lease as this process saw it change last.
#[derive(Clone, Debug)]
struct Observed {
    resource_version: Option<String>,
    at: Instant,
}

/// The Lease as we wrote it.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    epoch: u64,
    /// From before the write was sent.
    renewed: Instant,
}

/// One candidate's view.
#[derive(Clone, Debug)]
pub struct Election {
    name: String,
    namespace: String,
    identity: String,
    observed: Option<Observed>,
    held: Option<Held>,
    /// An epoch that somebody is known to have had, whatever the Lease says.
    known: u64,
}

impl Election {
    /// Knows nothing yet.
    pub fn new(lease: &str, namespace: &str, identity: &str) -> Self {
        Election {
            name: lease.to_owned(),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            observed: None,
            held: None,
            known: 0,
        }
    }

    /// A pod has had a table of that epoch from another leader: ours must be greater.
    pub fn challenged(&mut self, epoch: u64) {
        self.known = self.known.max(epoch);
    }

    /// Whether we lead.
    pub fn leadership(&self, now: Instant) -> Leadership {
        match &self.held {
            Some(held) if now < held.renewed + RENEW_DEADLINE => Leadership::Leader { epoch: held.epoch },
            _ => Leadership::Follower,
        }
    }

    /// When we must have renewed, if we lead. Who has ceased to may take as long as it takes.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.held.as_ref().map(|held| held.renewed + RENEW_DEADLINE).filter(|deadline| now < *deadline)
    }

    /// The Lease was read: what to write. `wall` is the time of day, for what people read in the Lease and for the epoch.
    pub fn observe(&mut self, lease: Option<&Lease>, now: Instant, wall: Timestamp) -> Step {
        if !self.leadership(now).is_leader() {
            // Too late to renew: it has to be won again, with an epoch of its own.
            self.held = None;
        }
        let Some(lease) = lease else { return self.create(wall) };
        self.look(lease, now);
        let holder = holder(lease);
        if holder != Some(&self.identity) {
            // Also when we thought to lead: somebody else was let in.
            self.held = None;
        }
        match (&self.held, holder) {
            (Some(held), _) if held.epoch > self.known => {
                Step::Replace(Box::new(self.renewed(lease, held.epoch, wall)))
            }
            (Some(_), _) => self.take(lease, wall),
            // The same pod before its container was restarted, which is dead.
            (None, Some(holder)) if *holder == self.identity => self.take(lease, wall),
            (None, Some(_)) if !self.has_expired(lease, now) => Step::Wait,
            (None, _) => self.take(lease, wall),
        }
    }

    /// A step was carried out: this is the Lease now. `start` is from before it was sent.
    pub fn written(&mut self, lease: &Lease, start: Instant) {
        self.look(lease, start);
        let epoch = epoch(lease);
        if holder(lease) == Some(&self.identity) && epoch > 0 {
            self.held = Some(Held { lease: lease.clone(), epoch, renewed: start });
        }
    }

    /// Ceases to lead: what to write, if we led.
    pub fn release(&mut self, wall: Timestamp) -> Option<Lease> {
        let mut lease = self.held.take()?.lease;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(RELEASED_SECONDS);
        spec.renew_time = Some(MicroTime(wall));
        Some(lease)
    }

    fn look(&mut self, lease: &Lease, now: Instant) {
        let resource_version = lease.metadata.resource_version.clone();
        if self.observed.as_ref().is_none_or(|observed| observed.resource_version != resource_version) {
            self.observed = Some(Observed { resource_version, at: now });
        }
    }

    fn has_expired(&self, lease: &Lease, now: Instant) -> bool {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let duration =
            seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(LEASE_DURATION, Duration::from_secs);
        self.observed.as_ref().is_none_or(|observed| now >= observed.at + duration)
    }

    fn create(&self, wall: Timestamp) -> Step {
        // Deleted under a leader: it goes on as it was, if nobody is faster.
        let epoch = self.held.as_ref().map_or_else(|| next_epoch(self.known, wall), |held| held.epoch);
        Step::Create(Box::new(Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                annotations: Some([(EPOCH.to_owned(), epoch.to_string())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(lease_seconds()),
                acquire_time: Some(MicroTime(wall)),
                renew_time: Some(MicroTime(wall)),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }))
    }

    fn take(&self, lease: &Lease, wall: Timestamp) -> Step {
        let mut lease = self.renewed(lease, next_epoch(epoch(lease).max(self.known), wall), wall);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.identity.clone());
        spec.acquire_time = Some(MicroTime(wall));
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        Step::Replace(Box::new(lease))
    }

    /// The Lease with its time and epoch, and all else as others have it.
    fn renewed(&self, lease: &Lease, epoch: u64, wall: Timestamp) -> Lease {
        let mut lease = lease.clone();
        lease.metadata.managed_fields = None;
        lease.metadata.annotations.get_or_insert_default().insert(EPOCH.to_owned(), epoch.to_string());
        let spec = lease.spec.get_or_insert_default();
        spec.lease_duration_seconds = Some(lease_seconds());
        spec.renew_time = Some(MicroTime(wall));
        lease
    }
}

fn lease_seconds() -> i32 {
    i32::try_from(LEASE_DURATION.as_secs()).expect("a few seconds")
}

/// Who holds it. An empty name is nobody's.
fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

fn epoch(lease: &Lease) -> u64 {
    let annotations = lease.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(EPOCH)?.parse().ok()).unwrap_or(0)
}

/// Greater than the one before, and not less than the time of day in seconds: so it is greater than that of a Lease that was
/// deleted, too, as long as clocks are no further apart than leaders.
fn next_epoch(before: u64, wall: Timestamp) -> u64 {
    before.saturating_add(1).max(u64::try_from(wall.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
