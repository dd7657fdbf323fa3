//! Owns what WebTransport says in capsules on a session's CONNECT stream (draft-ietf-webtrans-http3 sections 4.6, 5.6 and
//! 6): their forms, and a reader that keeps nothing of what nobody needs.

use std::borrow::Cow;

use super::{flow::Tell, header::Direction};
use crate::{
    capsule::{self, CapsuleError, CapsuleReader, CapsuleType, Take},
    code::Code,
    control::Fault,
    varint,
};

const CLOSE: CapsuleType = CapsuleType(0x2843);
const DRAIN: CapsuleType = CapsuleType(0x78ae);
const MAX_DATA: CapsuleType = CapsuleType(0x190b_4d3d);
const MAX_STREAM_DATA: CapsuleType = CapsuleType(0x190b_4d3e);
const MAX_STREAMS_BIDI: CapsuleType = CapsuleType(0x190b_4d3f);
const MAX_STREAMS_UNI: CapsuleType = CapsuleType(0x190b_4d40);
const DATA_BLOCKED: CapsuleType = CapsuleType(0x190b_4d41);
const STREAM_DATA_BLOCKED: CapsuleType = CapsuleType(0x190b_4d42);
const STREAMS_BLOCKED_BIDI: CapsuleType = CapsuleType(0x190b_4d43);
const STREAMS_BLOCKED_UNI: CapsuleType = CapsuleType(0x190b_4d44);

/// The longest reason of a close (section 6).
pub const MAX_REASON: usize = 1024;

/// The octets of a close's code.
const CODE_SIZE: usize = 4;

/// The largest datagram that is taken from a capsule. QUIC's are smaller; what is larger is dropped, as any datagram may
/// be (RFC 9297 section 3.5).
pub const MAX_DATAGRAM: usize = 2048;

/// What a side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capsule {
    /// WT_CLOSE_SESSION: the session is over.
    Close {
        /// The application's code.
        code: u32,
        /// The application's reason, at most [`MAX_REASON`] octets.
        reason: String,
    },
    /// WT_DRAIN_SESSION: the session should end soon.
    Drain,
    /// Flow control.
    Flow(Tell),
    /// A datagram that did not come in a QUIC DATAGRAM frame.
    Datagram(Vec<u8>),
}

impl Capsule {
    /// Appends the capsule. A reason that is too long is cut off where a character ends (section 6).
    pub fn append(&self, out: &mut Vec<u8>) {
        let integer = |capsule_type, value, out: &mut Vec<u8>| {
            let mut octets = [0; varint::MAX_SIZE];
            let size = varint::encode(value, &mut octets);
            capsule::append(capsule_type, &octets[..size], out);
        };
        match self {
            Self::Close { code, reason } => {
                let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
                let value = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
                capsule::append(CLOSE, &value, out);
            }
            Self::Drain => capsule::append(DRAIN, &[], out),
            Self::Flow(Tell::MaxData(limit)) => integer(MAX_DATA, *limit, out),
            Self::Flow(Tell::DataBlocked(limit)) => integer(DATA_BLOCKED, *limit, out),
            Self::Flow(Tell::MaxStreams(direction, limit)) => {
                integer([MAX_STREAMS_BIDI, MAX_STREAMS_UNI][direction.index()], *limit, out);
            }
            Self::Flow(Tell::StreamsBlocked(direction, limit)) => {
                integer([STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI][direction.index()], *limit, out);
            }
            Self::Datagram(payload) => capsule::append(CapsuleType::DATAGRAM, payload, out),
        }
    }
}

/// Reads what the peer says on a CONNECT stream.
#[derive(Debug)]
pub struct Interpreter {
    reader: CapsuleReader,
    /// Whether flow control is on; its capsules are ignored otherwise (section 5.1).
    flow: bool,
    closed: bool,
}

impl Interpreter {
    /// At the beginning of a session's content.
    pub fn new(flow: bool) -> Self {
        Self { reader: CapsuleReader::default(), flow, closed: false }
    }

