//! Host names as Kubernetes objects write them.
//!
//! Owns what those objects may say (no addresses) and how two patterns meet. The syntax itself is the table's.

use std::net::IpAddr;

use headrace_table::{HostPattern, Hostname};

/// A host name or wildcard; `Err` is a message.
pub(crate) fn parse(text: &str) -> Result<HostPattern, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text} is an address: use a host name"));
    }
    HostPattern::try_from(text).map_err(|error| format!("{text:?} is not a host name: {error}"))
}

/// As [`parse`]; absent or empty means every host.
pub(crate) fn parse_optional(text: Option<&str>) -> Result<HostPattern, String> {
    match text {
        None | Some("") => Ok(HostPattern::Any),
        Some(text) => parse(text),
    }
}

/// The hosts that two patterns have in common: the narrower one, if it lies within the other.
pub(crate) fn meet<'p>(a: &'p HostPattern, b: &'p HostPattern) -> Option<&'p HostPattern> {
    if a.covers(b) {
        Some(b)
    } else if b.covers(a) {
        Some(a)
    } else {
        None
    }
}

/// Every pattern that covers `host`, from the most specific one, which is itself.
pub(crate) fn covering(host: &HostPattern) -> impl Iterator<Item = HostPattern> {
    let (first, name) = match host {
        HostPattern::Any => (None, ""),
        HostPattern::Wildcard(suffix) => (Some(host.clone()), suffix.as_str()),
        HostPattern::Exact(name) => (Some(host.clone()), name.as_str()),
    };
    let suffixes = name.match_indices('.').filter_map(|(dot, _)| Hostname::try_from(&name[dot + 1..]).ok());
    first.into_iter().chain(suffixes.map(HostPattern::Wildcard)).chain([HostPattern::Any])
}

/// As the table's wire form has it.
pub(crate) fn to_wire(host: &HostPattern) -> Option<String> {
    match host {
        HostPattern::Any => None,
        other => Some(other.to_string()),
    }
}

/// For messages.
pub(crate) fn in_words(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => "every host".to_owned(),
        other => format!("host {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        parse_optional(Some(text)).unwrap()
    }

    #[test]
    fn two_patterns_meet_in_the_narrower() {
        for (a, b, expected) in [
            ("a.b", "a.b", Some("a.b")),
            ("a.b", "c.b", None),
            ("*.b", "a.b", Some("a.b")),
            ("*.b", "b", None),
            ("*.b", "*.a.b", Some("*.a.b")),
            ("*.b", "*.c", None),
            ("", "*.c", Some("*.c")),
            ("", "", Some("*")),
        ] {
            let (a, b) = (pattern(a), pattern(b));
            assert_eq!(meet(&a, &b).map(ToString::to_string).as_deref(), expected, "{a} and {b}");
            assert_eq!(meet(&b, &a).map(ToString::to_string).as_deref(), expected, "{b} and {a}");
        }
    }

    #[test]
    fn what_covers_a_host_comes_from_the_most_specific() {
        for (host, expected) in
            [("", &["*"][..]), ("a.b.c", &["a.b.c", "*.b.c", "*.c", "*"]), ("*.b.c", &["*.b.c", "*.c", "*"])]
        {
            let host = pattern(host);
            let found: Vec<HostPattern> = covering(&host).collect();
            assert!(found.iter().all(|pattern| pattern.covers(&host)), "{host}");
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{host}");
        }
    }

    #[test]
    fn addresses_are_no_host_names() {
        for text in ["10.0.0.1", "::1", "*", "a_b", "http://a", "a:80"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
