//! How many requests a multiplexed connection has open, and since when it has none.
//!
//! Shared by HTTP/2 and HTTP/3: both close a connection that nobody uses, and both say GOAWAY first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::IDLE_TIMEOUT;

/// The open requests and tunnels of one connection.
#[derive(Clone, Default)]
pub(super) struct OpenStreams(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: AtomicUsize,
    changed: Notify,
}

/// One open request or tunnel.
pub(crate) struct StreamGuard(Arc<Shared>);

impl OpenStreams {
    pub(super) fn enter(&self) -> StreamGuard {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        StreamGuard(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Returns when there has been no open request for [`IDLE_TIMEOUT`]. Cancel-safe; a cancelled call starts over.
    pub(super) async fn idle(&self) {
        let mut deadline = Instant::now() + IDLE_TIMEOUT;
        loop {
            if self.count() > 0 {
                self.0.changed.notified().await;
                deadline = Instant::now() + IDLE_TIMEOUT;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                () = self.0.changed.notified() => {}
            }
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.changed.notify_one();
        }
    }
}
