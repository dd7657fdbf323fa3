//! What the compiler has to say about each object.
//!
//! Owns the shape of statuses, their order and their serialised form (for golden files and terminals). It must not know why
//! a condition holds, nor when it changed: the writer adds transition times, keeps conditions of others, and holds
//! `Programmed` back until the data plane has acknowledged the table.

use std::net::IpAddr;

use headrace_crds::condition::{ConditionType, Reason};
use serde::{Serialize, Serializer};

use crate::world::{Key, Kind};

/// An object, by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds that have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The object of that kind under that key.
    pub fn new(kind: Kind, key: &Key) -> Self {
        ObjectRef { kind, namespace: key.namespace.clone(), name: key.name.clone() }
    }

    /// Its key in the [`World`](crate::World).
    pub fn key(&self) -> Key {
        Key::new(&*self.namespace, &*self.name)
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.label(), self.key())
    }
}

/// Everything that is to be written back. Each list is sorted by object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statuses {
    /// Of our GatewayClasses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway_classes: Vec<GatewayClassStatus>,
    /// Of the Gateways of our classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayStatus>,
    /// Of the ListenerSets that name those Gateways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listener_sets: Vec<ListenerSetStatus>,
    /// Of the routes that name those Gateways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteStatus>,
    /// Of the Ingresses of our classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingresses: Vec<IngressStatus>,
    /// Of the policies that reach those Gateways, or what those routes use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyStatus>,
    /// Everything that is wrong, sorted by object and field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Statuses {
    /// Puts every list in its order.
    pub(crate) fn sort(&mut self) {
        self.gateway_classes.sort_by(|a, b| a.object.cmp(&b.object));
        self.gateways.sort_by(|a, b| a.object.cmp(&b.object));
        self.routes.sort_by(|a, b| a.object.cmp(&b.object));
        self.ingresses.sort_by(|a, b| a.object.cmp(&b.object));
        self.listener_sets.sort_by(|a, b| a.object.cmp(&b.object));
        self.policies.sort_by(|a, b| a.object.cmp(&b.object));
        // Stable: problems of one object at one field stay in the order in which they were found.
        self.problems.sort_by(|a, b| (&a.object, &a.field).cmp(&(&b.object, &b.field)));
    }
}

/// A condition, without the time of its last transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type", serialize_with = "condition_type")]
    pub r#type: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in a word.
    #[serde(serialize_with = "reason")]
    pub reason: Reason,
    /// Why, in a sentence that says what to change.
    pub message: String,
    /// The object's generation at which this was found.
    #[serde(rename = "observedGeneration", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is not known.
    Unknown,
}

impl ConditionStatus {
    /// True or False.
    pub const fn of(holds: bool) -> Self {
        if holds { ConditionStatus::True } else { ConditionStatus::False }
    }

    /// The word as Kubernetes has it.
    pub const fn label(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        }
    }
}

/// The status of a GatewayClass.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    /// The object.
    pub object: ObjectRef,
    /// Accepted, SupportedVersion.
    pub conditions: Vec<Condition>,
    /// Names of Gateway API features, sorted.
    pub supported_features: Vec<&'static str>,
}

/// The status of a Gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// The object.
    pub object: ObjectRef,
    /// Accepted, Programmed, ResolvedRefs.
    pub conditions: Vec<Condition>,
    /// Where it can be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// How many ListenerSets have listeners on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
    /// In the order of the spec.
    pub listeners: Vec<ListenerStatus>,
}

/// Where a Gateway or an Ingress can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "type", content = "value")]
pub enum Address {
    /// An address.
    #[serde(rename = "IPAddress")]
    Ip(IpAddr),
    /// A name, which somebody else resolves.
    Hostname(String),
}

impl Address {
    /// The type as the Gateway API has it.
    pub const fn label(&self) -> &'static str {
        match self {
            Address::Ip(_) => "IPAddress",
            Address::Hostname(_) => "Hostname",
        }
    }

    /// The value as a status has it.
    pub fn value(&self) -> String {
        match self {
            Address::Ip(address) => address.to_string(),
            Address::Hostname(name) => name.clone(),
        }
    }
}

/// The status of a ListenerSet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListenerSetStatus {
    /// The object.
    pub object: ObjectRef,
    /// The Gateway whose listeners it adds to.
    pub gateway: Key,
    /// Accepted, Programmed.
    pub conditions: Vec<Condition>,
    /// In the order of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
}

/// The status of one listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener's name.
    pub name: String,
    /// How many routes are attached and accepted.
    pub attached_routes: i32,
    /// The route kinds that it takes.
    pub supported_kinds: Vec<RouteGroupKind>,
    /// Accepted, Programmed, ResolvedRefs, Conflicted, and OverlappingTLSConfig where it holds.
    pub conditions: Vec<Condition>,
}

/// A kind of route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RouteGroupKind {
    /// Its group.
    pub group: &'static str,
    /// Its kind.
    pub kind: &'static str,
}

/// The status of an HTTPRoute, a WebSocketRoute or a WebTransportRoute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteStatus {
    /// The object.
    pub object: ObjectRef,
    /// One entry for each parentRef that names a Gateway of ours, in the order of the spec.
    pub parents: Vec<ParentStatus>,
}

/// What became of a route on one parent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The parent as the route names it.
    pub parent_ref: headrace_crds::reference::ParentReference,
    /// Our name.
    pub controller_name: String,
    /// Accepted, ResolvedRefs, and PartiallyInvalid where it holds.
    pub conditions: Vec<Condition>,
}

/// The status of an Ingress. The kind has no conditions: these are for terminals, events and logs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IngressStatus {
    /// The object.
    pub object: ObjectRef,
    /// Accepted, ResolvedRefs.
    pub conditions: Vec<Condition>,
    /// Where it can be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

/// The status of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyStatus {
    /// The object.
    pub object: ObjectRef,
    /// One entry for each Gateway of ours through which its target is reached, in their order; of an EdgePolicy, one for
    /// each target, in the order of the spec.
    pub ancestors: Vec<AncestorStatus>,
}

/// What became of a policy under one Gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The Gateway.
    pub ancestor: ObjectRef,
    /// The listener, where the policy is for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Our name.
    pub controller_name: String,
    /// Accepted, and ResolvedRefs or PartiallyInvalid as the kind has them.
    pub conditions: Vec<Condition>,
}

/// Something that is wrong with an object, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The object to change.
    pub object: ObjectRef,
    /// The field to change, such as `spec.rules[1].backendRefs[0]`.
    pub field: String,
    /// The condition that fails because of it.
    #[serde(serialize_with = "condition_type")]
    pub condition: ConditionType,
    /// The reason.
    #[serde(serialize_with = "reason")]
    pub reason: Reason,
    /// What to change.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}: {}", self.object, self.field, self.reason.label(), self.message)
    }
}

fn condition_type<S: Serializer>(value: &ConditionType, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.label())
}

fn reason<S: Serializer>(value: &Reason, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.label())
}
