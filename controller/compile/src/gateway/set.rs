//! ListenerSets: whose listeners join those of a Gateway, and what became of each set.
//!
//! Owns attachment (which Gateway, whether it lets the set in) and the set's status. What a listener is and with which it
//! clashes is decided as for the Gateway's own.

use std::ops::Range;

use gateway_api::gateways::{
    Gateway, GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersAllowedRoutesKinds,
    GatewayListenersAllowedRoutesNamespaces, GatewayListenersAllowedRoutesNamespacesFrom,
    GatewayListenersAllowedRoutesNamespacesSelector, GatewayListenersAllowedRoutesNamespacesSelectorMatchExpressions,
    GatewayListenersTls, GatewayListenersTlsCertificateRefs, GatewayListenersTlsMode,
};
use gateway_api::listenersets::{
    ListenerSet, ListenerSetListeners, ListenerSetListenersAllowedRoutes,
    ListenerSetListenersAllowedRoutesNamespacesFrom, ListenerSetListenersTls, ListenerSetListenersTlsMode,
};
use headrace_crds::condition::{ConditionType, ListenerSetReason};

use super::listener::GATEWAY_GROUP;
use super::namespaces::Namespaces;
use super::{GatewayState, Listener};
use crate::age::Age;
use crate::diagnosis::{ConditionWriter, Fault, sentence};
use crate::status::{ConditionStatus, ListenerSetStatus, ObjectRef, Statuses};
use crate::world::{Key, Kind, World};

/// A ListenerSet that names a Gateway of ours.
pub(crate) struct SetState {
    pub(super) object: ObjectRef,
    pub(super) age: Age,
    generation: Option<i64>,
    /// Why none of its listeners is on the Gateway.
    pub(super) refused: Option<Fault>,
    /// Its listeners among those of the Gateway.
    pub(super) listeners: Range<usize>,
}

/// The Gateway that a set names, if it is a Gateway that it names.
pub(super) fn gateway_key(key: &Key, set: &ListenerSet) -> Option<Key> {
    let parent = &set.spec.parent_ref;
    let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let is_gateway = (group, kind) == (GATEWAY_GROUP, "Gateway");
    is_gateway.then(|| Key::new(namespace.unwrap_or(&key.namespace), &*parent.name))
}

/// The set as the Gateway sees it.
pub(super) fn read(world: &World, key: &Key, set: &ListenerSet, gateway: &GatewayState, spec: &Gateway) -> SetState {
    let object = ObjectRef::new(Kind::ListenerSet, key);
    let age = Age::of(key, &set.metadata);
    let generation = set.metadata.generation;
    SetState { object, age, generation, refused: objection(world, key, gateway, spec), listeners: 0..0 }
}

fn objection(world: &World, key: &Key, gateway: &GatewayState, spec: &Gateway) -> Option<Fault> {
    let name = gateway.object.key();
    let allowed = spec.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let fault = |reason, message| Some(Fault::new("spec.parentRef", reason, message));
    match Namespaces::of_listener_sets(allowed) {
        Ok(namespaces) if !namespaces.allow(world, &name.namespace, &key.namespace) => {
            let message = format!(
                "Gateway {name} takes no ListenerSets of namespace {}: change its spec.allowedListeners",
                key.namespace
            );
            fault(ListenerSetReason::NotAllowed, message)
        }
        Err(wrong) => {
            let message = format!("spec.allowedListeners of Gateway {name} cannot be read: {}", wrong.message);
            fault(ListenerSetReason::NotAllowed, message)
        }
        Ok(_) if !gateway.refused.is_empty() || gateway.pending.is_some() => {
            let message = format!("Gateway {name} is not accepted: correct it first");
            fault(ListenerSetReason::ParentNotAccepted, message)
        }
        Ok(_) => None,
    }
}

/// What is wrong with a set whose Gateway does not exist.
pub(super) fn no_gateway(key: &Key) -> Fault {
    let message = format!("Gateway {key} does not exist: create it, or name one that does");
    Fault::new("spec.parentRef.name", ListenerSetReason::Invalid, message)
}

impl GatewayState {
    /// How many sets have at least one listener that is good.
    pub(super) fn attached_sets(&self) -> usize {
        self.sets.iter().filter(|set| self.of_set(set).iter().any(|listener| self.serves(listener))).count()
    }

    fn of_set(&self, set: &SetState) -> &[Listener] {
        self.listeners.get(set.listeners.clone()).unwrap_or_default()
    }

    pub(super) fn write_sets(&self, statuses: &mut Statuses) {
        for set in &self.sets {
            let problems = set.refused.iter().map(|fault| fault.problem(&set.object, ConditionType::Accepted));
            statuses.problems.extend(problems);
            let listeners = self.of_set(set).iter();
            let listeners = listeners.map(|listener| self.listener_status(listener, set.generation)).collect();
            statuses.listener_sets.push(ListenerSetStatus {
                object: set.object.clone(),
                gateway: self.object.key(),
                conditions: self.set_conditions(set),
                listeners,
            });
        }
    }

