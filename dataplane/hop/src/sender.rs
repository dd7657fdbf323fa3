//! What one worker sends.
//!
//! Owns the worker's count and the keys to its peers. Knows nothing of addresses, and does not send.

use std::collections::BTreeMap;
use std::time::Duration;

use headrace_cid::{ServerId, Worker};

use crate::bucket::Bucket;
use crate::header::{COUNT_BITS, Envelope, Header, MAX_DATAGRAM, OVERHEAD};
use crate::key::MacKey;
use crate::{Boot, Membership, Pod, Secret};

/// Seals a worker's packets. A worker has one from its start to its end: two would give the same numbers.
#[derive(Debug)]
pub struct Sender {
    boot: Boot,
    worker: u8,
    /// Packets so far, over all peers and secrets: a peer that goes and comes back finds no number again.
    count: u64,
    membership: Option<(Pod, Secret)>,
    channels: BTreeMap<ServerId, Channel>,
}

#[derive(Debug)]
struct Channel {
    peer: Pod,
    /// Made with the first packet: most workers never forward to most peers.
    key: Option<MacKey>,
    forwards: Bucket,
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// There is no secret, or nobody with that server ID.
    #[error("it is for no peer")]
    NoPeer,
    /// There is no datagram, or a longer one than fits.
    #[error("a datagram of it is empty or too long")]
    Length,
    /// The worker has sent as much as it may in its life.
    #[error("all numbers are used up")]
    Exhausted,
}

impl Unsealed {
    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Unsealed::NoPeer => "no_peer",
            Unsealed::Length => "length",
            Unsealed::Exhausted => "exhausted",
        }
    }
}

impl Sender {
    /// Of one worker of a process, which has one boot. It has no peers yet.
    pub fn new(boot: Boot, worker: Worker) -> Self {
        let worker = u8::try_from(worker.index()).expect("a process has at most 128 workers");
        Self { boot, worker, count: 0, membership: None, channels: BTreeMap::new() }
    }

    /// From here on, with these. Keys of those that were there before are kept.
    pub fn adopt(&mut self, membership: &Membership) {
        let after = membership.secrets().first().map(|secret| (membership.own, secret.clone()));
        let is_same = self.membership == after;
        self.membership = after;
        let mut before = std::mem::take(&mut self.channels);
        let channels = membership.others().map(|peer| {
            let kept = before.remove(&peer.server).filter(|channel| channel.peer == *peer);
            let mut channel = kept.unwrap_or(Channel { peer: *peer, key: None, forwards: Bucket::full() });
            if !is_same {
                channel.key = None;
            }
            (peer.server, channel)
        });
        self.channels = channels.collect();
    }

    /// Whether somebody with this server ID can be sent to.
    pub fn reaches(&self, peer: &ServerId) -> bool {
        self.membership.is_some() && self.channels.contains_key(peer)
    }

    /// How many of so many datagrams may be forwarded to a peer now. What is said is used up.
    pub fn admit(&mut self, peer: &ServerId, datagrams: usize, now: Duration) -> usize {
        self.channels.get_mut(peer).map_or(0, |channel| channel.forwards.take(datagrams, now))
    }

    /// Appends a packet for each of a batch's datagrams, which are `segment` octets long but for the last, and says how
    /// long each packet is but for the last. Where nothing is sent, nothing is appended.
    ///
    /// # Errors
    /// See [`Unsealed`].
    pub fn seal(
        &mut self,
        to: &ServerId,
        envelope: &Envelope,
        datagrams: &[u8],
        segment: usize,
        packets: &mut Vec<u8>,
    ) -> Result<usize, Unsealed> {
        let Some((own, secret)) = &self.membership else { return Err(Unsealed::NoPeer) };
        let channel = self.channels.get_mut(to).ok_or(Unsealed::NoPeer)?;
        let segment = segment.min(datagrams.len());
        if segment == 0 || segment > MAX_DATAGRAM {
            return Err(Unsealed::Length);
        }
        let number = datagrams.len().div_ceil(segment);
        if self.count + number as u64 >= 1 << COUNT_BITS {
            return Err(Unsealed::Exhausted);
        }
        let peer = &channel.peer;
        let key = channel.key.get_or_insert_with(|| MacKey::derive(secret, own, peer, &self.boot));
        packets.reserve(datagrams.len() + number * OVERHEAD);
        let (secret, sender, boot, worker) = (secret.id(), own.server, self.boot, self.worker);
        for datagram in datagrams.chunks(segment) {
            let header = Header { envelope: *envelope, secret, sender, boot, worker, count: self.count };
            self.count += 1;
            let start = packets.len();
            packets.extend_from_slice(&header.encode());
            packets.extend_from_slice(datagram);
            let tag = key.tag(header.number(), &packets[start..]);
            packets.extend_from_slice(&tag);
        }
        Ok(segment + OVERHEAD)
    }
}
