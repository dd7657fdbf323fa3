//! Gateways: which listeners are served, and what is wrong with the others.
//!
//! Owns the way from Gateway and ListenerSet objects to listeners that routes can be attached to, and the statuses of all
//! of them. It must not know what a route is beyond its kind.

mod conflict;
mod listener;
mod namespaces;
mod set;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use gateway_api::gateways::Gateway;
use headrace_crds::condition::{ConditionType, GatewayReason, ListenerReason};
use headrace_table::{SectionKind, wire};

use crate::age::Age;
use crate::budget::Budget;
use crate::certificate::Certificates;
use crate::class::ClassState;
use crate::diagnosis::Fault;
use crate::grant::Grants;
use crate::options::{Options, Ports};
use crate::parameters::{self, Placement, Reference};
use crate::service::{Metadata, ServicePlan};
use crate::status::{Address, ObjectRef, Problem, Statuses};
use crate::world::{Key, Kind, World};

pub(crate) use listener::{GATEWAY_GROUP, Listener, RouteKind};
use set::SetState;

/// A Gateway of one of our classes.
pub(crate) struct GatewayState {
    pub(crate) object: ObjectRef,
    pub(crate) age: Age,
    pub(crate) uid: String,
    pub(crate) class: String,
    generation: Option<i64>,
    /// Why it is not accepted as a whole.
    refused: Vec<Fault>,
    /// Its class is not accepted, so that nothing can be said about it.
    pending: Option<Fault>,
    /// References of the Gateway itself that cannot be used.
    refs: Vec<Fault>,
    /// Where it is served.
    pub(crate) placement: Placement,
    /// What its Service is to carry besides.
    pub(crate) metadata: Metadata,
    /// The addresses that it asks for.
    pub(crate) requested: Vec<IpAddr>,
    /// The Service that it is to have.
    pub(crate) service: Option<ServicePlan>,
    /// The addresses that it has.
    pub(crate) addresses: Vec<Address>,
    /// Why it cannot be reached although it is served.
    pub(crate) unaddressed: Vec<Fault>,
    /// Its own, then those of its sets.
    pub(crate) listeners: Vec<Listener>,
    /// How many of the listeners are its own.
    own: usize,
    /// The oldest first.
    sets: Vec<SetState>,
    /// The listeners of sets that are not turned away.
    by_set: BTreeMap<Key, Range<usize>>,
}

impl GatewayState {
    /// Whether it may be served at all.
    pub(crate) fn is_accepted(&self) -> bool {
        self.refused.is_empty() && self.pending.is_none()
    }

    /// Whether traffic can reach that listener.
    pub(crate) fn serves(&self, listener: &Listener) -> bool {
        self.is_accepted() && listener.is_valid()
    }

    /// The listeners of the Gateway itself or of that set, with their indices. A set that is turned away has none.
    pub(crate) fn listeners_of(&self, set: Option<&Key>) -> impl Iterator<Item = (usize, &Listener)> + Clone {
        let range = match set {
            None => 0..self.own,
            Some(key) => self.by_set.get(key).cloned().unwrap_or(0..0),
        };
        let listeners = self.listeners.get(range.clone()).unwrap_or_default();
        range.zip(listeners)
    }

    fn own_listeners(&self) -> &[Listener] {
        self.listeners.get(..self.own).unwrap_or_default()
    }
}

/// What Gateways are compiled against.
pub(crate) struct GatewayCompiler<'a, 'w> {
    pub(crate) world: &'w World,
    pub(crate) options: &'a Options,
    pub(crate) classes: &'a BTreeMap<&'w str, ClassState<'w>>,
    pub(crate) grants: &'a Grants<'w>,
    pub(crate) certificates: &'a mut Certificates<'w>,
    pub(crate) budget: &'a mut Budget,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl GatewayCompiler<'_, '_> {
    pub(crate) fn compile(mut self) -> Gateways {
        let mut gateways = Gateways::default();
        for (key, gateway) in &self.world.gateways {
            let class = gateway.spec.gateway_class_name.as_str();
            match self.classes.get(class) {
                Some(ClassState::Foreign) => gateways.foreign.push(key.clone()),
                None => {
                    gateways.foreign.push(key.clone());
                    let object = ObjectRef::new(Kind::Gateway, key);
                    self.problems.push(no_class(class).problem(&object, ConditionType::Accepted));
                }
                Some(state) => {
                    let state = self.read(key, gateway, *state);
                    gateways.by_key.insert(key.clone(), state);
                }
            }
        }
        self.attach_sets(&mut gateways);
        let mut by_age = gateways.by_age();
        conflict::find(&mut by_age, self.options, self.certificates, self.budget);
        for listener in by_age.into_iter().flat_map(|gateway| &mut gateway.listeners) {
            if let Some(message) = self.options.refusal(SectionKind::Listener, &listener.id()) {
                let fault = Fault::new("", ListenerReason::Invalid, message);
                listener.unserved.push(fault.under(&listener.field));
            }
        }
        gateways
    }

