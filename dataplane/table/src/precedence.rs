//! Which of several matches wins, as a type with an order.
//!
//! Knows nothing of requests: precedence is a property of a match in a table, so its lists are sorted once, when it is made.

use std::cmp::Reverse;
use std::sync::Arc;

use regex::bytes::Regex;

/// The rank of one match on one host pattern of one listener. Among the matches that hold, the greatest wins.
///
/// The derived order compares the fields from the first to the last. It follows Gateway API, `HTTPRouteRule.matches`
/// ("Proxy or Load Balancer routing configuration generated from HTTPRoutes MUST prioritize matches based on the
/// following criteria, continuing on ties") with these additions where the API leaves room: a regular expression ranks
/// below every prefix ("the precedence of RegularExpression path matches are implementation-specific"), what only takes
/// WebSocket handshakes ranks before what takes anything, and a subprotocol decides after all else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    /// `HTTPRouteSpec.hostnames`: "precedence must be given to rules from the HTTPRoute with the largest number of
    /// characters in a matching non-wildcard hostname", then "characters in a matching hostname".
    pub host: HostRank,
    /// "'Exact' path match. 'Prefix' path match with largest number of characters."
    pub path: PathRank,
    /// Ours: what takes only WebSocket handshakes is the more specific. (What takes only sessions meets nothing else.)
    pub opens: bool,
    /// "Method match."
    pub method: bool,
    /// "Largest number of header matches." Repetitions of a name do not count.
    pub headers: usize,
    /// "Largest number of query param matches." Repetitions of a name do not count.
    pub query: usize,
    /// Ours: what asks for a subprotocol is the more specific.
    pub subprotocol: bool,
    /// "The oldest Route based on creation timestamp", in seconds since the Unix epoch.
    pub created: Reverse<i64>,
    /// "The Route appearing first in alphabetical order by '{namespace}/{name}'", then by kind.
    pub route: Reverse<RouteName>,
    /// "The FIRST matching rule (in list order)."
    pub rule: Reverse<usize>,
    /// The match's place in its rule, which decides nothing that a client sees but makes the order total.
    pub place: Reverse<usize>,
}

/// How specific a host pattern is. Of two that cover the same host, the longer is within the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostRank {
    /// Every host.
    Any,
    /// A wildcard, by the octets of its suffix.
    Wildcard(usize),
    /// A host, by its octets.
    Exact(usize),
}

impl From<&crate::HostPattern> for HostRank {
    fn from(pattern: &crate::HostPattern) -> Self {
        match pattern {
            crate::HostPattern::Any => HostRank::Any,
            crate::HostPattern::Wildcard(suffix) => HostRank::Wildcard(suffix.as_str().len()),
            crate::HostPattern::Exact(name) => HostRank::Exact(name.as_str().len()),
        }
    }
}

/// How specific a path match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathRank {
    /// A regular expression, by the octets of its pattern. Ranking it last is our choice.
    Regex(usize),
    /// A prefix, by its octets without a trailing slash.
    Prefix(usize),
    /// The whole path.
    Exact,
}

impl PathRank {
    /// Of an expression that matches whole paths: the octets that anchor it are the same for all.
    pub(crate) fn of_regex(regex: &Regex) -> Self {
        PathRank::Regex(regex.as_str().len())
    }
}

/// A prefix in the form in which it is compared: `/a/` and `/a` are the same, and `/` is empty.
pub(crate) fn without_trailing_slash(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

/// A route's id in the order in which routes are ranked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteName {
    /// `namespace/name`.
    namespaced: Arc<str>,
    /// Decides between routes of two kinds that share a name.
    kind: Arc<str>,
}

impl From<&str> for RouteName {
    /// From `Kind/namespace/name`. What has no kind is ranked by its whole text.
    fn from(id: &str) -> Self {
        let (kind, namespaced) = id.split_once('/').unwrap_or(("", id));
        RouteName { namespaced: namespaced.into(), kind: kind.into() }
    }
}
