//! Answers of the API server, by the hash of the token and for a few seconds.
//!
//! A pod that dials one replica after the other, or comes back at once, is not reviewed each time. Owns how long an answer
//! holds and how many are kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{PodIdentity, Stranger, TokenHash};

/// Answers kept: more than there are pods in any installation that dials at once.
const MAX_ENTRIES: usize = 1024;

/// A yes. Far less than the time between two reviews of an open stream.
const ACCEPTED_FOR: Duration = Duration::from_secs(20);

/// A no: a token that is not valid yet (clocks differ) is asked for again soon.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// What was answered, and until when that holds.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<TokenHash, (Result<PodIdentity, Stranger>, Instant)>,
}

impl Cache {
    pub(super) fn get(&self, hash: &TokenHash, now: Instant) -> Option<Result<PodIdentity, Stranger>> {
        let (answer, until) = self.entries.get(hash)?;
        (now < *until).then(|| answer.clone())
    }

    /// Keeps an answer. That there was none is not kept.
    pub(super) fn put(&mut self, hash: TokenHash, answer: &Result<PodIdentity, Stranger>, now: Instant) {
        let lasts = match answer {
            Ok(_) => ACCEPTED_FOR,
            Err(Stranger::ReviewUnavailable) => {
                // An answer from before would be older than the caller wants.
                self.entries.remove(&hash);
                return;
            }
            Err(_) => REFUSED_FOR,
        };
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&hash) {
            self.make_room(now);
        }
        self.entries.insert(hash, (answer.clone(), now + lasts));
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, (_, until)| now < *until);
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        let soonest = self.entries.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash);
        if let Some(hash) = soonest {
            self.entries.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> TokenHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn pod() -> Result<PodIdentity, Stranger> {
        let text = |text: &str| text.to_owned();
        Ok(PodIdentity { namespace: text("n"), pod_set: text("default"), name: text("p"), uid: text("u") })
    }

    #[test]
    fn answers_hold_for_as_long_as_they_may() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(hash(1), &pod(), now);
        cache.put(hash(2), &Err(Stranger::Invalid), now);
        cache.put(hash(3), &Err(Stranger::ReviewUnavailable), now);
        let just_before = Duration::from_nanos(1);
        assert_eq!(cache.get(&hash(1), now + ACCEPTED_FOR - just_before), Some(pod()));
        assert_eq!(cache.get(&hash(1), now + ACCEPTED_FOR), None);
        assert_eq!(cache.get(&hash(2), now + REFUSED_FOR - just_before), Some(Err(Stranger::Invalid)));
        assert_eq!(cache.get(&hash(2), now + REFUSED_FOR), None);
        assert_eq!(cache.get(&hash(3), now), None, "that nobody answered says nothing of the token");
    }

    #[test]
    fn a_flood_of_tokens_stays_within_the_bound() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(hash(0), &pod(), now);
        for number in 1..3 * MAX_ENTRIES {
            cache.put(hash(number), &Err(Stranger::Invalid), now);
            assert!(cache.entries.len() <= MAX_ENTRIES);
        }
        assert_eq!(cache.get(&hash(0), now), Some(pod()), "what holds longest goes last");
    }
}
