//! The queue of writes: what is to be written next, and when.
//!
//! Owns order and pace: one entry for each object whatever happens to it meanwhile, the newest desired wins, one write at a
//! time for an object, waits that grow after failures. Pure: the time is an argument. It must not know what a write is.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// The first wait after a failure; each further one is twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait after a failure: an object that the API server refuses over and over costs one request a minute.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What is waiting, by object. Holds one entry for each object at most, so it is bounded by the World.
#[derive(Debug)]
pub(crate) struct Queue<K, T> {
    entries: HashMap<K, Entry<T>>,
    /// By precedence and then by age: what can be written now.
    ready: BTreeSet<(u8, u64, K)>,
    /// What has to wait.
    delayed: BTreeSet<(Instant, u64, K)>,
    /// Counts entries, for their age.
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    precedence: u8,
    age: u64,
    /// What is to be written; absent while it is being written and nothing newer came.
    task: Option<T>,
    not_before: Instant,
    failures: u32,
    in_flight: bool,
}

impl<K: Clone + Ord + Hash, T> Queue<K, T> {
    pub(crate) fn new() -> Self {
        Queue { entries: HashMap::new(), ready: BTreeSet::new(), delayed: BTreeSet::new(), next: 0 }
    }

    /// Puts a task in, in place of an older one for the same object. It starts at `not_before`, or later if the object
    /// is being written or has failed.
    pub(crate) fn put(&mut self, key: K, precedence: u8, task: T, not_before: Instant) {
        let entry = self.entries.entry(key.clone()).or_insert_with(|| {
            self.next += 1;
            Entry { precedence, age: self.next, task: None, not_before, failures: 0, in_flight: false }
        });
        let was_waiting = entry.task.replace(task).is_some();
        if entry.in_flight {
            entry.not_before = not_before;
            return;
        }
        if was_waiting {
            self.ready.remove(&(entry.precedence, entry.age, key.clone()));
            self.delayed.remove(&(entry.not_before, entry.age, key.clone()));
        }
        // After a failure the wait stays. Otherwise a newer task can come sooner, and never puts off what was due.
        entry.not_before = match (entry.failures, was_waiting) {
            (0, false) => not_before,
            (0, true) => entry.not_before.min(not_before),
            _ => entry.not_before.max(not_before),
        };
        self.delayed.insert((entry.not_before, entry.age, key));
    }

    /// Takes out what is waiting for an object. What is being written goes on.
    pub(crate) fn forget(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.task = None;
        self.ready.remove(&(entry.precedence, entry.age, key.clone()));
        self.delayed.remove(&(entry.not_before, entry.age, key.clone()));
        if !entry.in_flight {
            self.entries.remove(key);
        }
    }

    /// The next task to start, if any can be started now. It is in flight until [`Queue::done`] or [`Queue::failed`].
    pub(crate) fn take(&mut self, now: Instant) -> Option<(K, T)> {
        while let Some((not_before, age, key)) =
            self.delayed.first().filter(|(not_before, ..)| *not_before <= now).cloned()
        {
            self.delayed.remove(&(not_before, age, key.clone()));
            let precedence = self.entries.get(&key).map_or(u8::MAX, |entry| entry.precedence);
            self.ready.insert((precedence, age, key));
        }
        let (_, _, key) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.in_flight = true;
        let task = entry.task.take()?;
        Some((key, task))
    }

    /// The object was written.
    pub(crate) fn done(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.in_flight = false;
        entry.failures = 0;
        if entry.task.is_some() {
            self.delayed.insert((entry.not_before, entry.age, key.clone()));
        } else {
            self.entries.remove(key);
        }
    }

    /// The write of the object failed: the task goes back, unless a newer one came, and waits longer after each failure.
    /// Says how long.
    pub(crate) fn failed(&mut self, key: &K, task: T, now: Instant) -> Duration {
        let Some(entry) = self.entries.get_mut(key) else { return Duration::ZERO };
        let doublings = entry.failures.min(16);
        let wait = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
        entry.in_flight = false;
        entry.failures += 1;
        entry.not_before = entry.not_before.max(now + wait);
        entry.task.get_or_insert(task);
        self.delayed.insert((entry.not_before, entry.age, key.clone()));
        wait
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.ready.clear();
        self.delayed.clear();
    }

