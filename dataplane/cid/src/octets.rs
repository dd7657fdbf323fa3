//! Short strings of octets that live on the stack, between a least and a greatest length.
//!
//! Owns the one invariant that server IDs, nonces and connection IDs share. Knows nothing of what they mean.

use std::fmt;

/// How many octets there are, where another number is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {found} octets, and {least} to {most} are needed")]
pub struct WrongLength {
    /// How many there are.
    pub found: usize,
    /// The fewest that would do.
    pub least: usize,
    /// The most that would do.
    pub most: usize,
}

/// Between `LEAST` and `MOST` octets. Unused ones are zero, so that equality and order may look at all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Octets<const LEAST: usize, const MOST: usize> {
    octets: [u8; MOST],
    length: u8,
}

impl<const LEAST: usize, const MOST: usize> Octets<LEAST, MOST> {
    pub(crate) fn new(octets: &[u8]) -> Result<Self, WrongLength> {
        let found = octets.len();
        if !(LEAST..=MOST).contains(&found) {
            return Err(WrongLength { found, least: LEAST, most: MOST });
        }
        let mut copy = [0; MOST];
        copy[..found].copy_from_slice(octets);
        let length = u8::try_from(found).expect("no string of this crate has more than 20 octets");
        Ok(Self { octets: copy, length })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl<const LEAST: usize, const MOST: usize> fmt::Display for Octets<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A public type of octets: its constructor, its views, and hexadecimal as its text.
macro_rules! octets {
    ($(#[$doc:meta])* $name:ident, $least:expr, $most:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($crate::octets::Octets<{ $least }, { $most }>);

        impl $name {
            /// The octets.
            pub fn as_slice(&self) -> &[u8] {
                self.0.as_slice()
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = $crate::WrongLength;

            fn try_from(octets: &[u8]) -> Result<Self, $crate::WrongLength> {
                $crate::octets::Octets::new(octets).map(Self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.as_slice()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}
pub(crate) use octets;
