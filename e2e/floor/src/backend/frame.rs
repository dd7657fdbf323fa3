//! WebSocket frames as octets that pass (RFC 6455, section 5.2): what a client sends becomes what a server sends back.
//!
//! Pure. Payloads are unmasked as they come and never kept, so a frame of any length takes no memory.

/// The longest head of a client's frame: two octets, eight of length, four of mask.
const MAX_HEAD_OCTETS: usize = 14;

const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Turns a client's frames into their echo, wherever reads cut them.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// The part of a head that has come.
    head: Vec<u8>,
    payload: Payload,
    closed: bool,
}

#[derive(Debug, Default)]
struct Payload {
    left: u64,
    mask: [u8; 4],
    /// Which octet of the mask is next.
    turn: usize,
}

impl Echo {
    /// Appends the echo of some octets. False for a frame that no client may send: the connection fails then.
    #[must_use]
    pub(super) fn push(&mut self, mut octets: &[u8], out: &mut Vec<u8>) -> bool {
        // Nothing counts after a close frame (RFC 6455, section 1.4).
        while !octets.is_empty() && !self.is_closed() {
            if self.payload.left > 0 {
                octets = self.payload.unmask(octets, out);
                continue;
            }
            self.head.push(octets[0]);
            octets = &octets[1..];
            if let [_, second, ..] = self.head[..] {
                if second & MASKED == 0 {
                    return false;
                }
                if self.head.len() == head_octets(second) {
                    self.begin(out);
                }
            }
        }
        true
    }

    /// Whether a whole close frame has passed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed && self.payload.left == 0
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        debug_assert!(self.head.len() <= MAX_HEAD_OCTETS);
        let (length, mask) = self.head[2..].split_at(self.head.len() - 6);
        let opcode = self.head[0] & OPCODE;
        self.closed = opcode == CLOSE;
        let length_in_head = u64::from(self.head[1] & !MASKED);
        let left = if length.is_empty() {
            length_in_head
        } else {
            length.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet))
        };
        self.payload = Payload { left, mask: mask.try_into().expect("a mask is four octets"), turn: 0 };
        out.push(if opcode == PING { self.head[0] & !OPCODE | PONG } else { self.head[0] });
        out.push(self.head[1] & !MASKED);
        out.extend_from_slice(length);
        self.head.clear();
    }
}

impl Payload {
    /// Appends what belongs to this payload, and returns the rest.
    fn unmask<'o>(&mut self, octets: &'o [u8], out: &mut Vec<u8>) -> &'o [u8] {
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len());
        let (payload, rest) = octets.split_at(size);
        let mut mask = self.mask;
        mask.rotate_left(self.turn);
        out.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(octet, mask)| octet ^ mask));
        self.turn = (self.turn + size) % mask.len();
        self.left -= size as u64;
        rest
    }
}

/// How long a masked frame's head is, from its second octet.
fn head_octets(second: u8) -> usize {
    match second & !MASKED {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}

/// The head of a server's unmasked binary frame, for payloads whose length takes 16 bits.
pub(super) fn binary_head(length: u16) -> [u8; 4] {
    let [high, low] = length.to_be_bytes();
    [0x82, 126, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, MASKED | length[0]];
        frame.extend_from_slice(&length[1..]);
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(octet, mask)| octet ^ mask));
        frame
    }

    /// Every case in one piece and octet by octet.
    #[test]
    fn echoes() {
        let long = vec![7; 300];
        let cases: [(Vec<u8>, Vec<u8>, bool); 5] = [
            (masked(0x82, &[3], b"abc"), b"\x82\x03abc".to_vec(), false),
            (masked(0x82, &[126, 1, 44], &long), [b"\x82\x7e\x01\x2c", &long[..]].concat(), false),
            (
                masked(0x82, &[127, 0, 0, 0, 0, 0, 0, 1, 44], &long),
                [b"\x82\x7f\0\0\0\0\0\0\x01\x2c", &long[..]].concat(),
                false,
            ),
            ([masked(0x89, &[1], b"p"), masked(0x81, &[0], b"")].concat(), b"\x8a\x01p\x81\0".to_vec(), false),
            ([masked(0x88, &[2], &[3, 232]), masked(0x81, &[0], b"")].concat(), b"\x88\x02\x03\xe8".to_vec(), true),
        ];
        for (frames, expect, closed) in cases {
            for step in [frames.len(), 1] {
                let (mut echo, mut out) = (Echo::default(), Vec::new());
                assert!(frames.chunks(step).all(|chunk| echo.push(chunk, &mut out)));
                assert_eq!((out, echo.is_closed()), (expect.clone(), closed), "{frames:?} by {step}");
            }
        }
    }

    #[test]
    fn an_unmasked_frame_fails() {
        assert!(!Echo::default().push(b"\x82\x03abc", &mut Vec::new()));
    }
}
