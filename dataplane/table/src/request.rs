//! What a lookup is given and what it gives back.
//!
//! Owns no octet of a request: everything is borrowed for the length of one lookup.

use std::sync::Arc;

use crate::table::{Route, Rule};

/// The parts of a request that a route may look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method. For a WebSocket handshake by extended CONNECT (RFC 8441, RFC 9220) pass `GET`, which the handshake is
    /// on HTTP/1.1, so that one rule holds on every version. A WebTransport session's is `CONNECT`.
    pub method: &'a http::Method,
    /// The host without its port, in any case; empty when the request names none.
    pub host: &'a str,
    /// The path without its query, as it came. Nothing is found for what does not start with `/`.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a http::HeaderMap,
    /// What the request is to open.
    pub opening: Opening<'a>,
}

/// What a request is to open, beside an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Nothing: a plain request.
    #[default]
    Request,
    /// A WebSocket, by a handshake on whatever version.
    WebSocket,
    /// A WebTransport session.
    WebTransport {
        /// The subprotocols that the client offers (`WT-Available-Protocols`), taken out of their structured field.
        subprotocols: &'a [String],
    },
}

/// The rule that won.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// The route that the rule belongs to.
    pub route: &'t Arc<Route>,
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// Octets of the path that a prefix match covered, without a trailing slash; 0 for another kind of match.
    pub prefix_len: usize,
}
