//! The list of what is held, in parts.

use std::sync::Arc;

use crate::limits::MAX_PART_OCTETS;
use crate::proto::{self, Inventory, InventoryEntry};
use crate::sections::Sections;

/// Octets around a list: its own tag and length, and the flag.
const MESSAGE_OVERHEAD: usize = 16;

/// Octets of an entry beside its id: a digest, tags and lengths.
const ENTRY_OVERHEAD: usize = 64;

/// What is still to be listed.
#[derive(Debug)]
pub(super) struct Listing {
    sections: Arc<Sections>,
    listed: usize,
}

impl Listing {
    /// Of all of these.
    pub(super) fn of(sections: Arc<Sections>) -> Self {
        Listing { sections, listed: 0 }
    }

    /// The next part, of at most [`MAX_PART_OCTETS`]. Of an empty table there is one, which is empty.
    pub(super) fn next_part(&mut self) -> Inventory {
        let mut part = Inventory::default();
        let mut room = MAX_PART_OCTETS - MESSAGE_OVERHEAD;
        for section in self.sections.iter().skip(self.listed) {
            let size = ENTRY_OVERHEAD + section.id().id.len();
            if room < size {
                break;
            }
            room -= size;
            part.entries.push(InventoryEntry {
                section: Some(proto::SectionId::from(section.id())),
                digest: section.digest().as_octets().to_vec().into(),
            });
        }
        self.listed += part.entries.len();
        part.continues = self.listed < self.sections.len();
        part
    }
}
