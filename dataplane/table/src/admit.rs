//! The door: from the wire form to a table that can be served, or to the place and the reason of the first fault.
//!
//! Owns the table's own rules (ids, references, ports, hosts); `admit::rule` has those of rules and matches,
//! `admit::action` those of what rules do, `admit::backend_tls` those of TLS towards backends, and `admit::keys` those of
//! what pods share for QUIC. Nothing gets through in part: a table is whole or refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::action::BackendId;
use crate::hostname::HostPattern;
use crate::hosts::Hosts;
use crate::keyed::Seed;
use crate::paths::Paths;
use crate::refused::{List, Place, Reason, Refused};
use crate::table::{Backend, Certificate, Listener, Port, Table};
use crate::wire::{self, BackendProtocol, Protocol, QuicOptions, WebTransportOptions};

pub use action::MAX_WEIGHT;
use attach::Attached;
use backend_tls::Identities;
pub use backend_tls::MAX_ROOTS;

mod action;
mod attach;
mod backend_tls;
mod keys;
mod rule;

/// Octets of a path, a header or query value, or a pattern at most: what fits the request line that RFC 9112 section 3 asks
/// everybody to take (8,000 octets), and some.
pub const MAX_TEXT: usize = 8_192;

/// The seed of tables whose maker gave none.
const FIXED_SEED: u64 = 0;

impl TryFrom<wire::Table> for Table {
    type Error = Refused;

    /// With a fixed seed; see [`Table::with_seed`].
    fn try_from(table: wire::Table) -> Result<Self, Refused> {
        Table::with_seed(table, FIXED_SEED)
    }
}

impl Table {
    /// Checks a wire form and builds the table.
    ///
    /// The seed goes into the hash maps of host names and path elements. Where those come from people who do not trust
    /// each other, draw it at random once for each process: then nobody can choose names that collide and slow down their
    /// neighbours' lookups.
    pub fn with_seed(table: wire::Table, seed: u64) -> Result<Table, Refused> {
        let wire::Table { listeners, routes, backends, certificates, keys, peers } = table;
        for (list, count) in [
            (List::Listeners, listeners.len()),
            (List::Routes, routes.len()),
            (List::Backends, backends.len()),
            (List::Certificates, certificates.len()),
            (List::Peers, peers.len()),
        ] {
            list.check(count).map_err(Place::Table.refuses())?;
        }
        let backends = admit_backends(backends)?;
        let certificates = admit_certificates(certificates)?;
        let mut listeners = admit_listeners(listeners, &certificates, Seed(seed))?;
        let spoken = backends.iter().map(|backend| (backend.id.clone(), backend.protocol)).collect();
        let rule_count = routes.iter().map(|route| route.rules.len()).sum();
        let route_count = routes.len();
        let attached = attach::admit_routes(routes, &listeners, &spoken)?;
        fill(&mut listeners, attached, Seed(seed));
        let ports = gather_ports(listeners, Seed(seed))?;
        let keys = keys.map(keys::admit).transpose().map_err(Place::Keys.refuses())?;
        let peers = keys::admit_peers(peers)?;
        Ok(Table { ports, backends, certificates, keys, peers, route_count, rule_count })
    }
}

/// Ids that things of a table are referred to by.
type Ids = HashSet<Arc<str>>;

/// What every backend of a table speaks.
type Spoken = HashMap<BackendId, BackendProtocol>;

/// Refuses an empty id and one that was there before.
fn admit_id(seen: &mut Ids, id: &Arc<str>) -> Result<(), Reason> {
    match id.is_empty() {
        true => Err(Reason::EmptyId),
        false if !seen.insert(id.clone()) => Err(Reason::DuplicateId),
        false => Ok(()),
    }
}

fn admit_backends(backends: Vec<wire::Backend>) -> Result<Vec<Backend>, Refused> {
    let mut seen = Ids::new();
    let mut identities = Identities::default();
    let mut admitted = Vec::with_capacity(backends.len());
    for backend in backends {
        let place = Place::Backend(backend.id.clone());
        admitted.push(admit_backend(&mut seen, &mut identities, backend).map_err(place.refuses())?);
    }
    admitted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(admitted)
}

fn admit_backend(seen: &mut Ids, identities: &mut Identities, backend: wire::Backend) -> Result<Backend, Reason> {
    let id = BackendId::from(backend.id);
    admit_id(seen, &id)?;
    List::Endpoints.check(backend.endpoints.len())?;
    let endpoints = backend.endpoints.into_iter().map(admit_endpoint).collect::<Result<_, _>>()?;
    let tls = backend.tls.map(|tls| identities.admit(tls)).transpose()?;
    match (backend.protocol, &tls) {
        (BackendProtocol::Http3, None) => return Err(Reason::Http3InClearText),
        (BackendProtocol::Stream | BackendProtocol::Datagram, Some(_)) => return Err(Reason::TlsAroundOctets),
        _ => {}
    }
    Ok(Backend { id, protocol: backend.protocol, endpoints, tls })
}

fn admit_endpoint(text: String) -> Result<SocketAddr, Reason> {
    let endpoint: SocketAddr = text.parse().map_err(|fault| Reason::Endpoint { endpoint: text, fault })?;
    if endpoint.port() == 0 { Err(Reason::PortZero) } else { Ok(endpoint) }
}

