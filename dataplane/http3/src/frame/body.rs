//! Owns the way from the octets of a request stream to the octets of a message's content, in place.
//!
//! DATA frame headers are cut out of a buffer that was read from the stream, and unknown frames are dropped, so that
//! many small DATA frames come back as one run of content without being kept anywhere. It stops at the first frame that
//! is neither: what to do with that is the stream's decision.

use super::{FrameHeader, FrameType, PartialHeader};

/// Where in its frames a stream is.
#[derive(Clone, Debug, Default)]
pub struct BodyFrames {
    partial: PartialHeader,
    /// Octets of the current frame that have not come yet.
    left: u64,
    /// Whether the current frame is DATA; otherwise it is skipped.
    data: bool,
    webtransport: bool,
}

/// What [`BodyFrames::compact`] made of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The buffer's first octets are this much content.
    pub content: usize,
    /// A frame that is neither DATA nor unknown begins: its header, and where its payload starts in the buffer.
    pub other: Option<(FrameHeader, usize)>,
}

impl BodyFrames {
    /// At the beginning of a stream of a connection that does, or does not, offer WebTransport: where it does,
    /// [`FrameType::WEBTRANSPORT_STREAM`] is not skipped.
    pub fn new(webtransport: bool) -> Self {
        Self { webtransport, ..Self::default() }
    }

    /// Whether a frame of this type is to be skipped.
    pub fn is_skipped(&self, frame_type: FrameType) -> bool {
        frame_type.is_unknown() && !(self.webtransport && frame_type == FrameType::WEBTRANSPORT_STREAM)
    }

    /// Whether the stream is between two frames, where alone it may end (RFC 9114 section 7.1).
    pub const fn is_between_frames(&self) -> bool {
        self.left == 0 && self.partial.is_empty()
    }

    /// How much of a frame that is skipped is still to come.
    pub const fn skip_left(&self) -> u64 {
        if self.data { 0 } else { self.left }
    }

    /// How many octets can be read without reading past the next frame header. Only between frames.
    pub fn header_wanted(&self) -> usize {
        self.partial.wanted()
    }

    /// Notes that `octets` of the current frame's payload went elsewhere.
    pub fn consume(&mut self, octets: usize) {
        self.left = self.left.saturating_sub(octets as u64);
    }

    /// Takes octets of the next frame's header. Returns it once it is whole, and how many octets were taken. Only between
    /// frames.
    pub fn header(&mut self, input: &[u8]) -> (Option<FrameHeader>, usize) {
        self.partial.take(input)
    }

    /// Makes a frame the current one, unless it is neither DATA nor unknown. Says whether it did.
    pub fn begin(&mut self, header: FrameHeader) -> bool {
        self.data = header.frame_type == FrameType::DATA;
        let ours = self.data || self.is_skipped(header.frame_type);
        if ours {
            self.left = header.length;
        }
        ours
    }

    /// Cuts frame headers and skipped frames out of `buffer`, moving content to its front.
    pub fn compact(&mut self, buffer: &mut [u8]) -> Compacted {
        let (mut read, mut content) = (0, 0);
        while read < buffer.len() {
            if self.left == 0 {
                let (header, taken) = self.header(&buffer[read..]);
                read += taken;
                if let Some(header) = header
                    && !self.begin(header)
                {
                    return Compacted { content, other: Some((header, read)) };
                }
                continue;
            }
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len() - read);
            if self.data {
                if read != content {
                    buffer.copy_within(read..read + here, content);
                }
                content += here;
            }
            read += here;
            self.left -= here as u64;
        }
        Compacted { content, other: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::varint;

    fn frame(frame_type: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint::append(frame_type, &mut out);
        varint::append(payload.len() as u64, &mut out);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn small_frames_become_one_run() {
        let mut buffer = [frame(0, b"one"), frame(0x21, b"grease"), frame(0, b""), frame(0, b"two")].concat();
        let mut body = BodyFrames::default();
        assert_eq!(body.compact(&mut buffer), Compacted { content: 6, other: None });
        assert_eq!(&buffer[..6], b"onetwo");
        assert!(body.is_between_frames());
    }

    #[test]
    fn stops_at_other_frames() {
        let mut buffer = [frame(0, b"one"), frame(1, b"section")].concat();
        let mut body = BodyFrames::default();
        let compacted = body.compact(&mut buffer);
        let header = FrameHeader { frame_type: FrameType::HEADERS, length: 7 };
        assert_eq!(compacted, Compacted { content: 3, other: Some((header, 7)) });
        assert_eq!(&buffer[7..], b"section");
    }

    #[test]
    fn a_huge_unknown_frame_keeps_nothing() {
        let mut head = Vec::new();
        varint::append(0x21, &mut head);
        varint::append(varint::MAX, &mut head);
        let mut body = BodyFrames::default();
        assert_eq!(body.compact(&mut head).content, 0);
        assert_eq!(body.compact(&mut [7; 4096]).content, 0);
        assert_eq!(body.skip_left(), varint::MAX - 4096);
        assert!(!body.is_between_frames());
    }

    proptest! {
        /// However the stream is cut into reads, the same content comes out.
        #[test]
        fn any_cut(frames in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
                   cuts in proptest::collection::vec(1usize..200, 1..20)) {
            let (mut wire, mut content) = (Vec::new(), Vec::new());
            for (data, payload) in &frames {
                wire.extend(frame(if *data { 0 } else { 0x4242 }, payload));
                if *data {
                    content.extend_from_slice(payload);
                }
            }
            let (mut body, mut got, mut rest) = (BodyFrames::default(), Vec::new(), &mut wire[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at_mut((*cut).min(rest.len()));
                let compacted = body.compact(now);
                prop_assert_eq!(compacted.other, None);
                got.extend_from_slice(&now[..compacted.content]);
                rest = later;
            }
            prop_assert_eq!(got, content);
            prop_assert!(body.is_between_frames());
        }
    }
}
