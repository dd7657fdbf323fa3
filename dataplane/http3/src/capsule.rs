//! Owns the capsule protocol (RFC 9297 section 3): a sequence of typed, length-prefixed values in a tunnel's content.
//!
//! Capsules that the application does not know are skipped without being kept, however long they say they are.

use std::borrow::Cow;

use crate::{
    code::Code,
    frame::{FrameHeader, FrameType, PartialHeader},
    varint,
};

/// A capsule's type number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapsuleType(pub u64);

impl CapsuleType {
    /// An HTTP datagram where QUIC's cannot be used (RFC 9297 section 3.5).
    pub const DATAGRAM: Self = Self(0x00);
}

/// What to do with a capsule, decided by its type before any of its value is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Skip it.
    Skip,
    /// Keep its value; more octets than this are an error.
    UpTo(usize),
    /// Keep its value if it has at most this many octets, else skip it.
    IfUpTo(usize),
}

/// Why a sequence of capsules cannot go on. The stream is reset with [`CapsuleError::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// A capsule that was wanted is longer than it may be.
    #[error("capsule {0:?} is too long")]
    TooLong(CapsuleType),
    /// The stream ended within a capsule (RFC 9297 section 3.3).
    #[error("the stream ended within a capsule")]
    Truncated,
}

impl CapsuleError {
    /// The code to reset the stream with.
    pub const fn code(self) -> Code {
        match self {
            Self::TooLong(_) => Code::H3_EXCESSIVE_LOAD,
            Self::Truncated => Code::H3_DATAGRAM_ERROR,
        }
    }
}

/// A capsule's type and its value.
pub type Found<'i> = (CapsuleType, Cow<'i, [u8]>);

/// Reads capsules from content that comes in pieces.
#[derive(Debug, Default)]
pub struct CapsuleReader {
    // A capsule's header has the form of a frame's: two integers.
    partial: PartialHeader,
    current: Option<Current>,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    capsule_type: CapsuleType,
    left: u64,
    keep: bool,
}

impl Current {
    fn begin(header: FrameHeader, take: &mut impl FnMut(CapsuleType) -> Take) -> Result<Self, CapsuleError> {
        let FrameHeader { frame_type: FrameType(number), length: left } = header;
        let capsule_type = CapsuleType(number);
        let keep = match take(capsule_type) {
            Take::Skip => false,
            Take::UpTo(most) if left > most as u64 => return Err(CapsuleError::TooLong(capsule_type)),
            Take::UpTo(_) => true,
            Take::IfUpTo(most) => left <= most as u64,
        };
        Ok(Self { capsule_type, left, keep })
    }
}

impl CapsuleReader {
    /// Takes content. `take` says what to do with each type; the values that it wanted go to `capsule`, whole.
    pub fn read(
        &mut self,
        mut input: &[u8],
        mut take: impl FnMut(CapsuleType) -> Take,
        mut capsule: impl FnMut(CapsuleType, &[u8]),
    ) -> Result<(), CapsuleError> {
        while let Some((capsule_type, value)) = self.next(&mut input, &mut take)? {
            capsule(capsule_type, &value);
        }
        Ok(())
    }

    /// Takes content up to the end of the next capsule that `take` wants, and returns that one. `None` means that all
    /// of `input` was taken without coming to one's end.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        mut take: impl FnMut(CapsuleType) -> Take,
    ) -> Result<Option<Found<'i>>, CapsuleError> {
        loop {
            let Some(current) = &mut self.current else {
                if input.is_empty() {
                    return Ok(None);
                }
                let (header, taken) = self.partial.take(input);
                *input = &input[taken..];
                if let Some(header) = header {
                    self.current = Some(Current::begin(header, &mut take)?);
                }
                continue;
            };
            let here = usize::try_from(current.left).unwrap_or(usize::MAX).min(input.len());
            let (piece, rest) = input.split_at(here);
            *input = rest;
            current.left -= here as u64;
            let Current { capsule_type, left, keep } = *current;
            if left > 0 {
                if keep {
                    self.value.extend_from_slice(piece);
                }
                return Ok(None);
            }
            self.current = None;
            if keep {
                if self.value.is_empty() {
                    // All of it in one piece: never copied.
                    return Ok(Some((capsule_type, Cow::Borrowed(piece))));
                }
                self.value.extend_from_slice(piece);
                return Ok(Some((capsule_type, Cow::Owned(std::mem::take(&mut self.value)))));
            }
        }
    }

    /// Holds the end of the content against where it may be.
    pub fn end(&self) -> Result<(), CapsuleError> {
        if self.current.is_none() && self.partial.is_empty() { Ok(()) } else { Err(CapsuleError::Truncated) }
    }
}

/// Appends a capsule.
///
/// # Panics
/// When the type is no QUIC variable-length integer.
pub fn append(capsule_type: CapsuleType, value: &[u8], out: &mut Vec<u8>) {
    varint::append(capsule_type.0, out);
    varint::append(value.len() as u64, out);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(octets: &[u8], step: usize, most: usize) -> Result<Vec<(u64, Vec<u8>)>, CapsuleError> {
        let (mut reader, mut found) = (CapsuleReader::default(), Vec::new());
        for piece in octets.chunks(step.max(1)) {
            let take = |CapsuleType(number)| if number % 2 == 0 { Take::UpTo(most) } else { Take::Skip };
            reader.read(piece, take, |CapsuleType(number), value| found.push((number, value.to_vec())))?;
        }
        reader.end()?;
        Ok(found)
    }

    #[test]
    fn bounds() {
        let mut out = Vec::new();
        append(CapsuleType(2), &[0; 9], &mut out);
        assert_eq!(read(&out, 1, 8), Err(CapsuleError::TooLong(CapsuleType(2))));
        assert_eq!(read(&out, 1, 9), Ok(vec![(2, vec![0; 9])]));
        assert_eq!(read(&out[..10], 1, 9), Err(CapsuleError::Truncated));
        // An unknown capsule of 2^62 - 1 octets keeps nothing.
        let mut reader = CapsuleReader::default();
        let huge = [&[0x01][..], &[0xff; 8]].concat();
        reader.read(&huge, |_| Take::Skip, |_, _| {}).unwrap();
        reader.read(&[0; 100_000], |_| Take::Skip, |_, _| {}).unwrap();
        assert_eq!(reader.value.capacity(), 0);
        assert_eq!(reader.end(), Err(CapsuleError::Truncated));
    }

    proptest! {
        #[test]
        fn round_trip(capsules in proptest::collection::vec((0u64..100_000, proptest::collection::vec(any::<u8>(), 0..40)), 0..10),
                      step in 1usize..50) {
            let mut out = Vec::new();
            for (number, value) in &capsules {
                append(CapsuleType(*number), value, &mut out);
            }
            let wanted: Vec<_> = capsules.into_iter().filter(|(number, _)| number % 2 == 0).collect();
            prop_assert_eq!(read(&out, step, 40), Ok(wanted));
        }
    }
}
