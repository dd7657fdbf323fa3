//! Whose each datagram of what arrived is, and how what is not ours is taken out.
//!
//! Pure. Owns the rule, and its use on the datagrams that the kernel gave in one piece (GRO): those of one owner that follow
//! on each other stay together, and nothing changes its order. Knows neither sockets nor queues.
//!
//! A first packet has an ID of its client's choice, which by chance may look like a peer's. It is the peer's then: with a
//! chance of one in 2^64 for each peer it does no harm, and it keeps a client with its Retry at the pod that sent it.

use std::ops::Range;

use headrace_cid::{Destination, ServerId, Steering, Unroutable};

use super::Membership;

/// What is to be done with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is this worker's, or nobody's in particular.
    Keep,
    /// It is another worker's.
    Worker(usize),
    /// It is a live peer's.
    Peer(ServerId),
}

/// Whose a datagram is, where `own` is the worker that has it; and why its ID names nobody, if it does not.
pub(crate) fn judge(
    membership: &Membership,
    steering: &Steering,
    own: usize,
    datagram: &[u8],
) -> (Verdict, Option<Unroutable>) {
    let unroutable = match membership.configs.destination_of(datagram) {
        Destination::Peer(server) => return (Verdict::Peer(server), None),
        Destination::Ours => None,
        Destination::Unroutable(why) => Some(why),
    };
    match steering.worker_of(datagram) {
        Some(worker) if worker != own => (Verdict::Worker(worker), unroutable),
        _ => (Verdict::Keep, unroutable),
    }
}

/// The form bit (RFC 8999 section 5.1). Such a packet has an ID that a server has issued; others may have one of their
/// client's choice, which is not expected to say anything.
pub(crate) fn has_short_header(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 == 0)
}

/// Goes over datagrams of `stride` octets, run by run of those with one verdict.
struct Runs<V> {
    stride: usize,
    at: usize,
    /// Of the datagram that ended the last run.
    ahead: Option<V>,
}

impl<V: PartialEq> Runs<V> {
    fn new(stride: usize) -> Self {
        // A stride of 0 would never come to an end.
        Self { stride: stride.max(1), at: 0, ahead: None }
    }

    fn next(&mut self, octets: &[u8], judge: &mut impl FnMut(&[u8]) -> V) -> Option<(V, Range<usize>)> {
        let begin = self.at;
        let datagram = |at: usize| octets.get(at..octets.len().min(at + self.stride)).filter(|one| !one.is_empty());
        let first = datagram(begin)?;
        let verdict = self.ahead.take().unwrap_or_else(|| judge(first));
        let mut end = begin + first.len();
        while let Some(next) = datagram(end) {
            let other = judge(next);
            if other != verdict {
                self.ahead = Some(other);
                break;
            }
            end += next.len();
        }
        self.at = end;
        Some((verdict, begin..end))
    }
}

/// Gives away what is not to be kept, run by run, and moves what is kept to the front. Says how many octets that is.
pub(crate) fn sift(
    octets: &mut [u8],
    stride: usize,
    mut judge: impl FnMut(&[u8]) -> Verdict,
    mut give: impl FnMut(Verdict, &[u8]),
) -> usize {
    let (mut runs, mut kept) = (Runs::new(stride), 0);
    while let Some((verdict, range)) = runs.next(octets, &mut judge) {
        if verdict != Verdict::Keep {
            give(verdict, &octets[range]);
            continue;
        }
        let length = range.len();
        if range.start != kept {
            // Only the last datagram may be shorter than the others, and it stays the last.
            octets.copy_within(range, kept);
        }
        kept += length;
    }
    kept
}

/// Shares datagrams out, run by run.
pub(super) fn share<V: PartialEq>(
    octets: &[u8],
    stride: usize,
    mut judge: impl FnMut(&[u8]) -> V,
    mut each: impl FnMut(V, Range<usize>),
) {
    let mut runs = Runs::new(stride);
    while let Some((verdict, range)) = runs.next(octets, &mut judge) {
        each(verdict, range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams of three octets (the last may be shorter); the first octet of each says whose it is: 0 is kept, 1 to 9 are
    /// workers', the rest a peer's.
    fn whose(datagram: &[u8]) -> Verdict {
        match datagram[0] {
            0 => Verdict::Keep,
            worker @ 1..=9 => Verdict::Worker(worker.into()),
            peer => Verdict::Peer(ServerId::try_from(&[peer; 8][..]).unwrap()),
        }
    }

    #[test]
    fn what_is_given_away_and_what_is_kept() {
        type Case = (&'static [u8], &'static [u8], &'static [&'static [u8]]);
        let cases: [Case; 8] = [
            (&[], &[], &[]),
            (&[0, 1, 2], &[0, 1, 2], &[]),
            (&[0, 1], &[0, 1], &[]),
            (&[1, 7, 7], &[], &[&[1, 7, 7]]),
            (&[0, 1, 1, 0, 2, 2, 0, 3], &[0, 1, 1, 0, 2, 2, 0, 3], &[]),
            (&[1, 7, 7, 0, 1, 1, 1, 8, 8, 0, 2], &[0, 1, 1, 0, 2], &[&[1, 7, 7], &[1, 8, 8]]),
            (
                &[1, 7, 7, 1, 8, 8, 2, 9, 9, 20, 0, 0, 20, 1],
                &[],
                &[&[1, 7, 7, 1, 8, 8], &[2, 9, 9], &[20, 0, 0, 20, 1]],
            ),
            (&[0, 1, 1, 20, 7, 7, 0, 2, 2, 0, 3, 3, 1], &[0, 1, 1, 0, 2, 2, 0, 3, 3], &[&[20, 7, 7], &[1]]),
        ];
        for (octets, kept, given) in cases {
            let mut buffer = octets.to_vec();
            let mut gone: Vec<Vec<u8>> = Vec::new();
            let length = sift(&mut buffer, 3, whose, |_, run| gone.push(run.to_vec()));
            assert_eq!(&buffer[..length], kept, "{octets:?}");
            assert_eq!(gone, given, "{octets:?}");

            let mut shared = Vec::new();
            share(octets, 3, whose, |_, range| shared.extend_from_slice(&octets[range]));
            assert_eq!(shared, octets, "sharing out loses nothing");
        }
    }

    #[test]
    fn each_datagram_is_judged_once() {
        let mut judged = 0;
        let octets = [0, 1, 2, 1, 1, 2, 0, 1, 2, 20, 1, 2, 1, 1, 2];
        let judge = |datagram: &[u8]| {
            judged += 1;
            whose(datagram)
        };
        sift(&mut octets.clone(), 3, judge, |_, _| {});
        assert_eq!(judged, 5);
        // A stride that the kernel never gives ends all the same.
        sift(&mut octets.clone(), 0, |_| Verdict::Keep, |_, _| {});
    }
}
