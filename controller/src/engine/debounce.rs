//! When to compile: soon after a change, once for a burst of them, and never all of the time.
//!
//! Owns that decision; time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// No change for so long is quiet. `kubectl apply` of a few objects sends them some milliseconds apart.
pub const QUIET: Duration = Duration::from_millis(20);

/// The first change of a burst waits no longer than this, unless compiling itself takes longer.
pub const LONGEST: Duration = Duration::from_millis(250);

/// How long a replica that does not lead lets changes wait. It has to know of nearly all of them when it takes over, which
/// takes seconds as well, and is not to compete with the leader for each.
pub const UNHURRIED: Duration = Duration::from_secs(2);

/// What has changed since the last compile, and how long that took.
#[derive(Clone, Debug, Default)]
pub struct Debounce {
    waiting: Option<Waiting>,
    /// Not before this.
    rest: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: Instant,
    last: Instant,
    /// Not to be tried before this, unless something changes.
    put_off: Option<Instant>,
}

impl Debounce {
    /// Something has changed.
    pub fn changed(&mut self, now: Instant) {
        let first = self.waiting.map_or(now, |waiting| waiting.first);
        self.waiting = Some(Waiting { first, last: now, put_off: None });
    }

    /// When to compile. `None` while nothing has changed.
    pub fn due(&self) -> Option<Instant> {
        let waiting = self.waiting?;
        let due = waiting.put_off.unwrap_or_else(|| (waiting.last + QUIET).min(waiting.first + LONGEST));
        Some(self.rest.map_or(due, |rest| due.max(rest)))
    }

    /// When to compile if nobody waits for it.
    pub fn due_unhurried(&self) -> Option<Instant> {
        let waiting = self.waiting?;
        self.due().map(|due| due.max(waiting.first + UNHURRIED))
    }

    /// It was due, and cannot be done before something else changes.
    pub fn put_off(&mut self) {
        self.waiting = None;
    }

    /// It was due, and is to be tried again then, or when something else changes.
    pub fn put_off_until(&mut self, then: Instant) {
        if let Some(waiting) = &mut self.waiting {
            waiting.put_off = Some(then);
        }
    }

    /// A compile began and ended. The next rests for as long as this one took, so that compiling takes half of a core at
    /// the most, however much changes.
    pub fn compiled(&mut self, start: Instant, end: Instant) {
        self.waiting = None;
        self.rest = Some(end + (end - start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes at these milliseconds; when it is due, in milliseconds.
    fn due(mut debounce: Debounce, from: Instant, changes: &[u64]) -> Option<u128> {
        for at in changes {
            debounce.changed(from + Duration::from_millis(*at));
        }
        debounce.due().map(|due| (due - from).as_millis())
    }

    #[test]
    fn a_burst_is_one_and_is_not_put_off_for_ever() {
        let from = Instant::now();
        let often: Vec<u64> = (0..100).map(|n| n * 10).collect();
        for (changes, expect) in [
            (&[][..], None),
            (&[0], Some(20)),
            (&[0, 15], Some(35)),
            (&[0, 15, 30, 240], Some(250)),
            (&often, Some(250)),
        ] {
            assert_eq!(due(Debounce::default(), from, changes), expect, "{changes:?}");
        }
    }

    #[test]
    fn who_does_not_lead_lets_changes_wait() {
        let from = Instant::now();
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due_unhurried(), None);
        debounce.changed(from);
        debounce.changed(from + Duration::from_millis(1990));
        assert_eq!(debounce.due(), Some(from + LONGEST));
        assert_eq!(debounce.due_unhurried(), Some(from + UNHURRIED));
        debounce.put_off_until(from + 2 * UNHURRIED);
        assert_eq!(debounce.due_unhurried(), Some(from + 2 * UNHURRIED));
    }

    #[test]
    fn it_rests_as_long_as_the_last_one_took() {
        let from = Instant::now();
        let mut debounce = Debounce::default();
        debounce.changed(from);
        debounce.compiled(from, from + Duration::from_millis(700));
        assert_eq!(debounce.due(), None);
        assert_eq!(due(debounce.clone(), from, &[710]), Some(1400));
        assert_eq!(due(debounce, from, &[2000]), Some(2020));
    }

    #[test]
    fn what_is_put_off_waits_for_a_change_or_its_time() {
        let from = Instant::now();
        let mut debounce = Debounce::default();
        debounce.changed(from);
        debounce.put_off_until(from + Duration::from_secs(2));
        assert_eq!(debounce.due(), Some(from + Duration::from_secs(2)));
        assert_eq!(due(debounce.clone(), from, &[100]), Some(120));
        debounce.put_off();
        assert_eq!(debounce.due(), None);
    }
}
