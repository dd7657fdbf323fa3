//! Owns what a peer says on its control stream (RFC 9114 section 6.2.1), and on its QPACK streams (RFC 9204 section 4.2):
//! octets in, events and faults out. No stream is read here.

use thiserror::Error;

use crate::{
    code::Code,
    config::MAX_PRIORITY_PAYLOAD,
    frame::{FrameHeader, FrameType, PartialHeader},
    priority::Priority,
    qpack::integer,
    settings::{self, Settings},
    varint,
};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends requests.
    Client,
    /// It answers them.
    Server,
}

/// What the peer did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{code}: {reason}")]
pub struct Fault {
    /// The code to close with.
    pub code: Code,
    /// What the peer did.
    pub reason: &'static str,
}

impl Fault {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// What the peer said on its control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// Its settings, once, before anything else.
    Settings(Settings),
    /// It is going away. A server names the first request that it will not process, a client the first push.
    GoAway(u64),
    /// It wants this request's response ordered so.
    Priority {
        /// The request's stream ID.
        stream: u64,
        /// What was asked.
        priority: Priority,
    },
}

/// Reads a peer's control stream.
#[derive(Debug)]
pub struct ControlReader {
    role: Role,
    partial: PartialHeader,
    /// The current frame's type, and how much of it is still to come.
    frame: Option<(FrameType, u64)>,
    payload: Vec<u8>,
    settings_came: bool,
    goaway: Option<u64>,
    max_push_id: Option<u64>,
    webtransport: bool,
}

