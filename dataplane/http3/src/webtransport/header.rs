//! Owns the first octets of a stream, which say whether it belongs to a session and to which one
//! (draft-ietf-webtrans-http3 sections 4.2 and 4.3).

use crate::{
    frame::FrameType,
    stream_type::StreamType,
    varint::{self, MAX_SIZE},
};

/// The longest header: two integers.
pub const MAX_HEADER: usize = 2 * MAX_SIZE;

/// The directions in which a stream carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both.
    Bidirectional,
    /// From its opener.
    Unidirectional,
}

impl Direction {
    /// What a stream of a session begins with.
    pub const fn signal(self) -> u64 {
        match self {
            Self::Bidirectional => FrameType::WEBTRANSPORT_STREAM.0,
            Self::Unidirectional => StreamType::WebTransport.value(),
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Bidirectional => 0,
            Self::Unidirectional => 1,
        }
    }
}

/// What the first octets said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The stream belongs to the session with this ID, which was not looked at.
    Session(u64),
    /// The stream is something else: its first integer.
    Other(u64),
}

/// A stream's first octets, of which some have come.
#[derive(Clone, Debug)]
pub struct PartialOpening {
    direction: Direction,
    octets: [u8; MAX_HEADER],
    len: u8,
}

impl PartialOpening {
    /// None has come.
    pub const fn new(direction: Direction) -> Self {
        Self { direction, octets: [0; MAX_HEADER], len: 0 }
    }

    /// The octets that have come.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Whether the stream has said that it belongs to a session.
    pub fn is_sessions(&self) -> bool {
        varint::decode(self.octets()).is_some_and(|(first, _)| first == self.direction.signal())
    }

    /// Where the next octets of the stream go. Filling this never takes one octet more than needed.
    pub fn wanted(&mut self) -> &mut [u8] {
        let (len, end) = (usize::from(self.len), self.end());
        &mut self.octets[len..end]
    }

    /// Where the integer ends whose first octet is the last that has come, or the next one begins.
    fn end(&self) -> usize {
        let len = usize::from(self.len);
        let mut start = 0;
        while start < len {
            let end = start + varint::size_from_first(self.octets[start]);
            if end > len {
                return end;
            }
            start = end;
        }
        start + 1
    }

    /// Notes that this many of the wanted octets have come. Returns what the stream is, once that is certain.
    pub fn advance(&mut self, count: usize) -> Option<Opening> {
        self.len += count as u8;
        let (first, size) = varint::decode(self.octets())?;
        if first != self.direction.signal() {
            return Some(Opening::Other(first));
        }
        let (session, _) = varint::decode(&self.octets()[size..])?;
        Some(Opening::Session(session))
    }
}

/// The header of a stream of a session.
pub fn encode(direction: Direction, session: u64) -> ([u8; MAX_HEADER], usize) {
    let mut octets = [0; MAX_HEADER];
    let size = varint::encode(direction.signal(), &mut octets);
    let size = size + varint::encode(session, &mut octets[size..]);
    (octets, size)
}

/// Whether a session can have this ID: it is a client's bidirectional stream's (RFC 9000 section 2.1).
pub const fn is_session_id(id: u64) -> bool {
    id & 0b11 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(direction: Direction, mut input: &[u8], step: usize) -> (Option<Opening>, usize) {
        let (mut partial, whole) = (PartialOpening::new(direction), input.len());
        while !input.is_empty() {
            let wanted = partial.wanted();
            let count = wanted.len().min(step).min(input.len());
            wanted[..count].copy_from_slice(&input[..count]);
            input = &input[count..];
            if let Some(opening) = partial.advance(count) {
                assert_eq!(partial.octets().len(), whole - input.len());
                return (Some(opening), whole - input.len());
            }
        }
        (None, whole)
    }

    #[test]
    fn signals() {
        use Direction::{Bidirectional, Unidirectional};
        let cases: &[(Direction, &[u8], Option<Opening>, usize)] = &[
            (Bidirectional, &[0x40, 0x41, 0x00, 9], Some(Opening::Session(0)), 3),
            (Bidirectional, &[0x80, 0, 0, 0x41, 0x40, 0x44, 9], Some(Opening::Session(0x44)), 6),
            (Bidirectional, &[0x01, 9, 9], Some(Opening::Other(1)), 1),
            (Bidirectional, &[0x40, 0x54, 9], Some(Opening::Other(0x54)), 2),
            (Bidirectional, &[0x40, 0x41], None, 2),
            (Unidirectional, &[0x40, 0x54, 0x04], Some(Opening::Session(4)), 3),
            (Unidirectional, &[0x40, 0x41, 0x04], Some(Opening::Other(0x41)), 2),
            (Unidirectional, &[0x00, 0x04], Some(Opening::Other(0)), 1),
        ];
        for (direction, input, opening, taken) in cases {
            for step in 1..9 {
                assert_eq!(read(*direction, input, step), (*opening, *taken), "{input:02x?}");
            }
        }
    }

    proptest! {
        #[test]
        fn there_and_back(session in 0..=varint::MAX, shift in 0u32..62, uni: bool, step in 1usize..9) {
            let direction = if uni { Direction::Unidirectional } else { Direction::Bidirectional };
            let (octets, size) = encode(direction, session >> shift);
            prop_assert_eq!(read(direction, &octets[..size], step), (Some(Opening::Session(session >> shift)), size));
        }
    }
}
