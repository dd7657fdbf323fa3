//! Owns datagrams that wait to be taken: a bounded queue in which the oldest one makes room.

use std::collections::VecDeque;

use bytes::Bytes;

/// Datagrams in the order they came.
#[derive(Debug)]
pub struct DatagramQueue {
    queue: VecDeque<Bytes>,
    octets: usize,
    max_count: usize,
    max_octets: usize,
    dropped: u64,
}

impl DatagramQueue {
    /// A queue that keeps at most this many datagrams, of at most this many octets together.
    pub const fn new(max_count: usize, max_octets: usize) -> Self {
        Self { queue: VecDeque::new(), octets: 0, max_count, max_octets, dropped: 0 }
    }

    /// Adds one. The oldest ones are dropped for it; one that is larger than the queue is dropped itself.
    pub fn push(&mut self, datagram: Bytes) {
        if self.max_count == 0 || datagram.len() > self.max_octets {
            self.dropped += 1;
            return;
        }
        while self.queue.len() == self.max_count || self.octets + datagram.len() > self.max_octets {
            self.pop();
            self.dropped += 1;
        }
        self.octets += datagram.len();
        self.queue.push_back(datagram);
    }

    /// Takes the oldest one.
    pub fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.queue.pop_front()?;
        self.octets -= datagram.len();
        if self.queue.is_empty() {
            // An idle session keeps no buffer.
            self.queue = VecDeque::new();
        }
        Some(datagram)
    }

    /// How many were dropped.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets all that wait.
    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.octets = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut queue = DatagramQueue::new(3, 10);
        for datagram in ["a", "b", "c", "d"] {
            queue.push(Bytes::from_static(datagram.as_bytes()));
        }
        assert_eq!((queue.pop().unwrap(), queue.dropped()), (Bytes::from_static(b"b"), 1));
        queue.push(Bytes::from_static(b"ninechars"));
        assert_eq!((queue.pop().unwrap(), queue.dropped()), (Bytes::from_static(b"d"), 2));
        queue.push(Bytes::from_static(b"eleven char"));
        assert_eq!((queue.pop().unwrap(), queue.dropped()), (Bytes::from_static(b"ninechars"), 3));
        assert_eq!(queue.pop(), None);
    }

    proptest! {
        /// What is kept is the end of what came, and within the bounds.
        #[test]
        fn suffix(sizes in proptest::collection::vec(0usize..40, 0..60), max_count in 0usize..8, max_octets in 0usize..100) {
            let mut queue = DatagramQueue::new(max_count, max_octets);
            let mut fitting = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let datagram = Bytes::from(vec![at as u8; *size]);
                if *size <= max_octets && max_count > 0 {
                    fitting.push(datagram.clone());
                }
                queue.push(datagram);
                prop_assert!(queue.queue.len() <= max_count && queue.octets <= max_octets);
            }
            let dropped = queue.dropped();
            let kept: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert!(fitting.ends_with(&kept));
            prop_assert_eq!(dropped as usize, sizes.len() - kept.len());
            prop_assert_eq!(queue.octets, 0);
        }
    }
}
