//! Who takes new connections in the place of a pod that is to go.
//!
//! Pure. Owns what the first packets of a connection are, which of them are of handshakes that began here, and the choice of
//! an heir. Knows nothing of how a pod comes to go.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use headrace_cid::{Header, ServerId};
use headrace_table::wire::Standing;

use super::Membership;

/// First IDs that are remembered in each of two halves: a handshake's packets come within seconds, and no endpoint begins
/// more in that time.
const HALF: usize = 4096;

/// QUIC version 1 (RFC 9000), and the drafts that quinn serves as well: in all of them the same bits say what a packet is.
const VERSION_1: u32 = 1;
const DRAFTS: std::ops::RangeInclusive<u32> = 0xff00_001d..=0xff00_0022;

/// The bits of a long header's first octet that say what it is: Initial and 0-RTT (RFC 9000 sections 17.2.2 and 17.2.3).
const TYPE_BITS: u8 = 0x30;
const INITIAL: u8 = 0x00;
const ZERO_RTT: u8 = 0x10;

/// The destination ID of a packet by which a client begins. A version that is not known begins nothing: whoever gets it
/// says which are.
pub(crate) fn first_cid(datagram: &[u8]) -> Option<&[u8]> {
    let Header::Long { version, cid } = Header::of(datagram)? else { return None };
    let is_known = version == VERSION_1 || DRAFTS.contains(&version);
    (is_known && matches!(datagram[0] & TYPE_BITS, INITIAL | ZERO_RTT)).then_some(cid)
}

fn hash(parts: &[&[u8]]) -> u64 {
    // The same for all workers of the process, and nobody gains by foreseeing it.
    BuildHasherDefault::<DefaultHasher>::new().hash_one(parts)
}

/// The peer that is to take a connection which begins with this ID: always the same one as long as it lives, and each as
/// likely as the others (rendezvous hashing).
pub(crate) fn heir(membership: &Membership, cid: &[u8]) -> Option<ServerId> {
    let able = membership.peers.iter().filter(|(_, peer)| peer.standing == Standing::Live && peer.hop.is_some());
    able.max_by_key(|(server, _)| hash(&[server.as_slice(), cid])).map(|(server, _)| *server)
}

/// First IDs of handshakes that began here.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Begun {
    /// It begins here.
    pub(crate) fn note(&mut self, cid: &[u8]) {
        let cid = hash(&[cid]);
        if self.young.len() >= HALF && !self.young.contains(&cid) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(cid);
    }

    /// Whether it began here.
    pub(crate) fn contains(&self, cid: &[u8]) -> bool {
        let cid = hash(&[cid]);
        self.young.contains(&cid) || self.old.contains(&cid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_a_connection() {
        let long = |first: u8, version: u32| {
            let mut packet = vec![first];
            packet.extend_from_slice(&version.to_be_bytes());
            packet.extend_from_slice(&[8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
            packet
        };
        let cases = [
            (long(0xc0, 1), true),
            (long(0xd3, 1), true),
            // The fixed bit may be greased (RFC 9287).
            (long(0x80, 1), true),
            (long(0xc0, 0xff00_001d), true),
            (long(0xe0, 1), false),
            (long(0xf0, 1), false),
            (long(0xc0, 0x6b33_43cf), false),
            (long(0xc0, 0), false),
            (long(0x40, 1), false),
            (vec![0xc0, 0, 0, 0, 1, 8, 1], false),
            (Vec::new(), false),
        ];
        for (packet, begins) in cases {
            let cid = first_cid(&packet);
            assert_eq!(cid, begins.then_some(&[1, 2, 3, 4, 5, 6, 7, 8][..]), "{packet:02x?}");
        }
    }

    #[test]
    fn what_began_here_is_remembered_within_a_bound() {
        let mut begun = Begun::default();
        begun.note(b"first");
        assert!(begun.contains(b"first") && !begun.contains(b"other"));
        for number in 0..HALF as u32 {
            begun.note(&number.to_be_bytes());
        }
        assert!(begun.contains(b"first"), "it is in the older half");
        for number in 0..10 * HALF as u32 {
            begun.note(&number.to_be_bytes());
            assert!(begun.young.len() <= HALF && begun.old.len() <= HALF);
        }
        assert!(!begun.contains(b"first"));
    }
}
