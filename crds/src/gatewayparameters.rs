//! GatewayParameters: where a Gateway's traffic arrives and which pods take it.
//!
//! Owns the kind's shape and its schema. A GatewayClass names one in `spec.parametersRef`, a Gateway in
//! `spec.infrastructure.parametersRef`; it must not know how the two are put together.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a Gateway, or every Gateway of a class, asks of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "headrace.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    shortname = "gwp",
    category = "gateway-api",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "GatewayParameters say which pods serve a Gateway, and what its Service is like. A GatewayClass names them for all its Gateways, a Gateway for itself.",
    printcolumn = r#"{"name": "PodSet", "type": "string", "description": "The pods that serve the Gateway.", "jsonPath": ".spec.podSet"}"#,
    printcolumn = r#"{"name": "Service", "type": "string", "description": "The type of the Gateway's Service.", "jsonPath": ".spec.service.type"}"#,
    printcolumn = r#"{"name": "Class", "type": "string", "priority": 1, "description": "Which load-balancer controller is asked.", "jsonPath": ".spec.service.loadBalancerClass"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct GatewayParametersSpec {
    /// The pods that serve the Gateway, by the name that the installation gave them. The installation's default when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub pod_set: Option<String>,
    /// The Service that gives the Gateway its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceParameters>,
}

/// What a Gateway's Service is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.type) || self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
        "message": "loadBalancerClass goes with type LoadBalancer",
    },
    {
        "rule": "!has(self.type) || self.type == 'LoadBalancer' || !has(self.loadBalancerSourceRanges)",
        "message": "loadBalancerSourceRanges go with type LoadBalancer",
    },
    {
        "rule": "!has(self.type) || self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)",
        "message": "externalTrafficPolicy does not go with type ClusterIP",
    },
    {
        "rule": "!has(self.labels) || !self.labels.exists(key, key.startsWith('gateway.networking.k8s.io/'))",
        "message": "labels under gateway.networking.k8s.io are the controller's",
    },
]))]
pub struct ServiceParameters {
    /// How the Gateway is reached. LoadBalancer when absent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ServiceType>,
    /// Annotations for the Service: what a cloud's load-balancer controller is told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Labels for the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Which load-balancer controller is asked for an address; the cluster's default when absent. It cannot be changed
    /// on a Service that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
        )
    )]
    pub load_balancer_class: Option<String>,
    /// Whether traffic from outside may go to another node (`Cluster`, the default) or stays on the one where it arrived
    /// and so keeps the client's address (`Local`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// The networks from which clients are let in, as 198.51.100.0/24. Every one when empty. It is the load balancer that
    /// holds to it, where it can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 64), regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub load_balancer_source_ranges: Vec<String>,
    /// Of how many address families the Service has addresses. SingleStack when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
}

/// How a Gateway is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// By an address that a load-balancer controller gives.
    #[default]
    LoadBalancer,
    /// By a port on every node.
    NodePort,
    /// From inside the cluster only.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
}

impl ServiceType {
    /// The word as a Service has it.
    pub const fn label(self) -> &'static str {
        match self {
            ServiceType::LoadBalancer => "LoadBalancer",
            ServiceType::NodePort => "NodePort",
            ServiceType::ClusterIp => "ClusterIP",
        }
    }
}

/// Where traffic from outside may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// To every pod; the client's address may be lost on the way.
    #[default]
    Cluster,
    /// To the pods of the node where it arrived.
    Local,
}

impl ExternalTrafficPolicy {
    /// The word as a Service has it.
    pub const fn label(self) -> &'static str {
        match self {
            ExternalTrafficPolicy::Cluster => "Cluster",
            ExternalTrafficPolicy::Local => "Local",
        }
    }
}

/// Of how many address families a Service has addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum IpFamilyPolicy {
    /// One.
    #[default]
    SingleStack,
    /// Two, where the cluster has two.
    PreferDualStack,
    /// Two.
    RequireDualStack,
}

impl IpFamilyPolicy {
    /// The word as a Service has it.
    pub const fn label(self) -> &'static str {
        match self {
            IpFamilyPolicy::SingleStack => "SingleStack",
            IpFamilyPolicy::PreferDualStack => "PreferDualStack",
            IpFamilyPolicy::RequireDualStack => "RequireDualStack",
        }
    }
}

/// Entries of a map at most: what a load-balancer controller understands is a handful.
const MAX_ENTRIES: usize = 32;

/// Characters of an annotation's value at most. All annotations of an object together may have 256 KiB.
const MAX_ANNOTATION: usize = 4_096;

/// Characters of a label's value at most (Kubernetes).
const MAX_LABEL: usize = 63;

fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_ENTRIES,
        "additionalProperties": { "type": "string", "maxLength": MAX_ANNOTATION },
    })
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_ENTRIES,
        "additionalProperties": {
            "type": "string",
            "maxLength": MAX_LABEL,
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        },
    })
}
