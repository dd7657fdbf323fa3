//! What a WebTransport session may take: time, streams, datagrams.
//!
//! Owns the fields, their bounds and their words. It must not know how a data plane holds a client to them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::route::DURATION_PATTERN;

/// How long opening and a session may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebTransportTimeouts {
    /// From the client's CONNECT to the answer; `0s` or absent means the data plane's default, 15 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = DURATION_PATTERN))]
    pub open: Option<String>,
    /// A session without a byte on any stream and without a datagram, in either direction, ends after this; `0s` or absent
    /// means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = DURATION_PATTERN))]
    pub idle: Option<String>,
    /// A session ends after this whatever happens; `0s` or absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = DURATION_PATTERN))]
    pub lifetime: Option<String>,
}

/// What one session may take. How many sessions a connection may have is an EdgePolicy's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebTransportLimits {
    /// Streams that each side may have open at once, of each kind (bidirectional, unidirectional). 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub streams: Option<i32>,
    /// Streams that each side may open in a second. 200 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub opening_rate: Option<i32>,
    /// Octets of a datagram at most. What the path takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub datagram_size: Option<i32>,
    /// Datagrams that are taken from each side in a second. Any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub datagram_rate: Option<i32>,
}
