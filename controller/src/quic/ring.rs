//! One kind of shared secret through its life: published, in use, accepted.
//!
//! Pure: the time and every octet of chance are arguments. Knows nothing of what a secret is for, but for how long.
//!
//! ```text
//!   renew()              every pod holds it        every pod holds that another    what was made with it
//!      │                                            is in use, and nobody makes     is over
//!      ▼                                            anything with it any more            │
//!     next ──────────────► current ──────────────► previous (accepted) ─────────────────▼ forgotten
//! ```

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Previous secrets that are kept. Tables hold eight of a kind at most, with the one in use and the next.
const MAX_PREVIOUS: usize = 5;

/// A secret with its name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// Unique among all secrets of a pod set.
    pub(crate) id: u32,
    /// 32 octets in hexadecimal.
    pub(crate) octets: String,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Named({})", self.id)
    }
}

/// The secrets of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    current: Named,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<Previous>,
}

/// Accepted, and in use as soon as every pod accepts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Next {
    secret: Named,
    /// The first revision whose tables have it.
    since: u64,
}

/// Accepted for the sake of what was made with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Previous {
    secret: Named,
    /// The first revision whose tables have another in use.
    since: u64,
    /// Since when no pod uses it, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unused: Option<Timestamp>,
}

impl Ring {
    /// One whose first secret is in use at once: nobody has anything to compare it with.
    pub(crate) fn new(first: Named) -> Self {
        Ring { current: first, next: None, previous: Vec::new() }
    }

    /// Whether a next secret waits for pods.
    pub(crate) fn is_renewing(&self) -> bool {
        self.next.is_some()
    }

    /// The revision that every pod is to hold before anything goes on.
    pub(crate) fn awaited(&self) -> Option<u64> {
        let previous = self.previous.iter().filter(|previous| previous.unused.is_none()).map(|previous| previous.since);
        self.next.iter().map(|next| next.since).chain(previous).max()
    }

    /// Publishes a next secret in the tables of `since`. Says whether it did: not while another is on its way.
    pub(crate) fn renew(&mut self, secret: Named, since: u64) -> bool {
        let is_free = self.next.is_none();
        if is_free {
            self.next = Some(Next { secret, since });
        }
        is_free
    }

    /// Takes the steps that are due, and says whether tables change by them. `all_hold` says whether every pod holds the
    /// tables of a revision, `revision` which tables are the next.
    pub(crate) fn step(
        &mut self,
        all_hold: impl Fn(u64) -> bool,
        revision: u64,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> bool {
        let before = self.previous.len();
        for previous in self.previous.iter_mut().filter(|previous| all_hold(previous.since)) {
            // A clock that was set back must not keep it for longer than its lifetime from now.
            previous.unused = Some(previous.unused.map_or(now, |since| since.min(now)));
        }
        self.previous.retain(|previous| previous.unused.is_none_or(|since| now < since + lifetime));
        let mut changed = self.previous.len() != before;
        if let Some(next) = self.next.take_if(|next| all_hold(next.since)) {
            let secret = std::mem::replace(&mut self.current, next.secret);
            self.previous.insert(0, Previous { secret, since: revision, unused: None });
            // Who rotates faster than things grow old wants to be rid of the oldest.
            self.previous.truncate(MAX_PREVIOUS);
            changed = true;
        }
        changed
    }

    /// All of them: the one in use first.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Named> {
        let next = self.next.iter().map(|next| &next.secret);
        std::iter::once(&self.current).chain(next).chain(self.previous.iter().map(|previous| &previous.secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

    fn named(id: u32) -> Named {
        Named { id, octets: "00".repeat(32) }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn ids(ring: &Ring) -> Vec<u32> {
        ring.secrets().map(|secret| secret.id).collect()
    }

    #[test]
    fn a_secret_is_used_when_all_accept_it_and_forgotten_when_nothing_of_it_is_left() {
        let mut ring = Ring::new(named(1));
        assert!(ring.renew(named(2), 5));
        assert!(!ring.renew(named(3), 6), "one at a time");
        assert_eq!(ids(&ring), [1, 2]);
        assert!(!ring.step(|held| held < 5, 6, at(0), LIFETIME), "somebody has not heard of it");
        assert!(ring.step(|held| held <= 5, 6, at(1), LIFETIME));
        assert_eq!(ids(&ring), [2, 1]);
        assert!(!ring.step(|held| held < 6, 7, at(600), LIFETIME), "somebody may still use the old one");
        assert!(!ring.step(|_| true, 7, at(601), LIFETIME));
        assert!(!ring.step(|_| true, 7, at(660), LIFETIME), "what was made with it a moment ago is good");
        assert!(ring.step(|_| true, 7, at(661), LIFETIME));
        assert_eq!(ids(&ring), [2]);
    }

    #[test]
    fn a_clock_that_jumps_keeps_nothing_for_ever() {
        let mut ring = Ring::new(named(1));
        ring.renew(named(2), 1);
        ring.step(|_| true, 2, at(1000), LIFETIME);
        ring.step(|_| true, 3, at(1000), LIFETIME);
        assert!(!ring.step(|_| true, 3, at(0), LIFETIME), "it was set back");
        assert!(ring.step(|_| true, 3, at(60), LIFETIME));
        assert_eq!(ids(&ring), [2]);
    }

    #[test]
    fn there_are_never_more_than_a_table_takes() {
        let mut ring = Ring::new(named(0));
        for id in 1..20 {
            assert!(ring.renew(named(id), id.into()));
            assert!(ring.secrets().count() <= 7);
            ring.step(|_| true, id.into(), at(0), LIFETIME);
        }
        assert_eq!(ids(&ring), [19, 18, 17, 16, 15, 14]);
    }
}
