//! Gateways: which listeners are served, and what is wrong with the others.
//!
//! Owns the way from Gateway objects to listeners that routes can be attached to, and the statuses of both. It must not
//! know what a route is beyond its kind.

mod conflict;
mod listener;
mod namespaces;

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::gateways::Gateway;
use headrace_crds::condition::{ConditionType, GatewayReason, ListenerReason};
use headrace_table::wire;

use crate::Options;
use crate::age::Age;
use crate::budget::Budget;
use crate::certificate::Certificates;
use crate::class::ClassState;
use crate::diagnosis::{ConditionWriter, Fault, sentence};
use crate::grant::Grants;
use crate::status::{ConditionStatus, GatewayStatus, ListenerStatus, ObjectRef, Problem, Statuses};
use crate::world::{Key, Kind, World};

pub(crate) use listener::{Listener, RouteKind};

/// A Gateway of one of our classes.
pub(crate) struct GatewayState {
    object: ObjectRef,
    age: Age,
    generation: Option<i64>,
    /// Why it is not accepted as a whole.
    refused: Vec<Fault>,
    /// Its class is not accepted, so that nothing can be said about it.
    pending: Option<Fault>,
    /// References of the Gateway itself that cannot be used.
    refs: Vec<Fault>,
    pub(crate) listeners: Vec<Listener>,
}

impl GatewayState {
    /// Whether traffic can reach that listener.
    pub(crate) fn serves(&self, listener: &Listener) -> bool {
        self.refused.is_empty() && self.pending.is_none() && listener.is_valid()
    }
}

/// Every Gateway that is ours.
pub(crate) struct Gateways {
    by_key: BTreeMap<Key, GatewayState>,
    /// All Gateways that exist, so that a route to a missing one can be told from one to somebody else's.
    foreign: Vec<Key>,
}

impl Gateways {
    pub(crate) fn of(
        world: &World,
        classes: &BTreeMap<&str, ClassState>,
        grants: &Grants<'_>,
        certificates: &mut Certificates<'_>,
        budget: &mut Budget,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut by_key = BTreeMap::new();
        let mut foreign = Vec::new();
        for (key, gateway) in &world.gateways {
            let class = gateway.spec.gateway_class_name.as_str();
            match classes.get(class) {
                Some(ClassState::Foreign) => foreign.push(key.clone()),
                None => {
                    foreign.push(key.clone());
                    problems
                        .push(no_class(class).problem(&ObjectRef::new(Kind::Gateway, key), ConditionType::Accepted));
                }
                Some(state) => {
                    by_key.insert(key.clone(), read(key, gateway, *state, grants, certificates));
                }
            }
        }
        let mut gateways: Vec<&mut GatewayState> = by_key.values_mut().collect();
        gateways.sort_by(|a, b| a.age.cmp(&b.age));
        conflict::find(&mut gateways, certificates, budget);
        Gateways { by_key, foreign }
    }

    /// The Gateway of that key, if it is ours.
    pub(crate) fn get(&self, key: &Key) -> Option<&GatewayState> {
        self.by_key.get(key)
    }

