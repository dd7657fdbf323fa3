//! Owns the numbers that say what a unidirectional stream is for (RFC 9114 section 6.2, RFC 9204 section 4.2).

/// What the first integer of a unidirectional stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamType {
    /// The peer's control stream.
    Control,
    /// A server push.
    Push,
    /// The peer's QPACK encoder stream.
    QpackEncoder,
    /// The peer's QPACK decoder stream.
    QpackDecoder,
    /// A stream of a WebTransport session (draft-ietf-webtrans-http3 section 4.2).
    WebTransport,
    /// Any other number, reserved ones included.
    Unknown(u64),
}

impl From<u64> for StreamType {
    fn from(value: u64) -> Self {
        match value {
            0x00 => Self::Control,
            0x01 => Self::Push,
            0x02 => Self::QpackEncoder,
            0x03 => Self::QpackDecoder,
            0x54 => Self::WebTransport,
            other => Self::Unknown(other),
        }
    }
}

impl StreamType {
    /// The number on the wire.
    pub const fn value(self) -> u64 {
        match self {
            Self::Control => 0x00,
            Self::Push => 0x01,
            Self::QpackEncoder => 0x02,
            Self::QpackDecoder => 0x03,
            Self::WebTransport => 0x54,
            Self::Unknown(other) => other,
        }
    }
}