impl ControlReader {
    /// A reader for the stream that the peer of `role` opened.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            partial: PartialHeader::default(),
            frame: None,
            payload: Vec::new(),
            settings_came: false,
            goaway: None,
            max_push_id: None,
            webtransport: false,
        }
    }

    /// Takes what begins a WebTransport stream for what it is, and not for an unknown frame.
    pub fn with_webtransport(mut self, offered: bool) -> Self {
        self.webtransport = offered;
        self
    }

    /// Takes octets and gives what they say to `event`.
    pub fn read(&mut self, mut input: &[u8], mut event: impl FnMut(ControlEvent)) -> Result<(), Fault> {
        loop {
            let Some((frame_type, left)) = &mut self.frame else {
                if input.is_empty() {
                    return Ok(());
                }
                let (header, taken) = self.partial.take(input);
                input = &input[taken..];
                if let Some(header) = header {
                    self.begin(header)?;
                }
                continue;
            };
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            // What is unknown is skipped; everything else was held against its bound.
            if !frame_type.is_unknown() {
                self.payload.extend_from_slice(&input[..here]);
            }
            *left -= here as u64;
            input = &input[here..];
            if *left > 0 {
                return Ok(());
            }
            let frame_type = *frame_type;
            self.frame = None;
            let payload = std::mem::take(&mut self.payload);
            if let Some(said) = self.frame(frame_type, &payload)? {
                event(said);
            }
        }
    }

    /// Whether a frame with this header may come, by its type, its length and what came before.
    fn begin(&mut self, header: FrameHeader) -> Result<(), Fault> {
        let FrameHeader { frame_type, length } = header;
        if !self.settings_came && frame_type != FrameType::SETTINGS {
            return Err(Fault::new(Code::H3_MISSING_SETTINGS, "the control stream does not begin with SETTINGS"));
        }
        let (server, unexpected) = (
            self.role == Role::Server,
            Fault::new(Code::H3_FRAME_UNEXPECTED, "a frame that is not allowed on the control stream"),
        );
        let bound = match frame_type {
            FrameType::SETTINGS if self.settings_came => {
                return Err(Fault::new(Code::H3_FRAME_UNEXPECTED, "SETTINGS came twice"));
            }
            FrameType::SETTINGS => settings::MAX_PAYLOAD,
            // RFC 9114 section 7.2.7: only a client sends it.
            FrameType::MAX_PUSH_ID if !server => return Err(unexpected),
            FrameType::GOAWAY | FrameType::CANCEL_PUSH | FrameType::MAX_PUSH_ID => varint::MAX_SIZE,
            FrameType::PRIORITY_UPDATE_REQUEST | FrameType::PRIORITY_UPDATE_PUSH if server => MAX_PRIORITY_PAYLOAD,
            FrameType::WEBTRANSPORT_STREAM if self.webtransport => {
                return Err(Fault::new(Code::H3_FRAME_ERROR, "a WebTransport stream that does not begin as one"));
            }
            unknown if unknown.is_unknown() => usize::MAX,
            _ => return Err(unexpected),
        };
        if length > bound as u64 {
            return Err(match frame_type {
                FrameType::SETTINGS | FrameType::PRIORITY_UPDATE_REQUEST | FrameType::PRIORITY_UPDATE_PUSH => {
                    Fault::new(Code::H3_EXCESSIVE_LOAD, "a frame on the control stream is too large")
                }
                _ => Fault::new(Code::H3_FRAME_ERROR, "a frame of one integer has more octets than that"),
            });
        }
        self.settings_came = true;
        self.frame = Some((frame_type, length));
        Ok(())
    }

    fn frame(&mut self, frame_type: FrameType, payload: &[u8]) -> Result<Option<ControlEvent>, Fault> {
        match frame_type {
            FrameType::SETTINGS => match Settings::decode(payload) {
                Ok(settings) => Ok(Some(ControlEvent::Settings(settings))),
                Err(error) => Err(Fault::new(error.code(), "SETTINGS is malformed")),
            },
            FrameType::GOAWAY => self.go_away(integer(payload)?).map(Some),
            FrameType::MAX_PUSH_ID => {
                // RFC 9114 section 7.2.7: it never gets smaller. Nothing is ever pushed here.
                let id = integer(payload)?;
                if self.max_push_id.replace(id).is_some_and(|before| id < before) {
                    return Err(Fault::new(Code::H3_ID_ERROR, "MAX_PUSH_ID became smaller"));
                }
                Ok(None)
            }
            FrameType::CANCEL_PUSH => {
                integer(payload)?;
                // RFC 9114 section 7.2.3: this side neither pushes nor allows pushes, so that no push has an ID.
                Err(Fault::new(Code::H3_ID_ERROR, "CANCEL_PUSH of no push"))
            }
            FrameType::PRIORITY_UPDATE_PUSH => {
                Err(Fault::new(Code::H3_ID_ERROR, "PRIORITY_UPDATE of a push that was never promised"))
            }
            FrameType::PRIORITY_UPDATE_REQUEST => {
                let fault = Fault::new(Code::H3_FRAME_ERROR, "PRIORITY_UPDATE is cut off");
                let (stream, size) = varint::decode(payload).ok_or(fault)?;
                if !is_request(stream) {
                    return Err(Fault::new(Code::H3_ID_ERROR, "PRIORITY_UPDATE of what is no request stream"));
                }
                Ok(Some(ControlEvent::Priority { stream, priority: Priority::parse(&payload[size..]) }))
            }
            _ => Ok(None),
        }
    }

    fn go_away(&mut self, id: u64) -> Result<ControlEvent, Fault> {
        // RFC 9114 section 7.2.6.
        if self.role == Role::Client && !is_request(id) {
            return Err(Fault::new(Code::H3_ID_ERROR, "GOAWAY names what is no request stream"));
        }
        // RFC 9114 section 5.2.
        if self.goaway.replace(id).is_some_and(|before| id > before) {
            return Err(Fault::new(Code::H3_ID_ERROR, "GOAWAY names a larger ID than before"));
        }
        Ok(ControlEvent::GoAway(id))
    }
}

/// Whether a stream of this ID is bidirectional and a client's (RFC 9000 section 2.1).
fn is_request(stream: u64) -> bool {
    stream & 0b11 == 0
}

fn integer(payload: &[u8]) -> Result<u64, Fault> {
    varint::decode_exact(payload)
        .ok_or(Fault::new(Code::H3_FRAME_ERROR, "a frame of one integer is not exactly that long"))
}

