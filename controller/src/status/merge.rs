//! What to change in an object's status, so that it says what it is to say.
//!
//! Owns what of a status is ours and what belongs to others, the API's limits, and the patch. Pure: the object as it was seen
//! and the time are arguments. It must not know when a write is due, nor how it is sent.
//!
//! The patch is JSON Patch (RFC 6902) on the status subresource. Its first operation puts in the resourceVersion that the
//! rest was computed from, so that the API server answers Conflict if somebody else was faster; that is what makes it safe
//! to name entries of shared lists by their index, and to leave those of other controllers untouched. Server-side apply
//! would not do here: `parents` and `ancestors` are atomic lists, which have one owner.

use headrace_compile::{Address, Kind, ObjectRef};
use headrace_crds::condition::ConditionType;
use headrace_crds::reference::ParentReference;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::conditions;
use super::desired::{Desired, Entry, GATEWAY_API, GroupKind, Listener};

/// `maxItems` of `status.parents` of every route.
const MAX_PARENTS: usize = 32;
/// `maxItems` of `status.ancestors` of every policy.
const MAX_ANCESTORS: usize = 16;
/// `maxItems` of `status.listeners`.
const MAX_LISTENERS: usize = 64;
/// `maxItems` of a listener's `supportedKinds`.
const MAX_SUPPORTED_KINDS: usize = 8;
/// `maxItems` of a Gateway's `status.addresses`.
const MAX_ADDRESSES: usize = 16;
/// `maxItems` of a GatewayClass's `status.supportedFeatures`.
const MAX_FEATURES: usize = 64;

/// An object's status as it was last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// The object's uid: of two objects of one name it tells which.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// Its status; null if it has none.
    pub status: Value,
}

/// What to send, and what will have changed by it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// The operations of a JSON Patch.
    pub operations: Vec<Value>,
    /// Conditions whose status is another, and addresses that are new.
    pub transitions: Vec<Transition>,
}

/// Something that is different now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Transition {
    /// A condition's status.
    Condition {
        /// The listener or the parent, where it is not the object itself.
        of: Option<String>,
        /// What it was: `True`, `False`, `Unknown`, or absent.
        before: Option<String>,
        /// What it is.
        after: Condition,
    },
    /// Where a Gateway or an Ingress is reached.
    Addresses(Vec<String>),
}

/// The change that makes `desired` of `observed`; none if it says so already.
pub(crate) fn change(
    object: &ObjectRef,
    observed: &Observed,
    desired: &Desired,
    controller_name: &str,
    now: Timestamp,
) -> Option<Change> {
    let mut patch = Patch::new(observed, now);
    match desired {
        Desired::GatewayClass { conditions, features } => {
            patch.conditions(conditions);
            let features = features.iter().take(MAX_FEATURES);
            patch.field("supportedFeatures", features.map(|feature| json!({ "name": feature })).collect());
        }
        Desired::Gateway { conditions, listeners, addresses, attached_listener_sets } => {
            patch.conditions(conditions);
            patch.listeners(listeners);
            patch.gateway_addresses(addresses);
            if let Some(count) = attached_listener_sets {
                patch.field("attachedListenerSets", json!(count));
            }
        }
        Desired::ListenerSet { conditions, listeners } => {
            patch.conditions(conditions);
            patch.listeners(listeners);
        }
        Desired::Entries(entries) => {
            let is_policy = matches!(object.kind, Kind::BackendTlsPolicy | Kind::EdgePolicy);
            let list = if is_policy { ANCESTORS } else { PARENTS };
            patch.entries(&list, entries, object, controller_name);
        }
        Desired::Ingress(addresses) => patch.ingress_addresses(addresses),
    }
    patch.finish()
}

/// A list to which every controller adds its own entries.
struct SharedList {
    field: &'static str,
    reference: &'static str,
    max: usize,
}

const PARENTS: SharedList = SharedList { field: "parents", reference: "parentRef", max: MAX_PARENTS };
const ANCESTORS: SharedList = SharedList { field: "ancestors", reference: "ancestorRef", max: MAX_ANCESTORS };

struct Patch<'a> {
    observed: &'a Observed,
    now: Timestamp,
    operations: Vec<Value>,
    transitions: Vec<Transition>,
}

impl<'a> Patch<'a> {
    fn new(observed: &'a Observed, now: Timestamp) -> Self {
        Patch { observed, now, operations: Vec::new(), transitions: Vec::new() }
    }