    /// Takes content up to the end of the next capsule that says something, and returns that one. `None` means that all
    /// of `input` was taken.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Capsule>, Fault> {
        loop {
            if self.closed && !input.is_empty() {
                return Err(Fault::new(Code::H3_MESSAGE_ERROR, "octets after WT_CLOSE_SESSION"));
            }
            let flow = self.flow;
            let Some((capsule_type, value)) = self.reader.next(input, |found| take(found, flow)).map_err(too_long)?
            else {
                return Ok(None);
            };
            if let Some(capsule) = parse(capsule_type, value)? {
                self.closed |= matches!(capsule, Capsule::Close { .. });
                return Ok(Some(capsule));
            }
        }
    }

    /// The content ended.
    pub fn end(&self) -> Result<(), Fault> {
        self.reader.end().map_err(|error| Fault::new(error.code(), "the CONNECT stream ended within a capsule"))
    }

    /// Whether the peer said that the session is over.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }
}

fn too_long(error: CapsuleError) -> Fault {
    match error {
        CapsuleError::TooLong(CLOSE) => {
            Fault::new(Code::H3_MESSAGE_ERROR, "WT_CLOSE_SESSION has a reason of more than 1024 octets")
        }
        CapsuleError::TooLong(_) => Fault::new(Code::H3_MESSAGE_ERROR, "a capsule of one integer is longer than that"),
        CapsuleError::Truncated => Fault::new(error.code(), "the CONNECT stream ended within a capsule"),
    }
}

fn take(capsule_type: CapsuleType, flow: bool) -> Take {
    match capsule_type {
        CLOSE => Take::UpTo(CODE_SIZE + MAX_REASON),
        DRAIN => Take::UpTo(0),
        MAX_DATA | MAX_STREAMS_BIDI | MAX_STREAMS_UNI | DATA_BLOCKED | STREAMS_BLOCKED_BIDI | STREAMS_BLOCKED_UNI
            if flow =>
        {
            Take::UpTo(varint::MAX_SIZE)
        }
        // Two integers, which are not looked at.
        MAX_STREAM_DATA | STREAM_DATA_BLOCKED => Take::UpTo(2 * varint::MAX_SIZE),
        CapsuleType::DATAGRAM => Take::IfUpTo(MAX_DATAGRAM),
        _ => Take::Skip,
    }
}

fn parse(capsule_type: CapsuleType, value: Cow<'_, [u8]>) -> Result<Option<Capsule>, Fault> {
    let integer = || {
        varint::decode_exact(&value)
            .ok_or(Fault::new(Code::H3_MESSAGE_ERROR, "a capsule of one integer is not exactly that long"))
    };
    let (bidi, uni) = (Direction::Bidirectional, Direction::Unidirectional);
    Ok(Some(match capsule_type {
        CLOSE => close(&value)?,
        DRAIN => Capsule::Drain,
        MAX_DATA => Capsule::Flow(Tell::MaxData(integer()?)),
        MAX_STREAMS_BIDI => Capsule::Flow(Tell::MaxStreams(bidi, integer()?)),
        MAX_STREAMS_UNI => Capsule::Flow(Tell::MaxStreams(uni, integer()?)),
        DATA_BLOCKED => Capsule::Flow(Tell::DataBlocked(integer()?)),
        STREAMS_BLOCKED_BIDI => Capsule::Flow(Tell::StreamsBlocked(bidi, integer()?)),
        STREAMS_BLOCKED_UNI => Capsule::Flow(Tell::StreamsBlocked(uni, integer()?)),
        // Section 5.3: an error of the session, whose code nobody names.
        MAX_STREAM_DATA | STREAM_DATA_BLOCKED => {
            return Err(Fault::new(Code::WT_FLOW_CONTROL_ERROR, "a capsule that HTTP/3 has no use for"));
        }
        CapsuleType::DATAGRAM => Capsule::Datagram(value.into_owned()),
        _ => return Ok(None),
    }))
}

