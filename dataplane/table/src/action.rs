//! What a matched rule does, in checked form: header changes, forwarding, redirects.
//!
//! Values here cannot be wrong: names and values are legal header octets, a status is in its range, a backend exists.
//! Nothing here looks at a request; the data plane applies these.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::origin::Origins;
use crate::wire::SessionLimits;

/// Header changes, applied in the order set, add, remove.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    /// Replace every value of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Append a value.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Remove every value of the name.
    pub remove: Vec<HeaderName>,
}

impl HeaderChanges {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// What a rule does with a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send it to a backend.
    Forward(Forward),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer with a bare status code.
    Respond(StatusCode),
    /// Open a WebTransport session. The rule's matches take sessions only, which meet no [`Action::Forward`].
    WebTransport(WebTransport),
}

/// Where a request is sent, and what is allowed to take how long. Zero milliseconds mean no limit unless said otherwise.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Chosen from by weight. Without any weight answers 500.
    pub backends: WeightedBackends,
    /// Replaces `Host` towards the backend.
    pub rewrite_host: Option<HeaderValue>,
    /// Replaces the path towards the backend.
    pub rewrite_path: Option<PathRewrite>,
    /// From the request's first octet to the response's last.
    pub request_timeout_ms: u64,
    /// For one attempt at a backend.
    pub backend_timeout_ms: u64,
    /// What holds for WebSocket tunnels of this rule.
    pub websocket: WebSocketRules,
}

/// Backends of a rule, each with its share.
#[derive(Clone, Debug, Default)]
pub struct WeightedBackends {
    backends: Vec<WeightedBackend>,
    total_weight: u64,
}

impl WeightedBackends {
    /// The backend that owns the given point of the weight line.
    ///
    /// `draw` may be any number: it is taken modulo the sum of all weights. `None` when that is zero.
    pub fn choose(&self, draw: u64) -> Option<&WeightedBackend> {
        let mut point = draw.checked_rem(self.total_weight)?;
        self.backends.iter().find(|backend| {
            let weight = u64::from(backend.weight);
            let here = point < weight;
            point = point.saturating_sub(weight);
            here
        })
    }

    /// Whether there is none at all, which is not the same as none that can be chosen.
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }
}

impl From<Vec<WeightedBackend>> for WeightedBackends {
    fn from(backends: Vec<WeightedBackend>) -> Self {
        let total_weight = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        WeightedBackends { backends, total_weight }
    }
}

/// One of a rule's backends.
#[derive(Clone, Debug)]
pub struct WeightedBackend {
    /// Absent where the reference could not be resolved: its share of requests gets 500.
    pub backend: Option<BackendId>,
    /// Its share of the sum of all weights.
    pub weight: u32,
    /// Changes to the request's headers for this backend only.
    pub request_headers: HeaderChanges,
    /// Changes to the response's headers for this backend only.
    pub response_headers: HeaderChanges,
}

/// The key of a backend, the same in every version of the table: `namespace/service:port`, and what is
/// sent there where that is not requests.
pub type BackendId = Arc<str>;

/// What holds for the WebSocket tunnels of a rule.
#[derive(Clone, Debug, Default)]
pub struct WebSocketRules {
    /// Origins that may open a tunnel; empty means any, and none at all.
    pub origins: Origins,
    /// From the client's handshake to the backend's answer; 0 means the data plane's default.
    pub handshake_timeout_ms: u64,
    /// Without a byte in either direction the tunnel ends after this; 0 means never.
    pub idle_timeout_ms: u64,
    /// The tunnel ends after this whatever happens; 0 means never.
    pub lifetime_ms: u64,
}

/// Where a WebTransport session goes, and what it may take. Zero milliseconds mean no limit unless said otherwise.
#[derive(Clone, Debug)]
pub struct WebTransport {
    /// Origins that may open a session; empty means any, and none at all.
    pub origins: Origins,
    /// Where it goes.
    pub destination: Destination,
    /// Replaces `:authority` towards the backend of a [`Destination::Session`].
    pub rewrite_host: Option<HeaderValue>,
    /// Replaces the path towards the backend of a [`Destination::Session`].
    pub rewrite_path: Option<PathRewrite>,
    /// From the client's CONNECT to the answer; 0 means the data plane's default.
    pub open_timeout_ms: u64,
    /// Without an octet in either direction, on any stream or in a datagram, the session ends after this.
    pub idle_timeout_ms: u64,
    /// The session ends after this whatever happens.
    pub lifetime_ms: u64,
    /// What one session may take.
    pub limits: SessionLimits,
}

