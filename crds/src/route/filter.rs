//! The filters of a rule of our own routes, shaped as on HTTPRoute.
//!
//! Only filters that make sense on a handshake are here: no redirect (clients do not follow one), no mirror, no CORS
//! (browsers do not ask for it on WebSockets and WebTransport; `origins` is the tool).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NAME_PATTERN, TOKEN_PATTERN};

/// One filter: the field that `type` names, and no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.requestHeaderModifier) == (self.type == 'RequestHeaderModifier')",
        "message": "requestHeaderModifier must be set when, and only when, type is RequestHeaderModifier",
    },
    {
        "rule": "has(self.responseHeaderModifier) == (self.type == 'ResponseHeaderModifier')",
        "message": "responseHeaderModifier must be set when, and only when, type is ResponseHeaderModifier",
    },
    {
        "rule": "has(self.urlRewrite) == (self.type == 'URLRewrite')",
        "message": "urlRewrite must be set when, and only when, type is URLRewrite",
    },
]))]
pub struct RouteFilter {
    /// Which field is set.
    #[serde(rename = "type")]
    pub r#type: RouteFilterType,
    /// Changes to the request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes to the headers of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// A new host or path towards the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewriteFilter>,
}

/// The filters there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteFilterType {
    /// Changes to the request's headers.
    #[default]
    RequestHeaderModifier,
    /// Changes to the headers of the answer.
    ResponseHeaderModifier,
    /// A new host or path towards the backend.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
}

/// Header changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifier {
    /// Replace every value of the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HttpHeader>,
    /// Append a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HttpHeader>,
    /// Remove every value of the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 256), regex(pattern = TOKEN_PATTERN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub remove: Vec<String>,
}

/// A header with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN_PATTERN))]
    pub name: String,
    /// Its value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// A new host or path towards the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlRewriteFilter {
    /// Replaces `Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = NAME_PATTERN)
    )]
    pub hostname: Option<String>,
    /// Replaces the path, or its matched prefix. The query stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// How a path is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.replaceFullPath) == (self.type == 'ReplaceFullPath')",
        "message": "replaceFullPath must be set when, and only when, type is ReplaceFullPath",
    },
    {
        "rule": "has(self.replacePrefixMatch) == (self.type == 'ReplacePrefixMatch')",
        "message": "replacePrefixMatch must be set when, and only when, type is ReplacePrefixMatch",
    },
]))]
pub struct PathModifier {
    /// Which field is set.
    #[serde(rename = "type")]
    pub r#type: PathModifierType,
    /// The new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_full_path: Option<String>,
    /// What replaces the prefix that the rule's one match matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
}

/// How a path is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathModifierType {
    /// The whole path.
    #[default]
    ReplaceFullPath,
    /// The matched prefix.
    ReplacePrefixMatch,
}
