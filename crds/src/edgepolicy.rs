//! EdgePolicy: how connections of clients are taken, for a Gateway or one of its listeners.
//!
//! Owns the kind's shape and its schema. It is a policy attachment of the Gateway API (GEP-713), in the namespace of what it
//! targets. It must not know which of two policies wins, nor what of one can be had on a port: the compiler says that in
//! the status.

pub mod quic;
pub mod webtransport;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::ParentReference;
pub use quic::{QuicPolicy, RetryPolicy, ZeroRtt};
pub use webtransport::WebTransportPolicy;

/// How connections of clients are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "headrace.dev",
    version = "v1alpha1",
    kind = "EdgePolicy",
    plural = "edgepolicies",
    shortname = "ep",
    category = "gateway-api",
    namespaced,
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "EdgePolicy says how connections of clients are taken on a Gateway, or on one of its listeners.",
    printcolumn = r#"{"name": "Target", "type": "string", "description": "The first target.", "jsonPath": ".spec.targetRefs[0].name"}"#,
    printcolumn = r#"{"name": "0-RTT", "type": "string", "description": "Which requests are served before the handshake is complete.",
        "jsonPath": ".spec.quic.zeroRTT"}"#,
    printcolumn = r#"{"name": "Retry", "type": "string", "description": "When clients have to show that their address is theirs.",
        "jsonPath": ".spec.quic.retry"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "description": "Whether the policy is held to on the first target, and why not.",
        "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].reason"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "priority": 1, "description": "What is held to, and what to change where something is wrong.",
        "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].message"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct EdgePolicySpec {
    /// The Gateways, or listeners of them, that the policy is for. In the policy's own namespace.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [{
        "rule": "self.all(a, self.exists_one(b, a.name == b.name \
                 && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",
        "message": "targetRefs must be unique",
    }]))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// What holds for QUIC, which carries HTTP/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quic: Option<QuicPolicy>,
    /// What WebTransport may take of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_transport: Option<WebTransportPolicy>,
}

/// What a policy is for (Gateway API, `LocalPolicyTargetReferenceWithSectionName`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.group == 'gateway.networking.k8s.io' && self.kind == 'Gateway'",
    "message": "an EdgePolicy is for a Gateway: group gateway.networking.k8s.io, kind Gateway",
}]))]
pub struct PolicyTargetReference {
    /// `gateway.networking.k8s.io`.
    #[schemars(length(max = 253))]
    pub group: String,
    /// `Gateway`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of one listener of the Gateway itself; when absent, every listener, those of ListenerSets too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub section_name: Option<String>,
}

/// What became of a policy on each of its targets (Gateway API, `PolicyStatus`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One entry per target and controller.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What became of a policy on one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The Gateway, and the listener where the policy is for one.
    pub ancestor_ref: ParentReference,
    /// The controller that wrote this entry.
    #[schemars(
        length(min = 1, max = 253),
        regex(
            pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
        )
    )]
    pub controller_name: String,
    /// Accepted, and PartiallyInvalid where it holds.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
