//! What a line of the access log says, and how it is written as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::metrics::Version;

/// Octets of a text that a client chose which are written: header sections may be far longer, and one line must not fill
/// the log.
pub(super) const MAX_TEXT: usize = 2048;

/// Stands at the end of a text that was cut.
pub(super) const CUT: &str = "…";

/// One request, or one tunnel once it has ended. Absent values are left out of the line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry<'a> {
    /// The client's address.
    pub(crate) client: SocketAddr,
    /// The HTTP version that the client speaks.
    #[serde(serialize_with = "version")]
    pub(crate) version: Version,
    /// The request's method.
    #[serde(serialize_with = "method")]
    pub(crate) method: &'a Method,
    /// The authority without its port.
    #[serde(serialize_with = "bounded")]
    pub(crate) host: &'a str,
    /// The path without its query, which may hold secrets.
    #[serde(serialize_with = "bounded")]
    pub(crate) path: &'a str,
    /// The status sent to the client; 0, which is left out, if the client was gone before.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) status: u16,
    /// The route's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<&'a str>,
    /// The rule's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'a str>,
    /// The endpoint that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backend: Option<SocketAddr>,
    /// Octets of the body, or of the tunnel, from the client.
    pub(crate) bytes_received: u64,
    /// Octets of the body, or of the tunnel, to the client.
    pub(crate) bytes_sent: u64,
    /// From the request's arrival to the end.
    #[serde(rename = "duration_ms", serialize_with = "as_milliseconds")]
    pub(crate) duration: Duration,
    /// Whether a tunnel or a session was opened.
    pub(crate) tunnel: bool,
    /// What was opened, or would have been: `websocket` or `webtransport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<&'a str>,
    /// Why it ended, where it did not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<&'a str>,
    /// The request's `User-Agent`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bounded_option")]
    pub(crate) user_agent: Option<&'a str>,
}

/// An entry as it is written: with the time at which the request arrived.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    #[serde(serialize_with = "milliseconds")]
    pub(super) ts: Timestamp,
    #[serde(flatten)]
    pub(super) entry: &'a Entry<'a>,
}

impl<'a> Line<'a> {
    /// The line of what has ended just now.
    pub(super) fn of(entry: &'a Entry<'a>) -> Self {
        let now = Timestamp::now();
        // Fails only where the clock is near either end of its range.
        Self { ts: now.checked_sub(entry.duration).unwrap_or(now), entry }
    }
}

/// RFC 3339 in UTC with exactly three digits of the second, so that lines sort as text.
fn milliseconds<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.3}"))
}

fn as_milliseconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_micros() as f64 / 1e3)
}

fn version<S: Serializer>(version: &Version, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(version.label())
}

fn method<S: Serializer>(method: &&Method, to: S) -> Result<S::Ok, S::Error> {
    bounded(&method.as_str(), to)
}

fn is_zero(status: &u16) -> bool {
    *status == 0
}

fn bounded<S: Serializer>(text: &&str, to: S) -> Result<S::Ok, S::Error> {
    if text.len() <= MAX_TEXT {
        return to.serialize_str(text);
    }
    let head = &text[..text.floor_char_boundary(MAX_TEXT)];
    to.collect_str(&format_args!("{head}{CUT}"))
}

fn bounded_option<S: Serializer>(text: &Option<&str>, to: S) -> Result<S::Ok, S::Error> {
    bounded(&text.unwrap_or_default(), to)
}