    fn read(&mut self, key: &Key, gateway: &Gateway, class: ClassState<'_>) -> GatewayState {
        let class_name = &gateway.spec.gateway_class_name;
        let (of_class, pending) = match class {
            ClassState::Accepted(parameters) => (parameters, None),
            ClassState::Refused | ClassState::Foreign => {
                let message = format!("GatewayClass {class_name} is not accepted: correct it first");
                (None, Some(Fault::new("spec.gatewayClassName", GatewayReason::Pending, message)))
            }
        };
        let infrastructure = gateway.spec.infrastructure.as_ref();
        let mut refused = Vec::new();
        let requested = self.requested(gateway, &mut refused);
        let own = infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref()).map(|reference| {
            let (group, kind, name) = (&*reference.group, &*reference.kind, &*reference.name);
            let reference = Reference { group, kind, namespace: Some(&key.namespace), name };
            parameters::resolve(self.world, self.options, &reference).map_err(|message| {
                Fault::new("spec.infrastructure.parametersRef", GatewayReason::InvalidParameters, message)
            })
        });
        let own = own.transpose().map_err(|fault| refused.push(fault)).ok().flatten();
        let object = ObjectRef::new(Kind::Gateway, key);
        let listeners = listener::read_all(
            &object,
            (key, gateway),
            &gateway.spec.listeners,
            self.options,
            self.grants,
            self.certificates,
        );
        GatewayState {
            object,
            age: Age::of(key, &gateway.metadata),
            uid: gateway.metadata.uid.clone().unwrap_or_default(),
            class: class_name.clone(),
            generation: gateway.metadata.generation,
            refused,
            pending,
            refs: unsupported_refs(gateway),
            placement: Placement::of(of_class, own),
            metadata: Metadata {
                labels: infrastructure.and_then(|infrastructure| infrastructure.labels.clone()).unwrap_or_default(),
                annotations: infrastructure
                    .and_then(|infrastructure| infrastructure.annotations.clone())
                    .unwrap_or_default(),
            },
            requested,
            service: None,
            addresses: Vec::new(),
            unaddressed: Vec::new(),
            own: listeners.len(),
            listeners,
            sets: Vec::new(),
            by_set: BTreeMap::new(),
        }
    }

    /// The addresses that a Gateway asks for. An address without a value asks for any of its type, which is what every
    /// Gateway gets.
    fn requested(&self, gateway: &Gateway, refused: &mut Vec<Fault>) -> Vec<IpAddr> {
        let mut requested = Vec::new();
        for (index, address) in gateway.spec.addresses.iter().flatten().enumerate() {
            let value = address.value.as_deref().filter(|value| !value.is_empty());
            let r#type = address.r#type.as_deref().unwrap_or("IPAddress");
            let message = match (&self.options.ports, r#type, value) {
                (Ports::AsListed, _, None) | (_, "IPAddress", None) => continue,
                (Ports::AsListed, _, Some(value)) => {
                    format!(
                        "address {value} cannot be asked for: remove it, and read the address from status.addresses"
                    )
                }
                (Ports::Allotted { .. }, "IPAddress", Some(value)) => match value.parse::<IpAddr>() {
                    Ok(address) if requested.contains(&address) => continue,
                    Ok(address) => {
                        requested.push(address);
                        continue;
                    }
                    Err(_) => format!("{value} is not an address: write an IPv4 or IPv6 address"),
                },
                (Ports::Allotted { .. }, other, _) => {
                    format!("an address of type {other} cannot be asked for: use type IPAddress, or remove it")
                }
            };
            let field = format!("spec.addresses[{index}]");
            refused.push(Fault::new(field, GatewayReason::UnsupportedAddress, message));
        }
        requested
    }

    /// Puts the listeners of every ListenerSet on its Gateway, the oldest set's first.
    fn attach_sets(&mut self, gateways: &mut Gateways) {
        let mut by_gateway: BTreeMap<Key, Vec<SetState>> = BTreeMap::new();
        for (key, spec) in &self.world.listener_sets {
            let Some(gateway_key) = set::gateway_key(key, spec) else { continue };
            let (Some(state), Some(gateway)) =
                (gateways.by_key.get(&gateway_key), self.world.gateways.get(&gateway_key))
            else {
                if !gateways.exists(&gateway_key) {
                    let object = ObjectRef::new(Kind::ListenerSet, key);
                    self.problems.push(set::no_gateway(&gateway_key).problem(&object, ConditionType::Accepted));
                }
                continue;
            };
            let set = set::read(self.world, key, spec, state, gateway);
            gateways.sets.insert(key.clone(), gateway_key.clone());
            by_gateway.entry(gateway_key).or_default().push(set);
        }
        for (key, mut sets) in by_gateway {
            let (Some(state), Some(gateway)) = (gateways.by_key.get_mut(&key), self.world.gateways.get(&key)) else {
                continue;
            };
            sets.sort_by(|a, b| a.age.cmp(&b.age));
            for set in sets.iter_mut().filter(|set| set.refused.is_none()) {
                let Some(spec) = self.world.listener_sets.get(&set.object.key()) else { continue };
                let (specs, first) = (set::listeners(spec), state.listeners.len());
                let listeners = listener::read_all(
                    &set.object,
                    (&key, gateway),
                    &specs,
                    self.options,
                    self.grants,
                    self.certificates,
                );
                state.listeners.extend(listeners);
                set.listeners = first..state.listeners.len();
                state.by_set.insert(set.object.key(), set.listeners.clone());
            }
            state.sets = sets;
        }
    }
}

