//! Owns the error codes that HTTP/3, QPACK, the capsule protocol and WebTransport send in QUIC frames.
//!
//! A code is only a number here: who sends it, and when, is decided by the layers above.

use std::fmt;

/// An application error code: a QUIC variable-length integer (RFC 9114 section 8.1, RFC 9204 section 8.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u64);

/// The largest value that a QUIC variable-length integer carries (RFC 9000 section 16).
const MAX: u64 = (1 << 62) - 1;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name that an RFC gives this code, if one does.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        const NAMED: &[Code] = &[$(Code::$name),*];
    };
}

codes! {
    /// A datagram or capsule broke RFC 9297.
    H3_DATAGRAM_ERROR = 0x33;
    /// Nothing went wrong: the connection or stream is closed because it is no longer needed.
    H3_NO_ERROR = 0x0100;
    /// The peer broke the protocol in a way that no other code names.
    H3_GENERAL_PROTOCOL_ERROR = 0x0101;
    /// This side failed.
    H3_INTERNAL_ERROR = 0x0102;
    /// The peer created a stream that will not be accepted.
    H3_STREAM_CREATION_ERROR = 0x0103;
    /// A stream that the connection needs was closed.
    H3_CLOSED_CRITICAL_STREAM = 0x0104;
    /// A frame came that is not allowed in this state or on this stream.
    H3_FRAME_UNEXPECTED = 0x0105;
    /// A frame is malformed.
    H3_FRAME_ERROR = 0x0106;
    /// The peer's behaviour might cause too much load.
    H3_EXCESSIVE_LOAD = 0x0107;
    /// A stream ID or push ID was used incorrectly.
    H3_ID_ERROR = 0x0108;
    /// The SETTINGS frame is wrong.
    H3_SETTINGS_ERROR = 0x0109;
    /// The control stream did not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x010a;
    /// The server refused a request without processing it.
    H3_REQUEST_REJECTED = 0x010b;
    /// The request or its response is cancelled.
    H3_REQUEST_CANCELLED = 0x010c;
    /// The client's stream ended before a whole request.
    H3_REQUEST_INCOMPLETE = 0x010d;
    /// An HTTP message is malformed.
    H3_MESSAGE_ERROR = 0x010e;
    /// The TCP connection of a CONNECT request was reset or closed abnormally.
    H3_CONNECT_ERROR = 0x010f;
    /// The request cannot be served over HTTP/3.
    H3_VERSION_FALLBACK = 0x0110;
    /// A field section could not be decoded.
    QPACK_DECOMPRESSION_FAILED = 0x0200;
    /// An instruction on the encoder stream is wrong.
    QPACK_ENCODER_STREAM_ERROR = 0x0201;
    /// An instruction on the decoder stream is wrong.
    QPACK_DECODER_STREAM_ERROR = 0x0202;
    /// A WebTransport session ended because a flow-control limit was broken.
    WT_FLOW_CONTROL_ERROR = 0x045d_4487;
    /// A WebTransport session whose server chose no subprotocol that the client offered.
    WT_ALPN_ERROR = 0x0817_b3dd;
    /// A stream ended because its WebTransport session had.
    WT_SESSION_GONE = 0x170d_7b68;
    /// The peer lacks what WebTransport needs.
    WT_REQUIREMENTS_NOT_MET = 0x212c_0d48;
    /// A stream came before its WebTransport session, and there was no more room for it.
    WT_BUFFERED_STREAM_REJECTED = 0x3994_bd84;
}

impl Code {
    /// A code from its number; `None` when the number is no QUIC variable-length integer.
    pub const fn new(value: u64) -> Option<Self> {
        if value <= MAX { Some(Self(value)) } else { None }
    }

    /// The number on the wire.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bounds() {
        assert_eq!(Code::H3_REQUEST_CANCELLED.to_string(), "H3_REQUEST_CANCELLED");
        assert_eq!(Code::new(0x52e4_a40f_a8db).map(|code| code.to_string()).as_deref(), Some("0x52e4a40fa8db"));
        assert_eq!(Code::new(MAX).map(Code::value), Some(MAX));
        assert_eq!(Code::new(MAX + 1), None);
        assert!(NAMED.iter().all(|code| code.name().is_some()));
    }
}