fn close(value: &[u8]) -> Result<Capsule, Fault> {
    let malformed = |reason| Fault::new(Code::H3_MESSAGE_ERROR, reason);
    let (code, reason) =
        value.split_first_chunk::<CODE_SIZE>().ok_or(malformed("WT_CLOSE_SESSION has no whole code"))?;
    let reason = str::from_utf8(reason).map_err(|_| malformed("the reason in WT_CLOSE_SESSION is not UTF-8"))?;
    Ok(Capsule::Close { code: u32::from_be_bytes(*code), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8], step: usize, flow: bool) -> Result<Vec<Capsule>, Code> {
        let (mut interpreter, mut found) = (Interpreter::new(flow), Vec::new());
        for mut piece in octets.chunks(step) {
            while let Some(capsule) = interpreter.next(&mut piece).map_err(|fault| fault.code)? {
                found.push(capsule);
            }
        }
        interpreter.end().map_err(|fault| fault.code)?;
        Ok(found)
    }

    fn raw(capsule_type: CapsuleType, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        capsule::append(capsule_type, value, &mut out);
        out
    }

    #[test]
    fn there_and_back() {
        let (bidi, uni) = (Direction::Bidirectional, Direction::Unidirectional);
        let said = vec![
            Capsule::Drain,
            Capsule::Flow(Tell::MaxData(varint::MAX)),
            Capsule::Flow(Tell::MaxStreams(bidi, 7)),
            Capsule::Flow(Tell::MaxStreams(uni, 0)),
            Capsule::Flow(Tell::DataBlocked(70_000)),
            Capsule::Flow(Tell::StreamsBlocked(bidi, 1)),
            Capsule::Flow(Tell::StreamsBlocked(uni, 64)),
            Capsule::Datagram(b"datagram".to_vec()),
            Capsule::Close { code: 0xdead_beef, reason: "grüß Gott".to_owned() },
        ];
        let mut out = Vec::new();
        for capsule in &said {
            capsule.append(&mut out);
            out.extend(raw(CapsuleType(0x17), b"grease").iter().filter(|_| !matches!(capsule, Capsule::Close { .. })));
        }
        for step in [1, 2, 7, out.len()] {
            assert_eq!(read(&out, step, true), Ok(said.clone()));
        }
        let without: Vec<_> = said.into_iter().filter(|capsule| !matches!(capsule, Capsule::Flow(_))).collect();
        assert_eq!(read(&out, 3, false), Ok(without));
    }

    #[test]
    fn faults() {
        let message = Code::H3_MESSAGE_ERROR;
        let close = |reason: &[u8]| raw(CLOSE, &[&[0, 0, 0, 1], reason].concat());
        let cases: Vec<(&str, Vec<u8>, Code)> = vec![
            ("a reason of 1025 octets", close(&[b'x'; MAX_REASON + 1]), message),
            ("no UTF-8", close(&[0xc3, 0x28]), message),
            ("a character cut off", close(&[0xc3]), message),
            ("half a code", raw(CLOSE, &[0, 0]), message),
            ("octets after the close", [close(b"bye"), vec![0]].concat(), message),
            ("two closes", close(b"bye").repeat(2), message),
            ("a drain that says more", raw(DRAIN, &[0]), message),
            ("an integer and more", raw(MAX_DATA, &[0, 0]), message),
            ("no integer", raw(MAX_DATA, &[]), message),
            ("nine octets", raw(MAX_STREAMS_UNI, &[0; 9]), message),
            ("MAX_STREAM_DATA", raw(MAX_STREAM_DATA, &[0, 0]), Code::WT_FLOW_CONTROL_ERROR),
            ("STREAM_DATA_BLOCKED", raw(STREAM_DATA_BLOCKED, &[0, 0]), Code::WT_FLOW_CONTROL_ERROR),
            ("cut off", close(b"bye")[..6].to_vec(), Code::H3_DATAGRAM_ERROR),
        ];
        for (name, octets, code) in cases {
            for step in [1, 5, 2000] {
                assert_eq!(read(&octets, step, true), Err(code), "{name}");
            }
        }
        assert!(read(&close(&[b'x'; MAX_REASON]), 9, true).is_ok());
        // A peer that was not heard to want flow control may say anything of it.
        assert_eq!(read(&raw(MAX_DATA, &[0; 900]), 100, false), Ok(vec![]));
        assert_eq!(read(&raw(CapsuleType::DATAGRAM, &[0; MAX_DATAGRAM + 1]), 100, true), Ok(vec![]));
    }

    #[test]
    fn reasons_are_cut_at_characters() {
        let mut out = Vec::new();
        Capsule::Close { code: 1, reason: "ü".repeat(600) + "x" }.append(&mut out);
        let reason = "ü".repeat(512);
        assert_eq!(read(&out, 100, true), Ok(vec![Capsule::Close { code: 1, reason }]));
        let mut out = Vec::new();
        Capsule::Close { code: 1, reason: "x".to_owned() + &"ü".repeat(600) }.append(&mut out);
        let Ok(found) = read(&out, 100, true) else { panic!() };
        let Capsule::Close { reason, .. } = &found[0] else { panic!() };
        assert_eq!(reason.len(), MAX_REASON - 1);
    }
}
