//! A log that strangers cannot flood: of each kind of event one line in a while, with how many there were.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line of a kind in this time: enough to see that it goes on, whatever the rate.
const PACE: Duration = Duration::from_secs(10);

/// What was last told of each kind. `K` is a closed enum, which bounds the map.
#[derive(Debug)]
pub(crate) struct Paced<K> {
    told: Mutex<BTreeMap<K, Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    unsaid: u64,
}

impl<K: Ord + Copy> Paced<K> {
    pub(crate) const fn new() -> Self {
        Self { told: Mutex::new(BTreeMap::new()) }
    }

    /// Whether this event is to be told. Then with how many of its kind were not told before it.
    pub(crate) fn admit(&self, kind: K, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(&kind) {
            Some(last) if now.saturating_duration_since(last.at) < PACE => {
                last.unsaid += 1;
                None
            }
            last => {
                let unsaid = last.map_or(0, |last| last.unsaid);
                told.insert(kind, Told { at: now, unsaid: 0 });
                Some(unsaid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_with_a_count() {
        let (paced, start) = (Paced::new(), Instant::now());
        assert_eq!(paced.admit("a", start), Some(0));
        for milliseconds in 1..1000 {
            assert_eq!(paced.admit("a", start + Duration::from_millis(milliseconds)), None);
        }
        assert_eq!(paced.admit("b", start), Some(0), "another kind has a pace of its own");
        assert_eq!(paced.admit("a", start + PACE), Some(999));
        assert_eq!(paced.admit("a", start + PACE * 2), Some(0));
    }
}
