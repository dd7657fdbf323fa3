//! Listeners against one another: who has a port, who has a host name, and whose certificates a client may confuse.
//!
//! Owns those decisions. Within a Gateway no side of a conflict wins (Gateway API: "MUST NOT pick one conflicting Listener
//! as the winner"); between Gateways, which share the ports of one pod set, the older Gateway's listener stays.

use std::collections::BTreeMap;

use headrace_crds::condition::ListenerReason;
use headrace_table::HostPattern;
use headrace_table::wire::Protocol;

use super::{GatewayState, Listener};
use crate::budget::Budget;
use crate::certificate::Certificates;
use crate::diagnosis::Fault;
use crate::hostname;

/// Marks the listeners of all Gateways, which come with the oldest first.
pub(super) fn find(gateways: &mut [&mut GatewayState], certificates: &Certificates<'_>, budget: &mut Budget) {
    for gateway in gateways.iter_mut() {
        within(&mut gateway.listeners);
    }
    between(gateways, budget);
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

fn between(gateways: &mut [&mut GatewayState], budget: &mut Budget) {
    // For each port its protocol, and for each host on it, who was first.
    let mut claims: BTreeMap<u16, (Protocol, String, BTreeMap<HostPattern, String>)> = BTreeMap::new();
    for gateway in gateways.iter_mut() {
        if !gateway.refused.is_empty() || gateway.pending.is_some() {
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
                None => {
                    let message = "the table is full: there are too many listeners in the cluster";
                    let fault = Fault::new("", ListenerReason::PortUnavailable, message);
                    listener.refused.push(fault.under(&listener.field));
                }
            }
        }
    }
}

/// A client may reuse a connection for another host that its certificate covers (RFC 9113, section 9.1.1), and so reach a
/// listener with a request that is meant for another.
fn overlaps(gateways: &mut [&mut GatewayState], certificates: &Certificates<'_>) {
    for gateway in gateways.iter_mut() {
        let found: Vec<Option<Fault>> = gateway
            .listeners
            .iter()
            .map(|listener| {
                let others = gateway.listeners.iter().filter(|other| other.name != listener.name);
                let others = others.filter(|other| is_tls_neighbour(listener, other));
                let mut faults: Vec<Fault> =
                    others.filter_map(|other| overlap(listener, other, certificates)).collect();
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

fn is_tls_neighbour(listener: &Listener, other: &Listener) -> bool {
    [listener, other].iter().all(|one| one.is_accepted() && one.protocol == Some(Protocol::Https))
        && listener.port == other.port
}

fn overlap(listener: &Listener, other: &Listener, certificates: &Certificates<'_>) -> Option<Fault> {
    let covered = |listener: &Listener| -> Vec<HostPattern> {
        let names = listener.certificates.iter().flat_map(|id| certificates.names(id));
        names.filter_map(|name| HostPattern::try_from(name.as_str()).ok()).collect()
    };
    let theirs = covered(other);
    let shared =
        covered(listener).into_iter().find(|name| theirs.iter().any(|their| hostname::meet(name, their).is_some()));
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
