//! When a session has been silent or open for too long.
//!
//! Owns its two timers. What passes only notes the time; the timer is moved when it fires, not with every octet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::metrics::SessionEnd;

/// The time of one session.
pub(super) struct Clock {
    started: Instant,
    idle: Option<Duration>,
    lifetime: Option<Duration>,
    /// Milliseconds from the start to what passed last.
    active: AtomicU64,
}

impl Clock {
    /// Starts it. Zero milliseconds are never.
    pub(super) fn start(idle_ms: u64, lifetime_ms: u64) -> Self {
        let some = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        Self { started: Instant::now(), idle: some(idle_ms), lifetime: some(lifetime_ms), active: AtomicU64::new(0) }
    }

    /// How long it has run.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Something passed.
    pub(super) fn touch(&self) {
        if self.idle.is_some() {
            let now = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
            self.active.store(now, Ordering::Relaxed);
        }
    }

    /// Waits until time is up.
    pub(super) async fn over(&self) -> SessionEnd {
        loop {
            let idle_at = self.idle.map(|idle| self.last_active() + idle);
            let ends_at = self.lifetime.map(|lifetime| self.started + lifetime);
            let Some(due) = [idle_at, ends_at].into_iter().flatten().min() else { return std::future::pending().await };
            if due > Instant::now() {
                sleep_until(due).await;
                continue;
            }
            return if ends_at == Some(due) { SessionEnd::Lifetime } else { SessionEnd::IdleTimeout };
        }
    }

    fn last_active(&self) -> Instant {
        self.started + Duration::from_millis(self.active.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_and_age_end_a_session() {
        // Idle and lifetime in seconds; when something passes; how it ends and when.
        let cases: [(u64, u64, &[u64], SessionEnd, u64); 5] = [
            (10, 0, &[], SessionEnd::IdleTimeout, 10),
            (10, 0, &[4, 5, 6], SessionEnd::IdleTimeout, 25),
            (0, 30, &[29], SessionEnd::Lifetime, 30),
            (10, 30, &[9, 9, 9, 9], SessionEnd::Lifetime, 30),
            (10, 30, &[3], SessionEnd::IdleTimeout, 13),
        ];
        for (idle, lifetime, passes, cause, after) in cases {
            let clock = Clock::start(idle * 1000, lifetime * 1000);
            let busy = async {
                for pause in passes {
                    tokio::time::sleep(Duration::from_secs(*pause)).await;
                    clock.touch();
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = clock.over() => assert_eq!(ended, cause),
                () = busy => unreachable!("it never ends"),
            }
            assert_eq!(clock.now().as_secs(), after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_it_goes_on() {
        let clock = Clock::start(0, 0);
        let over = tokio::time::timeout(Duration::from_secs(1 << 20), clock.over());
        assert!(over.await.is_err());
    }
}
