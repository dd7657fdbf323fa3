//! What a subscriber holds, by its own list, where the publisher does not have that table.

use headrace_table::SectionId;
use prost::Message;

use crate::digest::Digest;
use crate::limits::{MAX_INVENTORY_OCTETS, MAX_PART_OCTETS, MAX_SECTIONS};
use crate::proto;
use crate::sections::digest_of;
use crate::version::Version;
use crate::violation::Violation;

/// Sections by digest, sorted, each id once.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    entries: Vec<(SectionId, Digest)>,
    octets: usize,
}

impl Inventory {
    /// Takes a part of the list. Returns whether it was the last.
    pub(super) fn add(&mut self, part: proto::Inventory) -> Result<bool, Violation> {
        let octets = part.encoded_len();
        if octets > MAX_PART_OCTETS {
            return Err(Violation::PartTooLarge { octets });
        }
        if self.entries.len() + part.entries.len() > MAX_SECTIONS {
            return Err(Violation::TooManySections);
        }
        self.octets += octets;
        if self.octets > MAX_INVENTORY_OCTETS {
            return Err(Violation::InventoryTooLarge);
        }
        // A list that goes on must get on, or it would go on for ever.
        if part.continues && part.entries.is_empty() {
            return Err(Violation::Missing { field: "entries" });
        }
        for entry in part.entries {
            let section = proto::section_of(entry.section)?;
            if self.entries.last().is_some_and(|(before, _)| *before >= section) {
                return Err(Violation::InventoryOrder { section });
            }
            self.entries.push((section, proto::digest_of(&entry.digest)?));
        }
        Ok(!part.continues)
    }

    /// Checks that the list is of the table that the subscriber said it holds.
    pub(super) fn check(&self, held: &Version) -> Result<(), Violation> {
        let found = digest_of(self.iter());
        if found == held.digest { Ok(()) } else { Err(Violation::InventoryDigest { held: *held, found }) }
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SectionId, Digest)> {
        self.entries.iter().map(|(id, digest)| (id, *digest))
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
