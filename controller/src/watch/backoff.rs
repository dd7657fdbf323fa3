//! How long to wait after a failure: doubling, with a bound, and never the same for all replicas.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The first wait, and the one after something has worked.
const FIRST: Duration = Duration::from_millis(200);

/// The longest. An API server that comes back after a restart is asked again within this time.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits between attempts.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST)
    }
}

impl Backoff {
    /// One that begins with that wait.
    pub(crate) const fn new(first: Duration) -> Self {
        Backoff { first, next: first, failures: 0 }
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.first);
    }

    /// It failed: for how long to wait. `spread` is any number; waits differ by it, by at most a quarter up or down.
    fn failed(&mut self, spread: u64) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // A thousandth of half of it, up to a thousand times.
        let share = u32::try_from(spread % 1000).expect("less than 1000");
        wait - wait / 4 + wait / 2 / 1000 * share
    }

    /// Waits as long as is due after one more failure.
    pub(crate) async fn wait(&mut self) {
        // The keys of a RandomState are random; this is no secret.
        let spread = RandomState::new().hash_one(self.failures);
        tokio::time::sleep(self.failed(spread)).await;
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.failed(500).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.failed(500).as_millis(), 200);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn waits_differ_by_a_quarter_at_most() {
        for spread in [0, 1, 999, 1000, u64::MAX] {
            let wait = Backoff::default().failed(spread);
            assert!(wait >= FIRST * 3 / 4 && wait <= FIRST * 5 / 4, "{spread}: {wait:?}");
        }
    }
}
