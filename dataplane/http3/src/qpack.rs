//! Owns QPACK (RFC 9204) without a dynamic table: field sections to octets and back.
//!
//! Both table capacities are zero by SETTINGS, so a field section never depends on another one and no stream ever waits
//! for another. What a field means (pseudo-headers, forbidden names) is not known here.

use thiserror::Error;

pub mod decode;
pub mod encode;
pub mod huffman;
pub mod integer;
pub mod static_table;

pub use decode::{Limits, Line, Name, Value, decode};
pub use encode::Encoder;

/// What a field line counts beyond the octets of its name and value (RFC 9114 section 4.2.2).
pub const FIELD_OVERHEAD: u64 = 32;

/// Why a field section could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The section ends within a field line.
    #[error("the field section is cut off")]
    Truncated,
    /// An integer that does not fit.
    #[error("an integer is too large")]
    Integer,
    /// A reference to the dynamic table, which has no capacity.
    #[error("a reference to the dynamic table")]
    DynamicReference,
    /// An index past the end of the static table.
    #[error("no such entry in the static table")]
    StaticIndex,
    /// A Huffman-coded string that is no such thing.
    #[error("a malformed Huffman string")]
    Huffman,
}

/// What went wrong on the way through a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SectionError<E> {
    /// The section is no QPACK: the connection cannot go on (RFC 9204 section 2.2).
    #[error(transparent)]
    Qpack(#[from] DecodeError),
    /// The section is larger, or has more lines, than was allowed.
    #[error("the field section is too large")]
    TooLarge,
    /// Whoever took the lines refused one.
    #[error("a field line was refused")]
    Refused(E),
}
