//! Owns HTTP datagrams in QUIC DATAGRAM frames (RFC 9297 section 2.1): which request one belongs to.

use crate::varint;

/// The largest quarter stream ID: four times it is the largest client-initiated bidirectional stream's ID.
pub const MAX_QUARTER_STREAM_ID: u64 = (1 << 60) - 1;

/// Splits a datagram into its request's stream ID and its payload. `None` when it is too short or the number too large:
/// the connection is closed with H3_DATAGRAM_ERROR.
pub fn decode(datagram: &[u8]) -> Option<(u64, &[u8])> {
    let (quarter, size) = varint::decode(datagram)?;
    (quarter <= MAX_QUARTER_STREAM_ID).then(|| (quarter * 4, &datagram[size..]))
}

/// Appends what stands in front of the payload of a datagram for a request.
///
/// # Panics
/// When `stream` is not the ID of a client-initiated bidirectional stream.
pub fn append_prefix(stream: u64, out: &mut Vec<u8>) {
    assert!(stream.is_multiple_of(4), "datagrams belong to request streams");
    varint::append(stream / 4, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_bounds() {
        for stream in [0, 4, 252, 256, 4 * MAX_QUARTER_STREAM_ID] {
            let mut out = Vec::new();
            append_prefix(stream, &mut out);
            out.extend_from_slice(b"payload");
            assert_eq!(decode(&out), Some((stream, &b"payload"[..])));
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0x40]), None);
        let mut out = Vec::new();
        varint::append(MAX_QUARTER_STREAM_ID + 1, &mut out);
        assert_eq!(decode(&out), None);
    }
}
