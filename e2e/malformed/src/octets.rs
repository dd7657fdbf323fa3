//! Frames as octets, right or wrong (RFC 9114 section 7, RFC 6455 section 5.2).

/// Frame types.
pub const DATA: u64 = 0;
/// RFC 9114 section 7.2.2.
pub const HEADERS: u64 = 1;
/// RFC 9114 section 7.2.3.
pub const CANCEL_PUSH: u64 = 3;
/// RFC 9114 section 7.2.4.
pub const SETTINGS: u64 = 4;
/// RFC 9114 section 7.2.5.
pub const PUSH_PROMISE: u64 = 5;
/// RFC 9114 section 7.2.6.
pub const GOAWAY: u64 = 7;
/// RFC 9114 section 7.2.7.
pub const MAX_PUSH_ID: u64 = 13;
/// One of those that mean nothing (section 7.2.8).
pub const UNKNOWN: u64 = 0x21;

/// The largest integer of QUIC.
pub const HUGE: u64 = (1 << 62) - 1;

/// An integer (RFC 9000 section 16).
pub fn integer(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (0x4000 | value as u16).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (0x8000_0000 | value as u32).to_be_bytes().to_vec(),
        _ => (0xc000_0000_0000_0000 | value).to_be_bytes().to_vec(),
    }
}

/// A frame.
pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    declared(kind, payload.len() as u64, payload)
}

/// A frame that says it has so many octets of payload.
pub fn declared(kind: u64, length: u64, payload: &[u8]) -> Vec<u8> {
    [&integer(kind), &integer(length)[..], payload].concat()
}

/// SETTINGS with these pairs.
pub fn settings(pairs: &[(u64, u64)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs.iter().flat_map(|(id, value)| [integer(*id), integer(*value)].concat()).collect();
    frame(SETTINGS, &payload)
}

/// Frames on a stream that begins with its type.
pub fn typed(kind: u64, frames: &[&[u8]]) -> Vec<u8> {
    [integer(kind), frames.concat()].concat()
}

/// A WebSocket text message from a client, under a mask of zeros.
pub fn message(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short message");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text].concat()
}

/// The same message from a server.
pub fn echoed(text: &[u8]) -> Vec<u8> {
    [&[0x81, text.len() as u8], text].concat()
}
