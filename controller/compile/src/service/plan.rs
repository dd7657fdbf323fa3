//! From Gateways to Services and ports of the pods.
//!
//! Owns which ports a Gateway's Service has and what it carries besides, and what follows for the Gateway: where its
//! listeners are bound, its addresses, or why it has none.

use std::collections::{BTreeMap, BTreeSet};

use headrace_crds::condition::{GatewayReason, ListenerReason};
use headrace_crds::gatewayparameters::ServiceType;
use headrace_table::wire::Protocol;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::port::{Wanted, allot};
use super::{PlannedPort, ServicePlan, TransportProtocol, address, name};
use crate::diagnosis::Fault;
use crate::gateway::{GatewayState, Gateways};
use crate::options::{DEFAULT_POD_SET, Options, PortOwner, Ports};
use crate::status::Address;
use crate::world::{Key, World};

/// Ports of a Service at most, TCP and UDP counted apart: as many as one EndpointSlice takes.
const MAX_PORTS: usize = 100;

/// By which tools find what belongs to a Gateway (GEP-1762).
const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
const CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";
const MANAGED_BY_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "headrace");

/// What came of all Gateways.
#[derive(Default)]
pub(crate) struct Planned {
    pub(crate) allotments: BTreeMap<PortOwner, u16>,
    /// Gateways of which nothing can be planned for now, and whose Services are to be left alone.
    pub(crate) held: BTreeSet<Key>,
    /// The pod set of listeners that are not on the default one, by id.
    pub(crate) pod_sets: BTreeMap<String, String>,
}

/// Binds every listener, and plans a Service for every Gateway that can be served.
pub(crate) fn plan(world: &World, options: &Options, gateways: &mut Gateways) -> Planned {
    let Ports::Allotted { range, before } = &options.ports else {
        for gateway in gateways.by_age() {
            gateway.listeners.iter_mut().for_each(|listener| listener.bound = listener.port);
        }
        return Planned::default();
    };
    let mut planned = Planned::default();
    let mut by_age = gateways.by_age();
    let mut wanted = Vec::new();
    let mut names = BTreeSet::new();
    let mut transports: Vec<BTreeMap<u16, Transports>> = Vec::with_capacity(by_age.len());
    let mut services: Vec<Key> = Vec::with_capacity(by_age.len());
    for gateway in &mut by_age {
        let key = gateway.object.key();
        let service = service_key(&key, &gateway.class, &mut names);
        let ports = if gateway.is_accepted() { ports(gateway, options) } else { BTreeMap::new() };
        if !gateway.is_accepted() {
            planned.held.insert(key.clone());
            let of_gateway = |owner: &PortOwner| owner.gateway == key;
            let from = PortOwner { gateway: key.clone(), port: 0 };
            let had = before.range(from..).take_while(|(owner, _)| of_gateway(owner));
            wanted.extend(had.map(|(owner, _)| Wanted { owner: owner.clone(), claimed: None }));
        }
        let existing = world.services.get(&service).filter(|existing| is_of(existing, gateway));
        wanted.extend(ports.keys().map(|port| Wanted {
            owner: PortOwner { gateway: key.clone(), port: *port },
            claimed: existing.and_then(|existing| target_port(existing, *port)),
        }));
        transports.push(ports);
        services.push(service);
    }
    let taken = [options.ingress_ports.0, options.ingress_ports.1];
    planned.allotments = allot(&wanted, range, before, &taken);
    for ((gateway, ports), service) in by_age.into_iter().zip(&transports).zip(&services) {
        bind(gateway, &planned.allotments);
        if gateway.is_accepted() {
            place(world, gateway, service, ports, &planned.allotments);
        }
        if gateway.placement.pod_set() != DEFAULT_POD_SET {
            let set = gateway.placement.pod_set();
            let ids = gateway.listeners.iter().filter(|listener| gateway.serves(listener));
            planned.pod_sets.extend(ids.map(|listener| (listener.id(), set.to_owned())));
        }
    }
    planned
}

/// What a port of a Service carries.
#[derive(Clone, Copy, Default)]
struct Transports {
    udp: bool,
}

/// The Service's name, which an older Gateway of the namespace may have.
fn service_key(gateway: &Key, class: &str, names: &mut BTreeSet<Key>) -> Key {
    let key = Key::new(&*gateway.namespace, name::service(&gateway.name, class));
    if names.insert(key.clone()) {
        return key;
    }
    let key = Key::new(&*gateway.namespace, name::distinct(&gateway.name, class));
    names.insert(key.clone());
    key
}

/// The ports of every listener whose port and protocol can be served, whatever else is wrong with it: an address is not to
/// go away with a mistake that is soon corrected. Listeners on ports that are too many are turned away.
fn ports(gateway: &mut GatewayState, options: &Options) -> BTreeMap<u16, Transports> {
    let mut ports: BTreeMap<u16, Transports> = BTreeMap::new();
    let mut left = MAX_PORTS;
    for listener in &mut gateway.listeners {
        let (Some(port), Some(protocol)) = (listener.port, listener.protocol) else { continue };
        let udp = options.http3 && protocol == Protocol::Https && listener.conflicts.is_empty();
        let there = ports.get(&port).copied();
        let needed = usize::from(there.is_none()) + usize::from(udp && !there.is_some_and(|there| there.udp));
        match left.checked_sub(needed) {
            Some(rest) => {
                left = rest;
                ports.entry(port).or_default().udp |= udp;
            }
            None => {
                let message = format!(
                    "port {port} is one too many: a Gateway's Service has at most {MAX_PORTS}, and one for HTTPS counts twice"
                );
                listener.refuse("port", ListenerReason::PortUnavailable, message);
            }
        }
    }
    ports
}

