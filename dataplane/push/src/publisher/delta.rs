//! What must travel to make one table of another, in parts.

use std::collections::VecDeque;
use std::sync::Arc;

use headrace_table::SectionId;

use crate::digest::Digest;
use crate::limits::MAX_PART_OCTETS;
use crate::proto::{self, Fragment, Part};
use crate::section::Section;
use crate::sections::Sections;

/// Octets around a part: its own tag and length.
const MESSAGE_OVERHEAD: usize = 16;

/// Octets around a fragment's or a removed section's id and octets: tags, lengths and flags, of which there are eight
/// with at most five octets each.
const ITEM_OVERHEAD: usize = 40;

/// The changes that are still to be sent.
#[derive(Debug)]
pub(super) struct Delta {
    changed: VecDeque<Arc<Section>>,
    /// Octets of the first of `changed` that are sent.
    offset: usize,
    removed: VecDeque<SectionId>,
}

impl Delta {
    /// From the sections of a table, sorted, to another table.
    pub(super) fn between<'a>(base: impl Iterator<Item = (&'a SectionId, Digest)>, target: &Sections) -> Self {
        let mut delta = Delta { changed: VecDeque::new(), offset: 0, removed: VecDeque::new() };
        let mut base = base.peekable();
        for section in target.iter() {
            while let Some((gone, _)) = base.next_if(|(id, _)| *id < section.id()) {
                delta.removed.push_back(gone.clone());
            }
            let before = base.next_if(|(id, _)| *id == section.id());
            if before.is_none_or(|(_, digest)| digest != section.digest()) {
                delta.changed.push_back(Arc::clone(section));
            }
        }
        delta.removed.extend(base.map(|(gone, _)| gone.clone()));
        delta
    }

    /// The next part, of at most [`MAX_PART_OCTETS`].
    pub(super) fn next_part(&mut self) -> Option<Part> {
        if self.changed.is_empty() && self.removed.is_empty() {
            return None;
        }
        let mut part = Part::default();
        let mut room = MAX_PART_OCTETS - MESSAGE_OVERHEAD;
        while let Some(section) = self.changed.front() {
            let overhead = ITEM_OVERHEAD + section.id().id.len();
            // At least one octet beside the overhead, so that every part gets on.
            if room <= overhead {
                return Some(part);
            }
            let left = section.octets().len() - self.offset;
            let taken = left.min(room - overhead);
            room -= overhead + taken;
            part.changed.push(Fragment {
                section: Some(proto::SectionId::from(section.id())),
                octets: section.octets().slice(self.offset..self.offset + taken),
                continues: taken < left,
            });
            if taken < left {
                self.offset += taken;
                return Some(part);
            }
            self.offset = 0;
            self.changed.pop_front();
        }
        while let Some(gone) = self.removed.front() {
            let size = ITEM_OVERHEAD + gone.id.len();
            if room < size {
                return Some(part);
            }
            room -= size;
            part.removed.push(proto::SectionId::from(gone));
            self.removed.pop_front();
        }
        Some(part)
    }
}
