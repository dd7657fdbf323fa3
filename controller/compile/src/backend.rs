//! Services as backends: which port, which protocol, which endpoints.
//!
//! Owns the way from a backend reference through Service and EndpointSlices to the table's backend, and why it fails. It
//! must not know who refers, nor what a route or an Ingress calls the failure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use headrace_table::wire::{self, BackendProtocol};
use headrace_table::{List, SectionKind};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::options::{LocalEndpoints, Options};
use crate::policy::Policies;
use crate::status::Statuses;
use crate::world::{Key, World};

/// The label by which an EndpointSlice belongs to a Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A port of a Service as an Ingress or a route names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortRef<'a> {
    Number(i32),
    Name(&'a str),
}

impl std::fmt::Display for PortRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortRef::Number(number) => number.fmt(f),
            PortRef::Name(name) => name.fmt(f),
        }
    }
}

/// What is to be sent to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests, and WebSocket handshakes.
    Requests,
    /// WebTransport sessions.
    Sessions,
    /// The octets of a session's streams.
    Streams,
    /// A session's datagrams.
    Datagrams,
}

impl Purpose {
    /// The protocol of the Service's port.
    const fn transport(self) -> &'static str {
        match self {
            Purpose::Requests | Purpose::Streams => "TCP",
            Purpose::Sessions | Purpose::Datagrams => "UDP",
        }
    }

    /// What tells apart in the table what one number of a Service is used for.
    const fn suffix(self) -> &'static str {
        match self {
            Purpose::Requests => "",
            Purpose::Sessions => "/h3",
            Purpose::Streams => "/tcp",
            Purpose::Datagrams => "/udp",
        }
    }

    /// What an `appProtocol` means, if it is supported. To streams and datagrams it is all the same: they pass as they are.
    fn speaks(self, app_protocol: &str) -> Option<(BackendProtocol, Security)> {
        match (self, app_protocol) {
            (Purpose::Requests, name) => speaks(name),
            (Purpose::Sessions, HTTP3) => Some((BackendProtocol::Http3, Security::Tls)),
            (Purpose::Sessions, _) => None,
            (Purpose::Streams, _) => Some((BackendProtocol::Stream, Security::None)),
            (Purpose::Datagrams, _) => Some((BackendProtocol::Datagram, Security::None)),
        }
    }
}

/// HTTP/3 with WebTransport. Kubernetes has no name for it of its own.
const HTTP3: &str = "headrace.dev/h3";

/// Why a Service cannot be a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("Service {0} does not exist")]
    NoService(Key),
    #[error("Service {0} has no port {1}: it has {2}")]
    NoPort(Key, String, String),
    #[error("Service {0} is of type ExternalName, which is refused: it would let whoever may edit it choose any host")]
    ExternalName(Key),
    #[error("port {1} of Service {0} is {2}, not {3}")]
    Transport(Key, u16, String, &'static str),
    #[error(
        "port {1} of Service {0} has appProtocol {2:?}, which is not supported: use http, https, kubernetes.io/ws, \
         kubernetes.io/wss or kubernetes.io/h2c, or none"
    )]
    AppProtocol(Key, u16, String),
    #[error(
        "port {1} of Service {0} has appProtocol {2:?}, and a session needs one that speaks WebTransport: use {HTTP3}"
    )]
    NotHttp3(Key, u16, String),
    #[error(
        "port {1} of Service {0} has a BackendTLSPolicy, and streams and datagrams pass as they are: let the policy name \
         other ports by sectionName"
    )]
    PolicyOnOctets(Key, u16),
    #[error(
        "port {1} of Service {0} has appProtocol {2:?}, and nothing says who has to be there: add a BackendTLSPolicy"
    )]
    NoPolicy(Key, u16, String),
    #[error("port {1} of Service {0}: {2}")]
    Refused(Key, u16, String),
    #[error("port {1} of Service {0}: {2}")]
    Policy(Key, u16, String),
    #[error("the table is full: Service {0} is one too many")]
    TableFull(Key),
}

/// Every backend that was asked for.
pub(crate) struct Backends<'w> {
    world: &'w World,
    options: &'w Options,
    slices: BTreeMap<Key, Vec<&'w EndpointSlice>>,
    found: BTreeMap<String, wire::Backend>,
    policies: Policies,
    /// Services with a policy that were asked for since somebody last looked.
    asked: BTreeSet<Key>,
}

