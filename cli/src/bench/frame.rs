//! As little of WebSocket's framing (RFC 6455, section 5) as a load generator needs.
//!
//! A message is framed once and sent many times; of what comes, headers are read and payloads counted.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// Any key does where nobody attacks a cache; not zero, so that the other side has its work.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A reading buffer's first size: a few small messages.
const READ_CAPACITY: usize = 4 << 10;

/// A masked binary message of so many octets, ready to be sent.
pub(super) fn binary_message(size: usize) -> Vec<u8> {
    let mut frame = vec![FIN | BINARY];
    match size {
        0..126 => frame.push(MASKED | size as u8),
        126..=0xffff => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend((0..size).map(|index| payload(index) ^ MASK[index % 4]));
    frame
}

/// What stands at that place of every message.
fn payload(index: usize) -> u8 {
    (index % 251) as u8
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A whole message of so many octets.
    Message(u64),
    /// The server asks for a sign of life.
    Ping,
    /// The server closes.
    Close,
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: BytesMut,
    /// Octets of payload of the frame that is being read.
    left: u64,
    /// Octets of payload of the message so far.
    message: u64,
    fin: bool,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(READ_CAPACITY), left: 0, message: 0, fin: false }
    }

    /// The next message or control frame. Its payload is dropped as it comes.
    pub(super) async fn next(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
        loop {
            if let Some(received) = self.take() {
                return Ok(received);
            }
            self.buffer.reserve(READ_CAPACITY);
            if from.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self) -> Option<Received> {
        loop {
            if self.left > 0 {
                let size = self.left.min(self.buffer.len() as u64);
                self.buffer.advance(size as usize);
                self.left -= size;
                if self.left > 0 {
                    return None;
                }
                if self.fin {
                    return Some(Received::Message(std::mem::take(&mut self.message)));
                }
            }
            let (opcode, fin, size, header) = header(&self.buffer)?;
            if opcode & 0x8 != 0 {
                // A control frame is at most 125 octets long: it is taken whole.
                if self.buffer.len() < header + size as usize {
                    return None;
                }
                self.buffer.advance(header + size as usize);
                match opcode {
                    PING => return Some(Received::Ping),
                    CLOSE => return Some(Received::Close),
                    _ => continue,
                }
            }
            self.buffer.advance(header);
            self.message += size;
            (self.left, self.fin) = (size, fin);
            if size == 0 && fin {
                return Some(Received::Message(std::mem::take(&mut self.message)));
            }
        }
    }
}

/// Opcode, FIN, the payload's length and the header's own. A server does not mask.
fn header(octets: &[u8]) -> Option<(u8, bool, u64, usize)> {
    let (first, second) = (*octets.first()?, *octets.get(1)?);
    let (size, header) = match second & !MASKED {
        126 => (u64::from(u16::from_be_bytes(octets.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(octets.get(2..10)?.try_into().ok()?), 10),
        size => (u64::from(size), 2),
    };
    Some((first & OPCODE, first & FIN != 0, size, header))
}

/// An empty Pong: a server's Ping carries nothing that a load generator would repeat.
pub(super) const PONG: [u8; 6] = [FIN | 0xa, MASKED, MASK[0], MASK[1], MASK[2], MASK[3]];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_messages_however_they_are_cut() {
        let mut wire = vec![0x82, 3, 1, 2, 3];
        // Two fragments with a Ping in between.
        wire.extend([0x02, 1, 9, 0x89, 2, 0, 0, 0x80, 2, 8, 7]);
        wire.extend([0x82, 126, 1, 0]);
        wire.extend([5; 256]);
        wire.extend([0x82, 0, 0x8a, 0, 0x88, 0]);
        let expected = [
            Received::Message(3),
            Received::Ping,
            Received::Message(3),
            Received::Message(256),
            Received::Message(0),
            Received::Close,
        ];
        for cut in [1, 2, 3, 7, 1000] {
            let mut reader = FrameReader::new();
            let mut pieces = pieces(&wire, cut);
            for expected in &expected {
                assert_eq!(reader.next(&mut pieces).await.unwrap(), *expected, "cut at {cut}");
            }
            assert!(reader.next(&mut pieces).await.is_err());
        }
    }

    /// Gives at most `cut` octets at a time.
    fn pieces(octets: &[u8], cut: usize) -> impl AsyncRead + Unpin + use<> {
        struct Pieces(Vec<u8>, usize, usize);
        impl AsyncRead for Pieces {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                let end = (self.1 + self.2).min(self.0.len()).min(self.1 + buffer.remaining());
                let start = std::mem::replace(&mut self.1, end);
                buffer.put_slice(&self.0[start..end]);
                std::task::Poll::Ready(Ok(()))
            }
        }
        Pieces(octets.to_vec(), 0, cut)
    }

    #[test]
    fn writes_messages_that_a_server_understands() {
        use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket};
        for size in [0, 1, 125, 126, 0xffff, 0x10000] {
            let wire = io::Cursor::new(binary_message(size));
            let mut server = WebSocket::from_raw_socket(wire, Role::Server, None);
            let expected: Vec<u8> = (0..size).map(payload).collect();
            assert_eq!(server.read().unwrap(), Message::binary(expected));
        }
    }
}
