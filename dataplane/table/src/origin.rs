//! Origins that a tunnel may be opened from: their syntax and what a pattern covers.
//!
//! Knows RFC 6454 and nothing of rules.

use std::net::Ipv6Addr;

use crate::hostname::{Hostname, NotAHostname};

/// An allowed `Origin`: scheme, host (perhaps with wildcard labels to the left) and port, as RFC 6454 serialises them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// Scheme with `://`, in lower case. Empty for `null`.
    scheme: String,
    host: OriginHost,
    /// `:port`, or empty for the scheme's own.
    port: String,
}

/// The host of an origin, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginHost {
    /// This text.
    Exact(String),
    /// One or more labels and this suffix, which starts with a dot.
    Below(String),
}

/// A text that is not an origin pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// No `://`, or something other than a scheme (RFC 3986 section 3.1) before it.
    #[error("it does not start with a scheme and ://")]
    Scheme,
    /// What follows is not a host name, an IPv6 address in brackets, or `*.` and a host name. A path counts as that.
    #[error("what follows the scheme is not a host: {0}")]
    Host(NotAHostname),
    /// What follows the colon is not a port from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl OriginPattern {
    /// Whether the header's value is covered. Scheme and host are compared without regard to case.
    pub fn matches(&self, origin: &str) -> bool {
        let Some(rest) = strip_prefix_ignore_case(origin, &self.scheme) else { return false };
        let Some(host) = rest.strip_suffix(self.port.as_str()) else { return false };
        match &self.host {
            OriginHost::Exact(name) => host.eq_ignore_ascii_case(name),
            OriginHost::Below(suffix) => {
                let labels = host.len().checked_sub(suffix.len()).and_then(|at| host.split_at_checked(at));
                labels.is_some_and(|(labels, end)| end.eq_ignore_ascii_case(suffix) && are_labels(labels))
            }
        }
    }
}

/// Who may open a tunnel or a session, by the page that asks: the one place where `Origin` is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<OriginPattern>);

impl Origins {
    /// Whether what comes with this `Origin` header (absent: `None`) may open. Without patterns everybody may.
    pub fn allow(&self, origin: Option<&str>) -> bool {
        self.0.is_empty() || origin.is_some_and(|origin| self.0.iter().any(|pattern| pattern.matches(origin)))
    }
}

impl FromIterator<OriginPattern> for Origins {
    fn from_iter<I: IntoIterator<Item = OriginPattern>>(patterns: I) -> Self {
        Origins(patterns.into_iter().collect())
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Whether this may stand in place of a wildcard: nothing that ends a host (`/`, `:`, `@`) is in it.
fn are_labels(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.'))
}

impl TryFrom<&str> for OriginPattern {
    type Error = NotAnOrigin;

    /// `scheme://host`, `scheme://host:port`, either with `*.` before the host, or `null` (RFC 6454 section 6.1).
    ///
    /// A port that is the scheme's own is dropped, as a browser never sends it. `*` is refused: no patterns at all is the
    /// way to say any.
    fn try_from(text: &str) -> Result<Self, NotAnOrigin> {
        if text == "null" {
            let host = OriginHost::Exact("null".to_owned());
            return Ok(OriginPattern { scheme: String::new(), host, port: String::new() });
        }
        let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin::Scheme)?;
        if !is_scheme(scheme) {
            return Err(NotAnOrigin::Scheme);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(rest)?;
        let port = port.filter(|port| own_port(&scheme) != Some(*port));
        Ok(OriginPattern {
            scheme: scheme + "://",
            host: OriginHost::try_from(host).map_err(NotAnOrigin::Host)?,
            port: port.map(|port| format!(":{port}")).unwrap_or_default(),
        })
    }
}

impl TryFrom<&str> for OriginHost {
    type Error = NotAHostname;

    fn try_from(text: &str) -> Result<Self, NotAHostname> {
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Some(address) = address.and_then(|text| text.parse::<Ipv6Addr>().ok()) {
            return Ok(OriginHost::Exact(format!("[{address}]")));
        }
        Ok(match text.strip_prefix("*.") {
            Some(suffix) => OriginHost::Below(format!(".{}", Hostname::try_from(suffix)?)),
            None => OriginHost::Exact(Hostname::try_from(text)?.as_str().to_owned()),
        })
    }
}

/// The colons of an address in brackets are not before a port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), NotAnOrigin> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
            let port = port.parse().ok().filter(|port| digits && *port != 0);
            Ok((host, Some(port.ok_or(NotAnOrigin::Port)?)))
        }
        _ => Ok((text, None)),
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
}

