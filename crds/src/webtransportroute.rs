//! WebTransportRoute: which WebTransport sessions go where, and what they may take.
//!
//! Owns the kind's shape and its schema. The shape follows HTTPRoute wherever the two mean the same thing, and
//! WebSocketRoute in the rest. CEL rules here refuse what no cluster state could make right; the rest is a condition that
//! the compiler writes.

pub mod limits;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{BackendRef, ParentReference, RouteStatus};
use crate::route::{self, HOSTNAME_PATTERN, NAME_PATTERN, ORIGIN_PATTERN, PathMatch, RouteFilter, ValueMatch};
pub use limits::{WebTransportLimits, WebTransportTimeouts};

/// A route for WebTransport sessions over HTTP/3 (draft-ietf-webtrans-http3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "headrace.dev",
    version = "v1alpha1",
    kind = "WebTransportRoute",
    plural = "webtransportroutes",
    shortname = "wtr",
    category = "gateway-api",
    namespaced,
    status = "RouteStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "WebTransportRoute routes WebTransport sessions to Services that speak WebTransport, or their streams and datagrams to TCP and UDP Services.",
    printcolumn = r#"{"name": "Hostnames", "type": "string", "jsonPath": ".spec.hostnames"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "description": "Where sessions of the first rule end.", "jsonPath": ".spec.rules[0].mode"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "description": "Whether the first parent accepts the route, and why not.",
        "jsonPath": ".status.parents[0].conditions[?(@.type==\"Accepted\")].reason"}"#,
    printcolumn = r#"{"name": "ResolvedRefs", "type": "string", "description": "Whether every backend was found, and why not.",
        "jsonPath": ".status.parents[0].conditions[?(@.type==\"ResolvedRefs\")].reason"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "priority": 1, "description": "What to change where something is wrong.",
        "jsonPath": ".status.parents[0].conditions[?(@.status==\"False\")].message"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct WebTransportRouteSpec {
    /// The Gateways, or listeners of them, that the route attaches to. Only listeners of protocol HTTPS with HTTP/3 carry
    /// WebTransport.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<ParentReference>,
    /// Host names, exact (`a.example.com`) or with a wildcard for the leftmost labels (`*.example.com`). Empty means
    /// every host of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = HOSTNAME_PATTERN)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub hostnames: Vec<String>,
    /// What matches, and where it goes.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = route::unique_names())
    )]
    pub rules: Vec<WebTransportRouteRule>,
}

/// One rule: if any match holds, the session goes to one of the backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    route::one_prefix_to_replace(),
    {
        "rule": "self.mode != 'Streams' || !has(self.backendRefs)",
        "message": "backendRefs are for mode Session: in mode Streams use streamBackendRefs and datagramBackendRefs",
    },
    {
        "rule": "self.mode != 'Session' || !(has(self.streamBackendRefs) || has(self.datagramBackendRefs))",
        "message": "streamBackendRefs and datagramBackendRefs are for mode Streams: in mode Session use backendRefs",
    },
    {
        "rule": "self.mode != 'Streams' || has(self.streamBackendRefs) || has(self.datagramBackendRefs)",
        "message": "mode Streams needs streamBackendRefs, datagramBackendRefs, or both",
    },
    {
        "rule": "self.mode != 'Streams' || !has(self.filters) \
                 || self.filters.all(f, f.type == 'ResponseHeaderModifier')",
        "message": "in mode Streams no request goes to a backend: of the filters only ResponseHeaderModifier can be used",
    },
]))]
pub struct WebTransportRouteRule {
    /// The rule's name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: Option<String>,
    /// Any of which must hold. Empty means every session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<WebTransportRouteMatch>,
    /// Changes to the request that opens the session and to its answer, each type at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = route::filters_once())
    )]
    pub filters: Vec<RouteFilter>,
    /// Where sessions end. `Session` when absent.
    #[serde(default)]
    pub mode: WebTransportMode,
    /// For mode Session: backends that speak WebTransport over HTTP/3, chosen from by weight for each session. Each is a
    /// Service's port of protocol UDP with appProtocol `headrace.dev/h3`, and has a BackendTLSPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<BackendRef>,
    /// For mode Streams: each stream becomes a TCP connection to one of these, chosen by weight for each stream. Each is a
    /// Service's port of protocol TCP. Without any, streams are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub stream_backend_refs: Vec<BackendRef>,
    /// For mode Streams: the session's datagrams become a UDP flow with one of these, chosen by weight for each session.
    /// Each is a Service's port of protocol UDP. Without any, datagrams are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub datagram_backend_refs: Vec<BackendRef>,
    /// Values of `Origin` that may open a session: `https://app.example.com`, with a port where it is not the scheme's own,
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
    pub timeouts: Option<WebTransportTimeouts>,
    /// What one session may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<WebTransportLimits>,
}

/// Where sessions end: with a backend that speaks WebTransport (Session), or here, so that their streams go to TCP Services
/// and their datagrams to UDP Services that know nothing of it (Streams).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WebTransportMode {
    /// With a backend that speaks WebTransport.
    #[default]
    Session,
    /// Here. Streams become TCP connections, datagrams a UDP flow.
    Streams,
}

/// All parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebTransportRouteMatch {
    /// The path, without its query. Every path when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Headers of the request that opens the session, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<ValueMatch>,
    /// Query parameters, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<ValueMatch>,
    /// Subprotocols, one of which must be among those that the client offers in `WT-Available-Protocols`. Any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 128), regex(pattern = SUBPROTOCOL_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub subprotocols: Vec<String>,
}

/// A string of a structured field (RFC 9651 section 3.3.3): printable ASCII.
pub const SUBPROTOCOL_PATTERN: &str = r"^[ -~]+$";
