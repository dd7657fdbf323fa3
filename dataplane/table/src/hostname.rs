//! Host names that cannot be wrong, and the patterns made of them.
//!
//! Owns the syntax (RFC 1123 labels, lower case) and what a pattern covers. Knows nothing of routes.

use std::fmt;

/// Octets of a host name at most, in its textual form without the trailing dot (RFC 1035 section 2.3.4).
pub const MAX_HOSTNAME: usize = 253;

/// Octets of one label at most (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A host name: RFC 1123 labels, lower case, at most 253 octets, without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Box<str>);

/// A text that is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAHostname {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_HOSTNAME`] octets.
    #[error("it is longer than 253 octets")]
    TooLong,
    /// A label is empty, over 63 octets, starts or ends with a hyphen, or holds another octet.
    #[error("a label is not of 1 to 63 letters, digits and inner hyphens")]
    Label,
    /// `*` anywhere but as the whole leftmost label, or alone.
    #[error("a wildcard must be the whole leftmost label, with a host name after it")]
    Wildcard,
}

impl Hostname {
    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Hostname {
    type Error = NotAHostname;

    /// Upper case is taken and lowered: RFC 4343 gives case no meaning.
    fn try_from(text: &str) -> Result<Self, NotAHostname> {
        match text {
            "" => Err(NotAHostname::Empty),
            _ if text.len() > MAX_HOSTNAME => Err(NotAHostname::TooLong),
            _ if text.contains('*') => Err(NotAHostname::Wildcard),
            _ if !text.split('.').all(is_label) => Err(NotAHostname::Label),
            _ => Ok(Hostname(text.to_ascii_lowercase().into())),
        }
    }
}

/// RFC 1123 section 2.1: letters, digits and inner hyphens.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which hosts a listener or a route is there for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Every host, and requests without one.
    Any,
    /// `*.` and this suffix: one or more labels before it, and not the suffix itself.
    Wildcard(Hostname),
    /// This host.
    Exact(Hostname),
}

impl HostPattern {
    /// Whether every host of `inner` is one of `self`.
    pub fn covers(&self, inner: &HostPattern) -> bool {
        match (self, inner) {
            (HostPattern::Any, _) => true,
            (_, HostPattern::Any) => false,
            (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
            (HostPattern::Exact(_), HostPattern::Wildcard(_)) => false,
            (HostPattern::Wildcard(a), HostPattern::Wildcard(b)) => a == b || is_below(b, a),
            (HostPattern::Wildcard(a), HostPattern::Exact(b)) => is_below(b, a),
        }
    }
}

fn is_below(name: &Hostname, suffix: &Hostname) -> bool {
    name.0.strip_suffix(&*suffix.0).is_some_and(|head| head.ends_with('.'))
}

impl TryFrom<&str> for HostPattern {
    type Error = NotAHostname;

    fn try_from(text: &str) -> Result<Self, NotAHostname> {
        match text.strip_prefix("*.") {
            Some(_) if text.len() > MAX_HOSTNAME => Err(NotAHostname::TooLong),
            Some(suffix) => Ok(HostPattern::Wildcard(Hostname::try_from(suffix)?)),
            None => Ok(HostPattern::Exact(Hostname::try_from(text)?)),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Exact(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_taken_or_refused() {
        let long_label = "a".repeat(63);
        let longest = [long_label.as_str(); 4].join(".")[..253].to_owned();
        let cases: &[(&str, Result<&str, NotAHostname>)] = &[
            ("a", Ok("a")),
            ("A.Example.COM", Ok("a.example.com")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("1.2.3.4", Ok("1.2.3.4")),
            (&long_label, Ok(&long_label)),
            (&longest, Ok(&longest)),
            ("", Err(NotAHostname::Empty)),
            (".", Err(NotAHostname::Label)),
            ("a.", Err(NotAHostname::Label)),
            (".a", Err(NotAHostname::Label)),
            ("a..b", Err(NotAHostname::Label)),
            ("-a", Err(NotAHostname::Label)),
            ("a-", Err(NotAHostname::Label)),
            ("a_b", Err(NotAHostname::Label)),
            ("a:80", Err(NotAHostname::Label)),
            ("bücher.example", Err(NotAHostname::Label)),
            ("*.a", Err(NotAHostname::Wildcard)),
        ];
        for (text, expected) in cases {
            let got = Hostname::try_from(*text);
            assert_eq!(got.as_ref().map(Hostname::as_str).map_err(|e| *e), *expected, "{text}");
        }
        assert_eq!(Hostname::try_from(&*"a".repeat(64)), Err(NotAHostname::Label));
        assert_eq!(Hostname::try_from(&*format!("{longest}a")), Err(NotAHostname::TooLong));
    }

    #[test]
    fn patterns_are_taken_or_refused() {
        for (text, expected) in [
            ("a.b", Ok("a.b")),
            ("*.B", Ok("*.b")),
            ("*", Err(NotAHostname::Wildcard)),
            ("*.", Err(NotAHostname::Empty)),
            ("*.*.a", Err(NotAHostname::Wildcard)),
            ("a.*.b", Err(NotAHostname::Wildcard)),
            ("a*.b", Err(NotAHostname::Wildcard)),
        ] {
            let got = HostPattern::try_from(text).map(|pattern| pattern.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_lies_within_it() {
        let pattern = |text: &str| match text {
            "" => HostPattern::Any,
            text => HostPattern::try_from(text).unwrap(),
        };
        for (outer, inner, expected) in [
            ("", "", true),
            ("", "a.b", true),
            ("", "*.b", true),
            ("a.b", "", false),
            ("*.b", "", false),
            ("a.b", "a.b", true),
            ("a.b", "c.b", false),
            ("a.b", "*.a.b", false),
            ("*.b", "a.b", true),
            ("*.b", "c.a.b", true),
            ("*.b", "b", false),
            ("*.b", "ab", false),
            ("*.b", "*.b", true),
            ("*.b", "*.a.b", true),
            ("*.a.b", "*.b", false),
        ] {
            assert_eq!(pattern(outer).covers(&pattern(inner)), expected, "{outer} covers {inner}");
        }
    }
}
