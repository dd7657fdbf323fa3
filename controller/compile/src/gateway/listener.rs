//! One listener: what it asks for, and whether that can be served.
//!
//! Owns the checks that need no other listener. Conflicts between listeners are `conflict`'s.

use gateway_api::gateways::{
    Gateway, GatewayListeners, GatewayListenersTls, GatewayListenersTlsCertificateRefs, GatewayListenersTlsMode,
};
use headrace_crds::condition::ListenerReason;
use headrace_table::HostPattern;
use headrace_table::wire::{self, Protocol};

use super::namespaces::Namespaces;
use crate::Options;
use crate::certificate::Certificates;
use crate::diagnosis::Fault;
use crate::grant::{Grants, Referent, Referrer};
use crate::hostname;
use crate::status::{ObjectRef, RouteGroupKind};
use crate::world::{Key, Kind, id_part};

/// Kinds of routes that listeners take, in the order in which a status lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouteKind {
    Http,
    WebSocket,
    WebTransport,
}

impl RouteKind {
    /// What comes over such a listener: sessions over HTTP/3 only.
    const fn carried(protocol: Option<Protocol>, http3: bool) -> &'static [RouteKind] {
        match (protocol, http3) {
            (None, _) => &[],
            (Some(Protocol::Https), true) => &[RouteKind::Http, RouteKind::WebSocket, RouteKind::WebTransport],
            (Some(_), _) => &[RouteKind::Http, RouteKind::WebSocket],
        }
    }

    pub(crate) const fn group_kind(self) -> RouteGroupKind {
        match self {
            RouteKind::Http => RouteGroupKind { group: GATEWAY_GROUP, kind: "HTTPRoute" },
            RouteKind::WebSocket => RouteGroupKind { group: headrace_crds::GROUP, kind: "WebSocketRoute" },
            RouteKind::WebTransport => RouteGroupKind { group: headrace_crds::GROUP, kind: "WebTransportRoute" },
        }
    }
}

pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// TLS options under this domain are ours. Those of others are not for us to judge.
const OUR_OPTIONS: &str = "headrace.dev/";

/// Certificates of one listener at most (the bound of Gateway API's own schema).
const MAX_CERTIFICATE_REFS: usize = 64;

/// A listener of a Gateway of ours.
pub(crate) struct Listener {
    pub(crate) gateway: Key,
    /// The object that has it: the Gateway, or a ListenerSet on it.
    pub(crate) owner: ObjectRef,
    pub(crate) name: String,
    /// `spec.listeners[i]`.
    pub(crate) field: String,
    /// As the spec has it, for `parentRef.port`.
    pub(crate) spec_port: i32,
    /// Absent where it is not one that can be bound.
    pub(crate) port: Option<u16>,
    /// What the pods bind for it.
    pub(crate) bound: Option<u16>,
    /// As the spec has it.
    pub(crate) spec_protocol: String,
    /// Absent where it is not supported.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) host: HostPattern,
    /// Those that it takes.
    pub(crate) kinds: Vec<RouteKind>,
    /// Those that it could take.
    pub(crate) carried: &'static [RouteKind],
    pub(crate) namespaces: Namespaces,
    /// Ids of certificates that can be served.
    pub(crate) certificates: Vec<String>,
    /// Why it is not accepted.
    pub(crate) refused: Vec<Fault>,
    /// With which listeners it clashes.
    pub(crate) conflicts: Vec<Fault>,
    /// Why the data plane does not serve it, although it is accepted.
    pub(crate) unserved: Vec<Fault>,
    /// References that cannot be used.
    pub(crate) refs: Vec<Fault>,
    /// Listeners with which a client may confuse it.
    pub(crate) overlaps: Vec<Fault>,
    pub(crate) attached_routes: i32,
    /// The EdgePolicy that it has.
    pub(crate) policy: Option<Key>,
    /// What that asks of QUIC.
    pub(crate) quic: wire::QuicOptions,
    /// The EdgePolicy by which there is no WebTransport on its port.
    pub(crate) without_webtransport: Option<Key>,
}

impl Listener {
    /// The listener's id in the table.
    pub(crate) fn id(&self) -> String {
        match self.is_of_set() {
            false => format!("{}/{}", self.gateway.id(), id_part(&self.name)),
            true => format!("{}/{}/{}", self.gateway.id(), self.owner.key().id(), id_part(&self.name)),
        }
    }

    /// Whether it is a ListenerSet's.
    pub(crate) fn is_of_set(&self) -> bool {
        self.owner.kind == Kind::ListenerSet
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.refused.is_empty() && self.conflicts.is_empty()
    }

    /// Whether it can be served: unresolved references alone stop it only where nothing is left without them.
    pub(crate) fn is_valid(&self) -> bool {
        self.is_accepted()
            && self.unserved.is_empty()
            && !self.kinds.is_empty()
            && match self.protocol {
                Some(Protocol::Http) => true,
                Some(Protocol::Https) => !self.certificates.is_empty(),
                None => false,
            }
    }

