//! Listeners against one another: who has a port, who has a host name, and whose certificates a client may confuse.
//!
//! Owns those decisions. Within a Gateway no side of a conflict wins (Gateway API: "MUST NOT pick one conflicting Listener
//! as the winner"). A Gateway's own listeners go before those of its ListenerSets, and an older set's before a younger's.
//! Between Gateways that share their ports, the older Gateway's listener stays.

use std::collections::BTreeMap;

use headrace_crds::condition::ListenerReason;
use headrace_table::HostPattern;
use headrace_table::wire::Protocol;

use super::{GatewayState, Listener};
use crate::budget::Budget;
use crate::certificate::Certificates;
use crate::diagnosis::Fault;
use crate::hostname;
use crate::options::{Options, Ports};

/// Marks the listeners of all Gateways, which come with the oldest first.
pub(super) fn find(
    gateways: &mut [&mut GatewayState],
    options: &Options,
    certificates: &Certificates<'_>,
    budget: &mut Budget,
) {
    for gateway in gateways.iter_mut() {
        let own = gateway.own.min(gateway.listeners.len());
        let (own, of_sets) = gateway.listeners.split_at_mut(own);
        within(own);
        merge(own, of_sets);
    }
    match options.ports {
        Ports::AsListed => between(gateways, budget),
        Ports::Allotted { .. } => make_room(gateways, budget),
    }
    overlaps(gateways, certificates);
}

fn within(listeners: &mut [Listener]) {
    let conflicts: Vec<Option<Fault>> = (0..listeners.len())
        .map(|at| {
            let listener = listeners.get(at).filter(|listener| listener.refused.is_empty())?;
            let others = listeners.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
            others.filter(|other| other.refused.is_empty()).find_map(|other| clash(listener, other))
        })
        .collect();
    for (listener, conflict) in listeners.iter_mut().zip(conflicts) {
        listener.conflicts.extend(conflict);
    }
}

fn clash(listener: &Listener, other: &Listener) -> Option<Fault> {
    if listener.port.is_none() || listener.port != other.port {
        return None;
    }
    let port = listener.spec_port;
    if listener.protocol != other.protocol {
        let message = format!("listener {} has port {port} for another protocol", other.id());
        return Some(Fault::new("protocol", ListenerReason::ProtocolConflict, message).under(&listener.field));
    }
    if listener.host == other.host {
        let message = match listener.host {
            HostPattern::Any => {
                format!("listener {} has port {port} for every host: give one of them a hostname", other.id())
            }
            _ => format!("listener {} has port {port} for host {} as well", other.id(), listener.host),
        };
        return Some(Fault::new("hostname", ListenerReason::HostnameConflict, message).under(&listener.field));
    }
    None
}

/// What is spoken on a port and who has it, with whom each host is.
#[derive(Default)]
struct Claim {
    protocol: String,
    first: String,
    hosts: BTreeMap<HostPattern, String>,
}

/// The listeners of sets, in their order, against all before them.
fn merge(own: &[Listener], of_sets: &mut [Listener]) {
    if of_sets.is_empty() {
        return;
    }
    let mut claims: BTreeMap<(u16, bool), Claim> = BTreeMap::new();
    for listener in own {
        if let (Some(port), true) = (listener.port, listener.refused.is_empty()) {
            claim(&mut claims, port, listener);
        }
    }
    for listener in of_sets {
        let Some(port) = listener.port else { continue };
        // A protocol that is not supported clashes all the same: that is what is to be changed first.
        let is_spoken = listener.protocol.is_some();
        if !listener.refused.is_empty() && is_spoken {
            continue;
        }
        let conflict = claims.get(&(port, is_udp(listener))).and_then(|claim| {
            if claim.protocol != listener.spec_protocol {
                let message = format!("listener {} has port {port} for protocol {}", claim.first, claim.protocol);
                return Some(Fault::new("protocol", ListenerReason::ProtocolConflict, message));
            }
            let owner = claim.hosts.get(&listener.host)?;
            let message = format!("listener {owner} has port {port} for {}", hostname::in_words(&listener.host));
            Some(Fault::new("hostname", ListenerReason::HostnameConflict, message))
        });
        match conflict {
            Some(fault) => listener.conflicts.push(fault.under(&listener.field)),
            None if is_spoken => claim(&mut claims, port, listener),
            None => {}
        }
    }
}

fn claim(claims: &mut BTreeMap<(u16, bool), Claim>, port: u16, listener: &Listener) {
    let claim = claims.entry((port, is_udp(listener))).or_insert_with(|| Claim {
        protocol: listener.spec_protocol.clone(),
        first: listener.id(),
        hosts: BTreeMap::new(),
    });
    claim.hosts.entry(listener.host.clone()).or_insert_with(|| listener.id());
}

/// TCP and UDP have ports of their own.
fn is_udp(listener: &Listener) -> bool {
    listener.spec_protocol == "UDP"
}

