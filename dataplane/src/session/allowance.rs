//! What QUIC lets a peer have under way on one connection: it begins low, because quinn allots memory for every stream that it
//! allows, and grows with the sessions and with the streams that they use.
//!
//! Owns the sums. What a session may open is its relay's to hold; this is only so that QUIC is not in its way, nor lets a
//! peer without flow control for sessions open many more.

use std::sync::{Arc, Mutex, PoisonError};

use quinn::VarInt;

use super::MAX_DATA;
use crate::metrics::StreamKind;

/// What one connection allows without any session, and how sessions add to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// Streams of requests, or none where the peer sends none.
    pub(crate) bidi: u32,
    /// Control streams and the like.
    pub(crate) uni: u32,
    /// Octets that were sent and not read, on all streams.
    pub(crate) window: u32,
    /// How many streams of each kind the sessions may open beyond those that they have open, as far as their own limits
    /// let them: what a peer can open before it hears of more.
    pub(crate) ahead: u32,
}

/// The allowance of one connection.
pub(crate) struct Allowance {
    quic: quinn::Connection,
    sums: Mutex<Sums>,
}

/// What all sessions of a connection come to.
struct Sums {
    base: Base,
    sessions: u32,
    /// Streams of each kind that the sessions may have open by their own limits.
    most: u32,
    /// By kind, as below.
    open: [u32; KINDS],
    /// What QUIC was told beyond the base. Never lowered by less than a session's end: quinn keeps the memory anyway.
    told: [u32; KINDS],
}

const KINDS: usize = 2;

impl Sums {
    /// Brings what is told up to what is open and ahead. Whether anything changed.
    fn tell(&mut self) -> bool {
        let before = self.told;
        for (told, open) in self.told.iter_mut().zip(self.open) {
            *told = (*told).max(open.saturating_add(self.base.ahead)).min(self.most);
        }
        self.told != before
    }

    /// Whether there is more to tell, and half of what may be open ahead is used up: so QUIC is told once for many streams.
    fn is_short(&self, kind: StreamKind) -> bool {
        let told = self.told[kind as usize];
        told < self.most && self.open[kind as usize] + self.base.ahead.div_ceil(2) > told
    }
}

impl Allowance {
    /// For a connection that was set up with `base`.
    pub(crate) fn new(quic: quinn::Connection, base: Base) -> Arc<Self> {
        Arc::new(Self {
            quic,
            sums: Mutex::new(Sums { base, sessions: 0, most: 0, open: [0; KINDS], told: [0; KINDS] }),
        })
    }

    /// Allows so many requests from now on.
    pub(crate) fn set_requests(&self, bidi: u32) {
        self.change(|sums| {
            sums.base.bidi = bidi;
            true
        });
    }

    /// Allows a session's octets more, and so many streams of each kind as it comes to use them, until the grant is dropped.
    pub(crate) fn grant(self: &Arc<Self>, streams: u32) -> Arc<Grant> {
        self.change(|sums| {
            sums.most += streams;
            sums.sessions += 1;
            sums.tell();
            true
        });
        Arc::new(Grant { allowance: Arc::clone(self), streams })
    }

    /// QUIC is told where the change says so.
    fn change(&self, change: impl FnOnce(&mut Sums) -> bool) {
        // Plain numbers, changed by single assignments: they are whole whatever panicked.
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut sums) {
            return;
        }
        let Sums { base, sessions, told: [bidi, uni], .. } = *sums;
        self.quic.set_max_concurrent_bi_streams((base.bidi + bidi).into());
        self.quic.set_max_concurrent_uni_streams((base.uni + uni).into());
        let window = u64::from(base.window).saturating_add(MAX_DATA.saturating_mul(sessions.into()));
        self.quic.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
    }
}

/// What one session adds.
pub(crate) struct Grant {
    allowance: Arc<Allowance>,
    streams: u32,
}

impl Grant {
    /// The session's peer has opened a stream.
    pub(super) fn opened(&self, kind: StreamKind) {
        self.allowance.change(|sums| {
            sums.open[kind as usize] += 1;
            sums.is_short(kind) && sums.tell()
        });
    }

    /// A stream that was counted is done with.
    pub(super) fn closed(&self, kind: StreamKind) {
        self.allowance.change(|sums| {
            sums.open[kind as usize] -= 1;
            false
        });
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.allowance.change(|sums| {
            sums.most -= self.streams;
            sums.sessions -= 1;
            sums.tell();
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIDI: StreamKind = StreamKind::Bidirectional;

    #[test]
    fn what_is_told_runs_ahead_of_what_is_open_up_to_the_most() {
        let base = Base { bidi: 0, uni: 0, window: 0, ahead: 100 };
        let mut sums = Sums { base, sessions: 0, most: 0, open: [0; KINDS], told: [0; KINDS] };
        let mut told = Vec::new();
        // Streams that the sessions may have, and that they have open.
        for (most, open) in [(100, 0), (1_000, 0), (1_000, 50), (1_000, 51), (1_000, 990), (1_000, 3), (200, 3), (0, 0)]
        {
            sums.most = most;
            sums.open[BIDI as usize] = open;
            let short = sums.is_short(BIDI);
            told.push((short, sums.tell(), sums.told[BIDI as usize]));
        }
        let expected = [
            (true, true, 100),
            (false, false, 100),
            (false, true, 150),
            (false, true, 151),
            (true, true, 1_000),
            (false, false, 1_000),
            (false, true, 200),
            (false, true, 0),
        ];
        assert_eq!(told, expected);
    }
}