    pub(crate) fn table(&self, options: &Options) -> Option<wire::Listener> {
        let protocol = self.protocol?;
        Some(wire::Listener {
            id: self.id(),
            port: self.bound?,
            public_port: self.port?,
            protocol,
            http3: options.http3 && protocol == Protocol::Https,
            quic: if options.http3 && protocol == Protocol::Https { self.quic } else { wire::QuicOptions::default() },
            hostname: hostname::to_wire(&self.host),
            certificates: self.certificates.clone(),
        })
    }
}

/// The listeners of a Gateway or of a ListenerSet on it.
pub(super) fn read_all(
    owner: &ObjectRef,
    (key, gateway): (&Key, &Gateway),
    specs: &[GatewayListeners],
    options: &Options,
    grants: &Grants<'_>,
    certificates: &mut Certificates<'_>,
) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let mut listener = read(owner, key, index, spec, options);
        if listeners.iter().any(|other| other.name == listener.name) {
            let message = format!("another listener is named {}: give this one a name of its own", listener.name);
            listener.refuse("name", ListenerReason::UnsupportedValue, message);
        }
        if listener.protocol == Some(Protocol::Https) {
            read_tls(&mut listener, spec.tls.as_ref(), grants, certificates);
            refuse_client_validation(&mut listener, gateway);
        } else if listener.protocol == Some(Protocol::Http) && spec.tls.is_some() {
            let message = "protocol HTTP is clear text: remove tls, or use protocol HTTPS";
            listener.refuse("tls", ListenerReason::UnsupportedValue, message);
        }
        listeners.push(listener);
    }
    listeners
}

impl Listener {
    pub(crate) fn refuse(&mut self, field: &str, reason: ListenerReason, message: impl Into<String>) {
        self.refused.push(Fault::new(field, reason, message).under(&self.field));
    }

    fn unresolved(&mut self, field: &str, reason: ListenerReason, message: impl Into<String>) {
        self.refs.push(Fault::new(field, reason, message).under(&self.field));
    }
}

fn read(owner: &ObjectRef, key: &Key, index: usize, spec: &GatewayListeners, options: &Options) -> Listener {
    let mut listener = Listener {
        gateway: key.clone(),
        owner: owner.clone(),
        name: spec.name.clone(),
        field: format!("spec.listeners[{index}]"),
        spec_port: spec.port,
        port: u16::try_from(spec.port).ok().filter(|port| *port != 0),
        bound: None,
        spec_protocol: spec.protocol.clone(),
        protocol: None,
        host: HostPattern::Any,
        kinds: Vec::new(),
        carried: &[],
        namespaces: Namespaces::Same,
        certificates: Vec::new(),
        refused: Vec::new(),
        conflicts: Vec::new(),
        unserved: Vec::new(),
        refs: Vec::new(),
        overlaps: Vec::new(),
        attached_routes: 0,
        policy: None,
        quic: wire::QuicOptions::default(),
        without_webtransport: None,
    };
    if listener.port.is_none() {
        let message = format!("{} is not a port: use one from 1 to 65535", spec.port);
        listener.refuse("port", ListenerReason::PortUnavailable, message);
    }
    match spec.protocol.as_str() {
        "HTTP" => listener.protocol = Some(Protocol::Http),
        "HTTPS" => listener.protocol = Some(Protocol::Https),
        other => {
            let message = format!("protocol {other} is not supported: use HTTP or HTTPS");
            listener.refuse("protocol", ListenerReason::UnsupportedProtocol, message);
        }
    }
    match hostname::parse_optional(spec.hostname.as_deref()) {
        Ok(host) => listener.host = host,
        Err(message) => listener.refuse("hostname", ListenerReason::UnsupportedValue, message),
    }
    read_allowed_routes(&mut listener, spec, options);
    listener
}

fn read_allowed_routes(listener: &mut Listener, spec: &GatewayListeners, options: &Options) {
    let allowed = spec.allowed_routes.as_ref();
    match Namespaces::of(allowed.and_then(|allowed| allowed.namespaces.as_ref())) {
        Ok(namespaces) => listener.namespaces = namespaces,
        Err(fault) => {
            listener.namespaces = Namespaces::None;
            listener.refused.push(fault.under("allowedRoutes.namespaces").under(&listener.field));
        }
    }
    let supported = RouteKind::carried(listener.protocol, options.http3);
    listener.carried = supported;
    let wanted = allowed.and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
    if wanted.is_empty() {
        listener.kinds = supported.to_vec();
        return;
    }
    for (index, wanted) in wanted.iter().enumerate() {
        let group = wanted.group.as_deref().unwrap_or(GATEWAY_GROUP);
        let kind = supported.iter().find(|kind| kind.group_kind() == RouteGroupKindRef(group, &wanted.kind));
        match kind {
            Some(kind) if listener.kinds.contains(kind) => {}
            Some(kind) => listener.kinds.push(*kind),
            None => {
                let message = format!(
                    "{group}/{} cannot be attached to protocol {}: use {}",
                    wanted.kind,
                    spec.protocol,
                    kinds_in_words(options.http3 && listener.protocol == Some(Protocol::Https))
                );
                let field = format!("allowedRoutes.kinds[{index}]");
                listener.unresolved(&field, ListenerReason::InvalidRouteKinds, message);
            }
        }
    }
    listener.kinds.sort();
}

