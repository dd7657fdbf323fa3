//! Services of Gateways: what is to be there, so that clients reach the pods.
//!
//! Owns what a plan says. It must not know how a plan is carried out, nor who carries it out.

pub(crate) mod address;
mod name;
mod plan;
mod port;

use std::collections::BTreeMap;
use std::net::IpAddr;

use headrace_crds::gatewayparameters::{ExternalTrafficPolicy, IpFamilyPolicy, ServiceType};
use serde::Serialize;

use crate::world::Key;

pub(crate) use plan::{Planned, plan};

/// Labels and annotations that a Gateway's infrastructure is to carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The Service that a Gateway is to have. It has no selector: its endpoints are the pods of `pod_set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePlan {
    /// Whose Service it is, and who is to own it.
    pub gateway: Key,
    /// The Gateway's uid, for the owner reference. Empty where the Gateway has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway_uid: String,
    /// Its namespace: the Gateway's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, all of them.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, all but those of others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// How it is reached.
    pub r#type: ServiceType,
    /// Which load-balancer controller is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Where traffic from outside may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Of how many address families it has addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// From where clients are let in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_source_ranges: Vec<String>,
    /// The addresses that the Gateway asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Its ports, by number and protocol.
    pub ports: Vec<PlannedPort>,
    /// The pods behind it.
    pub pod_set: String,
}

impl ServicePlan {
    /// The Service's key.
    pub fn key(&self) -> Key {
        Key::new(&*self.namespace, &*self.name)
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPort {
    /// What clients dial.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: TransportProtocol,
    /// Its name, unique in the Service.
    pub name: String,
    /// What the pods bind.
    pub target_port: u16,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TransportProtocol {
    /// HTTP/1.1 and HTTP/2.
    #[serde(rename = "TCP")]
    Tcp,
    /// QUIC.
    #[serde(rename = "UDP")]
    Udp,
}

impl TransportProtocol {
    /// The word as a Service has it.
    pub const fn label(self) -> &'static str {
        match self {
            TransportProtocol::Tcp => "TCP",
            TransportProtocol::Udp => "UDP",
        }
    }
}
