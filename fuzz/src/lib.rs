//! What every fuzz target does with its input. The targets only call these, and so does an ordinary test of the crate
//! under test, which replays the corpora and mutates them: neither knows more than a function from octets to nothing.
//!
//! Beside not panicking, each checks something that must hold: what decodes encodes to the same, and how the input is
//! cut into pieces changes nothing.

use headrace_http3::{
    capsule::{CapsuleReader, CapsuleType, Take},
    control::{ControlEvent, ControlReader, DecoderStreamReader, Role, read_encoder_stream},
    datagram,
    fields::{decode_request, decode_response, decode_trailers, encode_request, encode_response, encode_trailers},
    frame::{FrameHeader, MAX_HEADER_SIZE, PartialHeader, body::BodyFrames},
    qpack::{self, Limits, huffman},
    settings::Settings,
    webtransport::{
        Config,
        capsule::{Capsule, Interpreter},
        flow,
        header::{self, Direction, Opening, PartialOpening},
        state::State,
        subprotocol,
    },
};

/// The bounds under which sections are decoded.
const LIMITS: Limits = Limits { size: 4096, lines: 64 };

/// An entry and the name of its corpus.
pub type Entry = (&'static str, fn(&[u8]));

/// Every entry.
pub const ENTRIES: &[Entry] = &[
    ("capsule", capsule),
    ("control", control),
    ("datagram", datagram),
    ("frame", frame),
    ("huffman", huffman),
    ("opening", opening),
    ("qpack", qpack),
    ("request", request),
    ("response", response),
    ("session", session),
    ("settings", settings),
];

/// Pieces of the input: its first octet says how long they are.
fn pieces(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first() {
        Some((step, rest)) => (usize::from(*step).max(1), rest),
        None => (1, data),
    }
}

/// Frame headers, and the content of a request stream.
pub fn frame(data: &[u8]) {
    let (step, data) = pieces(data);
    if let (Some(header), taken) = PartialHeader::default().take(data) {
        let mut octets = [0; MAX_HEADER_SIZE];
        let size = header.encode(&mut octets);
        assert!(size <= taken);
        assert_eq!(FrameHeader::decode(&octets[..size]), Some((header, size)));
    }
    let mut whole = data.to_vec();
    let compacted = BodyFrames::default().compact(&mut whole);
    let (mut body, mut content, mut offset) = (BodyFrames::default(), Vec::new(), 0);
    for piece in data.chunks(step) {
        let mut piece = piece.to_vec();
        let found = body.compact(&mut piece);
        content.extend_from_slice(&piece[..found.content]);
        if let Some((header, at)) = found.other {
            assert_eq!(compacted.other, Some((header, offset + at)));
            break;
        }
        offset += piece.len();
    }
    assert_eq!(content, whole[..compacted.content]);
}

fn control_events(role: Role, data: &[u8], step: usize) -> (Vec<ControlEvent>, bool) {
    let (mut reader, mut events) = (ControlReader::new(role), Vec::new());
    let good = data.chunks(step).all(|piece| reader.read(piece, |event| events.push(event)).is_ok());
    (events, good)
}

/// A control stream, and the QPACK streams.
pub fn control(data: &[u8]) {
    let (step, data) = pieces(data);
    for role in [Role::Client, Role::Server] {
        assert_eq!(control_events(role, data, step), control_events(role, data, data.len().max(1)));
    }
    let whole = DecoderStreamReader::default().read(data).is_ok();
    let mut reader = DecoderStreamReader::default();
    assert_eq!(data.chunks(step).all(|piece| reader.read(piece).is_ok()), whole);
    assert_eq!(data.chunks(step).all(|piece| read_encoder_stream(piece).is_ok()), read_encoder_stream(data).is_ok());
}

/// Field sections.
pub fn qpack(data: &[u8]) {
    let (mut size, mut lines) = (0, 0);
    let result = qpack::decode(data, LIMITS, |line| {
        lines += 1;
        size += line.value.as_bytes().len() as u64 + qpack::FIELD_OVERHEAD;
        if let qpack::Name::Literal(name) = line.name {
            size += name.len() as u64;
        }
        Ok::<_, ()>(())
    });
    assert!(lines <= LIMITS.lines && size <= LIMITS.size, "{result:?}");
}

/// Huffman strings, both ways.
pub fn huffman(data: &[u8]) {
    let mut text = Vec::new();
    if huffman::decode(data, usize::MAX, &mut text).is_ok() {
        let mut code = Vec::new();
        huffman::encode(&text, &mut code);
        assert_eq!(code, data);
    }
    let mut code = Vec::new();
    huffman::encode(data, &mut code);
    assert_eq!(code.len(), huffman::encoded_len(data));
    let mut text = Vec::new();
    assert_eq!(huffman::decode(&code, data.len(), &mut text), Ok(data.len()));
    assert_eq!(text, data);
}

/// SETTINGS payloads.
pub fn settings(data: &[u8]) {
    if let Ok(settings) = Settings::decode(data) {
        let mut out = Vec::new();
        settings.encode(&mut out);
        assert_eq!(Settings::decode(&out), Ok(settings));
    }
}

fn capsules(data: &[u8], step: usize) -> (Vec<(u64, Vec<u8>)>, bool) {
    let (mut reader, mut found) = (CapsuleReader::default(), Vec::new());
    let take = |CapsuleType(number)| if number % 2 == 0 { Take::UpTo(64) } else { Take::Skip };
    let mut keep = |CapsuleType(number), value: &[u8]| found.push((number, value.to_vec()));
    let good = data.chunks(step).all(|piece| reader.read(piece, take, &mut keep).is_ok()) && reader.end().is_ok();
    (found, good)
}

/// Capsules.
pub fn capsule(data: &[u8]) {
    let (step, data) = pieces(data);
    assert_eq!(capsules(data, step), capsules(data, data.len().max(1)));
}

/// What the first octets of a stream say.
pub fn opening(data: &[u8]) {
    let (step, data) = pieces(data);
    for direction in [Direction::Bidirectional, Direction::Unidirectional] {
        let (mut partial, mut rest) = (PartialOpening::new(direction), data);
        while !rest.is_empty() {
            let wanted = partial.wanted();
            let count = wanted.len().min(step).min(rest.len());
            wanted[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            match partial.advance(count) {
                Some(Opening::Session(id)) => {
                    let (octets, size) = header::encode(direction, id);
                    let mut again = PartialOpening::new(direction);
                    let found = octets[..size].iter().find_map(|octet| {
                        again.wanted()[0] = *octet;
                        again.advance(1)
                    });
                    assert_eq!(found, Some(Opening::Session(id)));
                    return;
                }
                Some(Opening::Other(_)) => {
                    assert_eq!(partial.octets(), &data[..data.len() - rest.len()]);
                    break;
                }
                None => {}
            }
        }
    }
    let mut headers = http::HeaderMap::new();
    if let Ok(value) = http::HeaderValue::from_bytes(data) {
        headers.insert(subprotocol::AVAILABLE, value);
        let offered = subprotocol::offered(&headers);
        if let Some(value) = subprotocol::offer(&offered).expect("what was offered can be offered") {
            headers.insert(subprotocol::AVAILABLE, value);
            assert_eq!(subprotocol::offered(&headers), offered);
        }
    }
}

/// What the peer says on a CONNECT stream, and what the session makes of it, up to the first fault.
fn said(data: &[u8], step: usize, flow: bool) -> (Vec<Capsule>, Vec<u8>, bool) {
    let limits = flow.then_some(flow::Limits { data: 100, streams_bidi: 2, streams_uni: 2 });
    let mut state: State<u8> = State::new(&Config { max_datagrams: 4, ..Config::default() }, limits);
    let (mut interpreter, mut heard, mut answers) = (Interpreter::new(flow), Vec::new(), Vec::new());
    for mut piece in data.chunks(step) {
        loop {
            match interpreter.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(capsule)) => {
                    heard.push(capsule.clone());
                    if state.hear(capsule).is_err() {
                        return (heard, answers, false);
                    }
                    state.may_send(3);
                    let before = answers.len();
                    state.say(&mut answers);
                    assert!(answers.len() - before < 100 && !state.has_news());
                }
                Err(_) => return (heard, answers, false),
            }
        }
    }
    assert_eq!(interpreter.is_closed(), state.ended().is_some());
    (heard, answers, interpreter.end().is_ok())
}

