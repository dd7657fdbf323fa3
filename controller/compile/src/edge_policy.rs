//! EdgePolicies: which one holds for each listener, and what of it is held to.
//!
//! Owns whose policy a listener has and every policy's status. A policy for a listener goes before one for its whole Gateway
//! and replaces it as a whole; of two for the same target the older holds. What comes of the policies of all listeners of a
//! port together is `effect`'s. It must not know what a data plane does about any of it.

mod effect;

use std::collections::BTreeMap;

use headrace_crds::condition::{ConditionType, PolicyReason};
use headrace_crds::edgepolicy::{
    EdgePolicy, EdgePolicySpec, PolicyTargetReference, QuicPolicy, RetryPolicy, WebTransportPolicy, ZeroRtt,
};
use headrace_table::wire::{self, QuicOptions, Retry, WebTransportOptions};

use crate::Options;
use crate::age::Age;
use crate::diagnosis::{ConditionWriter, Fault};
use crate::gateway::{GATEWAY_GROUP, Gateways};
use crate::status::{AncestorStatus, ObjectRef, PolicyStatus, Statuses};
use crate::world::{Key, Kind, World};
use effect::Ports;

/// The bound of the Gateway API's own schema for the entries of a policy's status.
const MAX_ANCESTORS: usize = 16;

/// Sessions of a connection at most (the bound of the schema).
const MAX_SESSIONS: i32 = 1_000;

/// What a policy is for: a Gateway, or one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    gateway: Key,
    section: Option<String>,
}

impl Target {
    fn of(policy: &Key, reference: &PolicyTargetReference) -> Option<Self> {
        let is_gateway = (&*reference.group, &*reference.kind) == (GATEWAY_GROUP, Kind::Gateway.label());
        is_gateway.then(|| Target {
            gateway: Key::new(&*policy.namespace, &*reference.name),
            section: reference.section_name.clone().filter(|section| !section.is_empty()),
        })
    }
}

/// Every policy, by what it is for.
pub(crate) struct EdgePolicies<'w> {
    world: &'w World,
    /// The oldest of each target.
    by_target: BTreeMap<Target, &'w Key>,
}

impl<'w> EdgePolicies<'w> {
    /// Reads every policy, and tells each listener what it is to ask for.
    pub(crate) fn of(world: &'w World, gateways: &mut Gateways) -> Self {
        let mut by_age: Vec<(Age, &Key, &EdgePolicy)> = world
            .edge_policies
            .iter()
            .map(|(key, policy)| (Age::of(key, &policy.metadata), key, policy.as_ref()))
            .collect();
        by_age.sort_by(|a, b| a.0.cmp(&b.0));
        let mut policies = EdgePolicies { world, by_target: BTreeMap::new() };
        for (_, key, policy) in by_age {
            for target in policy.spec.target_refs.iter().filter_map(|reference| Target::of(key, reference)) {
                policies.by_target.entry(target).or_insert(key);
            }
        }
        for gateway in gateways.by_age() {
            let key = gateway.object.key();
            for listener in &mut gateway.listeners {
                let section = (!listener.is_of_set()).then_some(&*listener.name);
                listener.policy = policies.holding(&key, section).cloned();
                let spec = listener.policy.as_ref().and_then(|key| world.edge_policies.get(key));
                listener.quic = spec.map(|policy| asked(&policy.spec)).unwrap_or_default();
            }
        }
        policies.switch_off(gateways);
        policies
    }

    /// Tells the listeners of every port on which a policy switches WebTransport off: QUIC cannot tell them apart when it
    /// says what it offers.
    fn switch_off(&self, gateways: &mut Gateways) {
        let off: BTreeMap<u16, Key> = gateways
            .served()
            .filter(|listener| listener.protocol == Some(wire::Protocol::Https) && !listener.quic.webtransport.enabled)
            .filter_map(|listener| Some((listener.bound?, listener.policy.clone()?)))
            .collect();
        for listener in gateways.by_age().into_iter().flat_map(|gateway| &mut gateway.listeners) {
            listener.without_webtransport = listener.bound.and_then(|port| off.get(&port)).cloned();
        }
    }

