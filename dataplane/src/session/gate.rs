//! What one side of a session may open and send: how many streams at once, how many in a second, which datagrams.
//!
//! Owns the counting. Knows no streams and no clock: time is an argument.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headrace_table::SessionLimits;

use super::Grant;
use crate::metrics::{DatagramDrop, StreamKind, StreamRefusal};

/// Tokens that come back at a rate, as many as a second brings at most. It starts full.
struct Bucket {
    per_second: u64,
    /// Of a token.
    millionths: u64,
    filled_at: Duration,
}

/// So that what a microsecond adds is a whole number.
const TOKEN: u64 = 1_000_000;

impl Bucket {
    fn full(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, millionths: per_second * TOKEN, filled_at: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> bool {
        let micros = u64::try_from(now.saturating_sub(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        let added = micros.saturating_mul(self.per_second);
        if added > 0 {
            self.millionths = self.millionths.saturating_add(added).min(self.per_second * TOKEN);
            self.filled_at = now;
        }
        let taken = self.millionths >= TOKEN;
        self.millionths -= if taken { TOKEN } else { 0 };
        taken
    }
}

/// What one side may do.
pub(super) struct Gate {
    limits: SessionLimits,
    open: Arc<Open>,
    opening: Mutex<Bucket>,
    datagrams: Mutex<Bucket>,
}

/// What is open.
struct Open {
    /// By kind.
    streams: [AtomicU32; 2],
    /// What lets the peer open them, where it opens streams of QUIC.
    grant: Option<Arc<Grant>>,
}

/// An open stream.
pub(super) struct StreamTicket {
    open: Arc<Open>,
    kind: StreamKind,
}

impl Drop for StreamTicket {
    fn drop(&mut self) {
        self.open.streams[self.kind as usize].fetch_sub(1, Ordering::Relaxed);
        if let Some(grant) = &self.open.grant {
            grant.closed(self.kind);
        }
    }
}

impl Gate {
    pub(super) fn new(limits: SessionLimits, grant: Option<Arc<Grant>>) -> Self {
        Self {
            open: Arc::new(Open { streams: Default::default(), grant }),
            opening: Mutex::new(Bucket::full(limits.opening_per_second)),
            datagrams: Mutex::new(Bucket::full(limits.datagrams_per_second)),
            limits,
        }
    }

    /// Whether a stream may be opened now. It counts as open until the ticket is dropped.
    pub(super) fn admit(&self, kind: StreamKind, now: Duration) -> Result<StreamTicket, StreamRefusal> {
        // Those that are refused use up the rate, too: they cost as much.
        if !lock(&self.opening).take(now) {
            return Err(StreamRefusal::Rate);
        }
        let open = &self.open.streams[kind as usize];
        // Only the session's own loop for this kind adds.
        if open.load(Ordering::Relaxed) >= self.limits.streams {
            return Err(StreamRefusal::TooMany);
        }
        open.fetch_add(1, Ordering::Relaxed);
        if let Some(grant) = &self.open.grant {
            grant.opened(kind);
        }
        Ok(StreamTicket { open: Arc::clone(&self.open), kind })
    }

    /// Whether a datagram may pass. Zero limits are none.
    pub(super) fn pass(&self, octets: usize, now: Duration) -> Result<(), DatagramDrop> {
        let most = self.limits.datagram_octets;
        if most > 0 && octets > usize::try_from(most).unwrap_or(usize::MAX) {
            return Err(DatagramDrop::TooLarge);
        }
        if self.limits.datagrams_per_second > 0 && !lock(&self.datagrams).take(now) {
            return Err(DatagramDrop::Rate);
        }
        Ok(())
    }
}

fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    // Numbers, changed without a step that can panic.
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const BIDI: StreamKind = StreamKind::Bidirectional;
    const UNI: StreamKind = StreamKind::Unidirectional;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn as_many_streams_as_are_allowed_of_each_kind() {
        let gate = Gate::new(SessionLimits { streams: 2, ..SessionLimits::default() }, None);
        let first = gate.admit(BIDI, at(0)).unwrap();
        let _second = gate.admit(BIDI, at(0)).unwrap();
        assert_eq!(gate.admit(BIDI, at(0)).err(), Some(StreamRefusal::TooMany));
        let _other = gate.admit(UNI, at(0)).unwrap();
        drop(first);
        assert!(gate.admit(BIDI, at(0)).is_ok());
    }

    #[test]
    fn a_seconds_worth_at_once_and_the_rate_after() {
        let gate = Gate::new(SessionLimits { opening_per_second: 10, ..SessionLimits::default() }, None);
        let open = |now| gate.admit(UNI, at(now)).is_ok();
        assert_eq!((0..50).filter(|_| open(0)).count(), 10);
        assert_eq!(gate.admit(UNI, at(50)).err(), Some(StreamRefusal::Rate));
        assert!(open(100) && !open(100));
        assert_eq!((0..50).filter(|_| open(1_000_000)).count(), 10, "silence saves up no more than a second");
        assert!(!open(999_000), "a clock that goes back adds nothing");
    }

    #[test]
    fn datagrams() {
        let any = Gate::new(SessionLimits::default(), None);
        assert!((0..10_000).all(|_| any.pass(60_000, at(0)).is_ok()));
        let limits = SessionLimits { datagram_octets: 100, datagrams_per_second: 5, ..SessionLimits::default() };
        let gate = Gate::new(limits, None);
        assert_eq!(gate.pass(101, at(0)), Err(DatagramDrop::TooLarge));
        assert_eq!((0..9).filter(|_| gate.pass(100, at(0)).is_ok()).count(), 5);
        assert_eq!(gate.pass(1, at(10)), Err(DatagramDrop::Rate));
        assert_eq!(gate.pass(1, at(200)), Ok(()));
    }
}
