//! What became of Gateways and their listeners, as conditions.
//!
//! Owns which condition holds for which reason. It must not find faults itself.

use headrace_crds::condition::{ConditionType, GatewayReason, ListenerReason};

use super::{GatewayState, Listener};
use crate::diagnosis::{ConditionWriter, Fault, sentence};
use crate::status::{ConditionStatus, GatewayStatus, ListenerStatus, Statuses};

impl GatewayState {
    pub(super) fn write(&self, statuses: &mut Statuses) {
        let mut problem = |faults: &[Fault], condition| {
            statuses.problems.extend(faults.iter().map(|fault| fault.problem(&self.object, condition)));
        };
        problem(&self.refused, ConditionType::Accepted);
        problem(self.pending.as_slice(), ConditionType::Accepted);
        problem(&self.refs, ConditionType::ResolvedRefs);
        problem(&self.unaddressed, ConditionType::Programmed);
        for listener in &self.listeners {
            let mut problem = |faults: &[Fault], condition| {
                statuses.problems.extend(faults.iter().map(|fault| fault.problem(&listener.owner, condition)));
            };
            problem(&listener.refused, ConditionType::Accepted);
            problem(&listener.conflicts, ConditionType::Conflicted);
            problem(&listener.unserved, ConditionType::Programmed);
            problem(&listener.refs, ConditionType::ResolvedRefs);
            problem(&listener.overlaps, ConditionType::OverlappingTLSConfig);
        }
        let listeners = self.own_listeners().iter();
        let listeners = listeners.map(|listener| self.listener_status(listener, self.generation)).collect();
        let attached_sets = (!self.sets.is_empty()).then(|| i32::try_from(self.attached_sets()).unwrap_or(i32::MAX));
        statuses.gateways.push(GatewayStatus {
            object: self.object.clone(),
            conditions: self.conditions(),
            addresses: self.addresses.clone(),
            attached_listener_sets: attached_sets,
            listeners,
        });
    }

    fn conditions(&self) -> Vec<crate::Condition> {
        let mut writer = ConditionWriter::new(self.generation);
        if let Some(pending) = &self.pending {
            for condition in [ConditionType::Accepted, ConditionType::Programmed] {
                writer.set(condition, ConditionStatus::Unknown, GatewayReason::Pending, &*pending.message);
            }
            return writer.conditions;
        }
        let own = self.own_listeners();
        let served = own.iter().filter(|listener| self.serves(listener)).count();
        let accepted = own.iter().filter(|listener| listener.is_accepted()).count();
        let some_are_served = ConditionStatus::of(served > 0);
        match (self.refused.is_empty(), accepted == own.len() && accepted > 0) {
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
            ConditionStatus::True if !self.unaddressed.is_empty() => {
                writer.set_by(ConditionType::Programmed, &self.unaddressed, GatewayReason::Programmed, "");
            }
            ConditionStatus::True => {
                let message = format!("{served} of {} listeners are programmed.", own.len());
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
        let unresolved = own.iter().filter(|listener| !listener.refs.is_empty());
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
            let listeners = self.own_listeners().iter().filter(|listener| listener.is_accepted() == wanted);
            listeners.map(|listener| listener.name.as_str()).collect()
        };
        let or_none = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("Listeners not accepted: {}; accepted: {}.", or_none(names(false)), or_none(names(true)))
    }

    /// Of a listener of the Gateway itself or of one of its sets.
    pub(super) fn listener_status(&self, listener: &Listener, generation: Option<i64>) -> ListenerStatus {
        let mut writer = ConditionWriter::new(generation);
        let refused = self.why_not_accepted(listener);
        writer.set_by(ConditionType::Accepted, &refused, ListenerReason::Accepted, "The listener is valid.");
        if self.serves(listener) {
            let message = "The listener is programmed.";
            writer.set(ConditionType::Programmed, ConditionStatus::True, ListenerReason::Programmed, message);
        } else if self.pending.is_some() {
            let message = "The GatewayClass is not accepted.";
            writer.set(ConditionType::Programmed, ConditionStatus::Unknown, ListenerReason::Pending, message);
        } else {
            let faults = self.refused.iter().chain(&refused).chain(&listener.unserved).chain(&listener.refs);
            let faults: Vec<Fault> = faults.cloned().collect();
            let reason = match listener.conflicts.first() {
                Some(conflict) if listener.is_of_set() => conflict.reason,
                _ => ListenerReason::Invalid.into(),
            };
            writer.set(ConditionType::Programmed, ConditionStatus::False, reason, sentence(&faults));
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
    /// A Gateway's own listeners name the port as what cannot be had in a conflict: their Accepted has no reasons for one.
    /// Those of a ListenerSet name the conflict, before all else.
    fn why_not_accepted(&self, listener: &Listener) -> Vec<Fault> {
        if listener.is_of_set() {
            return listener.conflicts.iter().chain(&listener.refused).cloned().collect();
        }
        let conflicts = listener.conflicts.iter().cloned();
        let conflicts = conflicts.map(|fault| Fault { reason: ListenerReason::PortUnavailable.into(), ..fault });
        listener.refused.iter().cloned().chain(conflicts).collect()
    }
}
