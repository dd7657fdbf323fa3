//! A version that is arriving. It is nothing until its last message is here and its digest is right.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use headrace_table::SectionId;
use prost::Message;

use crate::limits::{MAX_PART_OCTETS, MAX_SECTION_OCTETS, MAX_SECTIONS, MAX_TABLE_OCTETS};
use crate::proto::{self, Fragment, Part};
use crate::section::Section;
use crate::sections::Sections;
use crate::version::Version;
use crate::violation::Violation;

/// What arrived so far.
#[derive(Debug)]
pub(super) struct Incoming {
    version: Version,
    base: Arc<Sections>,
    /// Sections that are new or changed, and for those that are removed, `None`.
    changes: BTreeMap<SectionId, Option<Arc<Section>>>,
    /// The section of which more is to come.
    unfinished: Option<(SectionId, Vec<u8>)>,
    /// Of all sections that arrived.
    octets: usize,
}

impl Incoming {
    /// Nothing yet of a version that changes `base`.
    pub(super) fn new(version: Version, base: Arc<Sections>) -> Self {
        Incoming { version, base, changes: BTreeMap::new(), unfinished: None, octets: 0 }
    }

    /// Which version.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Takes a part.
    pub(super) fn add(&mut self, part: Part) -> Result<(), Violation> {
        let octets = part.encoded_len();
        if octets > MAX_PART_OCTETS {
            return Err(Violation::PartTooLarge { octets });
        }
        for fragment in part.changed {
            self.take(fragment)?;
        }
        for section in part.removed {
            self.remove(section.try_into()?)?;
        }
        Ok(())
    }

    /// The table that arrived, if it is what its version names.
    pub(super) fn commit(self, committed: Version) -> Result<Arc<Sections>, Violation> {
        if committed != self.version {
            return Err(Violation::OtherCommit { begun: self.version, committed });
        }
        if let Some((section, _)) = self.unfinished {
            return Err(Violation::Interrupted { section });
        }
        let sections = Sections::from_sorted(apply(&self.base, self.changes));
        if sections.len() > MAX_SECTIONS {
            return Err(Violation::TooManySections);
        }
        if sections.octets() > MAX_TABLE_OCTETS {
            return Err(Violation::TableTooLarge);
        }
        if sections.digest() != self.version.digest {
            return Err(Violation::DigestMismatch { version: self.version, found: sections.digest() });
        }
        Ok(Arc::new(sections))
    }

    fn take(&mut self, fragment: Fragment) -> Result<(), Violation> {
        let id = proto::section_of(fragment.section)?;
        self.octets += fragment.octets.len();
        if self.octets > MAX_TABLE_OCTETS {
            return Err(Violation::TableTooLarge);
        }
        let mut octets = match self.unfinished.take() {
            Some((section, octets)) if section == id => octets,
            Some((section, _)) => return Err(Violation::Interrupted { section }),
            None => Vec::new(),
        };
        if octets.len() + fragment.octets.len() > MAX_SECTION_OCTETS {
            return Err(Violation::SectionTooLarge { section: id });
        }
        // Copied, since a slice would keep the whole message in memory for as long as the section lives.
        octets.extend_from_slice(&fragment.octets);
        if !fragment.continues {
            let octets = Bytes::from(octets.into_boxed_slice());
            return self.change(id.clone(), Some(Arc::new(Section::new(id, octets))));
        }
        // A section that goes on must get on, or it would go on for ever.
        if fragment.octets.is_empty() {
            return Err(Violation::Missing { field: "octets" });
        }
        self.unfinished = Some((id, octets));
        Ok(())
    }

    fn remove(&mut self, section: SectionId) -> Result<(), Violation> {
        if let Some((section, _)) = self.unfinished.take() {
            return Err(Violation::Interrupted { section });
        }
        if self.base.get(&section).is_none() {
            return Err(Violation::RemovesUnknown { section });
        }
        self.change(section, None)
    }

    /// Removals are of sections that were there, and so bounded by the base; what is new has a bound of its own.
    fn change(&mut self, section: SectionId, change: Option<Arc<Section>>) -> Result<(), Violation> {
        if self.changes.contains_key(&section) {
            return Err(Violation::Repeated { section });
        }
        if self.changes.len() >= self.base.len() + MAX_SECTIONS {
            return Err(Violation::TooManySections);
        }
        self.changes.insert(section, change);
        Ok(())
    }
}

/// The sections of `base` with the changes, sorted.
fn apply(base: &Sections, changes: BTreeMap<SectionId, Option<Arc<Section>>>) -> Vec<Arc<Section>> {
    let mut list = Vec::with_capacity(base.len() + changes.len());
    let mut base = base.iter().peekable();
    for (id, change) in changes {
        while let Some(section) = base.next_if(|section| *section.id() < id) {
            list.push(Arc::clone(section));
        }
        base.next_if(|section| *section.id() == id);
        list.extend(change);
    }
    list.extend(base.cloned());
    list
}
