//! Which worker of a process a packet belongs to, by one octet of its connection ID.
//!
//! Owns the rule, and the rule as a filter for the kernel ([`filter`](crate::filter)). Knows nothing of sockets and nothing
//! of what the octet means: workers draw IDs until it fits ([`Issuer`](crate::Issuer)).
//!
//! ```text
//!                    0        1              1 + k
//!  short header    │ 0.......│ destination ... octet k ... │ payload
//!
//!                    0        1         5      6              6 + k
//!  long header     │ 1.......│ version │ n    │ destination ... octet k ... │ ...
//!                                               where n is the length of our IDs, and otherwise:
//!                                                            13
//!                                             │ destination, octet 7 │ ...     chosen by the client, n ≥ 8
//! ```
//!
//! A client chooses the first destination ID itself, and all of its packets with that ID have to reach one worker: a
//! handshake of today's size takes two. The eighth octet is the last that every such ID has (RFC 9000 section 7.2), and is
//! as good as drawn. The bits below the first are not looked at: clients grease them (RFC 9287).

use crate::layout::{MAX_CID, MIN_CID};
use crate::packet::{LONG_CID, LONG_FORM, LONG_LENGTH, SHORT_CID};
use crate::{Config, ConnectionId, Form};

/// The most workers of a process: two of an octet's 256 values are left to each.
pub const MAX_WORKERS: usize = 128;

/// The octet of an ID of another length than ours by which its packets are steered: the last that every one has.
pub(crate) const FOREIGN_OCTET: usize = MIN_CID - 1;

/// How many workers a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers(u8);

impl Workers {
    /// From 1 to [`MAX_WORKERS`].
    pub fn new(count: usize) -> Option<Self> {
        (1..=MAX_WORKERS).contains(&count).then_some(Self(count as u8))
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// The one with this index.
    pub fn worker(self, index: usize) -> Option<Worker> {
        (index < self.get()).then_some(Worker { index: index as u8, workers: self })
    }

    /// Every one, in order.
    pub fn all(self) -> impl Iterator<Item = Worker> {
        (0..self.0).map(move |index| Worker { index, workers: self })
    }

    /// Whose an octet is.
    pub(crate) const fn of_octet(self, octet: u8) -> usize {
        (octet % self.0) as usize
    }
}

/// One worker of a process: the place of its socket in the group that shares a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    index: u8,
    workers: Workers,
}

impl Worker {
    /// From 0.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How many there are with it.
    pub const fn workers(self) -> Workers {
        self.workers
    }
}

/// The rule. It holds for as long as a process lives, since IDs that were issued must go on to fit.
///
/// Who watches and knows the number of workers learns from the octet which worker an ID belongs to, and no more of an
/// encrypted ID. That makes two IDs of a process a little easier to link, by a factor of at most the number of workers,
/// and is the price of a filter that needs no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering {
    pub(crate) workers: Workers,
    pub(crate) cid_len: u8,
    pub(crate) octet: u8,
}

/// A rule that would not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASteering {
    /// IDs are never this long.
    #[error("connection IDs have 8 to 20 octets, and {0} are no such number")]
    Length(usize),
    /// The octet is the first one, which says the configuration, or behind the last.
    #[error("octet {0} of a connection ID is not drawn")]
    Octet(usize),
}

impl Steering {
    /// By the octet with this index, counted from the start of the ID, where IDs have this length.
    pub fn new(cid_len: usize, octet: usize, workers: Workers) -> Result<Self, NotASteering> {
        if !(MIN_CID..=MAX_CID).contains(&cid_len) {
            return Err(NotASteering::Length(cid_len));
        }
        if !(1..cid_len).contains(&octet) {
            return Err(NotASteering::Octet(octet));
        }
        Ok(Self { workers, cid_len: cid_len as u8, octet: octet as u8 })
    }

    /// By the last octet, which is part of the nonce in every clear layout and of the cipher text in every other, so that
    /// it works whatever configurations come while the process lives.
    pub fn by_last_octet(cid_len: usize, workers: Workers) -> Result<Self, NotASteering> {
        Self::new(cid_len, cid_len.saturating_sub(1), workers)
    }

    /// How many workers there are.
    pub const fn workers(&self) -> Workers {
        self.workers
    }

    /// How long our IDs are.
    pub const fn cid_len(&self) -> usize {
        self.cid_len as usize
    }

    /// The octet of our IDs that decides.
    pub const fn octet(&self) -> usize {
        self.octet as usize
    }

    /// Whether IDs of a configuration differ in the octet at all: with the server ID in clear text they might not.
    pub fn suits(&self, config: &Config) -> bool {
        let layout = config.layout();
        let drawn = config.form() == Form::Encrypted || self.octet() > layout.server_id_len();
        layout.cid_len() == self.cid_len() && (drawn || self.workers.get() == 1)
    }

    /// The worker of a datagram's first packet: what the kernel's filter says too. `None` is a packet without the octet;
    /// the kernel then takes any worker.
    pub fn worker_of(&self, packet: &[u8]) -> Option<usize> {
        self.octet_of(packet).map(|octet| self.workers.of_octet(octet))
    }