/// Gateways with ports of their own share nothing but the table.
fn make_room(gateways: &mut [&mut GatewayState], budget: &mut Budget) {
    for gateway in gateways.iter_mut().filter(|gateway| gateway.is_accepted()) {
        for listener in gateway.listeners.iter_mut().filter(|listener| listener.is_accepted()) {
            if !budget.take_listener() {
                table_is_full(listener);
            }
        }
    }
}

fn table_is_full(listener: &mut Listener) {
    let message = "the table is full: there are too many listeners in the cluster";
    listener.refuse("", ListenerReason::PortUnavailable, message);
}

fn between(gateways: &mut [&mut GatewayState], budget: &mut Budget) {
    // For each port its protocol, and for each host on it, who was first.
    let mut claims: BTreeMap<u16, (Protocol, String, BTreeMap<HostPattern, String>)> = BTreeMap::new();
    for gateway in gateways.iter_mut() {
        if !gateway.is_accepted() {
            continue;
        }
        for listener in gateway.listeners.iter_mut().filter(|listener| listener.is_accepted()) {
            let (Some(port), Some(protocol)) = (listener.port, listener.protocol) else { continue };
            let id = listener.id();
            let (claimed, first, hosts) = claims.entry(port).or_insert_with(|| (protocol, id.clone(), BTreeMap::new()));
            if *claimed != protocol {
                let message = format!("listener {first} of an older Gateway has port {port} for another protocol");
                let fault = Fault::new("protocol", ListenerReason::ProtocolConflict, message);
                listener.conflicts.push(fault.under(&listener.field));
                continue;
            }
            match hosts.get(&listener.host) {
                Some(owner) => {
                    let host = hostname::in_words(&listener.host);
                    let message = format!("listener {owner} of an older Gateway has port {port} for {host}");
                    let fault = Fault::new("hostname", ListenerReason::HostnameConflict, message);
                    listener.conflicts.push(fault.under(&listener.field));
                }
                None if budget.take_listener() => {
                    hosts.insert(listener.host.clone(), id);
                }
                None => table_is_full(listener),
            }
        }
    }
}

/// A client may reuse a connection for another host that its certificate covers (RFC 9113, section 9.1.1), and so reach a
/// listener with a request that is meant for another.
fn overlaps(gateways: &mut [&mut GatewayState], certificates: &Certificates<'_>) {
    for gateway in gateways.iter_mut() {
        let compared = &gateway.listeners[..gateway.listeners.len().min(MAX_COMPARED)];
        let covered: Vec<Vec<HostPattern>> = compared.iter().map(|listener| covered(listener, certificates)).collect();
        let found: Vec<Option<Fault>> = (0..compared.len())
            .map(|at| {
                let others = (0..compared.len()).filter(|other| *other != at);
                let others = others.filter(|other| is_tls_neighbour(&compared[at], &compared[*other]));
                let mut faults: Vec<Fault> = others
                    .filter_map(|other| overlap((&compared[at], &covered[at]), (&compared[other], &covered[other])))
                    .collect();
                // A certificate that is good for both is what lets a client confuse them.
                faults.sort_by_key(|fault| fault.reason != ListenerReason::OverlappingCertificates.into());
                faults.into_iter().next()
            })
            .collect();
        for (listener, overlap) in gateway.listeners.iter_mut().zip(found) {
            listener.overlaps.extend(overlap);
        }
    }
}

/// Listeners of a Gateway that are looked at for overlaps: each is compared with each, for the sake of a warning. A Gateway
/// itself has 64 at most, and so has each of its ListenerSets.
const MAX_COMPARED: usize = 256;

fn is_tls_neighbour(listener: &Listener, other: &Listener) -> bool {
    [listener, other].iter().all(|one| one.is_accepted() && one.protocol == Some(Protocol::Https))
        && listener.port == other.port
}

/// The names that the listener's certificates are good for.
fn covered(listener: &Listener, certificates: &Certificates<'_>) -> Vec<HostPattern> {
    let names = listener.certificates.iter().flat_map(|id| certificates.names(id));
    names.filter_map(|name| HostPattern::try_from(name.as_str()).ok()).collect()
}

/// Each listener comes with the names that it covers.
fn overlap(
    (listener, ours): (&Listener, &[HostPattern]),
    (other, theirs): (&Listener, &[HostPattern]),
) -> Option<Fault> {
    let shared = ours.iter().find(|name| theirs.iter().any(|their| hostname::meet(name, their).is_some()));
    if let Some(name) = shared {
        let message = format!(
            "a certificate is good for {name}, and so is one of listener {}: a client may send requests for one on a \
             connection to the other",
            other.name
        );
        return Some(
            Fault::new("tls.certificateRefs", ListenerReason::OverlappingCertificates, message).under(&listener.field),
        );
    }
    hostname::meet(&listener.host, &other.host).map(|_| {
        let message = format!(
            "{} overlaps with {} of listener {}",
            hostname::in_words(&listener.host),
            hostname::in_words(&other.host),
            other.name
        );
        Fault::new("hostname", ListenerReason::OverlappingHostnames, message).under(&listener.field)
    })
}
