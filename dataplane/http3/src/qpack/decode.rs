//! Owns the decoding of field sections (RFC 9204 section 4.5) against a zero dynamic table.
//!
//! The caller's bounds are checked before a string is kept, with the accounting of RFC 9114 section 4.2.2. Values are
//! slices of one allocation per section: whoever keeps one value keeps the section's values.

use bytes::{Bytes, BytesMut};

use super::{
    DecodeError, FIELD_OVERHEAD, SectionError, huffman, integer,
    static_table::{self, Entry},
};

/// What one section may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Decoded size of the section (RFC 9114 section 4.2.2).
    pub size: u64,
    /// Field lines.
    pub lines: usize,
}

/// A line's name.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// The name of an entry of the static table.
    Static(&'static Entry),
    /// Octets, not checked.
    Literal(&'a [u8]),
}

/// A line's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// The value of an entry of the static table.
    Static(&'static Entry),
    /// Octets, not checked.
    Literal(Bytes),
}

impl Value {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(entry) => entry.value.as_bytes(),
            Self::Literal(octets) => octets,
        }
    }
}

/// One decoded line.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The value.
    pub value: Value,
    /// The sender asks that no hop puts this into a table (RFC 9204 section 4.5.4).
    pub never_indexed: bool,
}

/// Decodes a whole section, giving each line to `take` in order.
pub fn decode<E>(
    mut section: &[u8],
    limits: Limits,
    mut take: impl FnMut(Line<'_>) -> Result<(), E>,
) -> Result<(), SectionError<E>> {
    // RFC 9204 section 4.5.1: without dynamic references the Required Insert Count is zero; Base then means nothing.
    if integer::decode(8, &mut section)? != 0 {
        return Err(DecodeError::DynamicReference.into());
    }
    integer::decode(7, &mut section)?;

    let mut strings = Strings { budget: limits.size, arena: BytesMut::new(), name: Vec::new() };
    let mut lines = 0;
    while let Some(&first) = section.first() {
        lines += 1;
        if lines > limits.lines {
            return Err(SectionError::TooLarge);
        }
        strings.spend(FIELD_OVERHEAD)?;
        let line = strings.line(first, &mut section)?;
        take(line).map_err(SectionError::Refused)?;
    }
    Ok(())
}

/// Where decoded strings go, and how much more may come.
struct Strings {
    budget: u64,
    arena: BytesMut,
    /// The current line's name when it was Huffman-coded.
    name: Vec<u8>,
}

/// Why a string was not decoded.
enum StringError {
    Qpack(DecodeError),
    TooLarge,
}

impl<E> From<StringError> for SectionError<E> {
    fn from(error: StringError) -> Self {
        match error {
            StringError::Qpack(error) => Self::Qpack(error),
            StringError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<DecodeError> for StringError {
    fn from(error: DecodeError) -> Self {
        Self::Qpack(error)
    }
}

impl From<huffman::Stop> for StringError {
    fn from(stop: huffman::Stop) -> Self {
        match stop {
            huffman::Stop::Malformed => Self::Qpack(DecodeError::Huffman),
            huffman::Stop::TooLong => Self::TooLarge,
        }
    }
}

impl Strings {
    fn spend(&mut self, size: u64) -> Result<(), StringError> {
        self.budget = self.budget.checked_sub(size).ok_or(StringError::TooLarge)?;
        Ok(())
    }

    fn line<'a, 's: 'a>(&'a mut self, first: u8, section: &mut &'s [u8]) -> Result<Line<'a>, StringError> {
        if first & 0b1000_0000 != 0 {
            // Indexed field line (section 4.5.2).
            if first & 0b0100_0000 == 0 {
                return Err(DecodeError::DynamicReference.into());
            }
            let entry = static_entry(6, section)?;
            self.spend(entry.size)?;
            return Ok(Line { name: Name::Static(entry), value: Value::Static(entry), never_indexed: false });
        }
        if first & 0b0100_0000 != 0 {
            // Literal field line with name reference (section 4.5.4).
            if first & 0b0001_0000 == 0 {
                return Err(DecodeError::DynamicReference.into());
            }
            let entry = static_entry(4, section)?;
            self.spend(entry.name_size)?;
            let value = self.value(section)?;
            return Ok(Line { name: Name::Static(entry), value, never_indexed: first & 0b0010_0000 != 0 });
        }
        if first & 0b0010_0000 != 0 {
            // Literal field line with literal name (section 4.5.6).
            let name = self.literal_name(first, section)?;
            let value = self.value(section)?;
            let name = Name::Literal(name.unwrap_or(&self.name));
            return Ok(Line { name, value, never_indexed: first & 0b0001_0000 != 0 });
        }
        // Sections 4.5.3 and 4.5.5: post-Base indices are always dynamic.
        Err(DecodeError::DynamicReference.into())
    }

    /// The name when it stands in the section as it is; `None` when it was decoded into `self.name`.
    fn literal_name<'s>(&mut self, first: u8, section: &mut &'s [u8]) -> Result<Option<&'s [u8]>, StringError> {
        let octets = raw_string(3, section)?;
        if first & 0b0000_1000 == 0 {
            self.spend(octets.len() as u64)?;
            return Ok(Some(octets));
        }
        self.name.clear();
        let size = huffman::decode(octets, usize::try_from(self.budget).unwrap_or(usize::MAX), &mut self.name)?;
        self.spend(size as u64)?;
        Ok(None)
    }

    fn value(&mut self, section: &mut &[u8]) -> Result<Value, StringError> {
        let &first = section.first().ok_or(DecodeError::Truncated)?;
        let octets = raw_string(7, section)?;
        if self.arena.capacity() == 0 {
            // Most of what follows becomes values; Huffman saves about a quarter. The section is already here and
            // bounded, so this is no allocation by a declared length.
            self.arena.reserve(octets.len() + section.len() + (octets.len() + section.len()) / 3);
        }
        if first & 0b1000_0000 == 0 {
            self.spend(octets.len() as u64)?;
            self.arena.extend_from_slice(octets);
        } else {
            let limit = usize::try_from(self.budget).unwrap_or(usize::MAX);
            let size = huffman::decode(octets, limit, &mut self.arena)?;
            self.spend(size as u64)?;
        }
        Ok(Value::Literal(self.arena.split().freeze()))
    }
}

fn static_entry(prefix: u32, section: &mut &[u8]) -> Result<&'static Entry, DecodeError> {
    static_table::get(integer::decode(prefix, section)?).ok_or(DecodeError::StaticIndex)
}

/// A string's octets as they stand in the section.
fn raw_string<'a>(prefix: u32, section: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = usize::try_from(integer::decode(prefix, section)?).map_err(|_| DecodeError::Truncated)?;
    let (octets, rest) = section.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *section = rest;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::qpack::{Encoder, static_table::ENTRIES};

    const WIDE: Limits = Limits { size: 1 << 20, lines: 1000 };

    type Lines = Vec<(Vec<u8>, Vec<u8>, bool)>;

    fn decoded(section: &[u8], limits: Limits) -> Result<Lines, SectionError<()>> {
        let mut lines = Vec::new();
        decode(section, limits, |line| {
            let name = match line.name {
                Name::Static(entry) => match &entry.name {
                    static_table::EntryName::Header(name) => name.as_str().as_bytes().to_vec(),
                    static_table::EntryName::Pseudo(_) => b":pseudo".to_vec(),
                },
                Name::Literal(octets) => octets.to_vec(),
            };
            lines.push((name, line.value.as_bytes().to_vec(), line.never_indexed));
            Ok(())
        })?;
        Ok(lines)
    }

    /// RFC 9204 appendix B.1, and hand-made sections of each representation.
    #[test]
    fn vectors() {
        let path = [&[0x00, 0x00, 0x51, 0x0b][..], b"/index.html"].concat();
        assert_eq!(decoded(&path, WIDE), Ok(vec![(b":pseudo".to_vec(), b"/index.html".to_vec(), false)]));
        assert_eq!(decoded(&[0, 0, 0xc0 | 29], WIDE), Ok(vec![(b"accept".to_vec(), b"*/*".to_vec(), false)]));
        assert_eq!(decoded(&[0, 0], WIDE), Ok(vec![]));
        let literal = [&[0, 0, 0x33][..], b"key", &[5], b"value"].concat();
        assert_eq!(decoded(&literal, WIDE), Ok(vec![(b"key".to_vec(), b"value".to_vec(), true)]));
    }

    #[test]
    fn refusals() {
        let cases: &[(&[u8], DecodeError)] = &[
            (&[], DecodeError::Truncated),
            (&[0], DecodeError::Truncated),
            (&[2, 0], DecodeError::DynamicReference),
            (&[0, 0, 0x80], DecodeError::DynamicReference),
            (&[0, 0, 0x40, 0], DecodeError::DynamicReference),
            (&[0, 0, 0x10], DecodeError::DynamicReference),
            (&[0, 0, 0x00, 0], DecodeError::DynamicReference),
            (&[0, 0, 0xff, 36], DecodeError::StaticIndex),
            (&[0, 0, 0x5f, 84, 0], DecodeError::StaticIndex),
            (&[0, 0, 0x51], DecodeError::Truncated),
            (&[0, 0, 0x51, 5, b'/'], DecodeError::Truncated),
            (&[0, 0, 0x51, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], DecodeError::Integer),
            (&[0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff], DecodeError::Huffman),
            (&[0, 0, 0x21], DecodeError::Truncated),
            (&[0, 0, 0x21, b'a'], DecodeError::Truncated),
        ];
        for (section, error) in cases {
            assert_eq!(decoded(section, WIDE), Err(SectionError::Qpack(*error)), "{section:02x?}");
        }
    }

    #[test]
    fn sizes_are_counted_before_anything_is_kept() {
        let mut section = Vec::new();
        let mut encoder = Encoder::new(&mut section);
        encoder.line(b"accept", b"*/*", false);
        encoder.line(b"x-name", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false);
        encoder.line(b"cookie", b"\x01\x02", false);
        let size = encoder.size();
        assert_eq!(size, (6 + 3 + 32) + (6 + 28 + 32) + (6 + 2 + 32));
        assert!(decoded(&section, Limits { size, lines: 3 }).is_ok());
        for small in 0..size {
            assert_eq!(decoded(&section, Limits { size: small, lines: 3 }), Err(SectionError::TooLarge));
        }
        assert_eq!(decoded(&section, Limits { size, lines: 2 }), Err(SectionError::TooLarge));
    }

    fn lines() -> impl Strategy<Value = Lines> {
        let known = (0..ENTRIES.len(), any::<Vec<u8>>(), any::<bool>(), any::<bool>()).prop_filter_map(
            "pseudo-headers lose their name here",
            |(index, value, whole, never)| {
                let (name, entry_value) = ENTRIES[index];
                let value = if whole { entry_value.as_bytes().to_vec() } else { value };
                (!name.starts_with(':')).then(|| (name.as_bytes().to_vec(), value, never))
            },
        );
        let other = (any::<Vec<u8>>(), any::<Vec<u8>>(), any::<bool>());
        proptest::collection::vec(prop_oneof![known, other], 0..20)
    }

    proptest! {
        #[test]
        fn round_trip(lines in lines()) {
            let mut section = Vec::new();
            let mut encoder = Encoder::new(&mut section);
            for (name, value, never) in &lines {
                encoder.line(name, value, *never);
            }
            let size = encoder.size();
            let got = decoded(&section, Limits { size, lines: lines.len() }).unwrap();
            prop_assert_eq!(got.len(), lines.len());
            for ((name, value, never), got) in lines.iter().zip(&got) {
                prop_assert_eq!((name, value), (&got.0, &got.1));
                // A line that the table has whole carries no mark.
                let whole = matches!(static_table::find(name, value), static_table::Found::Line(_));
                prop_assert_eq!(*never && !whole, got.2);
            }
        }

        #[test]
        fn anything_is_refused_or_taken(section: Vec<u8>) {
            let _ = decoded(&section, WIDE);
        }
    }
}
