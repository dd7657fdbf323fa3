//! Why a request or a tunnel did not go through: whose fault it is, and what each HTTP version is told.
//!
//! Owns the one mapping from cause to status code and text. Knows no sockets and no metrics.

use std::fmt;

use http::StatusCode;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The client's request cannot be served as it is.
    Downstream,
    /// The backend did not do its part.
    Upstream,
    /// The table or this process.
    Internal,
}

/// Why there is no answer from a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request breaks a rule that is named.
    BadRequest(&'static str),
    /// `:protocol` names something that is not served here (RFC 9220 section 3).
    UnknownProtocol,
    /// A CONNECT that is no extended CONNECT: this is no forward proxy (RFC 9110 section 9.3.6).
    PlainConnect,
    /// No listener or no rule for this request.
    NoRoute,
    /// There is a rule for this host and path, and none that opens WebTransport sessions.
    NoSessions,
    /// The host belongs to another listener than the one whose certificate was shown (RFC 9110 section 15.5.20).
    Misdirected,
    /// `Origin` is not among those that the route allows.
    OriginRefused,
    /// The request is not safe and came in early data on an earlier hop, so that it may be a replay (RFC 8470 section 5.2).
    TooEarly,
    /// A WebSocket handshake whose version this server does not speak (RFC 6455 section 4.4).
    WebSocketVersion,
    /// The rule has no backend of any weight, or the one that was drawn could not be resolved.
    BackendUnresolved,
    /// No endpoint of the backend is ready.
    NoEndpoints,
    /// No endpoint could be reached.
    Unreachable,
    /// The backend's certificate is not one of those that it has to have: another issuer, another name, out of date.
    BackendCertificate,
    /// TLS with the backend failed otherwise, or could not be set up.
    BackendTls,
    /// The backend broke HTTP, or closed before its answer was whole.
    BackendProtocol,
    /// The backend answered a WebSocket handshake with something that is neither a valid 101 nor a refusal.
    BadAccept(&'static str),
    /// The backend chose a subprotocol that the client did not offer (RFC 6455 section 4.1, draft-ietf-webtrans-http3
    /// section 3.3).
    Subprotocol,
    /// The route's or the data plane's time limit passed first.
    TimedOut,
}

impl Failure {
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Failure::BadRequest(_)
            | Failure::UnknownProtocol
            | Failure::PlainConnect
            | Failure::NoRoute
            | Failure::NoSessions
            | Failure::Misdirected
            | Failure::OriginRefused
            | Failure::TooEarly
            | Failure::WebSocketVersion => Origin::Downstream,
            Failure::BackendUnresolved => Origin::Internal,
            Failure::NoEndpoints
            | Failure::Unreachable
            | Failure::BackendCertificate
            | Failure::BackendTls
            | Failure::BackendProtocol
            | Failure::BadAccept(_)
            | Failure::Subprotocol
            | Failure::TimedOut => Origin::Upstream,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Failure::BadRequest(_) => StatusCode::BAD_REQUEST,
            Failure::UnknownProtocol => StatusCode::NOT_IMPLEMENTED,
            Failure::PlainConnect => StatusCode::METHOD_NOT_ALLOWED,
            Failure::NoRoute => StatusCode::NOT_FOUND,
            Failure::NoSessions => StatusCode::METHOD_NOT_ALLOWED,
            Failure::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Failure::OriginRefused => StatusCode::FORBIDDEN,
            Failure::TooEarly => StatusCode::TOO_EARLY,
            Failure::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Failure::BackendUnresolved => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::NoEndpoints => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Unreachable
            | Failure::BackendCertificate
            | Failure::BackendTls
            | Failure::BackendProtocol
            | Failure::BadAccept(_)
            | Failure::Subprotocol => StatusCode::BAD_GATEWAY,
            Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The cause in one word, for logs.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Failure::BadRequest(_) => "bad_request",
            Failure::UnknownProtocol => "unknown_protocol",
            Failure::PlainConnect => "plain_connect",
            Failure::NoRoute => "no_route",
            Failure::NoSessions => "no_sessions",
            Failure::Misdirected => "misdirected",
            Failure::OriginRefused => "origin",
            Failure::TooEarly => "too_early",
            Failure::WebSocketVersion => "websocket_version",
            Failure::BackendUnresolved => "backend_unresolved",
            Failure::NoEndpoints => "no_endpoints",
            Failure::Unreachable => "backend_unreachable",
            Failure::BackendCertificate => "backend_certificate",
            Failure::BackendTls => "backend_tls",
            Failure::BackendProtocol => "backend_protocol",
            Failure::BadAccept(_) => "bad_accept",
            Failure::Subprotocol => "subprotocol",
            Failure::TimedOut => "timeout",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::BadRequest(why) => write!(f, "bad request: {why}"),
            Failure::UnknownProtocol => f.write_str("this :protocol is not served here"),
            Failure::PlainConnect => f.write_str("CONNECT needs a :protocol: this is no forward proxy"),
            Failure::NoRoute => f.write_str("no route matches this host, path and method"),
            Failure::NoSessions => f.write_str("no WebTransport sessions are opened here"),
            Failure::Misdirected => {
                f.write_str("this host is served under another TLS server name: open a connection for it")
            }
            Failure::OriginRefused => f.write_str("this Origin may open nothing here"),
            Failure::TooEarly => {
                f.write_str("the request came too early to be safe: send it again after the handshake")
            }
            Failure::WebSocketVersion => f.write_str("Sec-WebSocket-Version must be 13"),
            Failure::BackendUnresolved => f.write_str("the route's backend reference cannot be resolved"),
            Failure::NoEndpoints => f.write_str("the backend has no ready endpoint"),
            Failure::Unreachable => f.write_str("no endpoint of the backend could be reached"),
            Failure::BackendCertificate => f.write_str("the backend did not prove by its certificate who it is"),
            Failure::BackendTls => f.write_str("the backend could not be spoken to over TLS"),
            Failure::BackendProtocol => f.write_str("the backend broke off or did not speak HTTP"),
            Failure::BadAccept(why) => write!(f, "the backend did not accept the WebSocket properly: {why}"),
            Failure::Subprotocol => f.write_str("the backend chose a subprotocol that was not offered"),
            Failure::TimedOut => f.write_str("the backend did not answer in time"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_fault_is_a_4xx_or_501_and_ours_never_is() {
        let all = [
            Failure::BadRequest("x"),
            Failure::UnknownProtocol,
            Failure::PlainConnect,
            Failure::NoRoute,
            Failure::NoSessions,
            Failure::Misdirected,
            Failure::OriginRefused,
            Failure::TooEarly,
            Failure::WebSocketVersion,
            Failure::BackendUnresolved,
            Failure::NoEndpoints,
            Failure::Unreachable,
            Failure::BackendCertificate,
            Failure::BackendTls,
            Failure::BackendProtocol,
            Failure::BadAccept("x"),
            Failure::Subprotocol,
            Failure::TimedOut,
        ];
        for failure in all {
            let downstream = failure.status().is_client_error() || failure.status() == StatusCode::NOT_IMPLEMENTED;
            assert_eq!(downstream, failure.origin() == Origin::Downstream, "{failure}");
        }
    }
}