impl<'w> Backends<'w> {
    pub(crate) fn of(world: &'w World, options: &'w Options) -> Self {
        let mut slices: BTreeMap<Key, Vec<&EndpointSlice>> = BTreeMap::new();
        for (key, slice) in &world.endpoint_slices {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)) {
                slices.entry(Key::new(&*key.namespace, &**service)).or_default().push(slice);
            }
        }
        Backends {
            world,
            options,
            slices,
            found: BTreeMap::new(),
            policies: Policies::of(world),
            asked: BTreeSet::new(),
        }
    }

    /// The backend of that port of that Service for that purpose, under its id in the table.
    pub(crate) fn get(&mut self, key: &Key, port: PortRef<'_>, purpose: Purpose) -> Result<String, BackendError> {
        let service = self.world.services.get(key).ok_or_else(|| BackendError::NoService(key.clone()))?;
        let spec = service.spec.as_ref();
        if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
            return Err(BackendError::ExternalName(key.clone()));
        }
        let (number, service_port) = find_port(service, port, purpose)
            .ok_or_else(|| BackendError::NoPort(key.clone(), port.to_string(), ports_in_words(service)))?;
        let transport = transport_of(service_port.protocol.as_deref());
        if transport != purpose.transport() {
            return Err(BackendError::Transport(key.clone(), number, transport.to_owned(), purpose.transport()));
        }
        let app_protocol = service_port.app_protocol.as_deref().unwrap_or("");
        let (protocol, security) = purpose.speaks(app_protocol).ok_or_else(|| match purpose {
            Purpose::Sessions => BackendError::NotHttp3(key.clone(), number, app_protocol.to_owned()),
            _ => BackendError::AppProtocol(key.clone(), number, app_protocol.to_owned()),
        })?;
        let id = format!("{}:{number}{}", key.id(), purpose.suffix());
        if let Some(message) = self.options.refusal(SectionKind::Backend, &id) {
            return Err(BackendError::Refused(key.clone(), number, message));
        }
        if self.policies.target(key) {
            self.asked.insert(key.clone());
        }
        if !self.found.contains_key(&id) {
            let port_name = service_port.name.as_deref().unwrap_or("");
            let tls = self.policies.tls(key, port_name);
            let tls = tls.map_err(|message| BackendError::Policy(key.clone(), number, message))?;
            match (security, &tls) {
                (Security::Tls, None) => {
                    return Err(BackendError::NoPolicy(key.clone(), number, app_protocol.to_owned()));
                }
                (Security::None, Some(_)) => return Err(BackendError::PolicyOnOctets(key.clone(), number)),
                _ => {}
            }
            if self.found.len() >= List::Backends.max() {
                return Err(BackendError::TableFull(key.clone()));
            }
            let endpoints = self.endpoints(key, port_name, purpose.transport());
            self.found.insert(id.clone(), wire::Backend { id: id.clone(), protocol, endpoints, tls });
        }
        Ok(id)
    }

    /// Takes note that what was asked for since the last time is reached through these Gateways.
    pub(crate) fn reached(&mut self, gateways: impl FnOnce() -> BTreeSet<Key>) {
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() {
            return;
        }
        let gateways = gateways();
        for service in asked {
            self.policies.reached(&service, &gateways);
        }
    }

    /// Writes what became of the policies.
    pub(crate) fn write(&self, statuses: &mut Statuses) {
        self.policies.write(self.world, &self.options.controller_name, statuses);
    }

    /// Every backend that was found, sorted by id.
    pub(crate) fn into_table(self) -> impl Iterator<Item = wire::Backend> {
        self.found.into_values()
    }

    /// Those that are ready; where none is, those that still serve while they terminate (KEP-1672).
    fn endpoints(&self, service: &Key, port_name: &str, transport: &str) -> Vec<String> {
        let slices = self.slices.get(service).map_or(&[][..], |slices| slices);
        for eligible in [is_ready as fn(&Endpoint) -> bool, is_serving_while_terminating] {
            let endpoints: BTreeSet<String> = slices
                .iter()
                .filter_map(|slice| Some((*slice, slice_port(slice, port_name, transport)?)))
                .flat_map(|(slice, port)| {
                    let endpoints = slice.endpoints.iter().filter(|endpoint| eligible(endpoint));
                    endpoints.flat_map(|endpoint| &endpoint.addresses).filter_map(move |address| {
                        let address = self.address(&slice.address_type, address)?;
                        Some(SocketAddr::new(address, port).to_string())
                    })
                })
                .take(List::Endpoints.max())
                .collect();
            if !endpoints.is_empty() {
                return endpoints.into_iter().collect();
            }
        }
        Vec::new()
    }

    /// The address to dial, or nothing where it is not one that may be dialled.
    fn address(&self, address_type: &str, text: &str) -> Option<IpAddr> {
        match (address_type, self.options.local_endpoints) {
            ("FQDN", LocalEndpoints::Allowed) => is_localhost(text).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ("FQDN", LocalEndpoints::Refused) => None,
            (_, local) => {
                let address: IpAddr = text.parse().ok()?;
                may_dial(address, local).then_some(address)
            }
        }
    }
}

