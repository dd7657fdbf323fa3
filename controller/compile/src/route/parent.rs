//! Which listeners a route's parentRef reaches, and on which hosts.
//!
//! Owns attachment: section name and port, allowed namespaces and kinds, host names. It must not know rules.

use headrace_crds::condition::RouteReason;
use headrace_crds::reference::ParentReference;
use headrace_table::HostPattern;

use super::shape::Shape;
use crate::diagnosis::Fault;
use crate::gateway::{GatewayState, Listener};
use crate::hostname;
use crate::world::{Key, World};

/// A listener that a route is attached to.
pub(super) struct Reached {
    /// The listener's index in its Gateway.
    pub(super) index: usize,
    /// Empty for every host of the listener.
    pub(super) hostnames: Vec<String>,
}

/// The Gateway that a parentRef names, if it is a Gateway that it names.
pub(super) fn gateway_key(parent: &ParentReference, own_namespace: &str) -> Option<Key> {
    let group = parent.group.as_deref().unwrap_or("gateway.networking.k8s.io");
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let is_gateway = (group, kind) == ("gateway.networking.k8s.io", "Gateway");
    is_gateway.then(|| Key::new(namespace.unwrap_or(own_namespace), &*parent.name))
}

/// The listeners that the route reaches, or why there is none. Fields are relative to the parentRef.
pub(super) fn attach(
    world: &World,
    shape: &Shape,
    hosts: &[HostPattern],
    parent: &ParentReference,
    gateway: &GatewayState,
) -> Result<Vec<Reached>, Fault> {
    let section = parent.section_name.as_deref().filter(|section| !section.is_empty());
    let mut listeners: Vec<(usize, &Listener)> = gateway.listeners.iter().enumerate().collect();
    listeners.retain(|(_, listener)| {
        section.is_none_or(|section| listener.name == section)
            && parent.port.is_none_or(|port| listener.spec_port == port)
    });
    if listeners.is_empty() {
        let field = if section.is_some() { "sectionName" } else { "port" };
        let wanted = match (section, parent.port) {
            (Some(section), Some(port)) => format!("listener named {section} on port {port}"),
            (Some(section), None) => format!("listener named {section}"),
            (None, Some(port)) => format!("listener on port {port}"),
            (None, None) => "listener".to_owned(),
        };
        let known: Vec<String> =
            gateway.listeners.iter().map(|listener| format!("{} ({})", listener.name, listener.spec_port)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("the Gateway has no {wanted}: it has {known}");
        return Err(Fault::new(field, RouteReason::NoMatchingParent, message));
    }
    let namespace = &shape.object.namespace;
    listeners.retain(|(_, listener)| {
        listener.kinds.contains(&shape.kind) && listener.namespaces.allow(world, &listener.gateway.namespace, namespace)
    });
    if listeners.is_empty() {
        let message = format!(
            "no listener takes routes of kind {} from namespace {namespace}: change allowedRoutes of the Gateway",
            shape.kind.group_kind().kind
        );
        return Err(Fault::new("", RouteReason::NotAllowedByListeners, message));
    }
    let reached: Vec<Reached> = listeners
        .iter()
        .filter_map(|(index, listener)| {
            Some(Reached { index: *index, hostnames: shared_hosts(&listener.host, hosts)? })
        })
        .collect();
    if reached.is_empty() {
        let theirs: Vec<String> = listeners.iter().map(|(_, listener)| listener.host.to_string()).collect();
        let message = format!(
            "no hostname of the route has hosts in common with the listeners, which have {}",
            theirs.join(", ")
        );
        return Err(Fault::new("", RouteReason::NoMatchingListenerHostname, message));
    }
    Ok(reached)
}

fn shared_hosts(listener: &HostPattern, hosts: &[HostPattern]) -> Option<Vec<String>> {
    if hosts.is_empty() {
        return Some(Vec::new());
    }
    let mut shared: Vec<String> =
        hosts.iter().filter_map(|host| hostname::meet(listener, host)).filter_map(hostname::to_wire).collect();
    shared.sort();
    shared.dedup();
    (!shared.is_empty()).then_some(shared)
}
