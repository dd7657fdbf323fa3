//! What the status of one object is to be, whatever its kind.
//!
//! Owns how the compiler's statuses read in the API's form. Pure. It must not know what stands there now; `Programmed` is
//! held back elsewhere.

use std::hash::{Hash, Hasher};

use headrace_compile::{Address, Kind, ListenerStatus, ObjectRef, Statuses};
use headrace_crds::reference::ParentReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use super::conditions::all_of_compiled;

/// The group of the Gateway API.
pub(crate) const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// A status as it is to be. The times in its conditions mean nothing: merging decides them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Desired {
    /// Of a GatewayClass.
    GatewayClass {
        /// Its conditions.
        conditions: Vec<Condition>,
        /// The features of the Gateway API that are served, sorted.
        features: Vec<&'static str>,
    },
    /// Of a Gateway.
    Gateway {
        /// Its conditions.
        conditions: Vec<Condition>,
        /// Its listeners'.
        listeners: Vec<Listener>,
        /// Where it is reached.
        addresses: Vec<Address>,
        /// How many ListenerSets are attached; absent if they are not looked at.
        attached_listener_sets: Option<i32>,
    },
    /// Of a ListenerSet.
    ListenerSet {
        /// Its conditions.
        conditions: Vec<Condition>,
        /// Its listeners'.
        listeners: Vec<Listener>,
    },
    /// Our entries in the list that a route (`parents`) or a policy (`ancestors`) has for all controllers.
    Entries(Vec<Entry>),
    /// Of an Ingress: where it is reached.
    Ingress(Vec<Address>),
}

/// The status of a listener, as it stands in the object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listener {
    /// Its name.
    pub name: String,
    /// How many routes are attached.
    pub attached_routes: i32,
    /// The kinds of routes that it takes.
    #[serde(default)]
    pub supported_kinds: Vec<GroupKind>,
    /// Its conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A kind of route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupKind {
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind.
    pub kind: String,
}

/// What became of an object under one parent or ancestor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The parent as the route names it, or the Gateway through which a policy is reached.
    pub parent: ParentReference,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

impl Desired {
    /// Feeds all of it into a hasher, but for the times in conditions, which mean nothing.
    pub(crate) fn hash_into(&self, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Desired::GatewayClass { conditions, features } => {
                hash_conditions(conditions, hasher);
                features.hash(hasher);
            }
            Desired::Gateway { conditions, listeners, addresses, attached_listener_sets } => {
                hash_conditions(conditions, hasher);
                listeners.iter().for_each(|listener| listener.hash_into(hasher));
                addresses.iter().for_each(|address| (address.label(), address.value()).hash(hasher));
                attached_listener_sets.hash(hasher);
            }
            Desired::ListenerSet { conditions, listeners } => {
                hash_conditions(conditions, hasher);
                listeners.iter().for_each(|listener| listener.hash_into(hasher));
            }
            Desired::Entries(entries) => entries.iter().for_each(|entry| {
                let ParentReference { group, kind, namespace, name, section_name, port } = &entry.parent;
                (group, kind, namespace, name, section_name, port).hash(hasher);
                hash_conditions(&entry.conditions, hasher);
            }),
            Desired::Ingress(addresses) => {
                addresses.iter().for_each(|address| (address.label(), address.value()).hash(hasher));
            }
        }
    }
}

fn hash_conditions(conditions: &[Condition], hasher: &mut impl Hasher) {
    conditions.len().hash(hasher);
    for Condition { type_, status, reason, message, observed_generation, .. } in conditions {
        (type_, status, reason, message, observed_generation).hash(hasher);
    }
}

impl Listener {
    fn hash_into(&self, hasher: &mut impl Hasher) {
        (&self.name, self.attached_routes).hash(hasher);
        self.supported_kinds.iter().for_each(|kind| (&kind.group, &kind.kind).hash(hasher));
        hash_conditions(&self.conditions, hasher);
    }

    fn of(compiled: &ListenerStatus) -> Self {
        let kinds = compiled.supported_kinds.iter();
        Listener {
            name: compiled.name.clone(),
            attached_routes: compiled.attached_routes,
            supported_kinds: kinds
                .map(|kind| GroupKind { group: Some(kind.group.to_owned()), kind: kind.kind.to_owned() })
                .collect(),
            conditions: all_of_compiled(&compiled.conditions),
        }
    }
}

/// How soon a kind is written when much is to be written: what others depend on comes first.
pub(crate) const fn precedence(kind: Kind) -> u8 {
    match kind {
        Kind::GatewayClass => 0,
        Kind::Gateway => 1,
        Kind::ListenerSet => 2,
        Kind::Ingress | Kind::BackendTlsPolicy | Kind::EdgePolicy => 3,
        _ => 4,
    }
}

/// Everything that the compiler found, by object. In the order of the lists, not of writing.
pub(crate) fn all(statuses: &Statuses) -> impl Iterator<Item = (&ObjectRef, Desired)> {
    let classes = statuses.gateway_classes.iter().map(|status| {
        let conditions = all_of_compiled(&status.conditions);
        (&status.object, Desired::GatewayClass { conditions, features: status.supported_features.clone() })
    });
    let ingresses =
        statuses.ingresses.iter().map(|status| (&status.object, Desired::Ingress(status.addresses.clone())));
    classes.chain(gateways(statuses)).chain(ingresses).chain(policies(statuses)).chain(routes(statuses))
}

/// Of Gateways and ListenerSets: what the data plane's answers have a part in.
pub(crate) fn gateways(statuses: &Statuses) -> impl Iterator<Item = (&ObjectRef, Desired)> {
    let gateways = statuses.gateways.iter().map(|status| {
        let desired = Desired::Gateway {
            conditions: all_of_compiled(&status.conditions),
            listeners: status.listeners.iter().map(Listener::of).collect(),
            addresses: status.addresses.clone(),
            attached_listener_sets: status.attached_listener_sets,
        };
        (&status.object, desired)
    });
    let sets = statuses.listener_sets.iter().map(|status| {
        let conditions = all_of_compiled(&status.conditions);
        let listeners = status.listeners.iter().map(Listener::of).collect();
        (&status.object, Desired::ListenerSet { conditions, listeners })
    });
    gateways.chain(sets)
}

fn policies(statuses: &Statuses) -> impl Iterator<Item = (&ObjectRef, Desired)> {
    statuses.policies.iter().map(|status| {
        let entries = status.ancestors.iter().map(|ancestor| Entry {
            parent: ParentReference {
                group: Some(GATEWAY_API.to_owned()),
                kind: Some(ancestor.ancestor.kind.label().to_owned()),
                namespace: Some(ancestor.ancestor.namespace.clone()).filter(|namespace| !namespace.is_empty()),
                name: ancestor.ancestor.name.clone(),
                section_name: ancestor.section.clone(),
                ..ParentReference::default()
            },
            conditions: all_of_compiled(&ancestor.conditions),
        });
        (&status.object, Desired::Entries(entries.collect()))
    })
}

fn routes(statuses: &Statuses) -> impl Iterator<Item = (&ObjectRef, Desired)> {
    statuses.routes.iter().map(|status| {
        let entries = status
            .parents
            .iter()
            .map(|parent| Entry { parent: parent.parent_ref.clone(), conditions: all_of_compiled(&parent.conditions) });
        (&status.object, Desired::Entries(entries.collect()))
    })
}
