//! WebSocketRoute: which WebSocket handshakes go to which Services, and what holds for the tunnels they open.
//!
//! Owns the kind's shape and its schema. The shape follows HTTPRoute wherever the two mean the same thing. CEL rules
//! here refuse what no cluster state could make right; the rest is a condition that the compiler writes.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{BackendRef, ParentReference, RouteStatus};
use crate::route::{self, HOSTNAME_PATTERN, NAME_PATTERN, TOKEN_PATTERN};
pub use crate::route::{
    DURATION_PATTERN, HeaderModifier, HttpHeader, ORIGIN_PATTERN, PathMatch, PathMatchType, PathModifier,
    PathModifierType, RouteFilter, RouteFilterType, UrlRewriteFilter, ValueMatch, ValueMatchType,
};

/// A route for WebSocket handshakes on every HTTP version (RFC 6455, RFC 8441, RFC 9220).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "headrace.dev",
    version = "v1alpha1",
    kind = "WebSocketRoute",
    plural = "websocketroutes",
    shortname = "wsr",
    category = "gateway-api",
    namespaced,
    status = "RouteStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "WebSocketRoute routes WebSocket handshakes, over HTTP/1.1, HTTP/2 and HTTP/3, to Services.",
    printcolumn = r#"{"name": "Hostnames", "type": "string", "jsonPath": ".spec.hostnames"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "description": "Whether the first parent accepts the route, and why not.",
        "jsonPath": ".status.parents[0].conditions[?(@.type==\"Accepted\")].reason"}"#,
    printcolumn = r#"{"name": "ResolvedRefs", "type": "string", "description": "Whether every backend was found, and why not.",
        "jsonPath": ".status.parents[0].conditions[?(@.type==\"ResolvedRefs\")].reason"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "priority": 1, "description": "What to change where something is wrong.",
        "jsonPath": ".status.parents[0].conditions[?(@.status==\"False\")].message"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct WebSocketRouteSpec {
    /// The Gateways, or listeners of them, that the route attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<ParentReference>,
    /// Host names, exact (`a.example.com`) or with a wildcard for the leftmost labels (`*.example.com`). Empty means
    /// every host of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(
            length(min = 1, max = 253),
            regex(pattern = HOSTNAME_PATTERN)
        ),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub hostnames: Vec<String>,
    /// What matches, and where it goes.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = route::unique_names()))]
    pub rules: Vec<WebSocketRouteRule>,
}

/// One rule: if any match holds, the handshake goes to one of the backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [route::one_prefix_to_replace()]))]
pub struct WebSocketRouteRule {
    /// The rule's name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = NAME_PATTERN)
    )]
    pub name: Option<String>,
    /// Any of which must hold. Empty means every WebSocket handshake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<WebSocketRouteMatch>,
    /// Changes to the handshake and its answer, each type at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = route::filters_once()))]
    pub filters: Vec<RouteFilter>,
    /// Chosen from by weight for each handshake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<BackendRef>,
    /// Values of `Origin` that may open a tunnel: `https://app.example.com`, with a port where it is not the scheme's own,
    /// or with a wildcard for the leftmost labels, `https://*.example.com`. Empty means any, and none at all. Any other
    /// origin is answered 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 300), regex(pattern = ORIGIN_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub origins: Vec<String>,
    /// How long things may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<WebSocketTimeouts>,
}

/// All parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebSocketRouteMatch {
    /// The path, without its query. Every path when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Headers of the handshake, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<ValueMatch>,
    /// Query parameters, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<ValueMatch>,
    /// WebSocket subprotocols, one of which must be among those that the client offers. Any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 128), regex(pattern = TOKEN_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub subprotocols: Vec<String>,
}

/// How long a handshake and a tunnel may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebSocketTimeouts {
    /// From the client's handshake to the backend's answer; `0s` or absent means the data plane's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = DURATION_PATTERN))]
    pub handshake: Option<String>,
    /// A tunnel without a byte in either direction ends after this; `0s` or absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = DURATION_PATTERN))]
    pub idle: Option<String>,
    /// A tunnel ends after this whatever happens; `0s` or absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = DURATION_PATTERN))]
    pub lifetime: Option<String>,
}
