//! Datagrams of a session on their way to the other side.
//!
//! Owns no queue: a datagram is taken from the session where it waits when QUIC takes the one before without dropping any, so
//! that what comes faster than it goes waits in that session's bounded queue, whose oldest one makes room.

use headrace_http3::webtransport::{DatagramError, Session};

use super::running::Running;
use crate::metrics::{DatagramDrop, SessionSide};

/// The datagrams of one side.
pub(super) struct Datagrams<'a> {
    running: &'a Running,
    from: &'a Session,
    side: SessionSide,
    counted: u64,
}

impl<'a> Datagrams<'a> {
    pub(super) fn new(running: &'a Running, from: &'a Session, side: SessionSide) -> Self {
        Self { running, from, side, counted: 0 }
    }

    /// The next one that may pass; `None` when the session is over.
    pub(super) async fn next(&mut self) -> Option<bytes::Bytes> {
        loop {
            let datagram = self.from.recv_datagram().await.ok()?;
            self.count_drops();
            if self.running.pass(self.side, datagram.len()) {
                return Some(datagram);
            }
            // A flood of what may not pass must not keep the thread.
            tokio::task::consume_budget().await;
        }
    }

    /// Passes all of them on, until one of the sessions is over.
    pub(super) async fn carry(mut self, to: &Session) {
        while let Some(datagram) = self.next().await {
            match to.send_datagram_wait(&datagram).await {
                Ok(()) => self.running.passed(self.side, datagram.len()),
                Err(DatagramError::TooLarge | DatagramError::Unsupported) => {
                    self.running.dropped(DatagramDrop::TooLarge, 1);
                }
                Err(DatagramError::Ended(_)) => return,
            }
            tokio::task::consume_budget().await;
        }
    }

    fn count_drops(&mut self) {
        let dropped = self.from.dropped_datagrams();
        self.running.dropped(DatagramDrop::Queue, dropped.saturating_sub(self.counted));
        self.counted = dropped;
    }
}

impl Drop for Datagrams<'_> {
    fn drop(&mut self) {
        self.count_drops();
    }
}