/// RFC 6761, section 6.3: `localhost` and every name under it.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// IPv4 addresses in their IPv6 form are judged as what they are.
fn may_dial(address: IpAddr, local: LocalEndpoints) -> bool {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !is_link_local
        && !is_broadcast
        && !address.is_unspecified()
        && !address.is_multicast()
        && (local == LocalEndpoints::Allowed || !address.is_loopback())
}

/// A number may be there twice: for TCP and for UDP. Then the one that serves the purpose is meant.
fn find_port<'s>(service: &'s Service, wanted: PortRef<'_>, purpose: Purpose) -> Option<(u16, &'s ServicePort)> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    let mut meant = ports.iter().filter(|port| match wanted {
        PortRef::Number(number) => port.port == number,
        PortRef::Name(name) => port.name.as_deref() == Some(name),
    });
    let serves = |port: &&ServicePort| transport_of(port.protocol.as_deref()) == purpose.transport();
    let port = meant.clone().find(serves).or_else(|| meant.next())?;
    let number = u16::try_from(port.port).ok().filter(|number| *number != 0)?;
    Some((number, port))
}

/// The protocol of a port; TCP where none is given (ServicePort.protocol, EndpointPort.protocol).
fn transport_of(protocol: Option<&str>) -> &str {
    protocol.filter(|protocol| !protocol.is_empty()).unwrap_or("TCP")
}

fn ports_in_words(service: &Service) -> String {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let words: Vec<String> = ports
        .iter()
        .map(|port| match &port.name {
            Some(name) => format!("{} ({name})", port.port),
            None => port.port.to_string(),
        })
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// What an `appProtocol` says of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// It is for a policy to say.
    AsPolicy,
    /// It is spoken, so that there has to be a policy: without one nobody could be told from anybody else.
    Tls,
    /// It is none of ours: what passes may have TLS of its own inside.
    None,
}

/// What an `appProtocol` means for requests, if it is supported. GEP-1911: an absent one does not switch upgrades off. Names without a
/// domain are IANA's, in which case makes no difference (RFC 6335 section 5.1).
fn speaks(app_protocol: &str) -> Option<(BackendProtocol, Security)> {
    match app_protocol {
        "" | "kubernetes.io/ws" => Some((BackendProtocol::Http1, Security::AsPolicy)),
        "kubernetes.io/wss" => Some((BackendProtocol::Http1, Security::Tls)),
        "kubernetes.io/h2c" => Some((BackendProtocol::H2c, Security::AsPolicy)),
        name if name.eq_ignore_ascii_case("http") => Some((BackendProtocol::Http1, Security::AsPolicy)),
        name if name.eq_ignore_ascii_case("https") => Some((BackendProtocol::Http1, Security::Tls)),
        _ => None,
    }
}

/// The number behind the Service port's name: what `targetPort` came to on these endpoints.
fn slice_port(slice: &EndpointSlice, name: &str, transport: &str) -> Option<u16> {
    let ports = slice.ports.as_deref()?;
    let port = ports.iter().find(|port| {
        port.name.as_deref().unwrap_or("") == name && transport_of(port.protocol.as_deref()) == transport
    })?;
    port.port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0)
}

/// An unknown state is to be taken as ready (EndpointConditions.ready).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

fn is_serving_while_terminating(endpoint: &Endpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else { return false };
    conditions.terminating == Some(true) && conditions.serving != Some(false)
}