    /// Whether there is such a Gateway, ours or another's.
    pub(crate) fn exists(&self, key: &Key) -> bool {
        self.by_key.contains_key(key) || self.foreign.binary_search(key).is_ok()
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

    /// Writes what became of every Gateway.
    pub(crate) fn write(&self, statuses: &mut Statuses) {
        for gateway in self.by_key.values() {
            gateway.write(statuses);
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

fn read(
    key: &Key,
    gateway: &Gateway,
    class: ClassState,
    grants: &Grants<'_>,
    certificates: &mut Certificates<'_>,
) -> GatewayState {
    let class_name = &gateway.spec.gateway_class_name;
    let pending = (class != ClassState::Accepted).then(|| {
        let message = format!("GatewayClass {class_name} is not accepted: correct it first");
        Fault::new("spec.gatewayClassName", GatewayReason::Pending, message)
    });
    GatewayState {
        object: ObjectRef::new(Kind::Gateway, key),
        age: Age::of(key, &gateway.metadata),
        generation: gateway.metadata.generation,
        refused: refused(gateway),
        pending,
        refs: unsupported_refs(gateway),
        listeners: listener::read_all(key, gateway, grants, certificates),
    }
}

/// What of a Gateway's own spec cannot be served at all.
fn refused(gateway: &Gateway) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, address) in gateway.spec.addresses.iter().flatten().enumerate() {
        // An address without a value asks for any of its type, which is what every Gateway gets.
        if let Some(value) = address.value.as_deref().filter(|value| !value.is_empty()) {
            faults.push(Fault::new(
                format!("spec.addresses[{index}]"),
                GatewayReason::UnsupportedAddress,
                format!("address {value} cannot be asked for: remove it, and read the address from status.addresses"),
            ));
        }
    }
    let parameters =
        gateway.spec.infrastructure.as_ref().and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
    if let Some(parameters) = parameters {
        faults.push(Fault::new(
            "spec.infrastructure.parametersRef",
            GatewayReason::InvalidParameters,
            format!("{} {} is not a kind of parameters: remove parametersRef", parameters.kind, parameters.name),
        ));
    }
    faults
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

impl GatewayState {
    fn write(&self, statuses: &mut Statuses) {
        let mut problem = |faults: &[Fault], condition| {
            statuses.problems.extend(faults.iter().map(|fault| fault.problem(&self.object, condition)));
        };
        problem(&self.refused, ConditionType::Accepted);
        problem(self.pending.as_slice(), ConditionType::Accepted);
        problem(&self.refs, ConditionType::ResolvedRefs);
        for listener in &self.listeners {
            problem(&listener.refused, ConditionType::Accepted);
            problem(&listener.conflicts, ConditionType::Conflicted);
            problem(&listener.refs, ConditionType::ResolvedRefs);
            problem(&listener.overlaps, ConditionType::OverlappingTLSConfig);
        }
        let listeners = self.listeners.iter().map(|listener| self.listener_status(listener)).collect();
        statuses.gateways.push(GatewayStatus { object: self.object.clone(), conditions: self.conditions(), listeners });
    }

    fn conditions(&self) -> Vec<crate::Condition> {
        let mut writer = ConditionWriter::new(self.generation);
        if let Some(pending) = &self.pending {
            for condition in [ConditionType::Accepted, ConditionType::Programmed] {
                writer.set(condition, ConditionStatus::Unknown, GatewayReason::Pending, &*pending.message);
            }
            return writer.conditions;
        }
        let served = self.listeners.iter().filter(|listener| self.serves(listener)).count();
        let accepted = self.listeners.iter().filter(|listener| listener.is_accepted()).count();
        let some_are_served = ConditionStatus::of(served > 0);
        match (self.refused.is_empty(), accepted == self.listeners.len() && accepted > 0) {
            (false, _) => writer.set_by(ConditionType::Accepted, &self.refused, GatewayReason::Accepted, ""),
            (true, true) => {
                writer.set(
                    ConditionType::Accepted,
                    ConditionStatus::True,
                    GatewayReason::Accepted,
                    "The Gateway is served.",
                );
            }
            (true, false) => {
                let status = ConditionStatus::of(accepted > 0);
                writer.set(
                    ConditionType::Accepted,
                    status,
                    GatewayReason::ListenersNotValid,
                    self.listeners_in_words(),
                );
            }
        }
        match some_are_served {
            ConditionStatus::True => {
                let message = format!("{served} of {} listeners are programmed.", self.listeners.len());
                writer.set(ConditionType::Programmed, ConditionStatus::True, GatewayReason::Programmed, message);
            }
            status => {
                let message = match self.refused.as_slice() {
                    [] => "No listener can be programmed: see the conditions of each.".to_owned(),
                    refused => sentence(refused),
                };
                writer.set(ConditionType::Programmed, status, GatewayReason::Invalid, message);
            }
        }
        let unresolved = self.listeners.iter().filter(|listener| !listener.refs.is_empty());
        let unresolved: Vec<&str> = unresolved.map(|listener| listener.name.as_str()).collect();
        let mut refs = self.refs.clone();
        if !unresolved.is_empty() {
            let message = format!("listeners with references that cannot be used: {}", unresolved.join(", "));
            refs.push(Fault::new("", GatewayReason::ListenersNotResolved, message));
        }
        writer.set_by(ConditionType::ResolvedRefs, &refs, GatewayReason::ResolvedRefs, "Every reference was found.");
        writer.conditions
    }

    fn listeners_in_words(&self) -> String {
        let names = |wanted: bool| -> Vec<&str> {
            let listeners = self.listeners.iter().filter(|listener| listener.is_accepted() == wanted);
            listeners.map(|listener| listener.name.as_str()).collect()
        };
        let or_none = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("Listeners not accepted: {}; accepted: {}.", or_none(names(false)), or_none(names(true)))
    }

    fn listener_status(&self, listener: &Listener) -> ListenerStatus {
        let mut writer = ConditionWriter::new(self.generation);
        let refused = listener.refused.iter().chain(&listener.conflicts).cloned();
        // Accepted has no reasons for a conflict; the port is what cannot be had.
        let refused: Vec<Fault> = refused
            .map(|fault| match listener.refused.contains(&fault) {
                true => fault,
                false => Fault { reason: ListenerReason::PortUnavailable.into(), ..fault },
            })
            .collect();
        writer.set_by(ConditionType::Accepted, &refused, ListenerReason::Accepted, "The listener is valid.");
        if self.serves(listener) {
            let message = "The listener is programmed.";
            writer.set(ConditionType::Programmed, ConditionStatus::True, ListenerReason::Programmed, message);
        } else if self.pending.is_some() {
            let message = "The GatewayClass is not accepted.";
            writer.set(ConditionType::Programmed, ConditionStatus::Unknown, ListenerReason::Pending, message);
        } else {
            let faults: Vec<Fault> = self.refused.iter().chain(&refused).chain(&listener.refs).cloned().collect();
            writer.set(ConditionType::Programmed, ConditionStatus::False, ListenerReason::Invalid, sentence(&faults));
        }
        writer.set_by(
            ConditionType::ResolvedRefs,
            &listener.refs,
            ListenerReason::ResolvedRefs,
            "Every reference was found.",
        );
        match listener.conflicts.first() {
            None => {
                let message = "No other listener has the same port and host name.";
                writer.set(ConditionType::Conflicted, ConditionStatus::False, ListenerReason::NoConflicts, message);
            }
            Some(_) => writer.set_if_any(ConditionType::Conflicted, &listener.conflicts),
        }
        writer.set_if_any(ConditionType::OverlappingTLSConfig, &listener.overlaps);
        ListenerStatus {
            name: listener.name.clone(),
            attached_routes: listener.attached_routes,
            supported_kinds: listener.kinds.iter().map(|kind| kind.group_kind()).collect(),
            conditions: writer.conditions,
        }
    }
}
