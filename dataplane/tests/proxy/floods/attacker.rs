//! A client that says every HTTP/2 frame itself (RFC 9113 section 4), over TLS, and notes every frame that comes.
//!
//! Knows frames and as much HPACK as it takes to write literals and to read a status; nothing of what is an attack.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::client::tls;
use crate::patience::within;
use crate::stage::{HOST, Stage};

/// Frame types (section 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Flags: END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING is the same bit.
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Settings (section 6.5.2).
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const MAX_FRAME_SIZE: u16 = 5;

/// Error codes (section 7).
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    assert_eq!(length[0], 0, "a length has 24 bits");
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A string's or an index's integer with a prefix of seven bits (RFC 7541 section 5.1).
fn integer(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![value as u8];
    }
    let mut octets = vec![127];
    value -= 127;
    while value >= 128 {
        octets.push((value % 128) as u8 | 128);
        value /= 128;
    }
    octets.push(value as u8);
    octets
}

/// A field as a literal that is not indexed and whose name is not either (RFC 7541 section 6.2.2).
pub(super) fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0], &integer(name.len())[..], name.as_bytes(), &integer(value.len()), value].concat()
}

/// A literal that goes into the dynamic table (section 6.2.1), where index 62 finds it as long as it is the newest.
pub(super) fn remembered(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0x40], &literal(name, value)[1..]].concat()
}

/// The newest entry of the dynamic table, by one octet (section 6.1).
pub(super) const NEWEST: u8 = 0x80 | 62;

/// A field section of literals.
pub(super) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value.as_bytes())).collect()
}

/// The section of a request for [`HOST`], with more fields behind.
pub(super) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let head = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)];
    section(&[&head, more].concat())
}

/// The section of a WebSocket handshake (RFC 8441 section 5).
pub(super) fn websocket(path: &str) -> Vec<u8> {
    request("CONNECT", path, &[(":protocol", "websocket"), ("sec-websocket-version", "13")])
}

/// HEADERS with a whole section.
pub(super) fn headers(stream: u32, flags: u8, section: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, section)
}

pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

pub(super) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(super) fn ping(number: u64) -> Vec<u8> {
    frame(PING, 0, 0, &number.to_be_bytes())
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Headers {
        stream: u32,
        status: u16,
    },
    Data {
        stream: u32,
        octets: usize,
        end: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    GoAway {
        code: u32,
    },
    Pong(u64),
    /// SETTINGS, their acknowledgement, and credit.
    Other,
    /// The connection ended. Last.
    Closed,
}

/// A raw connection.
pub(super) struct Attacker {
    write: WriteHalf<TlsStream<TcpStream>>,
    events: mpsc::UnboundedReceiver<Event>,
    listen: Arc<Notify>,
    _reading: AbortOnDropHandle<()>,
}

impl Attacker {
    /// With the preface and these frames of SETTINGS, which may be none that a good client would send.
    pub(super) async fn connect(stage: &Stage, settings: &[u8]) -> Self {
        let attacker = Self::deaf(stage, settings).await;
        attacker.listen();
        attacker
    }

    /// One that reads nothing until [`Attacker::listen`].
    pub(super) async fn deaf(stage: &Stage, settings: &[u8]) -> Self {
        let stream = within("a connection", tls(stage, HOST, "h2")).await.unwrap();
        let (read, mut write) = tokio::io::split(stream);
        write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        write.write_all(settings).await.unwrap();
        write.flush().await.unwrap();
        let (note, events) = mpsc::unbounded_channel();
        let listen = Arc::new(Notify::new());
        let told = Arc::clone(&listen);
        let reading = tokio::spawn(async move {
            told.notified().await;
            let _end = note_all(read, &note).await;
            let _test_is_over = note.send(Event::Closed);
        });
        Self { write, events, listen, _reading: AbortOnDropHandle::new(reading) }
    }

    pub(super) fn listen(&self) {
        self.listen.notify_one();
    }

    /// Sends octets. Whether the server still took them: one that has closed does not.
    pub(super) async fn send(&mut self, octets: &[u8]) -> bool {
        within("octets to be taken", async {
            self.write.write_all(octets).await.is_ok() && self.write.flush().await.is_ok()
        })
        .await
    }

    /// Where octets go, for who wants to see them taken or not.
    pub(super) fn writer(&mut self) -> &mut WriteHalf<TlsStream<TcpStream>> {
        &mut self.write
    }

    /// The next frame that says something.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            match within("a frame", self.events.recv()).await {
                Some(Event::Other) => {}
                Some(event) => return event,
                None => return Event::Closed,
            }
        }
    }

    /// The first frame that passes; no later one is taken. Fails where the connection ends before.
    pub(super) async fn wait_for<T>(&mut self, what: &str, pass: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let event = self.event().await;
            if let Some(found) = pass(&event) {
                return found;
            }
            assert_ne!(event, Event::Closed, "closed before {what}");
        }
    }

    /// Whether the connection lives: an answer to a PING that comes behind all answers to what was sent before.
    pub(super) async fn sees_pong(&mut self, number: u64) -> bool {
        if !self.send(&ping(number)).await {
            return false;
        }
        loop {
            match self.event().await {
                Event::Pong(answered) if answered == number => return true,
                Event::Closed => return false,
                _ => {}
            }
        }
    }

    /// Every frame up to the end of the connection, with the code of GOAWAY if there was one.
    pub(super) async fn goodbye(&mut self) -> Option<u32> {
        let mut said = None;
        loop {
            match self.event().await {
                Event::GoAway { code } => said = Some(code),
                Event::Closed => return said,
                _ => {}
            }
        }
    }
}