/// Every Gateway that is ours.
#[derive(Default)]
pub(crate) struct Gateways {
    by_key: BTreeMap<Key, GatewayState>,
    /// The Gateway of each ListenerSet that names one of ours.
    sets: BTreeMap<Key, Key>,
    /// All other Gateways that exist, so that a route to a missing one can be told from one to somebody else's.
    foreign: Vec<Key>,
}

impl Gateways {
    /// The Gateway of that key, if it is ours.
    pub(crate) fn get(&self, key: &Key) -> Option<&GatewayState> {
        self.by_key.get(key)
    }

    /// Whether there is such a Gateway, ours or another's.
    pub(crate) fn exists(&self, key: &Key) -> bool {
        self.by_key.contains_key(key) || self.foreign.binary_search(key).is_ok()
    }

    /// The Gateway that the ListenerSet of that key names, if it is ours.
    pub(crate) fn of_set(&self, key: &Key) -> Option<&Key> {
        self.sets.get(key)
    }

    /// All, the oldest first.
    pub(crate) fn by_age(&mut self) -> Vec<&mut GatewayState> {
        let mut gateways: Vec<&mut GatewayState> = self.by_key.values_mut().collect();
        gateways.sort_by(|a, b| a.age.cmp(&b.age));
        gateways
    }

    /// All, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &GatewayState> {
        self.by_key.values()
    }

    /// Counts a route on listeners of that Gateway.
    pub(crate) fn count_route(&mut self, key: &Key, listeners: &BTreeSet<usize>) {
        if let Some(gateway) = self.by_key.get_mut(key) {
            for index in listeners {
                if let Some(listener) = gateway.listeners.get_mut(*index) {
                    listener.attached_routes = listener.attached_routes.saturating_add(1);
                }
            }
        }
    }

    /// The listeners that are served.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Listener> {
        self.by_key.values().flat_map(|gateway| gateway.listeners.iter().filter(|listener| gateway.serves(listener)))
    }

    /// The listeners for the table.
    pub(crate) fn table(&self, options: &Options) -> Vec<wire::Listener> {
        self.served().filter_map(|listener| listener.table(options)).collect()
    }

    /// Writes what became of every Gateway and ListenerSet.
    pub(crate) fn write(&self, statuses: &mut Statuses) {
        for gateway in self.by_key.values() {
            gateway.write(statuses);
            gateway.write_sets(statuses);
        }
    }
}

fn no_class(class: &str) -> Fault {
    Fault::new(
        "spec.gatewayClassName",
        GatewayReason::Pending,
        format!("GatewayClass {class} does not exist: create it, or name one that does"),
    )
}

fn unsupported_refs(gateway: &Gateway) -> Vec<Fault> {
    let backend = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    let reference = backend.and_then(|backend| backend.client_certificate_ref.as_ref());
    reference
        .map(|_| {
            Fault::new(
                "spec.tls.backend.clientCertificateRef",
                GatewayReason::InvalidClientCertificateRef,
                "client certificates towards backends are not supported: remove spec.tls.backend",
            )
        })
        .into_iter()
        .collect()
}
