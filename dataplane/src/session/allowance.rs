//! What QUIC lets a peer have under way on one connection: it begins low, because quinn allots memory for every stream that it
//! allows, and grows with every session.
//!
//! Owns the sums. What a session may open is its relay's to hold; this is only so that QUIC is not in its way, nor lets a
//! peer without flow control for sessions open many more.

use std::sync::{Arc, Mutex, PoisonError};

use quinn::VarInt;

use super::MAX_DATA;

/// What one connection allows without any session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// Streams of requests, or none where the peer sends none.
    pub(crate) bidi: u32,
    /// Control streams and the like.
    pub(crate) uni: u32,
    /// Octets that were sent and not read, on all streams.
    pub(crate) window: u32,
}

/// The allowance of one connection.
pub(crate) struct Allowance {
    quic: quinn::Connection,
    sums: Mutex<Sums>,
}

struct Sums {
    base: Base,
    /// Of each kind, for all sessions.
    streams: u32,
    sessions: u32,
}

impl Allowance {
    /// For a connection that was set up with `base`.
    pub(crate) fn new(quic: quinn::Connection, base: Base) -> Arc<Self> {
        Arc::new(Self { quic, sums: Mutex::new(Sums { base, streams: 0, sessions: 0 }) })
    }

    /// Allows so many requests from now on.
    pub(crate) fn set_requests(&self, bidi: u32) {
        self.change(|sums| sums.base.bidi = bidi);
    }

    /// Allows so many streams of each kind more, and a session's octets, until the grant is dropped.
    pub(crate) fn grant(self: &Arc<Self>, streams: u32) -> Grant {
        self.change(|sums| {
            sums.streams += streams;
            sums.sessions += 1;
        });
        Grant { allowance: Arc::clone(self), streams }
    }

    fn change(&self, change: impl FnOnce(&mut Sums)) {
        // Plain numbers, changed by single assignments: they are whole whatever panicked.
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sums);
        let Sums { base, streams, sessions } = *sums;
        self.quic.set_max_concurrent_bi_streams((base.bidi + streams).into());
        self.quic.set_max_concurrent_uni_streams((base.uni + streams).into());
        let window = u64::from(base.window).saturating_add(MAX_DATA.saturating_mul(sessions.into()));
        self.quic.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
    }
}

/// What one session adds.
pub(crate) struct Grant {
    allowance: Arc<Allowance>,
    streams: u32,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.allowance.change(|sums| {
            sums.streams -= self.streams;
            sums.sessions -= 1;
        });
    }
}
