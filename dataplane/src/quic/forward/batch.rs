//! Datagrams that came one by one, put together again where they follow on each other, so that one system call or one place
//! in a queue does for many.
//!
//! Pure. Owns when two belong together: when all that is said of them is the same, and all but the last have one length.

use bytes::{Bytes, BytesMut};
use headrace_cid::ServerId;
use headrace_hop::Envelope;

/// The most octets of a batch: what one send may have over UDP.
pub(super) const MAX_OCTETS: usize = 65_507;

/// Datagrams of which the same is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) from: ServerId,
    pub(super) envelope: Envelope,
    /// Octets of each but the last, which may be shorter.
    pub(super) stride: usize,
    pub(super) octets: Bytes,
}

impl Batch {
    pub(super) fn datagrams(&self) -> u64 {
        self.octets.len().div_ceil(self.stride) as u64
    }
}

/// What has come and is not yet given on.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    from: ServerId,
    envelope: Envelope,
    stride: usize,
    octets: BytesMut,
    is_complete: bool,
}

impl Gathering {
    /// Takes a datagram, and gives what is before it where that has an end here.
    pub(super) fn add(&mut self, from: ServerId, envelope: &Envelope, datagram: &[u8]) -> Option<Batch> {
        if let Some(open) = &mut self.open
            && !open.is_complete
            && datagram.len() <= open.stride
            && open.octets.len() + datagram.len() <= MAX_OCTETS
            && open.from == from
            && open.envelope == *envelope
        {
            open.octets.extend_from_slice(datagram);
            open.is_complete = datagram.len() < open.stride;
            return None;
        }
        let before = self.end();
        let octets = BytesMut::from(datagram);
        self.open = Some(Open { from, envelope: *envelope, stride: datagram.len(), octets, is_complete: false });
        before
    }

    /// Gives what there is.
    pub(super) fn end(&mut self) -> Option<Batch> {
        let Open { from, envelope, stride, octets, .. } = self.open.take()?;
        Some(Batch { from, envelope, stride, octets: octets.freeze() })
    }
}

#[cfg(test)]
mod tests {
    use headrace_hop::{Ecn, Kind};

    use super::*;

    fn server(number: u8) -> ServerId {
        ServerId::try_from(&[number; 8][..]).unwrap()
    }

    fn envelope(port: u16) -> Envelope {
        Envelope {
            kind: Kind::Forward,
            steering: 0,
            answer: 0,
            ecn: Ecn::default(),
            client: "192.0.2.1:1".parse().unwrap(),
            local: None,
            port,
        }
    }

    #[test]
    fn what_belongs_together() {
        let datagrams: [(u8, u16, &str); 10] = [
            (1, 443, "aaa"),
            (1, 443, "bbb"),
            // Shorter: the last of its batch.
            (1, 443, "c"),
            (1, 443, "d"),
            // Longer.
            (1, 443, "ee"),
            (1, 443, "ff"),
            // Of another port, then by another peer.
            (1, 8443, "gg"),
            (2, 8443, "hh"),
            (2, 8443, "ii"),
            (2, 8443, "j"),
        ];
        let mut gathering = Gathering::default();
        let mut found = Vec::new();
        for (from, port, datagram) in datagrams {
            found.extend(gathering.add(server(from), &envelope(port), datagram.as_bytes()));
        }
        found.extend(gathering.end());
        assert_eq!(gathering.end(), None);
        let found: Vec<_> = found
            .iter()
            .map(|batch| (std::str::from_utf8(&batch.octets).unwrap(), batch.stride, batch.datagrams()))
            .collect();
        assert_eq!(found, [("aaabbbc", 3, 3), ("d", 1, 1), ("eeff", 2, 2), ("gg", 2, 1), ("hhiij", 2, 3)]);
    }

    #[test]
    fn a_batch_can_be_sent_at_once() {
        let (mut gathering, mut batches) = (Gathering::default(), Vec::new());
        for _ in 0..100 {
            batches.extend(gathering.add(server(1), &envelope(443), &[7; 1_352]));
        }
        batches.extend(gathering.end());
        assert!(batches.iter().all(|batch| batch.octets.len() <= MAX_OCTETS));
        assert_eq!(batches.iter().map(Batch::datagrams).sum::<u64>(), 100);
        assert_eq!(batches.len(), 3);
    }
}
