//! WebSocketRoute: which WebSocket handshakes go to which Services, and what holds for the tunnels they open.
//!
//! Owns the kind's shape and its schema. The shape follows HTTPRoute wherever the two mean the same thing. CEL rules
//! here refuse what no cluster state could make right; the rest is a condition that the compiler writes.

pub mod filter;
pub mod matching;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{BackendRef, ParentReference, RouteStatus};
pub use filter::{
    HeaderModifier, HttpHeader, PathModifier, PathModifierType, RouteFilter, RouteFilterType, UrlRewriteFilter,
};
pub use matching::{PathMatch, PathMatchType, ValueMatch, ValueMatchType, WebSocketRouteMatch};

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
            regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        ),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub hostnames: Vec<String>,
    /// What matches, and where it goes.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [{
        "rule": "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))",
        "message": "rule names must be unique within the route",
    }]))]
    pub rules: Vec<WebSocketRouteRule>,
}

/// One rule: if any match holds, the handshake goes to one of the backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.filters) || !self.filters.exists(f, has(f.urlRewrite) && has(f.urlRewrite.path) \
             && f.urlRewrite.path.type == 'ReplacePrefixMatch') || !has(self.matches) || self.matches.size() == 0 \
             || (self.matches.size() == 1 \
                 && (!has(self.matches[0].path) || self.matches[0].path.type == 'PathPrefix'))",
    "message": "ReplacePrefixMatch needs exactly one match, of path type PathPrefix",
}]))]
pub struct WebSocketRouteRule {
    /// The rule's name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// Any of which must hold. Empty means every WebSocket handshake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<WebSocketRouteMatch>,
    /// Changes to the handshake and its answer, each type at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [
        {
            "rule": "self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1",
            "message": "RequestHeaderModifier can be used once in a rule",
        },
        {
            "rule": "self.filter(f, f.type == 'ResponseHeaderModifier').size() <= 1",
            "message": "ResponseHeaderModifier can be used once in a rule",
        },
        {
            "rule": "self.filter(f, f.type == 'URLRewrite').size() <= 1",
            "message": "URLRewrite can be used once in a rule",
        },
    ]))]
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

/// An origin as RFC 6454, section 6.2 serialises it (`null` included), in lower case, with an optional wildcard to the left
/// of the host.
pub const ORIGIN_PATTERN: &str = concat!(
    r"^(null|[a-z][a-z0-9+.-]*://",
    r"((\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*|\[[0-9a-f:.]+\])",
    r"(:[0-9]{1,5})?)$"
);

/// A duration of the Gateway API (GEP-2257).
pub const DURATION_PATTERN: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

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
