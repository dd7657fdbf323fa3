//! What the rules of our own routes match: paths, headers and query parameters.
//!
//! Owns the shapes and their schema; HTTPRoute's own rules on path values hold here too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TOKEN_PATTERN;

/// How a path is matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type == 'RegularExpression' || self.value.startsWith('/')",
        "message": "value must start with '/'",
    },
    {
        "rule": "self.type == 'RegularExpression' || !self.value.contains('//')",
        "message": "value must not contain '//'",
    },
    {
        "rule": "self.type == 'RegularExpression' || !(self.value.contains('/./') || self.value.contains('/../') \
                 || self.value.endsWith('/.') || self.value.endsWith('/..'))",
        "message": "value must not have '.' or '..' as an element",
    },
    {
        "rule": "self.type == 'RegularExpression' || !(self.value.contains('#') || self.value.contains('?'))",
        "message": "value must not contain '#' or '?'",
    },
    {
        "rule": "self.type == 'RegularExpression' || !(self.value.contains('%2f') || self.value.contains('%2F'))",
        "message": "value must not contain an encoded '/'",
    },
    {
        "rule": "self.type == 'RegularExpression' || \
                 self.value.matches(r\"\"\"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$\"\"\")",
        "message": "value must be made of the characters of RFC 3986 paths and of percent-encoded octets",
    },
]))]
pub struct PathMatch {
    /// How `value` is compared. `PathPrefix` when absent.
    #[serde(default, rename = "type")]
    pub r#type: PathMatchType,
    /// The path, or the expression.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

fn root_path() -> String {
    "/".to_owned()
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// By whole elements.
    #[default]
    PathPrefix,
    /// A regular expression (RE2 syntax) for the whole path.
    RegularExpression,
}

/// A named value and how it is matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueMatch {
    /// How `value` is compared. `Exact` when absent.
    #[serde(default, rename = "type")]
    pub r#type: ValueMatchType,
    /// The header's name (compared without regard to case) or the query parameter's.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN_PATTERN))]
    pub name: String,
    /// The value, or the expression.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueMatchType {
    /// Octet for octet.
    #[default]
    Exact,
    /// A regular expression (RE2 syntax) for the whole value.
    RegularExpression,
}
