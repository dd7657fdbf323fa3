//! How many datagrams a worker forwards to one peer.
//!
//! Owns the measure. Knows no clock.

use std::time::Duration;

/// Datagrams that a worker forwards to one peer in a second, in the long run. At 1,350 octets each it is about 1 Gbit/s,
/// half of what a worker of the peer takes in with QUIC (`cargo bench --bench forward`): whoever sprays forged packets with the
/// ID of a live connection leaves it the other half.
pub const FORWARDS_PER_SECOND: u64 = 100_000;

/// Datagrams that may be forwarded at once after a silence: 40 ms of the rate, and about as much as a socket buffer of the
/// receiver holds.
pub const FORWARDS_BURST: u64 = 4_096;

/// Parts of a token, so that what a microsecond adds is a whole number of them.
const PARTS: u64 = 1_000_000;

/// A token bucket. It starts full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    parts: u64,
    filled_at: Duration,
}

impl Bucket {
    pub(crate) const fn full() -> Self {
        Self { parts: FORWARDS_BURST * PARTS, filled_at: Duration::ZERO }
    }

    /// Takes as many tokens as there are, up to a number. The time is since whatever the caller likes, as long as it goes
    /// forwards; where it does not, nothing is added.
    pub(crate) fn take(&mut self, wanted: usize, now: Duration) -> usize {
        let micros = now.saturating_sub(self.filled_at).as_micros();
        let added = u64::try_from(micros).unwrap_or(u64::MAX).saturating_mul(FORWARDS_PER_SECOND);
        if added > 0 {
            self.parts = self.parts.saturating_add(added).min(FORWARDS_BURST * PARTS);
            self.filled_at = now;
        }
        let taken = (self.parts / PARTS).min(wanted as u64);
        self.parts -= taken * PARTS;
        taken as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: usize = FORWARDS_BURST as usize;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::full();
        let at = Duration::from_micros;
        let steps = [
            (at(0), BURST - 1, BURST - 1),
            (at(0), 3, 1),
            (at(0), 1, 0),
            // A token each 10 microseconds.
            (at(9), 1, 0),
            (at(10), 2, 1),
            (at(1_010), 1_000, 100),
            // Backwards adds nothing.
            (at(5), 1, 0),
            (at(1_020), 2, 1),
            // However long it takes, a burst and no more.
            (Duration::MAX, usize::MAX, BURST),
            (Duration::MAX, 1, 0),
        ];
        for (at, (now, wanted, expected)) in steps.into_iter().enumerate() {
            assert_eq!(bucket.take(wanted, now), expected, "step {at}");
        }
    }

    #[test]
    fn fractions_are_not_lost() {
        let mut bucket = Bucket::full();
        bucket.take(BURST, Duration::ZERO);
        let taken: usize = (1..=1_000_000).map(|micros| bucket.take(1, Duration::from_micros(micros))).sum();
        assert_eq!(taken as u64, FORWARDS_PER_SECOND);
    }
}