    /// How many objects wait or are being written.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the next task can be started: now, later or never.
    pub(crate) fn next_start(&self, now: Instant) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(now);
        }
        self.delayed.first().map(|(not_before, ..)| *not_before)
    }
}

/// How often something may happen: `burst` at once, and then `per_second`.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again.
    full_at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Pace { interval: Duration::from_secs(1) / per_second.max(1), burst: burst.max(1), full_at: None }
    }

    /// When the next may happen.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let full_at = self.full_at.unwrap_or(now).max(now);
        let room = self.interval * (self.burst - 1);
        full_at.checked_sub(room).unwrap_or(now).max(now)
    }

    /// It happens, if it may.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.next(now) > now {
            return false;
        }
        self.full_at = Some(self.full_at.unwrap_or(now).max(now) + self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_newest_task_wins_and_the_most_important_object_is_first() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.put("route-1", 3, 1, now);
        queue.put("route-2", 3, 2, now);
        queue.put("gateway", 1, 3, now);
        queue.put("route-1", 3, 4, now);
        assert_eq!(queue.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| queue.take(now)).collect();
        assert_eq!(order, [("gateway", 3), ("route-1", 4), ("route-2", 2)]);
        for key in ["gateway", "route-1", "route-2"] {
            queue.done(&key);
        }
        assert_eq!((queue.len(), queue.next_start(now)), (0, None));
    }

    #[test]
    fn an_object_is_written_once_at_a_time() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.put("a", 0, 1, now);
        assert_eq!(queue.take(now), Some(("a", 1)));
        queue.put("a", 0, 2, now);
        queue.put("a", 0, 3, now);
        assert_eq!((queue.take(now), queue.next_start(now)), (None, None));
        queue.done(&"a");
        assert_eq!(queue.take(now), Some(("a", 3)));
    }

    #[test]
    fn failures_wait_longer_and_longer() {
        let start = Instant::now();
        let mut queue = Queue::new();
        queue.put("a", 0, 1, start);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let (key, task) = queue.take(now).expect("it is due");
            waits.push(queue.failed(&key, task, now).as_millis());
            now = queue.next_start(now).expect("it waits");
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        // A newer task takes the place of the failed one, and does not come sooner.
        queue.put("a", 0, 2, start);
        assert_eq!(queue.take(now - MS), None);
        assert_eq!(queue.take(now), Some(("a", 2)));
        queue.put("a", 0, 3, now);
        queue.failed(&"a", 2, now);
        assert_eq!(queue.take(now + LONGEST_BACKOFF), Some(("a", 3)));
        queue.done(&"a");
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_task_can_wait_and_be_forgotten() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.put("a", 0, 1, now + 300 * MS);
        assert_eq!((queue.take(now), queue.next_start(now)), (None, Some(now + 300 * MS)));
        queue.put("a", 0, 2, now);
        assert_eq!(queue.take(now), Some(("a", 2)));
        queue.put("a", 0, 3, now);
        queue.forget(&"a");
        queue.done(&"a");
        assert_eq!(queue.len(), 0);
        queue.put("b", 0, 1, now);
        queue.forget(&"b");
        assert_eq!((queue.len(), queue.take(now)), (0, None));
    }

    #[test]
    fn the_pace_is_a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 3);
        let taken = (0..20).filter(|_| pace.take(start)).count();
        assert_eq!(taken, 3);
        assert_eq!(pace.next(start), start + 100 * MS);
        let taken = (0..1000).filter(|ms| pace.take(start + MS * *ms)).count();
        assert_eq!(taken, 9);
        let taken = (0..20).filter(|_| pace.take(start + 60_000 * MS)).count();
        assert_eq!(taken, 3);
    }
}