    fn finish(self) -> Option<Change> {
        if self.operations.is_empty() {
            return None;
        }
        let mut operations = Vec::with_capacity(self.operations.len() + 2);
        let version = &self.observed.resource_version;
        operations.push(json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version }));
        if !self.observed.status.is_object() {
            operations.push(json!({ "op": "add", "path": "/status", "value": {} }));
        }
        operations.extend(self.operations);
        Some(Change { operations, transitions: self.transitions })
    }

    /// What stands in a field, in a form of ours. What cannot be read counts as not there, and is written anew.
    fn read<T: DeserializeOwned + Default>(&self, field: &str) -> T {
        self.observed.status.get(field).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
    }

    /// RFC 6902, Section 4.1: `add` replaces a member that exists.
    fn put(&mut self, path: String, value: Value) {
        self.operations.push(json!({ "op": "add", "path": path, "value": value }));
    }

    /// A field that is wholly ours.
    fn field(&mut self, field: &str, value: Value) {
        let empty = value.as_array().is_some_and(Vec::is_empty);
        match self.observed.status.get(field) {
            Some(before) if *before == value => {}
            None if empty => {}
            Some(_) if empty => {
                self.operations.push(json!({ "op": "remove", "path": format!("/status/{field}") }));
            }
            _ => self.put(format!("/status/{field}"), value),
        }
    }

    /// Merges a list of conditions and notes its transitions.
    fn merged(&mut self, of: Option<&str>, before: &[Condition], desired: &[Condition]) -> Vec<Condition> {
        let merged = conditions::merge(before, desired, self.now);
        for after in &merged {
            let before = before.iter().find(|condition| condition.type_ == after.type_);
            let before = before.map(|condition| condition.status.clone());
            if before.as_deref() != Some(&after.status) {
                let of = of.map(str::to_owned);
                self.transitions.push(Transition::Condition { of, before, after: after.clone() });
            }
        }
        merged
    }

    fn conditions(&mut self, desired: &[Condition]) {
        let before: Vec<Condition> = self.read("conditions");
        let merged = self.merged(None, &before, desired);
        if merged != before {
            self.put("/status/conditions".to_owned(), json!(merged));
        }
    }

    fn listeners(&mut self, desired: &[Listener]) {
        let before: Vec<Listener> = self.read("listeners");
        let mut merged = Vec::with_capacity(desired.len());
        for listener in desired.iter().take(MAX_LISTENERS) {
            let conditions = before.iter().find(|before| before.name == listener.name);
            let conditions = conditions.map_or(&[][..], |before| &before.conditions);
            let conditions = self.merged(Some(&listener.name), conditions, &listener.conditions);
            let supported_kinds: Vec<GroupKind> =
                listener.supported_kinds.iter().take(MAX_SUPPORTED_KINDS).cloned().collect();
            merged.push(Listener { conditions, supported_kinds, ..listener.clone() });
        }
        if merged != before {
            self.put("/status/listeners".to_owned(), json!(merged));
        }
    }

    fn gateway_addresses(&mut self, desired: &[Address]) {
        let addresses = desired.iter().take(MAX_ADDRESSES);
        let entries = addresses.map(|address| json!({ "type": address.label(), "value": address.value() }));
        let entries: Value = entries.collect();
        if self.observed.status.get("addresses") != Some(&entries) && !desired.is_empty() {
            self.transitions.push(Transition::Addresses(desired.iter().map(Address::value).collect()));
        }
        self.field("addresses", entries);
    }

    fn ingress_addresses(&mut self, desired: &[Address]) {
        /// Only what tells one address from another: others may have added ports or a mode to it.
        #[derive(Debug, Deserialize, PartialEq)]
        struct Ingress {
            ip: Option<String>,
            hostname: Option<String>,
        }
        #[derive(Debug, Default, Deserialize)]
        struct LoadBalancer {
            #[serde(default)]
            ingress: Vec<Ingress>,
        }
        let before = self.read::<LoadBalancer>("loadBalancer").ingress;
        let same = before.len() == desired.len()
            && before.iter().zip(desired).all(|(before, desired)| match desired {
                Address::Ip(_) => before.ip.as_deref() == Some(&desired.value()),
                Address::Hostname(name) => before.hostname.as_deref() == Some(name),
            });
        if same {
            return;
        }
        let entries = desired.iter().map(|address| match address {
            Address::Ip(_) => json!({ "ip": address.value() }),
            Address::Hostname(name) => json!({ "hostname": name }),
        });
        let entries: Value = entries.collect();
        if !desired.is_empty() {
            self.transitions.push(Transition::Addresses(desired.iter().map(Address::value).collect()));
        }
        self.put("/status/loadBalancer".to_owned(), json!({ "ingress": entries }));
    }

    /// Our entries in a list of all controllers', each written by itself.
    fn entries(&mut self, list: &SharedList, desired: &[Entry], object: &ObjectRef, controller_name: &str) {
        let before = self.observed.status.get(list.field).and_then(Value::as_array);
        let before: &[Value] = before.map_or(&[], Vec::as_slice);
        let is_ours = |entry: &Value| entry.get("controllerName").and_then(Value::as_str) == Some(controller_name);
        let others = before.iter().filter(|entry| !is_ours(entry)).count();
        let desired = &desired[..desired.len().min(list.max.saturating_sub(others))];
        let mut missing: Vec<&Entry> = desired.iter().collect();
        let mut gone = Vec::new();
        for (index, entry) in before.iter().enumerate().filter(|(_, entry)| is_ours(entry)) {
            let reference = entry.get(list.reference).and_then(|value| ParentReference::deserialize(value).ok());
            let wanted = reference.and_then(|reference| {
                let names = Named::of(&reference, object);
                missing.iter().position(|desired| Named::of(&desired.parent, object) == names)
            });
            match wanted {
                None => gone.push(index),
                Some(position) => self.replace_entry(list, index, entry, missing.remove(position), controller_name),
            }
        }
        // From the back, so that the indices in front still hold.
        for index in gone.into_iter().rev() {
            self.operations.push(json!({ "op": "remove", "path": format!("/status/{}/{index}", list.field) }));
        }
        if !missing.is_empty() && self.observed.status.get(list.field).and_then(Value::as_array).is_none() {
            self.put(format!("/status/{}", list.field), json!([]));
        }
        for entry in missing {
            let conditions = self.merged(Some(&entry.parent.name), &[], &entry.conditions);
            let value = entry_value(list, &entry.parent, &conditions, controller_name);
            self.put(format!("/status/{}/-", list.field), value);
        }
    }

    fn replace_entry(&mut self, list: &SharedList, index: usize, before: &Value, entry: &Entry, controller_name: &str) {
        let read = before.get("conditions").and_then(|value| Vec::<Condition>::deserialize(value).ok());
        let read = read.unwrap_or_default();
        let conditions = self.merged(Some(&entry.parent.name), &read, &entry.conditions);
        if conditions != read {
            let value = entry_value(list, &entry.parent, &conditions, controller_name);
            self.operations
                .push(json!({ "op": "replace", "path": format!("/status/{}/{index}", list.field), "value": value }));
        }
    }
}