    fn set_conditions(&self, set: &SetState) -> Vec<crate::Condition> {
        let mut writer = ConditionWriter::new(set.generation);
        if let Some(fault) = &set.refused {
            for condition in [ConditionType::Accepted, ConditionType::Programmed] {
                writer.set(condition, ConditionStatus::False, fault.reason, sentence(std::slice::from_ref(fault)));
            }
            return writer.conditions;
        }
        let (served, left_out): (Vec<&Listener>, Vec<&Listener>) =
            self.of_set(set).iter().partition(|listener| self.serves(listener));
        let names = |listeners: &[&Listener]| -> String {
            listeners.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (status, reason, message) = match (served.is_empty(), left_out.is_empty()) {
            (true, _) => {
                let message = "No listener can be served: see the conditions of each.".to_owned();
                (ConditionStatus::False, ListenerSetReason::ListenersNotValid, message)
            }
            (false, true) => {
                (ConditionStatus::True, ListenerSetReason::Accepted, "The listeners are served.".to_owned())
            }
            (false, false) => {
                let message = format!("Listeners not served: {}; served: {}.", names(&left_out), names(&served));
                (ConditionStatus::True, ListenerSetReason::ListenersNotValid, message)
            }
        };
        writer.set(ConditionType::Accepted, status, reason, message.clone());
        match (status, self.unaddressed.first()) {
            (ConditionStatus::True, None) => {
                let message =
                    format!("{} of {} listeners are programmed.", served.len(), served.len() + left_out.len());
                writer.set(ConditionType::Programmed, ConditionStatus::True, ListenerSetReason::Programmed, message);
            }
            (ConditionStatus::True, Some(fault)) => {
                let message = format!("Gateway {}: {}", self.object.key(), fault.message);
                let reason = ListenerSetReason::ParentNotProgrammed;
                writer.set(ConditionType::Programmed, ConditionStatus::False, reason, message);
            }
            (status, _) => writer.set(ConditionType::Programmed, status, reason, message),
        }
        writer.conditions
    }
}

/// The set's listeners in the shape of a Gateway's, which is the same.
pub(super) fn listeners(set: &ListenerSet) -> Vec<GatewayListeners> {
    set.spec.listeners.iter().map(as_of_gateway).collect()
}

fn as_of_gateway(listener: &ListenerSetListeners) -> GatewayListeners {
    GatewayListeners {
        allowed_routes: listener.allowed_routes.as_ref().map(allowed_routes),
        hostname: listener.hostname.clone(),
        name: listener.name.clone(),
        port: listener.port,
        protocol: listener.protocol.clone(),
        tls: listener.tls.as_ref().map(tls),
    }
}

fn allowed_routes(allowed: &ListenerSetListenersAllowedRoutes) -> GatewayListenersAllowedRoutes {
    use GatewayListenersAllowedRoutesNamespacesFrom as To;
    use ListenerSetListenersAllowedRoutesNamespacesFrom as From;
    let kinds = allowed.kinds.as_ref().map(|kinds| {
        let kinds = kinds.iter();
        kinds
            .map(|kind| GatewayListenersAllowedRoutesKinds { group: kind.group.clone(), kind: kind.kind.clone() })
            .collect()
    });
    let namespaces = allowed.namespaces.as_ref().map(|namespaces| GatewayListenersAllowedRoutesNamespaces {
        from: namespaces.from.as_ref().map(|from| match from {
            From::All => To::All,
            From::Selector => To::Selector,
            From::Same => To::Same,
        }),
        selector: namespaces.selector.as_ref().map(|selector| GatewayListenersAllowedRoutesNamespacesSelector {
            match_expressions: selector.match_expressions.as_ref().map(|expressions| {
                let expressions = expressions.iter();
                expressions
                    .map(|one| GatewayListenersAllowedRoutesNamespacesSelectorMatchExpressions {
                        key: one.key.clone(),
                        operator: one.operator.clone(),
                        values: one.values.clone(),
                    })
                    .collect()
            }),
            match_labels: selector.match_labels.clone(),
        }),
    });
    GatewayListenersAllowedRoutes { kinds, namespaces }
}

fn tls(tls: &ListenerSetListenersTls) -> GatewayListenersTls {
    let references = tls.certificate_refs.as_ref().map(|references| {
        let references = references.iter();
        references
            .map(|reference| GatewayListenersTlsCertificateRefs {
                group: reference.group.clone(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
                namespace: reference.namespace.clone(),
            })
            .collect()
    });
    GatewayListenersTls {
        certificate_refs: references,
        mode: tls.mode.as_ref().map(|mode| match mode {
            ListenerSetListenersTlsMode::Terminate => GatewayListenersTlsMode::Terminate,
            ListenerSetListenersTlsMode::Passthrough => GatewayListenersTlsMode::Passthrough,
        }),
        options: tls.options.clone(),
    }
}
