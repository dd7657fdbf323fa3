//! From what is to be there to what is to be done.
//!
//! Owns what counts as ours, and when an object is applied, deleted or left alone. Pure. It must not know how it is done.

use std::collections::{BTreeMap, BTreeSet};

use headrace_compile::{Compiled, Key, Kind, ServicePlan, World};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use super::Faults;
use super::planned::{
    APPLIED_ANNOTATION, CONTROLLER_LABEL, Pods, SERVICE_NAME_LABEL, controller_label, service, slices,
};

/// An object that operations are about. Services sort first: their slices are of no use without them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    /// Which kind.
    pub kind: TargetKind,
    /// Which one.
    pub key: Key,
}

/// The kinds that are written for Gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TargetKind {
    /// A Service.
    Service,
    /// One of its EndpointSlices.
    EndpointSlice,
}

impl TargetKind {
    /// The kind as a manifest has it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            TargetKind::Service => "Service",
            TargetKind::EndpointSlice => "EndpointSlice",
        }
    }
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// For which Gateway: where trouble with it is told.
    pub gateway: Key,
    /// What.
    pub action: Action,
    /// The version of the object that was seen; empty if there is none.
    pub seen: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Server-side apply of a Service.
    ApplyService(Box<Service>),
    /// Server-side apply of an EndpointSlice.
    ApplySlice(Box<EndpointSlice>),
    /// Delete the object of that uid.
    Delete {
        /// So that an object of the same name that somebody made meanwhile is left alone.
        uid: String,
    },
}

/// What follows from a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Operations {
    /// By object.
    pub by_target: BTreeMap<Target, Operation>,
    /// Gateways whose Service cannot be had.
    pub faults: Faults,
}

/// Names by which the world is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// Ours.
    pub controller_name: &'a str,
    /// Of the installation.
    pub namespace: &'a str,
    /// The headless Service of each pod set.
    pub pod_sets: &'a BTreeMap<String, String>,
}

/// Compares what is planned with what is there.
pub(crate) fn operations(compiled: &Compiled, world: &World, names: &Names<'_>) -> Operations {
    let pods = names
        .pod_sets
        .iter()
        .map(|(pod_set, headless)| (pod_set.as_str(), Pods::of(world, &Key::new(names.namespace, headless))));
    let mut comparison = Comparison {
        compiled,
        world,
        names,
        label: controller_label(names.controller_name),
        pods: pods.collect(),
        operations: Operations::default(),
        kept_slices: BTreeSet::new(),
        services: BTreeSet::new(),
    };
    for plan in &compiled.services {
        comparison.plan(plan);
    }
    comparison.unplanned();
    comparison.operations
}

struct Comparison<'a> {
    compiled: &'a Compiled,
    world: &'a World,
    names: &'a Names<'a>,
    label: String,
    pods: BTreeMap<&'a str, Pods>,
    operations: Operations,
    /// Slices that are as they should be, or will be.
    kept_slices: BTreeSet<Key>,
    /// Services that are planned and ours.
    services: BTreeSet<Key>,
}

