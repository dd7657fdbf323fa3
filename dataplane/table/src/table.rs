//! The table and its parts, in checked form, and the questions that a data plane asks.
//!
//! A table never changes. How one is made is in `admit`; which match wins is in `precedence`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::{Action, BackendId, HeaderChanges};
use crate::backend_tls::BackendTls;
use crate::hostname::HostPattern;
use crate::hosts::Hosts;
use crate::keys::Keys;
use crate::paths::Paths;
use crate::peer::Peer;
use crate::precedence::RouteName;
use crate::request::{Found, Request};
use crate::wire::{BackendProtocol, Protocol, QuicOptions};

/// A whole routing table. Immutable; share it behind an `Arc`.
#[derive(Debug)]
pub struct Table {
    /// Sorted by number.
    pub(crate) ports: Vec<Port>,
    /// Sorted by id.
    pub(crate) backends: Vec<Backend>,
    /// Sorted by id.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) keys: Option<Keys>,
    /// Sorted by id.
    pub(crate) peers: Vec<Peer>,
    pub(crate) route_count: usize,
    pub(crate) rule_count: usize,
}

impl Table {
    /// The ports, by number.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    /// The port of this number.
    pub fn port(&self, number: u16) -> Option<&Port> {
        find(&self.ports, |port| port.number.cmp(&number))
    }

    /// The backends, by id.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.backends.iter()
    }

    /// The backend of this id.
    pub fn backend(&self, id: &str) -> Option<&Backend> {
        find(&self.backends, |backend| (*backend.id).cmp(id))
    }

    /// The certificates, by id.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter()
    }

    /// The certificate of this id.
    pub fn certificate(&self, id: &str) -> Option<&Certificate> {
        find(&self.certificates, |certificate| (*certificate.id).cmp(id))
    }

    /// What the pods that serve this table share for QUIC. Absent: each is on its own.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// The pods that serve this table, and those that did until a moment ago, by id.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }

    /// The peer of this id.
    pub fn peer(&self, id: &str) -> Option<&Peer> {
        find(&self.peers, |peer| (*peer.id).cmp(id))
    }

    /// How many routes there are, attached or not.
    pub fn route_count(&self) -> usize {
        self.route_count
    }

    /// How many rules all routes have together.
    pub fn rule_count(&self) -> usize {
        self.rule_count
    }
}

fn find<T>(sorted: &[T], compare: impl FnMut(&T) -> std::cmp::Ordering) -> Option<&T> {
    sorted.binary_search_by(compare).ok().and_then(|at| sorted.get(at))
}

/// A port that the pods bind, with everything that listens on it.
#[derive(Debug)]
pub struct Port {
    /// The port's number.
    pub number: u16,
    /// What all its listeners speak.
    pub protocol: Protocol,
    /// Whether QUIC serves the port on UDP: so if any of its listeners asks for it.
    pub http3: bool,
    /// How QUIC takes connections, of whichever listener they turn out to be: 0-RTT and WebTransport only if every listener
    /// asks for it, and everything else as the strictest has it.
    pub quic: QuicOptions,
    /// Sorted by id.
    pub(crate) listeners: Vec<Listener>,
    /// Indices into `listeners`.
    pub(crate) by_host: Hosts<usize>,
}

impl Port {
    /// The listeners, by id.
    pub fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// The listener with the most specific host pattern that covers this host (or SNI): exact, then the longest wildcard,
    /// then any. Without a host, the listener for any.
    pub fn listener_for(&self, host: Option<&str>) -> Option<&Listener> {
        self.by_host.find(host.unwrap_or(""), |at| self.listeners.get(*at))
    }
}

/// One listener with the routes attached to it.
#[derive(Debug)]
pub struct Listener {
    /// `namespace/gateway/section`.
    pub id: Arc<str>,
    /// The number of the port that it is on.
    pub port: u16,
    /// The port that clients see.
    pub public_port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether QUIC serves it too.
    pub http3: bool,
    /// What it asks of QUIC.
    pub quic: QuicOptions,
    /// The hosts that it is there for.
    pub hostname: HostPattern,
    /// Ids of certificates, the preferred one first, each of which is in the table. A listener of
    /// [`Protocol::Https`] without any refuses handshakes.
    pub certificates: Vec<Arc<str>>,
    pub(crate) routes: Hosts<Paths>,
}

impl Listener {
    /// The rule for a request: of all matches that hold, the one of the greatest [`Precedence`](crate::Precedence).
    ///
    /// A less specific host pattern is looked at when no match of a more specific one holds. Allocates nothing (a regular
    /// expression's engine may fill its caches).
    pub fn lookup<'t>(&'t self, request: &Request<'_>) -> Option<Found<'t>> {
        if !request.path.starts_with('/') {
            return None;
        }
        self.routes.find(request.host, |paths| paths.find(request))
    }
}

/// A route object.
#[derive(Debug)]
pub struct Route {
    /// `Kind/namespace/name`.
    pub id: Arc<str>,
    pub(crate) name: RouteName,
    /// In seconds since the Unix epoch.
    pub(crate) created: i64,
    /// The rules in the object's own order.
    pub rules: Vec<Arc<Rule>>,
}

/// What is done with the requests that one of the rule's matches holds for.
#[derive(Debug)]
pub struct Rule {
    /// The rule's own name, for logs.
    pub name: Option<Arc<str>>,
    /// Changes to the request's headers, before it is forwarded.
    pub request_headers: HeaderChanges,
    /// Changes to the response's headers, whoever made it.
    pub response_headers: HeaderChanges,
    /// What is done.
    pub action: Action,
}

/// One port of a Service.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `namespace/service:port`.
    pub id: BackendId,
    /// What the endpoints speak.
    pub protocol: BackendProtocol,
    /// Where they are. Empty answers 503.
    pub endpoints: Vec<SocketAddr>,
    /// Whether they speak it over TLS, and who they have to be.
    pub tls: Option<Arc<BackendTls>>,
}

/// A certificate chain with its private key, as text: what is in it is the TLS library's to judge.
#[derive(Clone)]
pub struct Certificate {
    /// `namespace/secret`.
    pub id: Arc<str>,
    /// PEM, the end-entity certificate first.
    pub chain: String,
    /// PEM. Never printed.
    pub key: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("id", &self.id).finish_non_exhaustive()
    }
}