/// Tells listeners where they are bound, and turns those away for which there is no place.
fn bind(gateway: &mut GatewayState, allotments: &BTreeMap<PortOwner, u16>) {
    let (key, is_accepted) = (gateway.object.key(), gateway.is_accepted());
    for listener in &mut gateway.listeners {
        let Some(port) = listener.port else { continue };
        listener.bound = allotments.get(&PortOwner { gateway: key.clone(), port }).copied();
        if is_accepted && listener.bound.is_none() && listener.is_accepted() {
            let message = "no port of the pods is left: there are too many ports on all Gateways together";
            listener.refuse("port", ListenerReason::PortUnavailable, message);
        }
    }
}

/// Plans the Service and reads the addresses.
fn place(
    world: &World,
    gateway: &mut GatewayState,
    service: &Key,
    transports: &BTreeMap<u16, Transports>,
    allotments: &BTreeMap<PortOwner, u16>,
) {
    let gateway_key = gateway.object.key();
    let mut ports = Vec::new();
    for (port, transport) in transports {
        let owner = PortOwner { gateway: gateway_key.clone(), port: *port };
        let Some(target_port) = allotments.get(&owner).copied() else { continue };
        let protocols = [TransportProtocol::Tcp].into_iter().chain(transport.udp.then_some(TransportProtocol::Udp));
        ports.extend(protocols.map(|protocol| PlannedPort {
            port: *port,
            protocol,
            name: format!("{}-{port}", protocol.label().to_ascii_lowercase()),
            target_port,
        }));
    }
    // A Service has at least one port.
    if ports.is_empty() {
        return;
    }
    let existing = world.services.get(service);
    if existing.is_some_and(|existing| !is_of(existing, gateway)) {
        let message = format!(
            "Service {service} is there and is not this Gateway's: delete it, or give the Gateway another name"
        );
        gateway.unaddressed.push(Fault::new("", GatewayReason::AddressNotAssigned, message));
        return;
    }
    gateway.service = Some(service_plan(gateway, service, ports));
    match address::of(world, service) {
        Ok(addresses) => gateway.addresses = addresses,
        Err(message) => gateway.unaddressed.push(Fault::new("", GatewayReason::AddressNotAssigned, message)),
    }
    judge_requested(gateway);
}

/// Addresses that were asked for and not given.
fn judge_requested(gateway: &mut GatewayState) {
    let r#type = gateway.placement.service.r#type.unwrap_or_default();
    let missing = gateway.requested.iter().find(|address| !gateway.addresses.contains(&Address::Ip(**address)));
    let Some(missing) = missing else { return };
    let message = match r#type {
        ServiceType::LoadBalancer => format!(
            "address {missing} was asked for and is not given: see that the load-balancer controller has it to give, or \
             remove it"
        ),
        other => format!(
            "address {missing} was asked for, which goes with type LoadBalancer alone: the Service is of type {}",
            other.label()
        ),
    };
    gateway.unaddressed.insert(0, Fault::new("spec.addresses", GatewayReason::AddressNotUsable, message));
}

fn service_plan(gateway: &GatewayState, service: &Key, ports: Vec<PlannedPort>) -> ServicePlan {
    let parameters = &gateway.placement.service;
    let mut labels = parameters.labels.clone();
    labels.extend(gateway.metadata.labels.clone());
    let (managed_by, headrace) = MANAGED_BY_LABEL;
    labels.extend([
        (GATEWAY_LABEL.to_owned(), name::label_value(&gateway.object.name)),
        (CLASS_LABEL.to_owned(), name::label_value(&gateway.class)),
        (managed_by.to_owned(), headrace.to_owned()),
    ]);
    let mut annotations = parameters.annotations.clone();
    annotations.extend(gateway.metadata.annotations.clone());
    ServicePlan {
        gateway: gateway.object.key(),
        gateway_uid: gateway.uid.clone(),
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        labels,
        annotations,
        r#type: parameters.r#type.unwrap_or_default(),
        load_balancer_class: parameters.load_balancer_class.clone(),
        external_traffic_policy: parameters.external_traffic_policy,
        ip_family_policy: parameters.ip_family_policy,
        load_balancer_source_ranges: parameters.load_balancer_source_ranges.clone(),
        addresses: gateway.requested.clone(),
        ports,
        pod_set: gateway.placement.pod_set().to_owned(),
    }
}

/// Whether the Service says that it is this Gateway's: by its owner, since names can be anybody's.
fn is_of(service: &Service, gateway: &GatewayState) -> bool {
    service.metadata.owner_references.iter().flatten().any(|owner| {
        owner.kind == "Gateway"
            && owner.name == gateway.object.name
            && (gateway.uid.is_empty() || owner.uid == gateway.uid)
    })
}

fn target_port(service: &Service, port: u16) -> Option<u16> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    let found = ports.iter().find(|one| one.port == i32::from(port))?;
    match found.target_port.as_ref()? {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(_) => None,
    }
}
