//! What an EdgePolicy says of QUIC.
//!
//! Owns the fields and their words. It must not know what a data plane does about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What holds for QUIC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuicPolicy {
    /// 0-RTT. Disabled when absent.
    #[serde(rename = "zeroRTT", default, skip_serializing_if = "Option::is_none")]
    pub zero_rtt: Option<ZeroRtt>,
    /// Retry. Never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
}

/// Which requests of clients that come back are served before the handshake is complete (0-RTT, RFC 8470): none (Disabled,
/// when absent), or those of a safe method without a body. Somebody who records one of these can have it served once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ZeroRtt {
    /// None.
    #[default]
    Disabled,
    /// Those of a safe method (GET, HEAD, OPTIONS, TRACE) without a body. All others, and every tunnel, wait for the
    /// handshake.
    SafeMethods,
}

impl ZeroRtt {
    /// The word as a manifest has it.
    pub const fn label(self) -> &'static str {
        match self {
            ZeroRtt::Disabled => "Disabled",
            ZeroRtt::SafeMethods => "SafeMethods",
        }
    }
}

/// When clients have to show that their address is theirs before anything else (RFC 9000, section 8.1.2), which costs them
/// a round trip: never (when absent), while many handshakes are half open, or whenever they bring no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RetryPolicy {
    /// Never.
    #[default]
    Never,
    /// While many handshakes are half open.
    UnderLoad,
    /// Whenever they bring no token of an earlier connection.
    Always,
}

impl RetryPolicy {
    /// The word as a manifest has it.
    pub const fn label(self) -> &'static str {
        match self {
            RetryPolicy::Never => "Never",
            RetryPolicy::UnderLoad => "UnderLoad",
            RetryPolicy::Always => "Always",
        }
    }
}