impl Comparison<'_> {
    fn plan(&mut self, plan: &ServicePlan) {
        let key = plan.key();
        if plan.gateway_uid.is_empty() {
            return;
        }
        let desired = service(plan, self.names.controller_name);
        match self.world.services.get(&key) {
            Some(there) if self.is_stale(there, plan) => {
                // Of a Gateway of the same name that is no more: it has to go before there can be a new one.
                self.delete(TargetKind::Service, &key, &plan.gateway, &there.metadata);
                return;
            }
            Some(there) if !self.is_of(there, plan) => {
                let message = format!(
                    "Service {key} is there and is not this Gateway's: delete it, or give the Gateway another name."
                );
                self.operations.faults.insert(plan.gateway.clone(), message);
                return;
            }
            Some(there) if is_applied(there, &desired) => {}
            there => {
                let metadata = there.map(|there| &there.metadata);
                let action = Action::ApplyService(Box::new(desired));
                self.put(TargetKind::Service, key.clone(), &plan.gateway, metadata, action);
            }
        }
        self.services.insert(key);
        self.plan_slices(plan);
    }

    fn plan_slices(&mut self, plan: &ServicePlan) {
        let Some(pods) = self.pods.get(&*plan.pod_set) else { return };
        for desired in slices(plan, pods, self.names.controller_name) {
            let key = Key::new(&*plan.namespace, desired.metadata.name.as_deref().unwrap_or_default());
            self.kept_slices.insert(key.clone());
            let there = self.world.endpoint_slices.get(&key);
            if there.is_some_and(|there| is_same_slice(there, &desired)) {
                continue;
            }
            let metadata = there.map(|there| &there.metadata);
            let action = Action::ApplySlice(Box::new(desired));
            self.put(TargetKind::EndpointSlice, key, &plan.gateway, metadata, action);
        }
    }

    /// What is ours and no longer planned goes.
    fn unplanned(&mut self) {
        let planned: BTreeMap<&Key, Key> =
            self.compiled.services.iter().map(|plan| (&plan.gateway, plan.key())).collect();
        let world = self.world;
        for (key, there) in &world.services {
            let target = Target { kind: TargetKind::Service, key: key.clone() };
            if self.services.contains(key) || self.operations.by_target.contains_key(&target) {
                continue;
            }
            let Some(gateway) = self.gateway_of(&there.metadata) else { continue };
            let is_elsewhere = planned.get(&gateway).is_some_and(|planned| planned != key);
            if is_elsewhere || self.is_of_another_class(&gateway) {
                self.delete(TargetKind::Service, key, &gateway, &there.metadata);
            }
        }
        for (key, there) in &world.endpoint_slices {
            let Some(gateway) = self.gateway_of(&there.metadata) else { continue };
            if self.kept_slices.contains(key) {
                continue;
            }
            let service = there.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME_LABEL));
            let service = Key::new(&*key.namespace, service.map_or("", String::as_str));
            let is_left_over = self.services.contains(&service) || planned.contains_key(&gateway);
            if is_left_over || self.is_of_another_class(&gateway) {
                self.delete(TargetKind::EndpointSlice, key, &gateway, &there.metadata);
            }
        }
    }

    /// The Gateway that one of our own objects belongs to, if that Gateway is still there. What belongs to a Gateway that is
    /// gone is the garbage collector's.
    fn gateway_of(&self, metadata: &ObjectMeta) -> Option<Key> {
        if controller_label_of(metadata) != Some(&self.label) {
            return None;
        }
        let owner = owner(metadata)?;
        let gateway = Key::new(metadata.namespace.as_deref().unwrap_or_default(), &*owner.name);
        let there = self.world.gateways.get(&gateway)?;
        (there.metadata.uid.as_ref() == Some(&owner.uid)).then_some(gateway)
    }

    /// Whether somebody else serves the Gateway now. A Gateway whose class is missing, or that has a mistake, keeps its
    /// Service: an address that is given back is hard to get again.
    fn is_of_another_class(&self, gateway: &Key) -> bool {
        if self.compiled.held.contains(gateway) {
            return false;
        }
        let class = self.world.gateways.get(gateway).map(|gateway| gateway.spec.gateway_class_name.clone());
        let class = class.and_then(|class| self.world.gateway_classes.get(&Key::new("", class)));
        class.is_some_and(|class| class.spec.controller_name != self.names.controller_name)
    }

    fn is_ending(&self, gateway: &Key) -> bool {
        let of_gateway = self.world.gateways.get(gateway).map(|gateway| &gateway.metadata);
        let of_namespace = self.world.namespaces.get(&Key::new("", &*gateway.namespace)).map(|it| &it.metadata);
        of_gateway.into_iter().chain(of_namespace).any(|metadata| metadata.deletion_timestamp.is_some())
    }

    /// Whether a Service is ours and of this very Gateway. One with a selector is not ours, whoever its owner is: another
    /// implementation, which served the Gateway before, has yet to take it away.
    fn is_of(&self, there: &Service, plan: &ServicePlan) -> bool {
        let label = controller_label_of(&there.metadata);
        let has_selector = there.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|it| !it.is_empty());
        label.is_none_or(|label| *label == self.label)
            && !has_selector
            && owner(&there.metadata).is_some_and(|owner| owner.uid == plan.gateway_uid)
    }

    /// Whether a Service was ours for a Gateway of that name that is gone.
    fn is_stale(&self, there: &Service, plan: &ServicePlan) -> bool {
        controller_label_of(&there.metadata) == Some(&self.label)
            && owner(&there.metadata).is_some_and(|owner| owner.uid != plan.gateway_uid)
    }

    fn delete(&mut self, kind: TargetKind, key: &Key, gateway: &Key, metadata: &ObjectMeta) {
        let uid = metadata.uid.clone().unwrap_or_default();
        if metadata.deletion_timestamp.is_none() && !uid.is_empty() {
            self.put(kind, key.clone(), gateway, Some(metadata), Action::Delete { uid });
        }
    }

    /// Notes what is to be done. Nothing new is made for a Gateway that is being deleted, nor in a namespace that is: the
    /// API server would refuse it.
    fn put(&mut self, kind: TargetKind, key: Key, gateway: &Key, metadata: Option<&ObjectMeta>, action: Action) {
        if metadata.is_none() && self.is_ending(gateway) {
            return;
        }
        let seen = metadata.and_then(|metadata| metadata.resource_version.clone()).unwrap_or_default();
        self.operations.by_target.insert(Target { kind, key }, Operation { gateway: gateway.clone(), action, seen });
    }
}

