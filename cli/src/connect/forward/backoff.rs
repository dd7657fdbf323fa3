//! How long to wait before a server is asked for a session again. Pure: time and what is random are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// After a first failure: a server that restarts is back soon.
const FIRST: Duration = Duration::from_millis(250);
/// After many. Somebody may be waiting at a terminal, and an attempt costs a server little.
const LONGEST: Duration = Duration::from_secs(10);
/// Doublings from [`FIRST`] after which [`LONGEST`] holds anyway.
const MAX_DOUBLINGS: u32 = 6;
/// What has worked for so long is not what failed before.
const STABLE: Duration = Duration::from_secs(10);

/// Exponential, with jitter, so that all clients of a server that went away do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    doublings: u32,
    worked_at: Option<Instant>,
    not_before: Option<Instant>,
}

impl Backoff {
    /// Until when nothing is to be tried, if that is still to come.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|until| *until > now)
    }

    /// A session was opened. Only if it lasts, the next failure is a first one: a server may take sessions and end them.
    pub(super) fn worked(&mut self, now: Instant) {
        self.worked_at.get_or_insert(now);
    }

    /// No session was opened, or one ended: between half of the wait that the failures so far ask for and all of it, as
    /// `random` has it. Failures while a wait is on are part of what it is for.
    pub(super) fn failed(&mut self, now: Instant, random: u64) -> Duration {
        if let Some(until) = self.not_before(now) {
            return until - now;
        }
        if self.worked_at.take().is_some_and(|at| now - at >= STABLE) {
            self.doublings = 0;
        }
        let whole = (FIRST * (1 << self.doublings)).min(LONGEST);
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        let half = whole / 2;
        let range = u64::try_from(half.as_micros()).expect("half of some seconds");
        let wait = half + Duration::from_micros(random % (range + 1));
        self.not_before = Some(now + wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        for random in [0, 1, 12_345_678_901, u64::MAX] {
            let mut backoff = Backoff::default();
            let mut now = Instant::now();
            for whole in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000] {
                let wait = backoff.failed(now, random);
                let whole = Duration::from_millis(whole);
                assert!((whole / 2..=whole).contains(&wait), "{wait:?} with {random}");
                assert_eq!(backoff.not_before(now), Some(now + wait));
                // Ten sessions that end at once are one failure.
                assert_eq!(backoff.failed(now, 7), wait);
                now += wait;
                assert_eq!(backoff.not_before(now), None);
            }
        }
    }

    #[test]
    fn only_what_lasts_is_forgiven_for() {
        for (lasts, doubled) in [(Duration::from_secs(1), true), (STABLE, false)] {
            let mut backoff = Backoff::default();
            let mut now = Instant::now();
            now += backoff.failed(now, 0);
            backoff.worked(now);
            // More sessions beside the first one change nothing.
            backoff.worked(now + lasts / 2);
            now += lasts;
            let expected = if doubled { FIRST } else { FIRST / 2 };
            assert_eq!(backoff.failed(now, 0), expected, "{lasts:?}");
        }
    }
}
