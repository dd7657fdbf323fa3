//! The name of a published table.

use std::fmt;

use crate::digest::Digest;

/// Which table, and which of two was published later.
///
/// Two versions may have the same digest, when a new leader publishes what the last one did. Two versions with the same
/// epoch and generation and different digests are a fault of the election, and subscribers refuse the second.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Grows with each leader.
    pub epoch: u64,
    /// Grows with each table of one leader.
    pub generation: u64,
    /// Of the table's sections.
    pub digest: Digest,
}

impl Version {
    /// By which versions are ordered. The digest has no part in it.
    pub const fn order(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.epoch, self.generation, self.digest)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