fn controller_label_of(metadata: &ObjectMeta) -> Option<&String> {
    metadata.labels.as_ref().and_then(|labels| labels.get(CONTROLLER_LABEL))
}

/// The Gateway that owns an object.
fn owner(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        owner.controller == Some(true)
            && owner.kind == Kind::Gateway.label()
            && Kind::Gateway.api_version().starts_with(group)
            && !group.is_empty()
    })
}

/// Whether a Service is as it was applied, and was applied as it is to be. The API server and others add to it.
fn is_applied(there: &Service, desired: &Service) -> bool {
    let applied = |service: &Service| -> Option<String> {
        service.metadata.annotations.as_ref().and_then(|annotations| annotations.get(APPLIED_ANNOTATION).cloned())
    };
    applied(there) == applied(desired)
        && match (serde_json::to_value(desired), serde_json::to_value(there)) {
            (Ok(desired), Ok(there)) => is_within(&desired, &there),
            _ => false,
        }
}

/// Whether all that is desired is there: members of objects among others, elements of lists one by one.
fn is_within(desired: &Value, there: &Value) -> bool {
    match (desired, there) {
        (Value::Object(desired), Value::Object(there)) => {
            desired.iter().all(|(name, value)| there.get(name).is_some_and(|there| is_within(value, there)))
        }
        (Value::Array(desired), Value::Array(there)) => {
            desired.len() == there.len() && desired.iter().zip(there).all(|(desired, there)| is_within(desired, there))
        }
        (desired, there) => desired == there,
    }
}

fn is_same_slice(there: &EndpointSlice, desired: &EndpointSlice) -> bool {
    let labels = |slice: &EndpointSlice| slice.metadata.labels.clone().unwrap_or_default();
    let there_labels = labels(there);
    there.address_type == desired.address_type
        && there.endpoints == desired.endpoints
        && there.ports == desired.ports
        && labels(desired).iter().all(|(name, value)| there_labels.get(name) == Some(value))
        && owner(&there.metadata).map(|owner| &owner.uid) == owner(&desired.metadata).map(|owner| &owner.uid)
}

#[cfg(test)]
mod tests;