/// A session's CONNECT stream.
pub fn session(data: &[u8]) {
    let (step, data) = pieces(data);
    for flow in [false, true] {
        let (heard, answers, good) = said(data, data.len().max(1), flow);
        assert_eq!(said(data, step, flow), (heard.clone(), answers, good));
        let mut again = Vec::new();
        for capsule in &heard {
            capsule.append(&mut again);
        }
        let mut interpreter = Interpreter::new(flow);
        let mut rest = &again[..];
        for capsule in heard {
            assert_eq!(interpreter.next(&mut rest), Ok(Some(capsule)));
        }
        assert_eq!(interpreter.next(&mut rest), Ok(None));
    }
}

/// HTTP datagrams.
pub fn datagram(data: &[u8]) {
    if let Some((stream, payload)) = datagram::decode(data) {
        let mut out = Vec::new();
        datagram::append_prefix(stream, &mut out);
        out.extend_from_slice(payload);
        assert_eq!(datagram::decode(&out), Some((stream, payload)));
    }
}

/// Heads of requests, and trailers: what is taken encodes to something that decodes to the same.
pub fn request(data: &[u8]) {
    if let Ok(head) = decode_request(data, LIMITS) {
        let mut out = Vec::new();
        encode_request(&head.request, &mut out).expect("what was received can be sent");
        // Joined cookies count less and Host becomes the authority, so that the limits hold again.
        let again = decode_request(&out, LIMITS).expect("what was sent can be received");
        assert_eq!(again.request.uri(), head.request.uri());
        assert_eq!(again.request.method(), head.request.method());
        assert_eq!(again.request.headers(), head.request.headers());
        assert_eq!(again.content_length, head.content_length);
    }
    if let Ok(trailers) = decode_trailers(data, LIMITS) {
        let mut out = Vec::new();
        encode_trailers(&trailers, &mut out);
        assert_eq!(decode_trailers(&out, LIMITS), Ok(trailers));
    }
}

/// Heads of responses.
pub fn response(data: &[u8]) {
    if let Ok(head) = decode_response(data, LIMITS) {
        let mut out = Vec::new();
        encode_response(&head.response, false, &mut out).expect("what was received can be sent");
        let again = decode_response(&out, LIMITS).expect("what was sent can be received");
        assert_eq!(again.response.status(), head.response.status());
        assert_eq!(again.response.headers(), head.response.headers());
    }
}
