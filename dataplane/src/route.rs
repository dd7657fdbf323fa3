//! Which rule a request meets: the host it names, the listener it may use, the table's answer.
//!
//! The one place where host, server name and table meet, for every HTTP version and for tunnels alike. Pure over a
//! snapshot; sends nothing.

use std::sync::Arc;

use headrace_table::{Found, HostPattern, Listener, Opening, Port, Request as Lookup, Route, Rule};
use http::{HeaderMap, Method, Request, Uri, header};

use crate::downstream::Downstream;
use crate::failure::Failure;
use crate::snapshot::Snapshot;

/// What a request asks for, read from its head alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As the client wrote it, with its port: what the backend is told.
    pub(crate) authority: String,
    /// Where the port starts in `authority`.
    host_len: usize,
}

impl Target {
    /// The authority of a request: `:authority` or an absolute-form target before `Host` (RFC 9112 section 3.2.2,
    /// RFC 9113 section 8.3.1).
    ///
    /// # Errors
    /// No or several `Host` fields where they decide, or octets that no authority can have.
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Failure> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        if more.is_some() {
            return Err(Failure::BadRequest("more than one Host"));
        }
        let authority = match (request.uri().authority(), host) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| Failure::BadRequest("Host is not ASCII"))?,
            // HTTP/1.0 has no Host; only listeners for every host can serve it.
            (None, None) if request.version() == http::Version::HTTP_10 => "",
            (None, None) => return Err(Failure::BadRequest("Host is missing")),
        };
        Self::parse(authority)
    }

    fn parse(authority: &str) -> Result<Self, Failure> {
        const BAD: Failure = Failure::BadRequest("Host is not a host with an optional port");
        let host_len = match authority.strip_prefix('[') {
            Some(rest) => rest.find(']').ok_or(BAD)? + 2,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(host_len);
        let port_is_good = match port.strip_prefix(':') {
            Some(digits) => digits.is_empty() || digits.parse::<u16>().is_ok(),
            None => port.is_empty(),
        };
        let legal = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~[]:%!$&'()*+,;=".contains(&octet);
        if !port_is_good || !host.bytes().all(legal) {
            return Err(BAD);
        }
        Ok(Self { authority: authority.to_owned(), host_len })
    }

    /// Without the port, as the client wrote it.
    pub(crate) fn host(&self) -> &str {
        &self.authority[..self.host_len]
    }
}

/// A matched rule, kept beyond the snapshot that it came from.
#[derive(Clone)]
pub(crate) struct Matched {
    pub(crate) route: Arc<Route>,
    pub(crate) rule: Arc<Rule>,
    /// Octets of the path that a prefix match covered.
    pub(crate) prefix_len: usize,
    /// The port that clients see.
    pub(crate) public_port: u16,
}

/// Finds the rule for a request.
///
/// # Errors
/// [`Failure::Misdirected`] when TLS was set up for another listener than the host's, [`Failure::NoRoute`] when no
/// listener or rule matches.
pub(crate) fn find(
    snapshot: &Snapshot,
    downstream: &Downstream,
    target: &Target,
    request: (&Method, &Uri, &HeaderMap),
    opening: Opening<'_>,
) -> Result<Matched, Failure> {
    let (method, uri, headers) = request;
    let port = snapshot.table.port(downstream.port).ok_or(Failure::NoRoute)?;
    let listener = port.listener_for(Some(target.host())).ok_or(Failure::NoRoute)?;
    if downstream.tls && is_misdirected(port, listener, downstream.server_name.as_deref()) {
        return Err(Failure::Misdirected);
    }
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let lookup = Lookup { method, host: target.host(), path, query: uri.query(), headers, opening };
    let Found { route, rule, prefix_len, .. } = listener.lookup(&lookup).ok_or(Failure::NoRoute)?;
    Ok(Matched { route: Arc::clone(route), rule: Arc::clone(rule), prefix_len, public_port: listener.public_port })
}

/// Whether the certificate was chosen for another listener than the one the host belongs to: what that listener asks of
/// its clients was never asked (Gateway API, GatewayHTTPSListenerDetectMisdirectedRequests).
fn is_misdirected(port: &Port, listener: &Listener, server_name: Option<&str>) -> bool {
    match (port.listener_for(server_name), &listener.hostname) {
        (Some(shown), _) => shown.id != listener.id,
        // Without a server name, and without a listener for every host, the handshake found no certificate.
        (None, HostPattern::Any) => false,
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let good = [
            ("a.example.com", "a.example.com"),
            ("a.example.com:8443", "a.example.com"),
            ("A.Example.com:", "A.Example.com"),
            ("[::1]:8443", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
        ];
        for (authority, host) in good {
            assert_eq!(Target::parse(authority).map(|t| t.host().to_owned()), Ok(host.to_owned()), "{authority}");
        }
        for bad in ["a b", "a:99999", "a:8x", "[::1", "user@host", "a/b", "[::1]x"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_authority_comes_before_host_and_host_comes_once() {
        let request = |uri: &str, hosts: &[&str]| {
            let mut builder = Request::builder().uri(uri);
            for host in hosts {
                builder = builder.header("host", *host);
            }
            Target::of(&builder.body(()).unwrap()).map(|target| target.authority)
        };
        assert_eq!(request("http://a.example.com/x", &["b.example.com"]).unwrap(), "a.example.com");
        assert_eq!(request("/x", &["b.example.com:81"]).unwrap(), "b.example.com:81");
        assert_eq!(request("/x", &[]), Err(Failure::BadRequest("Host is missing")));
        assert_eq!(request("/x", &["a", "b"]), Err(Failure::BadRequest("more than one Host")));
    }
}