/// The port that RFC 6454 section 6.1 leaves out for a scheme.
fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_covered_or_not() {
        for (pattern, origin, expected) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "HTTPS://A.EXAMPLE", true),
            ("https://A.example", "https://a.example", true),
            ("https://a.example:443", "https://a.example", true),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://b.a.example", false),
            ("https://a.example", "https://a.example.evil", false),
            ("https://a.example", "", false),
            ("https://a.example", "null", false),
            ("https://a.example", "http", false),
            ("https://a.example", "https://a.exampl\u{e9}", false),
            ("http://a.example:8080", "http://a.example:8080", true),
            ("http://a.example:8080", "http://a.example", false),
            ("http://a.example:8080", "http://a.example:18080", false),
            ("https://*.example", "https://a.example", true),
            ("https://*.example", "https://b.a.example", true),
            ("https://*.example", "https://b.A.EXAMPLE", true),
            ("https://*.example", "https://example", false),
            ("https://*.example", "https://.example", false),
            ("https://*.example", "https://aexample", false),
            ("https://*.example", "https://evil/.example", false),
            ("https://*.example", "https://evil:1.example", false),
            ("https://*.example", "https://evil@a.example", false),
            ("https://*.example", "https://evil?.example", false),
            ("https://*.example", "https://\u{e9}.example", false),
            ("https://*.example", "https://a.example:8443", false),
            ("https://*.example:8443", "https://a.example:8443", true),
            ("https://*.example:8443", "https://a.example", false),
            ("https://[::1]:8443", "https://[::1]:8443", true),
            ("https://[0:0::1]", "https://[::1]", true),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("null", "null", true),
            ("null", "https://null", false),
        ] {
            let parsed = OriginPattern::try_from(pattern).unwrap();
            assert_eq!(parsed.matches(origin), expected, "{pattern} on {origin}");
        }
    }

    #[test]
    fn without_patterns_every_origin_is_allowed() {
        let open = Origins::default();
        assert!(open.allow(None));
        assert!(open.allow(Some("https://a.example")));
        let patterns = ["https://a.example", "https://*.b.example"];
        let closed: Origins = patterns.iter().map(|text| OriginPattern::try_from(*text).unwrap()).collect();
        assert!(!closed.allow(None));
        assert!(!closed.allow(Some("null")));
        assert!(closed.allow(Some("https://a.example")));
        assert!(closed.allow(Some("https://x.b.example")));
        assert!(!closed.allow(Some("https://b.example")));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        use NotAnOrigin::{Host, Port, Scheme};
        for (text, expected) in [
            ("", Scheme),
            ("*", Scheme),
            ("NULL", Scheme),
            ("a.example", Scheme),
            ("://a", Scheme),
            ("1a://a", Scheme),
            ("*://a", Scheme),
            ("https://", Host(NotAHostname::Empty)),
            ("https://*", Host(NotAHostname::Wildcard)),
            ("https://a.*", Host(NotAHostname::Wildcard)),
            ("https://*.", Host(NotAHostname::Empty)),
            ("https://a/", Host(NotAHostname::Label)),
            ("https://u@a", Host(NotAHostname::Label)),
            ("https://[::g]", Host(NotAHostname::Label)),
            ("https://a:", Port),
            ("https://a:0", Port),
            ("https://a:+1", Port),
            ("https://a:65536", Port),
            ("https://a:*", Port),
        ] {
            assert_eq!(OriginPattern::try_from(text), Err(expected), "{text}");
        }
    }
}
