//! Owns frame headers (RFC 9114 section 7.1): their types, their encoding, and a reader that takes them octet by octet.
//!
//! Payloads are not looked at here. What a frame means, and whether it may come, is for the stream that carries it.

use crate::varint;

pub mod body;

/// A frame's type number (RFC 9114 section 11.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameType(pub u64);

impl FrameType {
    /// Octets of a message's content.
    pub const DATA: Self = Self(0x00);
    /// An encoded field section.
    pub const HEADERS: Self = Self(0x01);
    /// Gives up a push.
    pub const CANCEL_PUSH: Self = Self(0x03);
    /// The connection's parameters.
    pub const SETTINGS: Self = Self(0x04);
    /// Announces a push.
    pub const PUSH_PROMISE: Self = Self(0x05);
    /// Begins a graceful end.
    pub const GOAWAY: Self = Self(0x07);
    /// Lets the server push.
    pub const MAX_PUSH_ID: Self = Self(0x0d);
    /// Begins a bidirectional stream of a WebTransport session, and is no frame: nothing says where it ends
    /// (draft-ietf-webtrans-http3 section 4.3). Only where WebTransport is offered does it mean that.
    pub const WEBTRANSPORT_STREAM: Self = Self(0x41);
    /// Re-prioritises a request (RFC 9218 section 7.2).
    pub const PRIORITY_UPDATE_REQUEST: Self = Self(0xf0700);
    /// Re-prioritises a push (RFC 9218 section 7.2).
    pub const PRIORITY_UPDATE_PUSH: Self = Self(0xf0701);

    /// Whether HTTP/2 used this number and HTTP/3 forbids it (RFC 9114 section 7.2.8).
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 0x02 | 0x06 | 0x08 | 0x09)
    }

    /// Whether this version of the protocol says nothing about the number, so that the frame is skipped
    /// (RFC 9114 section 9).
    pub const fn is_unknown(self) -> bool {
        !matches!(self.0, 0x00..=0x09 | 0x0d | 0xf0700 | 0xf0701)
    }
}

/// A frame's type and the length of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is.
    pub frame_type: FrameType,
    /// How many octets follow. The peer wrote this number: nothing may be allocated by it.
    pub length: u64,
}

/// The most octets a frame header takes.
pub const MAX_HEADER_SIZE: usize = 2 * varint::MAX_SIZE;

impl FrameHeader {
    /// Reads a header from the front of `input`; `None` when some of it is missing.
    pub fn decode(input: &[u8]) -> Option<(Self, usize)> {
        let (frame_type, type_size) = varint::decode(input)?;
        let (length, length_size) = varint::decode(&input[type_size..])?;
        Some((Self { frame_type: FrameType(frame_type), length }, type_size + length_size))
    }

    /// Writes the header to the front of `out` and says how many octets that took.
    pub fn encode(self, out: &mut [u8; MAX_HEADER_SIZE]) -> usize {
        let type_size = varint::encode(self.frame_type.0, out);
        type_size + varint::encode(self.length, &mut out[type_size..])
    }

    /// How many octets the header takes in its shortest form.
    pub const fn size(self) -> usize {
        varint::size(self.frame_type.0) + varint::size(self.length)
    }
}

/// A frame header of which some octets have come.
#[derive(Clone, Debug, Default)]
pub struct PartialHeader {
    octets: [u8; MAX_HEADER_SIZE],
    len: u8,
}

impl PartialHeader {
    /// Whether no octet of a header has come yet: a stream may end here.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many octets are missing at the least. Reading this many never reads past the header.
    pub fn wanted(&self) -> usize {
        let len = usize::from(self.len);
        let Some(&first) = self.octets[..len].first() else {
            // The shortest header has two octets.
            return 2;
        };
        let type_size = varint::size_from_first(first);
        if len <= type_size {
            return type_size + 1 - len;
        }
        type_size + varint::size_from_first(self.octets[type_size]) - len
    }

    /// Takes octets from the front of `input` until the header is whole. Returns it, and how many octets were taken.
    pub fn take(&mut self, input: &[u8]) -> (Option<FrameHeader>, usize) {
        if self.len == 0
            && let Some((header, size)) = FrameHeader::decode(input)
        {
            return (Some(header), size);
        }
        let mut taken = 0;
        while taken < input.len() {
            let step = self.wanted().min(input.len() - taken);
            let len = usize::from(self.len);
            self.octets[len..len + step].copy_from_slice(&input[taken..taken + step]);
            self.len += step as u8;
            taken += step;
            if let Some((header, _)) = FrameHeader::decode(&self.octets[..len + step]) {
                self.len = 0;
                return (Some(header), taken);
            }
        }
        (None, taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn which_types_are_skipped() {
        for reserved in [0x02, 0x06, 0x08, 0x09] {
            assert!(FrameType(reserved).is_reserved() && !FrameType(reserved).is_unknown());
        }
        for unknown in [0x0a, 0x21, 0x40, 0x41, 0xf0702, varint::MAX] {
            assert!(!FrameType(unknown).is_reserved() && FrameType(unknown).is_unknown());
        }
        for known in [FrameType::DATA, FrameType::HEADERS, FrameType::PRIORITY_UPDATE_PUSH, FrameType::MAX_PUSH_ID] {
            assert!(!known.is_reserved() && !known.is_unknown());
        }
    }

    proptest! {
        #[test]
        fn in_pieces(frame_type in 0..=varint::MAX, length in 0..=varint::MAX, shift in 0u32..62, step in 1usize..17) {
            let header = FrameHeader { frame_type: FrameType(frame_type >> shift), length: length >> (61 - shift) };
            let mut octets = [0; MAX_HEADER_SIZE];
            let size = header.encode(&mut octets);
            prop_assert_eq!(size, header.size());
            prop_assert_eq!(FrameHeader::decode(&octets[..size]), Some((header, size)));

            let mut partial = PartialHeader::default();
            let mut input = &octets[..size];
            let found = loop {
                prop_assert!(partial.wanted() <= input.len());
                let (found, taken) = partial.take(&input[..step.min(input.len())]);
                input = &input[taken..];
                if let Some(found) = found {
                    break found;
                }
            };
            prop_assert_eq!(found, header);
            prop_assert!(input.is_empty() && partial.is_empty());
        }
    }
}
