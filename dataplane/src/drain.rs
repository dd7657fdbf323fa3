//! The drain: the signal that no new work is taken, and the count of work that is still going on.
//!
//! One [`DrainHandle`] starts the drain, every worker holds a [`DrainWatch`] that its tasks wait on, and every connection
//! or tunnel holds a [`TaskGuard`] for as long as it lives. Knows nothing of what a task does to wind up, nor of signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Starts the drain. Clones are the same drain.
#[derive(Clone, Debug, Default)]
pub(crate) struct DrainHandle {
    token: CancellationToken,
}

impl DrainHandle {
    /// A drain that has not started.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Starts it, for good. Starting twice is as once.
    pub(crate) fn start(&self) {
        self.token.cancel();
    }

    /// A watch of its own list of waiters. Each worker takes one and clones it for its tasks, so that workers do not
    /// contend for the list.
    pub(crate) fn watch(&self) -> DrainWatch {
        DrainWatch { token: self.token.child_token() }
    }
}

/// Waits for the drain. Clones share a list of waiters.
#[derive(Clone, Debug)]
pub(crate) struct DrainWatch {
    token: CancellationToken,
}

impl DrainWatch {
    /// Whether it has begun.
    pub(crate) fn has_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ready once the drain has started. Safe to drop and to wait for again.
    pub(crate) fn started(&self) -> impl Future<Output = ()> + Send + '_ {
        self.token.cancelled()
    }
}

/// What became of the work that was going on during a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Ended by itself in time.
    pub(crate) finished: u64,
    /// Still there at the deadline.
    pub(crate) cut: u64,
}

/// How many connections or tunnels are alive. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskCount {
    shared: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    live: AtomicU64,
    ended: AtomicU64,
    /// Told whenever `live` falls to zero.
    empty: Notify,
}

impl TaskCount {
    /// A count of none.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts one more, until the guard is dropped.
    pub(crate) fn enter(&self) -> TaskGuard {
        self.shared.live.fetch_add(1, Ordering::Relaxed);
        TaskGuard { shared: Arc::clone(&self.shared) }
    }

    /// How many are alive.
    pub(crate) fn live(&self) -> u64 {
        self.shared.live.load(Ordering::Acquire)
    }

    /// How many have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Waits until none is alive or `timeout` is over, and tells how it went. What ends after the call counts as
    /// finished: to be called before the drain starts, and waited for after.
    pub(crate) fn drained(&self, timeout: Duration) -> impl Future<Output = Drained> + '_ {
        let ended_before = self.ended();
        async move {
            // The error only says that time is up, which the count below says better.
            let _ = tokio::time::timeout(timeout, self.empty()).await;
            let finished = self.ended().wrapping_sub(ended_before);
            Drained { finished, cut: self.live() }
        }
    }

    async fn empty(&self) {
        loop {
            // Enabled before the count is read: the last task may end between the two.
            let mut empty = std::pin::pin!(self.shared.empty.notified());
            empty.as_mut().enable();
            if self.live() == 0 {
                return;
            }
            empty.await;
        }
    }
}

/// One living connection or tunnel.
#[derive(Debug)]
pub(crate) struct TaskGuard {
    shared: Arc<Count>,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.shared.ended.fetch_add(1, Ordering::Release);
        if self.shared.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn every_watch_hears_of_the_start() {
        let drain = DrainHandle::new();
        let (early, other_worker) = (drain.watch(), drain.watch());
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let watch = early.clone();
                tokio::spawn(async move { watch.started().await })
            })
            .collect();
        let in_time = tokio::time::timeout(DEADLINE, early.started()).await;
        assert!(in_time.is_err(), "nothing has started it");

        drain.start();
        drain.start();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        other_worker.started().await;
        early.started().await;
        drain.watch().started().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_alive_is_drained_at_once() {
        let begun = Instant::now();
        assert_eq!(TaskCount::new().drained(DEADLINE).await, Drained { finished: 0, cut: 0 });
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_last_and_no_longer() {
        // How long each task goes on after the drain has begun, in seconds; and what is expected after 30.
        let cases: [(&[u64], Drained, u64); 4] = [
            (&[5], Drained { finished: 1, cut: 0 }, 5),
            (&[1, 20, 3], Drained { finished: 3, cut: 0 }, 20),
            (&[1, 31, 40], Drained { finished: 1, cut: 2 }, 30),
            (&[100], Drained { finished: 0, cut: 1 }, 30),
        ];
        for (tasks, expect, seconds) in cases {
            let count = TaskCount::new();
            drop(count.enter());
            for &task in tasks {
                let guard = count.enter();
                tokio::spawn(async move {
                    sleep(Duration::from_secs(task)).await;
                    drop(guard);
                });
            }
            assert_eq!(count.live(), tasks.len() as u64);
            let begun = Instant::now();
            assert_eq!(count.drained(DEADLINE).await, expect, "{tasks:?}");
            assert_eq!(begun.elapsed().as_secs(), seconds, "{tasks:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_begins_during_the_drain_is_waited_for() {
        let count = TaskCount::new();
        let first = count.enter();
        let inner = count.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(2)).await;
            let second = inner.enter();
            drop(first);
            sleep(Duration::from_secs(2)).await;
            drop(second);
        });
        assert_eq!(count.drained(DEADLINE).await, Drained { finished: 2, cut: 0 });
    }
}