fn entry_value(list: &SharedList, parent: &ParentReference, conditions: &[Condition], controller_name: &str) -> Value {
    let mut entry = Map::new();
    entry.insert(list.reference.to_owned(), json!(parent));
    entry.insert("controllerName".to_owned(), json!(controller_name));
    entry.insert("conditions".to_owned(), json!(conditions));
    Value::Object(entry)
}

/// What a reference names, with its defaults filled in: the API server fills them in too.
#[derive(PartialEq)]
struct Named<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    section_name: Option<&'a str>,
    port: Option<i32>,
}

impl<'a> Named<'a> {
    fn of(reference: &'a ParentReference, object: &'a ObjectRef) -> Self {
        Named {
            group: reference.group.as_deref().unwrap_or(GATEWAY_API),
            kind: reference.kind.as_deref().unwrap_or("Gateway"),
            namespace: reference.namespace.as_deref().unwrap_or(&object.namespace),
            name: &reference.name,
            section_name: reference.section_name.as_deref(),
            port: reference.port,
        }
    }
}

impl Transition {
    /// The type of the condition, if it is one of ours.
    pub(crate) fn condition_type(&self) -> Option<ConditionType> {
        match self {
            Transition::Condition { after, .. } => {
                ConditionType::ALL.iter().copied().find(|r#type| r#type.label() == after.type_)
            }
            Transition::Addresses(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
