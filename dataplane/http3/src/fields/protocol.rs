//! Owns the value of `:protocol` (RFC 8441 section 4, RFC 9220 section 3).

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

/// What an extended CONNECT asks for, as an extension of an `http::Request`. Any token is one: which are served is the
/// application's decision.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Protocol(Bytes);

/// The text is no token (RFC 9110 section 5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a protocol is a token")]
pub struct InvalidProtocol;

impl Protocol {
    /// WebSocket over HTTP/3 (RFC 9220).
    pub const WEBSOCKET: Self = Self(Bytes::from_static(b"websocket"));

    /// The token.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a token is ASCII")
    }
}

impl TryFrom<Bytes> for Protocol {
    type Error = InvalidProtocol;

    fn try_from(octets: Bytes) -> Result<Self, InvalidProtocol> {
        let is_token = !octets.is_empty()
            && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet));
        if is_token { Ok(Self(octets)) } else { Err(InvalidProtocol) }
    }
}

impl TryFrom<&str> for Protocol {
    type Error = InvalidProtocol;

    fn try_from(text: &str) -> Result<Self, InvalidProtocol> {
        Self::try_from(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
