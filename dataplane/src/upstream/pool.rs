//! The connections to backends that one worker keeps open between requests.
//!
//! Owns which are kept, for how long and how many. Never dials. Only its own worker's thread touches it, so the locks are
//! never contended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use rustls::ClientConfig;

use super::http3::Http3Pool;
use super::tls::{ClientTls, TlsId};
use crate::body::RequestBody;

pub(super) type Http1 = http1::SendRequest<RequestBody>;
type Http2 = http2::SendRequest<RequestBody>;

/// Shorter than the keep-alive time of most servers, so that a request seldom meets a connection which is just closing.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Idle connections per endpoint and worker; a burst above it dials again.
const MAX_IDLE_PER_ENDPOINT: usize = 64;

/// Where a connection leads, and as whom its peer has proved itself: a connection that was verified under one identity never
/// carries a request that asks for another, nor for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) endpoint: SocketAddr,
    /// Absent in clear text.
    pub(crate) tls: Option<TlsId>,
}

/// Idle HTTP/1.1 connections and live HTTP/2 and HTTP/3 ones, by place.
#[derive(Default)]
pub(crate) struct Pool {
    http1: Mutex<HashMap<Place, Vec<Idle>>>,
    http2: Mutex<HashMap<Place, Http2>>,
    /// With the sessions that can be resumed.
    tls: Mutex<HashMap<Place, Arc<ClientConfig>>>,
    pub(super) http3: Http3Pool,
}

struct Idle {
    sender: Http1,
    since: Instant,
}

impl Pool {
    /// The most recently used idle connection that is ready for a request.
    pub(super) fn take_http1(&self, place: Place) -> Option<Http1> {
        let mut idle = lock(&self.http1);
        let kept = idle.get_mut(&place)?;
        kept.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < MAX_IDLE);
        let newest = kept.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(kept.swap_remove(newest).sender)
    }

    fn keep_http1(&self, place: Place, sender: Http1) {
        let mut idle = lock(&self.http1);
        let kept = idle.entry(place).or_default();
        if kept.len() < MAX_IDLE_PER_ENDPOINT && !sender.is_closed() {
            kept.push(Idle { sender, since: Instant::now() });
        }
    }

    /// The connection that all HTTP/2 requests to a place share.
    pub(super) fn http2(&self, place: Place) -> Option<Http2> {
        let mut live = lock(&self.http2);
        let sender = live.get(&place)?;
        if sender.is_closed() {
            live.remove(&place);
            return None;
        }
        Some(sender.clone())
    }

    pub(super) fn keep_http2(&self, place: Place, sender: Http2) {
        lock(&self.http2).insert(place, sender);
    }

    /// What a TLS handshake with a place needs.
    pub(super) fn config(&self, place: Place, tls: &ClientTls) -> Arc<ClientConfig> {
        Arc::clone(lock(&self.tls).entry(place).or_insert_with(|| tls.config()))
    }

    /// Lets go of what is closed or has been idle for too long, and of places that no table names any more.
    pub(crate) fn sweep(&self, named: impl Fn(&Place) -> bool) {
        lock(&self.http1).retain(|place, kept| {
            kept.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < MAX_IDLE);
            named(place) && !kept.is_empty()
        });
        lock(&self.http2).retain(|place, sender| named(place) && !sender.is_closed());
        lock(&self.tls).retain(|place, _| named(place));
        self.http3.sweep(named);
    }

    /// Ends what goes on by itself otherwise: connections over QUIC, which do not end with their socket.
    pub(crate) async fn close(&self) {
        self.http3.close().await;
    }

    /// How many connections are kept.
    pub(crate) fn len(&self) -> usize {
        lock(&self.http1).values().map(Vec::len).sum::<usize>() + lock(&self.http2).len() + self.http3.idle()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere on this thread leaves the maps whole: they are changed by single calls only.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection on loan to one response: given back at the response's end, closed when dropped before it.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    place: Place,
    sender: Http1,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, place: Place, sender: Http1) -> Self {
        Self { pool: Arc::clone(pool), place, sender }
    }

    pub(crate) fn give_back(self) {
        self.pool.keep_http1(self.place, self.sender);
    }
}