fn kinds_in_words(with_sessions: bool) -> String {
    let ours = headrace_crds::GROUP;
    match with_sessions {
        true => format!("HTTPRoute, {ours}/WebSocketRoute or {ours}/WebTransportRoute"),
        false => format!("HTTPRoute, or {ours}/WebSocketRoute"),
    }
}

struct RouteGroupKindRef<'a>(&'a str, &'a str);

impl PartialEq<RouteGroupKindRef<'_>> for RouteGroupKind {
    fn eq(&self, other: &RouteGroupKindRef<'_>) -> bool {
        (self.group, self.kind) == (other.0, other.1)
    }
}

fn read_tls(
    listener: &mut Listener,
    tls: Option<&GatewayListenersTls>,
    grants: &Grants<'_>,
    certificates: &mut Certificates<'_>,
) {
    if matches!(tls.and_then(|tls| tls.mode.as_ref()), Some(GatewayListenersTlsMode::Passthrough)) {
        let message = "protocol HTTPS needs mode Terminate";
        listener.refuse("tls.mode", ListenerReason::UnsupportedValue, message);
    }
    for option in tls.and_then(|tls| tls.options.as_ref()).into_iter().flatten().map(|(name, _)| name) {
        if option.starts_with(OUR_OPTIONS) {
            let message = format!("there is no TLS option {option}: remove it");
            listener.refuse("tls.options", ListenerReason::UnsupportedValue, message);
        }
    }
    let references = tls.and_then(|tls| tls.certificate_refs.as_deref()).unwrap_or_default();
    if references.is_empty() {
        let message = "protocol HTTPS needs a certificate: name a Secret of type kubernetes.io/tls";
        listener.unresolved("tls.certificateRefs", ListenerReason::InvalidCertificateRef, message);
    }
    for (index, reference) in references.iter().enumerate() {
        let field = format!("tls.certificateRefs[{index}]");
        if index >= MAX_CERTIFICATE_REFS {
            let message = format!("a listener takes at most {MAX_CERTIFICATE_REFS} certificates");
            listener.unresolved(&field, ListenerReason::InvalidCertificateRef, message);
            return;
        }
        match resolve(&listener.owner, reference, grants, certificates) {
            Ok(id) if listener.certificates.contains(&id) => {}
            Ok(id) => listener.certificates.push(id),
            Err((reason, message)) => listener.unresolved(&field, reason, message),
        }
    }
}

fn resolve(
    owner: &ObjectRef,
    reference: &GatewayListenersTlsCertificateRefs,
    grants: &Grants<'_>,
    certificates: &mut Certificates<'_>,
) -> Result<String, (ListenerReason, String)> {
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if (group, kind) != ("", "Secret") {
        let message = format!("{kind} is not a kind of certificate: name a Secret of type kubernetes.io/tls");
        return Err((ListenerReason::InvalidCertificateRef, message));
    }
    let namespace = reference.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let key = Key::new(namespace.unwrap_or(&owner.namespace), &*reference.name);
    let from = Referrer { group: GATEWAY_GROUP, kind: owner.kind.label(), namespace: &owner.namespace };
    if !grants.permit(from, Referent { group, kind, namespace: &key.namespace, name: &key.name }) {
        let message = format!(
            "Secret {key} is in another namespace: a ReferenceGrant in {} must permit it to {}s of {}",
            key.namespace,
            owner.kind.label(),
            owner.namespace
        );
        return Err((ListenerReason::RefNotPermitted, message));
    }
    certificates.get(&key).map_err(|error| (ListenerReason::InvalidCertificateRef, error.to_string()))
}

/// To ask for client certificates and not to get them checked would be worse than no listener.
fn refuse_client_validation(listener: &mut Listener, gateway: &Gateway) {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return };
    let of_port = frontend.per_port.iter().flatten().find(|entry| entry.port == listener.spec_port);
    let asked = match of_port {
        Some(entry) => entry.tls.validation.is_some(),
        None => frontend.default.validation.is_some(),
    };
    if asked {
        let message = "client certificates are not checked yet: remove spec.tls.frontend for this port";
        listener.refuse("", ListenerReason::UnsupportedValue, message);
    }
}
