//! The connections to backends that one worker keeps open between requests.
//!
//! Owns which are kept, for how long and how many. Never dials. Only its own worker's thread touches it, so the locks are
//! never contended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use crate::body::RequestBody;

pub(super) type Http1 = http1::SendRequest<RequestBody>;
type H2c = http2::SendRequest<RequestBody>;

/// Shorter than the keep-alive time of most servers, so that a request seldom meets a connection which is just closing.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Idle connections per endpoint and worker; a burst above it dials again.
const MAX_IDLE_PER_ENDPOINT: usize = 64;

/// Idle HTTP/1.1 connections and live HTTP/2 ones, by endpoint.
#[derive(Default)]
pub(crate) struct Pool {
    http1: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    h2c: Mutex<HashMap<SocketAddr, H2c>>,
}

struct Idle {
    sender: Http1,
    since: Instant,
}

impl Pool {
    /// The most recently used idle connection that is ready for a request.
    pub(super) fn take_http1(&self, endpoint: SocketAddr) -> Option<Http1> {
        let mut idle = lock(&self.http1);
        let kept = idle.get_mut(&endpoint)?;
        kept.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < MAX_IDLE);
        let newest = kept.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(kept.swap_remove(newest).sender)
    }

    fn keep_http1(&self, endpoint: SocketAddr, sender: Http1) {
        let mut idle = lock(&self.http1);
        let kept = idle.entry(endpoint).or_default();
        if kept.len() < MAX_IDLE_PER_ENDPOINT && !sender.is_closed() {
            kept.push(Idle { sender, since: Instant::now() });
        }
    }

    pub(super) fn h2c(&self, endpoint: SocketAddr) -> Option<H2c> {
        let mut live = lock(&self.h2c);
        let sender = live.get(&endpoint)?;
        if sender.is_closed() {
            live.remove(&endpoint);
            return None;
        }
        Some(sender.clone())
    }

    pub(super) fn keep_h2c(&self, endpoint: SocketAddr, sender: H2c) {
        lock(&self.h2c).insert(endpoint, sender);
    }

    /// Lets go of what is closed or has been idle for too long, and of endpoints that no table names any more.
    pub(crate) fn sweep(&self, named: impl Fn(&SocketAddr) -> bool) {
        lock(&self.http1).retain(|endpoint, kept| {
            kept.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < MAX_IDLE);
            named(endpoint) && !kept.is_empty()
        });
        lock(&self.h2c).retain(|endpoint, sender| named(endpoint) && !sender.is_closed());
    }

    /// How many connections are kept.
    pub(crate) fn len(&self) -> usize {
        lock(&self.http1).values().map(Vec::len).sum::<usize>() + lock(&self.h2c).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere on this thread leaves the maps whole: they are changed by single calls only.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection on loan to one response: given back at the response's end, closed when dropped before it.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    endpoint: SocketAddr,
    sender: Http1,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, endpoint: SocketAddr, sender: Http1) -> Self {
        Self { pool: Arc::clone(pool), endpoint, sender }
    }

    pub(crate) fn give_back(self) {
        self.pool.keep_http1(self.endpoint, self.sender);
    }
}
