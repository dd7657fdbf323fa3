//! One request, tunnel or session, from its first octet to its last: what is counted and what the access log says of it.
//!
//! Owns the bookkeeping only. Whatever part of the exchange lives longest holds it; when that is dropped, the exchange is
//! counted and logged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use headrace_table::{Route, Rule};
use http::{HeaderMap, Method, StatusCode};

use crate::access_log::Entry;
use crate::downstream::Downstream;
use crate::metrics::{Class, Direction, ResetCause};

/// The bookkeeping of one request, tunnel or session.
pub(crate) struct Exchange {
    downstream: Arc<Downstream>,
    started: Instant,
    status: AtomicU16,
    received: AtomicU64,
    sent: AtomicU64,
    kind: Kind,
    opened: AtomicBool,
    content_broke: AtomicBool,
    /// Only where an access log wants it.
    line: Option<Mutex<Box<Line>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Tunnel,
    Session,
}

/// What only the access log wants to know.
struct Line {
    method: Method,
    host: String,
    path: String,
    user_agent: Option<String>,
    route: Option<(Arc<Route>, Arc<Rule>)>,
    endpoint: Option<SocketAddr>,
    cause: Option<&'static str>,
}

impl Exchange {
    pub(crate) fn request(downstream: &Arc<Downstream>, head: Head<'_>) -> Self {
        Self::new(downstream, head, Kind::Request)
    }

    pub(crate) fn tunnel(downstream: &Arc<Downstream>, head: Head<'_>) -> Self {
        Self::new(downstream, head, Kind::Tunnel)
    }

    pub(crate) fn session(downstream: &Arc<Downstream>, head: Head<'_>) -> Self {
        Self::new(downstream, head, Kind::Session)
    }

    fn new(downstream: &Arc<Downstream>, head: Head<'_>, kind: Kind) -> Self {
        let line = downstream.access_log.enabled().then(|| {
            Mutex::new(Box::new(Line {
                method: head.method.clone(),
                host: head.host.to_owned(),
                path: head.path.to_owned(),
                user_agent: head
                    .headers
                    .get(http::header::USER_AGENT)
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
                route: None,
                endpoint: None,
                cause: None,
            }))
        });
        Self {
            downstream: Arc::clone(downstream),
            started: Instant::now(),
            status: AtomicU16::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            kind,
            opened: AtomicBool::new(false),
            content_broke: AtomicBool::new(false),
            line,
        }
    }

    fn note(&self, write: impl FnOnce(&mut Line)) {
        if let Some(line) = &self.line {
            write(&mut line.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn routed(&self, route: &Arc<Route>, rule: &Arc<Rule>) {
        self.note(|line| line.route = Some((Arc::clone(route), Arc::clone(rule))));
    }

    pub(crate) fn reached(&self, endpoint: SocketAddr) {
        self.note(|line| line.endpoint = Some(endpoint));
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// The tunnel or session is open. A tunnel is counted as such until the exchange ends.
    pub(crate) fn opened(&self) {
        self.opened.store(true, Ordering::Relaxed);
        if self.kind != Kind::Tunnel {
            return;
        }
        self.downstream.metrics.tunnels_open(self.downstream.version).inc();
        self.downstream.metrics.tunnels_total(self.downstream.version).inc();
    }

    /// Why the exchange did not end well, in one word.
    pub(crate) fn broke(&self, cause: &'static str) {
        self.note(|line| line.cause = Some(cause));
    }

    /// The exchange was cut by a reset, whose cause is counted.
    pub(crate) fn reset(&self, cause: ResetCause) {
        self.downstream.metrics.resets_total(cause).inc();
        self.broke(cause.label());
    }

    /// The client's content broke off, or is not what its head says.
    pub(crate) fn content_broke(&self) {
        self.content_broke.store(true, Ordering::Relaxed);
    }

    /// Whether what went wrong afterwards is the client's doing.
    pub(crate) fn has_broken_content(&self) -> bool {
        self.content_broke.load(Ordering::Relaxed)
    }

    /// Octets from the client.
    pub(crate) fn received(&self, octets: usize) {
        if octets > 0 {
            self.received.fetch_add(octets as u64, Ordering::Relaxed);
            self.downstream
                .metrics
                .bytes_total(self.downstream.version, Direction::DownstreamReceived)
                .add(octets as u64);
        }
    }

    /// Octets to the client.
    pub(crate) fn sent(&self, octets: usize) {
        if octets > 0 {
            self.sent.fetch_add(octets as u64, Ordering::Relaxed);
            self.downstream.metrics.bytes_total(self.downstream.version, Direction::DownstreamSent).add(octets as u64);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let status = *self.status.get_mut();
        let duration = self.started.elapsed();
        let version = self.downstream.version;
        let opened = *self.opened.get_mut();
        if opened && self.kind == Kind::Tunnel {
            self.downstream.metrics.tunnels_open(version).dec();
        } else if opened {
            // A session is counted by who relays it.
        } else if let Ok(status) = StatusCode::from_u16(status) {
            self.downstream.metrics.requests_total(version, Class::of(status)).inc();
            self.downstream.metrics.request_duration_seconds(version).observe(duration);
        }
        let Some(line) = self.line.take() else { return };
        let line = line.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.downstream.access_log.log(&Entry {
            version,
            method: &line.method,
            host: &line.host,
            path: &line.path,
            status,
            route: line.route.as_ref().map(|(route, _)| &*route.id),
            rule: line.route.as_ref().and_then(|(_, rule)| rule.name.as_deref()),
            backend: line.endpoint,
            bytes_received: *self.received.get_mut(),
            bytes_sent: *self.sent.get_mut(),
            duration,
            client: self.downstream.peer,
            protocol: match self.kind {
                Kind::Request => None,
                Kind::Tunnel => Some("websocket"),
                Kind::Session => Some("webtransport"),
            },
            tunnel: opened,
            cause: line.cause,
            user_agent: line.user_agent.as_deref(),
        });
    }
}

/// What an exchange notes of a request's head.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
}
