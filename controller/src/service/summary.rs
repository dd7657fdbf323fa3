//! The Gateways of a generation in a few words, for `/status`.
//!
//! Owns the words. Pure.

use headrace_compile::{Address, ConditionStatus};
use headrace_crds::condition::ConditionType;
use serde::Serialize;

use crate::generation::Generation;

/// A Gateway, where it is reached, and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySummary {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether the compiler accepts it.
    pub accepted: bool,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Its listeners, and how many routes each has.
    pub listeners: Vec<ListenerSummary>,
    /// Its Service; absent if none is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSummary>,
}

/// A listener of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSummary {
    /// Its name.
    pub name: String,
    /// How many routes are attached to it.
    pub attached_routes: i32,
}

/// The Service of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: &'static str,
    /// The pods behind it.
    pub pod_set: String,
    /// Its ports, such as `443/TCP -> 20001`.
    pub ports: Vec<String>,
}

/// Every Gateway of ours, by namespace and name.
pub fn summary(generation: &Generation) -> Vec<GatewaySummary> {
    let gateways = generation.compiled.statuses.gateways.iter().map(|status| {
        let plan = generation.compiled.services.iter().find(|plan| plan.gateway == status.object.key());
        let accepted = status
            .conditions
            .iter()
            .any(|condition| condition.r#type == ConditionType::Accepted && condition.status == ConditionStatus::True);
        GatewaySummary {
            namespace: status.object.namespace.clone(),
            name: status.object.name.clone(),
            accepted,
            addresses: status.addresses.iter().map(Address::value).collect(),
            listeners: status
                .listeners
                .iter()
                .map(|it| ListenerSummary { name: it.name.clone(), attached_routes: it.attached_routes })
                .collect(),
            service: plan.map(|plan| ServiceSummary {
                name: plan.name.clone(),
                r#type: plan.r#type.label(),
                pod_set: plan.pod_set.clone(),
                ports: plan
                    .ports
                    .iter()
                    .map(|port| format!("{}/{} -> {}", port.port, port.protocol.label(), port.target_port))
                    .collect(),
            }),
        }
    });
    gateways.collect()
}
