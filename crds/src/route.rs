//! What our own routes have in common: matches, filters, and the words for origins and durations.
//!
//! Owns those shapes with their schema, and the CEL rules that hold for both kinds. It must not know what a rule of either
//! kind does. What they share with the Gateway API's own routes is in `reference`.

pub mod filter;
pub mod matching;

use serde_json::{Value, json};

pub use filter::{
    HeaderModifier, HttpHeader, PathModifier, PathModifierType, RouteFilter, RouteFilterType, UrlRewriteFilter,
};
pub use matching::{PathMatch, PathMatchType, ValueMatch, ValueMatchType};

/// A host name, or the name of a section or a rule (RFC 1123).
pub const NAME_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A host name, perhaps with a wildcard for its leftmost labels.
pub const HOSTNAME_PATTERN: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A token (RFC 9110 section 5.6.2).
pub const TOKEN_PATTERN: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";

/// An origin as RFC 6454, section 6.2 serialises it (`null` included), in lower case, with an optional wildcard to the left
/// of the host.
pub const ORIGIN_PATTERN: &str = concat!(
    r"^(null|[a-z][a-z0-9+.-]*://",
    r"((\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*|\[[0-9a-f:.]+\])",
    r"(:[0-9]{1,5})?)$"
);

/// A duration of the Gateway API (GEP-2257).
pub const DURATION_PATTERN: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// On the list of rules.
pub(crate) fn unique_names() -> Value {
    json!([{
        "rule": "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))",
        "message": "rule names must be unique within the route",
    }])
}

/// On a rule's list of filters.
pub(crate) fn filters_once() -> Value {
    let once = |name: &str| {
        json!({
            "rule": format!("self.filter(f, f.type == '{name}').size() <= 1"),
            "message": format!("{name} can be used once in a rule"),
        })
    };
    json!([once("RequestHeaderModifier"), once("ResponseHeaderModifier"), once("URLRewrite")])
}

/// On a rule.
pub(crate) fn one_prefix_to_replace() -> Value {
    json!({
        "rule": "!has(self.filters) || !self.filters.exists(f, has(f.urlRewrite) && has(f.urlRewrite.path) \
                 && f.urlRewrite.path.type == 'ReplacePrefixMatch') || !has(self.matches) || self.matches.size() == 0 \
                 || (self.matches.size() == 1 \
                     && (!has(self.matches[0].path) || self.matches[0].path.type == 'PathPrefix'))",
        "message": "ReplacePrefixMatch needs exactly one match, of path type PathPrefix",
    })
}