async fn note_all(
    mut read: ReadHalf<TlsStream<TcpStream>>,
    note: &mpsc::UnboundedSender<Event>,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 9];
        read.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        read.read_exact(&mut payload).await?;
        let number = |from: usize| u32::from_be_bytes(payload[from..from + 4].try_into().unwrap());
        let event = match kind {
            HEADERS => Event::Headers { stream, status: status(&payload) },
            DATA => Event::Data { stream, octets: length, end: flags & END_STREAM != 0 },
            RST_STREAM => Event::Reset { stream, code: number(0) },
            GOAWAY => Event::GoAway { code: number(4) },
            PING if flags & ACK != 0 => Event::Pong(u64::from_be_bytes(payload[..8].try_into().unwrap())),
            _ => Event::Other,
        };
        if note.send(event).is_err() {
            return Ok(());
        }
    }
}

/// The status at the beginning of a response's section: one of the static table, or the first literal there; 0 for one
/// that an entry of the dynamic table says.
fn status(section: &[u8]) -> u16 {
    // RFC 7541 appendix A, entries 8 to 14. A change of the table's size (section 6.3) may come first.
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let section = &section[section.iter().take_while(|octet| **octet & 0xe0 == 0x20).count()..];
    match section {
        [octet @ 0x88..=0x8e, ..] => INDEXED[usize::from(octet - 0x88)],
        [0x48 | 0x08 | 0x18, 3, digits @ ..] => std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        [0x48 | 0x08 | 0x18, length, octets @ ..] if length & 0x80 != 0 => huffman_digits(octets),
        _ => 0,
    }
}

/// Three digits in the Huffman code of RFC 7541 appendix B.
fn huffman_digits(octets: &[u8]) -> u16 {
    let bits: u64 = octets.iter().chain(&[0xff; 4]).take(4).fold(0, |bits, octet| bits << 8 | u64::from(*octet)) << 32;
    let (mut number, mut at) = (0, 0);
    for _ in 0..3 {
        let five = (bits << at >> 59) as u16;
        let six = (bits << at >> 58) as u16;
        let (digit, length) = if five < 3 { (five, 5) } else { (six - 0b01_1001 + 3, 6) };
        number = number * 10 + digit;
        at += length;
    }
    number
}
