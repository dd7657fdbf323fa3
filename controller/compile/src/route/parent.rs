//! Which listeners a route's parentRef reaches, and on which hosts.
//!
//! Owns attachment: section name and port, allowed namespaces and kinds, host names. It must not know rules.

use headrace_crds::condition::RouteReason;
use headrace_crds::reference::ParentReference;
use headrace_table::HostPattern;
use headrace_table::wire::Protocol;

use super::shape::Shape;
use crate::diagnosis::Fault;
use crate::gateway::{GATEWAY_GROUP, GatewayState, Listener, RouteKind};
use crate::hostname;
use crate::world::{Key, World};

/// A listener that a route is attached to.
pub(super) struct Reached {
    /// The listener's index in its Gateway.
    pub(super) index: usize,
    /// Empty for every host of the listener.
    pub(super) hostnames: Vec<String>,
}

/// What a parentRef names.
pub(super) enum Named {
    Gateway(Key),
    ListenerSet(Key),
}

/// What the parentRef names, if it is of a kind that has listeners.
pub(super) fn named(parent: &ParentReference, own_namespace: &str) -> Option<Named> {
    let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
    let namespace = parent.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let key = || Key::new(namespace.unwrap_or(own_namespace), &*parent.name);
    match (group, parent.kind.as_deref().unwrap_or("Gateway")) {
        (GATEWAY_GROUP, "Gateway") => Some(Named::Gateway(key())),
        (GATEWAY_GROUP, "ListenerSet") => Some(Named::ListenerSet(key())),
        _ => None,
    }
}

/// A parent that is ours.
pub(super) struct Parent {
    /// The index of the parentRef.
    pub(super) index: usize,
    pub(super) gateway: Key,
    /// The ListenerSet on it, where the route names that.
    pub(super) set: Option<Key>,
}

/// The listeners that the route reaches, or why there is none. Fields are relative to the parentRef.
pub(super) fn attach(
    world: &World,
    shape: &Shape,
    hosts: &[HostPattern],
    parent: &ParentReference,
    set: Option<&Key>,
    gateway: &GatewayState,
) -> Result<Vec<Reached>, Fault> {
    let section = parent.section_name.as_deref().filter(|section| !section.is_empty());
    let theirs = gateway.listeners_of(set);
    if let (Some(set), 0) = (set, theirs.clone().count()) {
        let message = format!("ListenerSet {set} has no listeners on its Gateway: see its conditions");
        return Err(Fault::new("name", RouteReason::NoMatchingParent, message));
    }
    let mut listeners: Vec<(usize, &Listener)> = theirs.clone().collect();
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
            theirs.map(|(_, listener)| format!("{} ({})", listener.name, listener.spec_port)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let kind = if set.is_some() { "ListenerSet" } else { "Gateway" };
        let message = format!("the {kind} has no {wanted}: it has {known}");
        return Err(Fault::new(field, RouteReason::NoMatchingParent, message));
    }
    if let Some(message) = not_carried(shape.kind, &listeners) {
        return Err(Fault::new("", RouteReason::NotAllowedByListeners, message));
    }
    let namespace = &shape.object.namespace;
    listeners.retain(|(_, listener)| {
        listener.kinds.contains(&shape.kind)
            && (shape.kind != RouteKind::WebTransport || listener.without_webtransport.is_none())
            && listener.namespaces.allow(world, &listener.owner.namespace, namespace)
    });
    if listeners.is_empty() {
        let message = format!(
            "no listener takes routes of kind {} from namespace {namespace}: change allowedRoutes of the {}",
            shape.kind.group_kind().kind,
            if set.is_some() { "ListenerSet" } else { "Gateway" }
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

/// Why what the kind routes comes over none of these listeners, whatever they allow; nothing where it does over one. A
/// listener whose protocol is not supported at all says so itself.
fn not_carried(kind: RouteKind, listeners: &[(usize, &Listener)]) -> Option<String> {
    if kind != RouteKind::WebTransport {
        return None;
    }
    let mut carrying = listeners.iter().filter(|(_, listener)| listener.carried.contains(&kind)).peekable();
    if carrying.peek().is_some() {
        // Of several policies any may be named: nothing is served until all are changed.
        let off = carrying.map(|(_, listener)| listener.without_webtransport.as_ref()).collect::<Option<Vec<_>>>()?;
        let policy = off.first()?;
        return Some(format!(
            "EdgePolicy {policy} switches WebTransport off here: change its spec.webTransport.enabled"
        ));
    }
    match listeners.iter().any(|(_, listener)| listener.protocol == Some(Protocol::Https)) {
        true => Some("WebTransport comes over HTTP/3, which is off in this installation: turn it on".to_owned()),
        false => Some("WebTransport comes over HTTP/3: attach the route to a listener of protocol HTTPS".to_owned()),
    }
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