    /// The policy of that listener of that Gateway. Listeners of sets have no names there.
    fn holding(&self, gateway: &Key, section: Option<&str>) -> Option<&'w Key> {
        let of = |section: Option<&str>| {
            let target = Target { gateway: gateway.clone(), section: section.map(str::to_owned) };
            self.by_target.get(&target).copied()
        };
        section.and_then(|section| of(Some(section))).or_else(|| of(None))
    }

    /// Writes what became of every policy, on ports that these listeners share.
    pub(crate) fn write(
        &self,
        gateways: &Gateways,
        listeners: &[wire::Listener],
        options: &Options,
        statuses: &mut Statuses,
    ) {
        let ports = Ports::of(listeners);
        for (key, policy) in &self.world.edge_policies {
            let object = ObjectRef::new(Kind::EdgePolicy, key);
            let mut ancestors: Vec<AncestorStatus> = Vec::new();
            for (index, reference) in policy.spec.target_refs.iter().enumerate() {
                let field = format!("spec.targetRefs[{index}]");
                let Some(target) = Target::of(key, reference) else {
                    let message = format!("{} is not what an EdgePolicy is for: name a Gateway", reference.kind);
                    let fault = Fault::new(field, PolicyReason::Invalid, message);
                    statuses.problems.push(fault.problem(&object, ConditionType::Accepted));
                    continue;
                };
                // A Gateway of another class is another controller's to speak about.
                let is_ours_to_tell = gateways.get(&target.gateway).is_some() || !gateways.exists(&target.gateway);
                let is_new = ancestors
                    .iter()
                    .all(|one| (one.ancestor.key(), &one.section) != (target.gateway.clone(), &target.section));
                if !is_ours_to_tell || !is_new || ancestors.len() >= MAX_ANCESTORS {
                    continue;
                }
                let judged = self.judge(key, &policy.spec, &target, &field, gateways, &ports, options);
                let problems = judged.refused.iter().map(|fault| fault.problem(&object, ConditionType::Accepted));
                statuses.problems.extend(problems);
                let problems =
                    judged.partly.iter().map(|fault| fault.problem(&object, ConditionType::PartiallyInvalid));
                statuses.problems.extend(problems);
                ancestors.push(AncestorStatus {
                    ancestor: ObjectRef::new(Kind::Gateway, &target.gateway),
                    section: target.section,
                    controller_name: options.controller_name.clone(),
                    conditions: judged.conditions(policy.metadata.generation),
                });
            }
            if !ancestors.is_empty() {
                statuses.policies.push(PolicyStatus { object, ancestors });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a policy is judged by")]
    fn judge(
        &self,
        key: &Key,
        spec: &EdgePolicySpec,
        target: &Target,
        field: &str,
        gateways: &Gateways,
        ports: &Ports<'_>,
        options: &Options,
    ) -> Judged {
        let refused = |field: String, reason: PolicyReason, message: String| Judged {
            refused: vec![Fault::new(field, reason, message)],
            ..Judged::default()
        };
        let Some(gateway) = gateways.get(&target.gateway) else {
            let message = format!("Gateway {} does not exist: create it, or name one that does", target.gateway);
            return refused(format!("{field}.name"), PolicyReason::TargetNotFound, message);
        };
        let is_meant = |name: &str, of_set: bool| match &target.section {
            None => true,
            Some(section) => !of_set && name == section,
        };
        let meant: Vec<_> =
            gateway.listeners.iter().filter(|listener| is_meant(&listener.name, listener.is_of_set())).collect();
        if let (Some(section), true) = (&target.section, meant.is_empty()) {
            let message = format!("Gateway {} has no listener {section}: name one that it has", target.gateway);
            return refused(format!("{field}.sectionName"), PolicyReason::TargetNotFound, message);
        }
        if let Some(winner) = self.by_target.get(target).filter(|winner| **winner != key) {
            let message = format!("EdgePolicy {winner} is older and has the target: remove one");
            return refused(field.to_owned(), PolicyReason::Conflicted, message);
        }
        if let Some((field, message)) = unreadable(spec) {
            return refused(field.to_owned(), PolicyReason::Invalid, message);
        }
        if let Some((field, subject)) = asks(spec) {
            if !meant.iter().any(|listener| listener.protocol == Some(wire::Protocol::Https)) {
                let message =
                    format!("{subject} is for listeners of protocol HTTPS, and there is none here: remove {field}");
                return refused(field.to_owned(), PolicyReason::Invalid, message);
            }
            if !options.http3 {
                let message = format!("HTTP/3 is off in this installation: remove {field}, or turn it on");
                return refused(field.to_owned(), PolicyReason::Invalid, message);
            }
        }
        let held: Vec<_> = meant
            .into_iter()
            .filter(|listener| listener.policy.as_ref() == Some(key) && gateway.serves(listener))
            .filter(|listener| listener.protocol == Some(wire::Protocol::Https))
            .collect();
        effect::judge(spec, &held, ports)
    }
}

/// What became of a policy on one target.
#[derive(Default)]
struct Judged {
    /// Why nothing of it is held to.
    refused: Vec<Fault>,
    /// What of it is not held to everywhere.
    partly: Vec<Fault>,
    /// What is said where nothing is wrong.
    held: String,
}

impl Judged {
    fn conditions(&self, generation: Option<i64>) -> Vec<crate::Condition> {
        let mut writer = ConditionWriter::new(generation);
        writer.set_by(ConditionType::Accepted, &self.refused, PolicyReason::Accepted, &*self.held);
        writer.set_if_any(ConditionType::PartiallyInvalid, &self.partly);
        writer.conditions
    }
}

/// The first field by which a policy asks for anything, and what it is about.
fn asks(spec: &EdgePolicySpec) -> Option<(&'static str, &'static str)> {
    let quic = spec.quic.as_ref().is_some_and(|quic| *quic != QuicPolicy::default());
    let webtransport = spec.web_transport.as_ref().is_some_and(|asked| *asked != WebTransportPolicy::default());
    match (quic, webtransport) {
        (true, _) => Some(("spec.quic", "QUIC")),
        (false, true) => Some(("spec.webTransport", "WebTransport")),
        (false, false) => None,
    }
}

/// What of a policy nobody can hold to. The schema says the same to whoever has an API server.
fn unreadable(spec: &EdgePolicySpec) -> Option<(&'static str, String)> {
    let asked = spec.web_transport.as_ref()?;
    if let Some(sessions) = asked.sessions.filter(|sessions| !(1..=MAX_SESSIONS).contains(sessions)) {
        let message = format!("{sessions} sessions are not from 1 to {MAX_SESSIONS}");
        return Some(("spec.webTransport.sessions", message));
    }
    let text = asked.early_buffer.as_deref().filter(|_| asked.early_octets().is_none())?;
    Some(("spec.webTransport.earlyBuffer", format!("{text:?} is not a number of octets: write it as 65536 or 64Ki")))
}

/// What a policy asks of QUIC, in the table's words.
fn asked(spec: &EdgePolicySpec) -> QuicOptions {
    let quic = spec.quic.clone().unwrap_or_default();
    let webtransport = spec.web_transport.clone().unwrap_or_default();
    let default = WebTransportOptions::default();
    let sessions = webtransport.sessions.filter(|sessions| (1..=MAX_SESSIONS).contains(sessions));
    QuicOptions {
        zero_rtt: quic.zero_rtt.unwrap_or_default() == ZeroRtt::SafeMethods,
        retry: match quic.retry.unwrap_or_default() {
            RetryPolicy::Never => Retry::Never,
            RetryPolicy::UnderLoad => Retry::UnderLoad,
            RetryPolicy::Always => Retry::Always,
        },
        webtransport: WebTransportOptions {
            enabled: webtransport.enabled.unwrap_or(default.enabled),
            sessions: sessions.and_then(|sessions| u32::try_from(sessions).ok()).unwrap_or(default.sessions),
            early_octets: webtransport.early_octets().unwrap_or(default.early_octets),
        },
    }
}