/// Where a WebTransport session goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To a session with one of these, each of which speaks [`BackendProtocol::Http3`](crate::BackendProtocol) over TLS.
    /// Without any weight answers 500.
    Session(WeightedBackends),
    /// Here: what the session carries goes to backends that know nothing of it.
    Streams {
        /// Each stream becomes a TCP connection to one of these. Empty: streams are refused.
        tcp: WeightedBackends,
        /// The datagrams become a UDP flow with one of these. Empty: datagrams are dropped.
        udp: WeightedBackends,
    },
}

/// How a path is rewritten. The query stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path.
    Full(String),
    /// The part that the matched prefix covers, whose length in octets is
    /// [`Found::prefix_len`](crate::Found::prefix_len).
    Prefix(String),
}

impl PathRewrite {
    /// The new path for `path`, of which the first `prefix_len` octets were matched.
    ///
    /// Always starts with `/`, and never doubles one at the seam (Gateway API, HTTPPathModifier).
    pub fn apply(&self, path: &str, prefix_len: usize) -> String {
        match self {
            PathRewrite::Full(full) => full.clone(),
            PathRewrite::Prefix(new) => {
                let rest = path.get(prefix_len..).unwrap_or("").trim_start_matches('/');
                let head = new.trim_end_matches('/');
                match (head.is_empty(), rest.is_empty()) {
                    (true, true) => "/".to_owned(),
                    (false, true) if path.ends_with('/') && path.len() > prefix_len => format!("{head}/"),
                    (false, true) => head.to_owned(),
                    _ => format!("{head}/{rest}"),
                }
            }
        }
    }
}

/// A redirect; what is absent stays as in the request.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<http::uri::Scheme>,
    /// The host name.
    pub host: Option<String>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// The port. Absent: the scheme's own where `scheme` is given, else the listener's public port.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of Gateway API, `HTTPPathModifier.replacePrefixMatch`, and then some. The prefix comes without its
    /// trailing slash, as a lookup gives it.
    #[test]
    fn a_prefix_is_replaced() {
        for (path, prefix, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo//bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo//evil.example", "/foo", "/", "/evil.example"),
            ("/foo/bar/", "/foo", "/xyz", "/xyz/bar/"),
            ("/", "", "/xyz", "/xyz/"),
            ("/a", "", "/xyz", "/xyz/a"),
            ("/a", "", "/", "/a"),
        ] {
            let rewrite = PathRewrite::Prefix(new.to_owned());
            assert_eq!(rewrite.apply(path, prefix.len()), expected, "{path}: {prefix} by {new}");
        }
    }

    #[test]
    fn a_whole_path_is_replaced() {
        assert_eq!(PathRewrite::Full("/x".to_owned()).apply("/a/b", 2), "/x");
    }

    fn weighted(weights: &[u32]) -> WeightedBackends {
        let backends = weights.iter().enumerate().map(|(at, weight)| WeightedBackend {
            backend: Some(at.to_string().into()),
            weight: *weight,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        });
        backends.collect::<Vec<_>>().into()
    }

    #[test]
    fn every_backend_gets_its_share() {
        for weights in [&[1][..], &[3, 1], &[0, 2, 0, 5], &[1, 1, 1], &[7, 0]] {
            let backends = weighted(weights);
            let mut drawn = vec![0; weights.len()];
            for draw in 0..backends.total_weight * 3 {
                let chosen = backends.choose(draw).and_then(|chosen| chosen.backend.as_ref()).unwrap();
                drawn[chosen.parse::<usize>().unwrap()] += 1;
            }
            assert_eq!(drawn, weights.iter().map(|weight| weight * 3).collect::<Vec<_>>(), "{weights:?}");
            assert!(backends.choose(u64::MAX).is_some());
        }
    }

    #[test]
    fn without_any_weight_nothing_is_chosen() {
        assert!(weighted(&[]).choose(1).is_none());
        assert!(weighted(&[0, 0]).choose(1).is_none());
    }
}
