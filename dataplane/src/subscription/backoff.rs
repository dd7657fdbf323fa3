//! How long to wait before the controllers are dialled again. Pure: what is random comes in as an argument.

use std::time::Duration;

/// After a first failure. A new leader is there within a second or so of the old one's end, and should be found soon.
const FIRST: Duration = Duration::from_millis(100);

/// After many. A few seconds: a dial costs a controller little, and no change reaches this process until one succeeds.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// Doublings from [`FIRST`] after which [`LONGEST`] holds anyway.
const MAX_DOUBLINGS: u32 = 6;

/// Exponential, with jitter, so that all pods of a controller that went away do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    doublings: u32,
}

impl Backoff {
    /// The next wait: between half of what the failures so far ask for and all of it, as `random` has it.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let whole = (FIRST * (1 << self.doublings)).min(LONGEST);
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        let half = whole / 2;
        let range = u64::try_from(half.as_micros()).expect("half of a few seconds");
        half + Duration::from_micros(random % (range + 1))
    }

    /// Things went well: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.doublings = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for (failure, whole) in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000].into_iter().enumerate() {
            let range = Duration::from_millis(whole) / 2..=Duration::from_millis(whole);
            for random in [0, 1, 12_345_678_901, u64::MAX] {
                let wait = Backoff { doublings: backoff.doublings }.next(random);
                assert!(range.contains(&wait), "failure {failure}: {wait:?} with {random}");
            }
            backoff.next(0);
        }
        backoff.reset();
        assert_eq!(backoff.next(0), FIRST / 2);
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let half = u64::try_from((FIRST / 2).as_micros()).unwrap();
        assert_eq!(Backoff::default().next(0), FIRST / 2);
        assert_eq!(Backoff::default().next(half), FIRST);
    }
}