fn admit_certificates(certificates: Vec<wire::Certificate>) -> Result<Vec<Certificate>, Refused> {
    let mut seen = Ids::new();
    let mut admitted = Vec::with_capacity(certificates.len());
    for wire::Certificate { id, chain, key } in certificates {
        let shared: Arc<str> = id.as_str().into();
        admit_id(&mut seen, &shared).map_err(Place::Certificate(id).refuses())?;
        admitted.push(Certificate { id: shared, chain, key });
    }
    admitted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(admitted)
}

fn admit_listeners(
    listeners: Vec<wire::Listener>,
    certificates: &[Certificate],
    seed: Seed,
) -> Result<Vec<Listener>, Refused> {
    let certificates = certificates.iter().map(|certificate| certificate.id.clone()).collect();
    let mut seen = Ids::new();
    let mut admitted = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let place = Place::Listener(listener.id.clone());
        admitted.push(admit_listener(&mut seen, listener, &certificates, seed).map_err(place.refuses())?);
    }
    admitted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(admitted)
}

fn admit_listener(
    seen: &mut Ids,
    listener: wire::Listener,
    known_certificates: &Ids,
    seed: Seed,
) -> Result<Listener, Reason> {
    let id: Arc<str> = listener.id.into();
    admit_id(seen, &id)?;
    if listener.port == 0 || listener.public_port == 0 {
        return Err(Reason::PortZero);
    }
    if listener.protocol == Protocol::Http && listener.http3 {
        return Err(Reason::Http3InClearText);
    }
    if listener.protocol == Protocol::Http && !listener.certificates.is_empty() {
        return Err(Reason::CertificatesInClearText);
    }
    List::ListenerCertificates.check(listener.certificates.len())?;
    let certificates = listener.certificates.into_iter().map(|id| match known_certificates.get(id.as_str()) {
        Some(known) => Ok(known.clone()),
        None => Err(Reason::UnknownCertificate(id)),
    });
    Ok(Listener {
        id,
        port: listener.port,
        public_port: listener.public_port,
        protocol: listener.protocol,
        http3: listener.http3,
        quic: listener.quic,
        hostname: listener.hostname.as_deref().map_or(Ok(HostPattern::Any), admit_host_pattern)?,
        certificates: certificates.collect::<Result<_, _>>()?,
        routes: Hosts::new(seed),
    })
}

fn admit_host_pattern(text: &str) -> Result<HostPattern, Reason> {
    HostPattern::try_from(text).map_err(|fault| Reason::Hostname { host: text.to_owned(), fault })
}

/// Gives every listener its matches.
fn fill(listeners: &mut [Listener], attached: Vec<Attached>, seed: Seed) {
    for Attached { listener, host, path, candidate } in attached {
        listeners[listener].routes.entry(&host, || Paths::new((&host).into(), seed)).push(path, candidate);
    }
    for paths in listeners.iter_mut().flat_map(|listener| listener.routes.values_mut()) {
        paths.settle();
    }
}

fn gather_ports(listeners: Vec<Listener>, seed: Seed) -> Result<Vec<Port>, Refused> {
    let mut by_number = BTreeMap::<u16, Vec<Listener>>::new();
    for listener in listeners {
        by_number.entry(listener.port).or_default().push(listener);
    }
    by_number.into_iter().map(|(number, listeners)| gather_port(number, listeners, seed)).collect()
}

fn gather_port(number: u16, listeners: Vec<Listener>, seed: Seed) -> Result<Port, Refused> {
    let mut first_with = HashMap::<&HostPattern, &Listener>::new();
    let mut by_host = Hosts::new(seed);
    for (at, listener) in listeners.iter().enumerate() {
        let place = Place::Listener(listener.id.to_string());
        if listener.protocol != listeners[0].protocol {
            return Err(place.refuses()(Reason::MixedProtocols(listeners[0].id.to_string())));
        }
        if let Some(first) = first_with.insert(&listener.hostname, listener) {
            return Err(place.refuses()(Reason::SameHost(first.id.to_string())));
        }
        by_host.entry(&listener.hostname, || at);
    }
    let http3 = listeners.iter().any(|listener| listener.http3);
    let quic = QuicOptions {
        zero_rtt: http3 && listeners.iter().all(|listener| listener.quic.zero_rtt),
        retry: listeners.iter().map(|listener| listener.quic.retry).max().unwrap_or_default(),
        webtransport: gather_webtransport(http3, listeners.iter().map(|listener| listener.quic.webtransport)),
    };
    let protocol = listeners[0].protocol;
    Ok(Port { number, protocol, http3, quic, listeners, by_host })
}

/// The strictest of what the listeners of a port ask for. There is at least one.
fn gather_webtransport(http3: bool, asked: impl Iterator<Item = WebTransportOptions>) -> WebTransportOptions {
    let none = WebTransportOptions { enabled: http3, sessions: u32::MAX, early_octets: u32::MAX };
    asked.fold(none, |so_far, one| WebTransportOptions {
        enabled: so_far.enabled && one.enabled,
        sessions: so_far.sessions.min(one.sessions),
        early_octets: so_far.early_octets.min(one.early_octets),
    })
}
