//! A SHA-256 digest, by which sections and tables are told apart.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Octets that are shown of a digest where a person is to tell two apart.
const SHOWN_OCTETS: usize = 6;

/// The SHA-256 of a section, or of a table's sections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Digest::OCTETS]);

impl Digest {
    /// Its length.
    pub const OCTETS: usize = 32;

    /// The digest that has these octets.
    pub const fn new(octets: [u8; Digest::OCTETS]) -> Self {
        Digest(octets)
    }

    /// The digest of these octets.
    pub fn of(octets: &[u8]) -> Self {
        Digest(Sha256::digest(octets).into())
    }

    /// What it is made of.
    pub const fn as_octets(&self) -> &[u8; Digest::OCTETS] {
        &self.0
    }
}

/// In hexadecimal, whole.
impl fmt::LowerHex for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// In hexadecimal, its beginning.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(SHOWN_OCTETS).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
