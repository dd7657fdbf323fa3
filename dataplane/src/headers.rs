//! Which headers cross the proxy, and which it adds: hop-by-hop fields, `X-Forwarded-*`, `Forwarded`, route changes.
//!
//! Pure functions over a header map. Knows no route lookup and no sockets.

use std::fmt::Write as _;
use std::net::IpAddr;

use headrace_table::HeaderChanges;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields that belong to one hop (RFC 9110 section 7.6.1), whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Removes what concerns the hop it came by, the fields that `Connection` names included.
///
/// Fields that name the message's framing or target (`host`, `content-length`) are never removed on `Connection`'s word:
/// a client could otherwise take them from behind a rule that already looked at them.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether a client takes trailers (RFC 9110 section 10.1.4). To be read before [`strip_hop_by_hop`].
pub(crate) fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| has_token(value, "trailers"))
}

/// Whether a comma-separated list holds a token, without regard to case.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

/// What the data plane knows about the client's side of a request.
pub(crate) struct Seen<'a> {
    pub(crate) client: IpAddr,
    pub(crate) https: bool,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

/// Tells the backend who asked for what.
///
/// Values that the client sent are replaced: no policy says yet which downstream addresses may speak for others
/// (RFC 7239 section 8.1).
pub(crate) fn set_forwarded(headers: &mut HeaderMap, seen: &Seen<'_>) {
    let proto = if seen.https { "https" } else { "http" };
    let mut text = seen.client.to_string();
    insert(headers, X_FORWARDED_FOR, &text);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    insert(headers, X_FORWARDED_HOST, seen.host);
    headers.insert(X_FORWARDED_PORT, HeaderValue::from(seen.port));
    text.clear();
    // RFC 7239 sections 4 and 6: an IPv6 address is bracketed and quoted.
    let written = match seen.client {
        IpAddr::V4(address) => write!(text, "for={address};host=\"{}\";proto={proto}", seen.host),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\";host=\"{}\";proto={proto}", seen.host),
    };
    debug_assert!(written.is_ok(), "writing to a String does not fail");
    insert(headers, header::FORWARDED, &text);
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

/// Applies a route's changes in their order: set, add, remove.
pub(crate) fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    for (name, value) in &changes.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &changes.add {
        headers.append(name, value.clone());
    }
    for name in &changes.remove {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn connection_takes_what_it_names_but_not_framing_or_target() {
        let mut headers = map(&[
            ("connection", "x-private, host"),
            ("connection", "Content-Length, close"),
            ("x-private", "1"),
            ("host", "a.example.com"),
            ("content-length", "3"),
            ("te", "trailers, deflate"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        assert!(accepts_trailers(&headers));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("host", "a.example.com"), ("content-length", "3"), ("accept", "*/*")]));
    }

    #[test]
    fn forwarded_fields_say_what_was_seen_and_replace_what_was_claimed() {
        let cases = [
            ("192.0.2.7", "for=192.0.2.7;host=\"a.example.com:8443\";proto=https"),
            ("2001:db8::1", "for=\"[2001:db8::1]\";host=\"a.example.com:8443\";proto=https"),
        ];
        for (client, forwarded) in cases {
            let mut headers = map(&[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")]);
            let seen = Seen { client: client.parse().unwrap(), https: true, host: "a.example.com:8443", port: 8443 };
            set_forwarded(&mut headers, &seen);
            let expected = map(&[
                ("x-forwarded-for", client),
                ("forwarded", forwarded),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "a.example.com:8443"),
                ("x-forwarded-port", "8443"),
            ]);
            assert_eq!(headers, expected);
        }
    }
}
