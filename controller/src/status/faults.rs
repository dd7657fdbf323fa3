//! What pods cannot use, on the conditions of the listeners that it is about.
//!
//! Owns which condition a fault belongs to and what is said. Pure. It must not know how faults come here. An entry that
//! makes a pod refuse a whole table is another matter: the compiler leaves it out and says so.

use std::collections::BTreeMap;

use headrace_compile::{ConditionStatus, Key, Kind, ObjectRef};
use headrace_crds::condition::{ConditionType, GatewayReason, ListenerReason};
use headrace_table::wire::Table;
use headrace_table::{SectionId, SectionKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{condition, find, is_true};
use super::desired::{Desired, Listener};
use crate::publish::acknowledgements::Acknowledgements;

/// How many pods a message names: the first ones are enough to look at, and a message has a limit.
const NAMED_PODS: usize = 3;

/// Puts the pods' faults into the conditions of a Gateway's or a ListenerSet's listeners.
pub(crate) fn apply(
    object: &ObjectRef,
    gateway: &Key,
    desired: &mut Desired,
    table: &Table,
    pod_set: &str,
    acknowledgements: &Acknowledgements,
) {
    let (conditions, listeners): (&mut Vec<Condition>, &mut Vec<Listener>) = match desired {
        Desired::Gateway { conditions, listeners, .. } | Desired::ListenerSet { conditions, listeners } => {
            (conditions, listeners)
        }
        Desired::GatewayClass { .. } | Desired::Entries(_) | Desired::Ingress(_) => return,
    };
    let pods = acknowledgements.pods(pod_set).count();
    if acknowledgements.pods(pod_set).all(|pod| pod.faults.is_empty()) {
        return;
    }
    let mut is_served = false;
    let mut has_faults = false;
    for listener in listeners.iter_mut() {
        let id = section_id(object, gateway, &listener.name);
        has_faults |= listener_faults(&id, listener, table, pod_set, acknowledgements, pods);
        is_served |= find(&listener.conditions, ConditionType::Programmed).is_some_and(is_true);
    }
    if has_faults && !is_served {
        let message = "Data-plane pods can serve no listener: see the conditions of each.".to_owned();
        not_programmed(conditions, GatewayReason::Invalid.label(), message);
    }
}

/// The listener's id in the table. Names of objects stand in it as they are.
fn section_id(object: &ObjectRef, gateway: &Key, listener: &str) -> String {
    match object.kind {
        Kind::ListenerSet => format!("{gateway}/{}/{listener}", object.key()),
        _ => format!("{gateway}/{listener}"),
    }
}

/// Whether there were any.
fn listener_faults(
    id: &str,
    listener: &mut Listener,
    table: &Table,
    pod_set: &str,
    acknowledgements: &Acknowledgements,
    pods: usize,
) -> bool {
    // A listener that is not in the table has other troubles.
    let Ok(position) = table.listeners.binary_search_by(|entry| entry.id.as_str().cmp(id)) else { return false };
    let port = SectionId::new(SectionKind::Listener, id);
    let port = Faults::of(acknowledgements.faults_of(pod_set, &port), pods);
    let certificates = table.listeners[position].certificates.iter().filter_map(|certificate| {
        let section = SectionId::new(SectionKind::Certificate, certificate);
        let faults = Faults::of(acknowledgements.faults_of(pod_set, &section), pods)?;
        Some(format!("certificate {certificate}: {faults}"))
    });
    let certificates: Vec<String> = certificates.collect();
    if !certificates.is_empty() {
        let generation = observed_generation(&listener.conditions);
        let reason = ListenerReason::InvalidCertificateRef.label();
        let unresolved =
            condition(ConditionType::ResolvedRefs, ConditionStatus::False, reason, certificates.join(" "), generation);
        replace(&mut listener.conditions, unresolved);
        not_programmed(&mut listener.conditions, ListenerReason::Invalid.label(), certificates.join(" "));
    }
    if let Some(faults) = &port {
        not_programmed(&mut listener.conditions, ListenerReason::Invalid.label(), faults.to_string());
    }
    port.is_some() || !certificates.is_empty()
}

/// What some pods say of one entry: the same reason once, with the pods that gave it.
struct Faults<'a> {
    by_reason: BTreeMap<&'a str, Vec<&'a str>>,
    pods: usize,
}

impl<'a> Faults<'a> {
    fn of(faults: impl Iterator<Item = (&'a str, &'a str)>, pods: usize) -> Option<Self> {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (pod, reason) in faults {
            by_reason.entry(reason).or_default().push(pod);
        }
        by_reason.values_mut().for_each(|pods| pods.sort_unstable());
        (!by_reason.is_empty()).then_some(Faults { by_reason, pods })
    }
}

impl std::fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (reason, pods)) in self.by_reason.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            let named = pods[..pods.len().min(NAMED_PODS)].join(", ");
            let more = if pods.len() > NAMED_PODS { ", ..." } else { "" };
            let reason = reason.trim_end_matches('.');
            write!(f, "{gap}{reason} (on {} of {} data-plane pods: {named}{more}).", pods.len(), self.pods)?;
        }
        Ok(())
    }
}

/// What the Service of a Gateway says, for the Gateways whose Service cannot be had.
pub(crate) fn apply_service(object: &ObjectRef, desired: &mut Desired, faults: &BTreeMap<Key, String>) {
    let Some(message) = faults.get(&object.key()) else { return };
    let Desired::Gateway { conditions, .. } = desired else { return };
    let reason = GatewayReason::AddressNotAssigned.label();
    // The compiler sees that there is no address; why not is known here.
    if let Some(unassigned) =
        conditions.iter_mut().find(|it| it.type_ == ConditionType::Programmed.label() && it.reason == reason)
    {
        unassigned.message = message.clone();
    } else {
        not_programmed(conditions, reason, message.clone());
    }
}

/// Whether a Gateway has no address yet.
pub(crate) fn awaits_address(desired: &Desired) -> bool {
    let Desired::Gateway { conditions, .. } = desired else { return false };
    let programmed = find(conditions, ConditionType::Programmed);
    programmed.is_some_and(|it| it.reason == GatewayReason::AddressNotAssigned.label())
}

/// Sets Programmed to False, unless it is that already for another reason.
fn not_programmed(conditions: &mut Vec<Condition>, reason: &str, message: String) {
    if find(conditions, ConditionType::Programmed).is_some_and(is_true) {
        let generation = observed_generation(conditions);
        let programmed = condition(ConditionType::Programmed, ConditionStatus::False, reason, message, generation);
        replace(conditions, programmed);
    }
}

fn replace(conditions: &mut Vec<Condition>, by: Condition) {
    match conditions.iter_mut().find(|condition| condition.type_ == by.type_) {
        Some(condition) => *condition = by,
        None => conditions.push(by),
    }
}

fn observed_generation(conditions: &[Condition]) -> Option<i64> {
    conditions.iter().find_map(|condition| condition.observed_generation)
}

#[cfg(test)]
mod tests;