    /// The octet by which a datagram's first packet is steered. Who steers by the same place of the ID and has another
    /// number of workers finds their own by it.
    pub fn octet_of(&self, packet: &[u8]) -> Option<u8> {
        if packet.first()? & LONG_FORM == 0 {
            return packet.get(SHORT_CID + self.octet()).copied();
        }
        match usize::from(*packet.get(LONG_LENGTH)?) {
            length if length == self.cid_len() => packet.get(LONG_CID..LONG_CID + length).map(|cid| cid[self.octet()]),
            length if length >= MIN_CID => packet.get(LONG_CID + FOREIGN_OCTET).copied(),
            _ => None,
        }
    }

    /// The worker of packets with a destination ID, whatever their form.
    pub fn worker_of_cid(&self, cid: &ConnectionId) -> usize {
        let octets = cid.as_slice();
        let octet = if octets.len() == self.cid_len() { self.octet() } else { FOREIGN_OCTET };
        self.workers.of_octet(octets[octet])
    }

    /// Makes the octet of an ID this worker's, where it may have any value. Every value of its own stays as likely.
    pub(crate) fn bend(&self, octet: &mut u8, worker: Worker) {
        let own = u16::from(*octet) - (u16::from(*octet) % u16::from(self.workers.0)) + u16::from(worker.index);
        *octet = u8::try_from(own).unwrap_or_else(|_| (own - u16::from(self.workers.0)) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigId, Key, Layout, LowBits};

    fn steering(cid_len: usize, octet: usize, workers: usize) -> Steering {
        Steering::new(cid_len, octet, Workers::new(workers).unwrap()).unwrap()
    }

    #[test]
    fn rules_that_work_and_that_do_not() {
        let workers = Workers::new(4).unwrap();
        assert_eq!(Steering::new(7, 1, workers), Err(NotASteering::Length(7)));
        assert_eq!(Steering::new(21, 1, workers), Err(NotASteering::Length(21)));
        assert_eq!(Steering::new(17, 0, workers), Err(NotASteering::Octet(0)));
        assert_eq!(Steering::new(17, 17, workers), Err(NotASteering::Octet(17)));
        assert_eq!(Steering::by_last_octet(0, workers), Err(NotASteering::Length(0)));
        assert_eq!(Steering::by_last_octet(17, workers).unwrap().octet(), 16);
        assert!(Workers::new(0).is_none() && Workers::new(129).is_none());
        assert!(workers.worker(4).is_none());
        assert_eq!(workers.worker(3).unwrap().index(), 3);
    }

    #[test]
    fn octets_that_are_drawn() {
        let key = || Key::from([1; 16]);
        let clear = Config::aws_nlb(key());
        let encrypted = Config::encrypted(ConfigId::FIRST, Layout::new(10, 5).unwrap(), LowBits::Length, key());
        let longer = Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Length, key());
        let cases = [
            (steering(16, 8, 4), &clear, false),
            (steering(16, 9, 4), &clear, true),
            (steering(16, 15, 4), &clear, true),
            (steering(16, 1, 1), &clear, true),
            (steering(16, 1, 4), &encrypted, true),
            (steering(16, 1, 4), &longer, false),
        ];
        for (steering, config, expected) in cases {
            assert_eq!(steering.suits(config), expected, "{steering:?} and {config:?}");
        }
    }

    #[test]
    fn packets() {
        let counting: Vec<u8> = (0..64).collect();
        let with = |first: u8, length: u8| {
            let mut packet = counting.clone();
            (packet[0], packet[5]) = (first, length);
            packet
        };
        let rule = steering(17, 16, 7);
        let cases = [
            ("short", with(0x40, 0), Some(17 % 7)),
            ("short and greased", with(0x00, 0), Some(17 % 7)),
            ("long with our length", with(0xc0, 17), Some(22 % 7)),
            ("long and greased", with(0x80, 17), Some(22 % 7)),
            ("long from a client", with(0xc0, 8), Some(13 % 7)),
            ("long from a client, longest", with(0xc0, 20), Some(13 % 7)),
            ("long of a later version", with(0xc0, 255), Some(13 % 7)),
            ("long and too short an ID", with(0xc0, 7), None),
            ("long without an ID", with(0xc0, 0), None),
        ];
        for (name, packet, expected) in cases {
            assert_eq!(rule.worker_of(&packet), expected, "{name}");
        }
        for (name, packet, shortest) in
            [("short", with(0x40, 0), 18), ("our", with(0xc0, 17), 23), ("client's", with(0xc0, 8), 14)]
        {
            for length in 0..packet.len() {
                assert_eq!(rule.worker_of(&packet[..length]).is_some(), length >= shortest, "{name} cut to {length}");
            }
        }
    }

    #[test]
    fn bending_reaches_every_value_of_a_worker_alone() {
        for count in 1..=MAX_WORKERS {
            let rule = steering(17, 16, count);
            for worker in rule.workers().all() {
                for octet in 0..=u8::MAX {
                    let mut bent = octet;
                    rule.bend(&mut bent, worker);
                    assert_eq!(usize::from(bent) % count, worker.index());
                    assert!(bent.abs_diff(octet) < count as u8);
                    assert!(usize::from(octet) % count != worker.index() || bent == octet);
                }
            }
        }
    }
}