/// Reads a peer's QPACK encoder stream. This side's table has no capacity, so that setting the capacity to zero is the
/// only instruction that can come (RFC 9204 section 3.2.2 and 4.3). No literal is ever looked at, let alone kept.
pub fn read_encoder_stream(input: &[u8]) -> Result<(), Fault> {
    /// Set Dynamic Table Capacity, with 0 in its five-bit prefix (RFC 9204 section 4.3.1).
    const SET_CAPACITY_ZERO: u8 = 0b0010_0000;
    if input.iter().all(|octet| *octet == SET_CAPACITY_ZERO) {
        return Ok(());
    }
    Err(Fault::new(Code::QPACK_ENCODER_STREAM_ERROR, "an instruction for a dynamic table that has no capacity"))
}

/// Reads a peer's QPACK decoder stream. Nothing sent from here refers to a dynamic table, so that only stream
/// cancellations can come (RFC 9204 section 4.4).
#[derive(Debug, Default)]
pub struct DecoderStreamReader {
    partial: Option<integer::Partial>,
}

impl DecoderStreamReader {
    /// Takes octets of the stream.
    pub fn read(&mut self, input: &[u8]) -> Result<(), Fault> {
        let fault = |reason| Fault::new(Code::QPACK_DECODER_STREAM_ERROR, reason);
        for &octet in input {
            if let Some(partial) = &mut self.partial {
                let whole = partial.octet(octet).map_err(|_| fault("an integer on the decoder stream is too large"))?;
                if whole.is_some() {
                    self.partial = None;
                }
            } else if octet >> 6 == 0b01 {
                // Stream Cancellation (section 4.4.2).
                self.partial = integer::Partial::begin(6, octet).err();
            } else if octet & 0b1000_0000 != 0 {
                // Section 4.4.1.
                return Err(fault("an acknowledgement of a section that refers to no dynamic table"));
            } else {
                // Section 4.4.3.
                return Err(fault("an increment beyond what was inserted"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(frame_type: FrameType, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint::append(frame_type.0, &mut out);
        varint::append(payload.len() as u64, &mut out);
        out.extend_from_slice(payload);
        out
    }

    fn read(role: Role, octets: &[u8], step: usize) -> Result<Vec<ControlEvent>, Code> {
        let mut reader = ControlReader::new(role);
        let mut events = Vec::new();
        for piece in octets.chunks(step) {
            reader.read(piece, |event| events.push(event)).map_err(|fault| fault.code)?;
        }
        Ok(events)
    }

    /// Frames after SETTINGS, to which side they came, and what comes of them.
    #[test]
    fn frames() {
        use FrameType as T;
        let settings = frame(T::SETTINGS, &[]);
        let (server, client) = (Role::Server, Role::Client);
        type Case = (Role, Vec<u8>, Result<usize, Code>);
        let cases: Vec<Case> = vec![
            (server, vec![], Ok(0)),
            (client, frame(T::GOAWAY, &[4]), Ok(1)),
            (client, frame(T::GOAWAY, &[5]), Err(Code::H3_ID_ERROR)),
            (client, [frame(T::GOAWAY, &[8]), frame(T::GOAWAY, &[4])].concat(), Ok(2)),
            (client, [frame(T::GOAWAY, &[4]), frame(T::GOAWAY, &[8])].concat(), Err(Code::H3_ID_ERROR)),
            (server, frame(T::GOAWAY, &[5]), Ok(1)),
            (server, frame(T::GOAWAY, &[]), Err(Code::H3_FRAME_ERROR)),
            (server, frame(T::GOAWAY, &[1, 1]), Err(Code::H3_FRAME_ERROR)),
            (server, frame(T::GOAWAY, &[0; 9]), Err(Code::H3_FRAME_ERROR)),
            (server, frame(T::MAX_PUSH_ID, &[9]), Ok(0)),
            (server, [frame(T::MAX_PUSH_ID, &[9]), frame(T::MAX_PUSH_ID, &[8])].concat(), Err(Code::H3_ID_ERROR)),
            (client, frame(T::MAX_PUSH_ID, &[9]), Err(Code::H3_FRAME_UNEXPECTED)),
            (server, frame(T::CANCEL_PUSH, &[0]), Err(Code::H3_ID_ERROR)),
            (client, frame(T::CANCEL_PUSH, &[0]), Err(Code::H3_ID_ERROR)),
            (server, frame(T::DATA, &[]), Err(Code::H3_FRAME_UNEXPECTED)),
            (server, frame(T::HEADERS, &[0, 0]), Err(Code::H3_FRAME_UNEXPECTED)),
            (client, frame(T::PUSH_PROMISE, &[0]), Err(Code::H3_FRAME_UNEXPECTED)),
            (server, frame(T::SETTINGS, &[]), Err(Code::H3_FRAME_UNEXPECTED)),
            (server, frame(FrameType(0x02), &[]), Err(Code::H3_FRAME_UNEXPECTED)),
            (server, frame(FrameType(0x21), &[7; 5000]), Ok(0)),
            (server, frame(T::PRIORITY_UPDATE_REQUEST, b"\x04u=1, i"), Ok(1)),
            (server, frame(T::PRIORITY_UPDATE_REQUEST, b"\x05u=1"), Err(Code::H3_ID_ERROR)),
            (server, frame(T::PRIORITY_UPDATE_REQUEST, b""), Err(Code::H3_FRAME_ERROR)),
            (server, frame(T::PRIORITY_UPDATE_REQUEST, &[0; 257]), Err(Code::H3_EXCESSIVE_LOAD)),
            (server, frame(T::PRIORITY_UPDATE_PUSH, b"\x00u=1"), Err(Code::H3_ID_ERROR)),
            (client, frame(T::PRIORITY_UPDATE_REQUEST, b"\x04u=1"), Err(Code::H3_FRAME_UNEXPECTED)),
        ];
        for (role, octets, expected) in cases {
            let octets = [settings.clone(), octets].concat();
            for step in [1, 3, octets.len()] {
                // Every reader says its settings first.
                let got = read(role, &octets, step).map(|events| events.len() - 1);
                assert_eq!(got, expected, "{role:?} {octets:02x?}");
            }
        }
    }

    #[test]
    fn settings_come_first_and_bounded() {
        assert_eq!(read(Role::Server, &frame(FrameType(0x21), &[]), 9), Err(Code::H3_MISSING_SETTINGS));
        assert_eq!(read(Role::Server, &frame(FrameType::GOAWAY, &[0]), 9), Err(Code::H3_MISSING_SETTINGS));
        // The length alone is enough to refuse it.
        let huge = [&[4][..], &[0xff; 8]].concat();
        assert_eq!(read(Role::Server, &huge, 1), Err(Code::H3_EXCESSIVE_LOAD));
    }

    #[test]
    fn encoder_stream() {
        assert_eq!(read_encoder_stream(&[0x20, 0x20]), Ok(()));
        // Capacity 1; capacity 31 in two octets; each insertion; a duplicate.
        for instruction in [&[0x21][..], &[0x3f, 0], &[0xc0, 0], &[0x80, 0], &[0x41, b'a', 0], &[0x00]] {
            let code = read_encoder_stream(instruction).map_err(|fault| fault.code);
            assert_eq!(code, Err(Code::QPACK_ENCODER_STREAM_ERROR), "{instruction:02x?}");
        }
    }

    #[test]
    fn decoder_stream() {
        let good = [0x40, 0x44, 0x7f, 0x81, 0x01, 0x41];
        assert_eq!(DecoderStreamReader::default().read(&good), Ok(()));
        let mut reader = DecoderStreamReader::default();
        assert!(good.iter().all(|octet| reader.read(&[*octet]).is_ok()));
        for instruction in
            [&[0x80][..], &[0x00], &[0x01], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
        {
            let code = DecoderStreamReader::default().read(instruction).map_err(|fault| fault.code);
            assert_eq!(code, Err(Code::QPACK_DECODER_STREAM_ERROR), "{instruction:02x?}");
        }
    }
}
