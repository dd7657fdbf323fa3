//! Clients that change their address: noticed by looking at each connection now and then, since nobody tells.
//!
//! Owns the list of a worker's connections for that purpose, and how often each is looked at. Keeps none of them alive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::metrics::{Change, WorkerMetrics};

/// How often some of the connections are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// In how many looks each connection has its turn: of 50,000 connections, 5,000 take a look half a millisecond.
const LOOKS: usize = 10;

/// A connection that is looked at for as long as this lives.
pub(crate) struct Watched {
    connection: quinn::Connection,
    last: Mutex<SocketAddr>,
    metrics: Arc<WorkerMetrics>,
}

impl Watched {
    fn look(&self) {
        let now = self.connection.remote_address();
        let last = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), now);
        if let Some(change) = change(last, now) {
            self.metrics.quic_address_changes_total(change).inc();
        }
    }
}

impl Drop for Watched {
    /// What short connections did is seen as well.
    fn drop(&mut self) {
        self.look();
    }
}

/// What is to be said of two addresses.
fn change(last: SocketAddr, now: SocketAddr) -> Option<Change> {
    match (last.ip() == now.ip(), last.port() == now.port()) {
        (true, true) => None,
        // What a NAT does that has forgotten a flow (RFC 9000 section 9.3.1 calls it a rebinding).
        (true, false) => Some(Change::Port),
        (false, _) => Some(Change::Address),
    }
}

/// The connections of a worker.
#[derive(Default)]
pub(crate) struct Paths(Mutex<List>);

#[derive(Default)]
struct List {
    connections: Vec<Weak<Watched>>,
    next: usize,
}

impl Paths {
    /// Looks at a connection from now on, until what is returned is dropped.
    pub(crate) fn watch(&self, connection: quinn::Connection, metrics: Arc<WorkerMetrics>) -> Arc<Watched> {
        let last = Mutex::new(connection.remote_address());
        let watched = Arc::new(Watched { connection, last, metrics });
        self.list().connections.push(Arc::downgrade(&watched));
        watched
    }

    /// Looks at those whose turn it is.
    pub(crate) fn look(&self) {
        let mut list = self.list();
        let List { connections, next } = &mut *list;
        for _ in 0..connections.len().div_ceil(LOOKS) {
            if *next >= connections.len() {
                *next = 0;
            }
            match connections.get(*next).map(Weak::upgrade) {
                Some(Some(watched)) => {
                    watched.look();
                    *next += 1;
                }
                Some(None) => drop(connections.swap_remove(*next)),
                None => return,
            }
        }
    }

    fn list(&self) -> std::sync::MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes() {
        let cases = [
            ("192.0.2.1:1000", "192.0.2.1:1000", None),
            ("192.0.2.1:1000", "192.0.2.1:1001", Some(Change::Port)),
            ("192.0.2.1:1000", "192.0.2.2:1000", Some(Change::Address)),
            ("192.0.2.1:1000", "[2001:db8::1]:1000", Some(Change::Address)),
        ];
        for (last, now, expected) in cases {
            assert_eq!(change(last.parse().unwrap(), now.parse().unwrap()), expected, "{last} to {now}");
        }
    }
}
