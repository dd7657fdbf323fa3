//! A table as it travels: its sections in order, with a digest over all of them.
//!
//! Owns the way from a wire table to sections and back. It must not know versions, or who holds what.

use std::sync::Arc;

use headrace_table::{SectionId, SectionKind, wire};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::section::{Entry, Section, Undecodable, decode};

/// The sections of one table. Immutable, and shared with the tables before and after it where they are equal.
#[derive(Clone, Debug)]
pub struct Sections {
    /// Sorted by kind and id, each id once.
    list: Vec<Arc<Section>>,
    digest: Digest,
    octets: usize,
}

impl Sections {
    /// The sections of a table.
    ///
    /// `previous` is a table with its sections, from which entries that did not change are taken over, so that a change
    /// of one route costs the encoding of one route. Ids are unique in a table; of equal ones the last is taken.
    pub fn of(table: &wire::Table, previous: Option<(&wire::Table, &Sections)>) -> Self {
        let keys = table.keys.as_slice();
        let mut list = Vec::with_capacity(
            table.listeners.len()
                + table.routes.len()
                + table.backends.len()
                + table.certificates.len()
                + keys.len()
                + table.peers.len(),
        );
        append(&mut list, &table.listeners, previous.map(|(table, sections)| (table.listeners.as_slice(), sections)));
        append(&mut list, &table.routes, previous.map(|(table, sections)| (table.routes.as_slice(), sections)));
        append(&mut list, &table.backends, previous.map(|(table, sections)| (table.backends.as_slice(), sections)));
        append(
            &mut list,
            &table.certificates,
            previous.map(|(table, sections)| (table.certificates.as_slice(), sections)),
        );
        append(&mut list, keys, previous.map(|(table, sections)| (table.keys.as_slice(), sections)));
        append(&mut list, &table.peers, previous.map(|(table, sections)| (table.peers.as_slice(), sections)));
        // Stable, so that of equal ids the later one stays the later one, which is kept.
        list.sort_by(|a, b| a.id().cmp(b.id()));
        list.dedup_by(|later, earlier| {
            let same = later.id() == earlier.id();
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Sections::from_sorted(list)
    }

    /// The sections, which must be sorted by id, each id once.
    pub(crate) fn from_sorted(list: Vec<Arc<Section>>) -> Self {
        debug_assert!(list.is_sorted_by(|a, b| a.id() < b.id()), "sections are sorted, each id once");
        let digest = digest_of(list.iter().map(|section| (section.id(), section.digest())));
        let octets = list.iter().map(|section| section.octets().len()).sum();
        Sections { list, digest, octets }
    }

    /// The table that they hold. The first section that is not understood is named.
    pub fn table(&self) -> Result<wire::Table, Undecodable> {
        let mut table = wire::Table::default();
        for section in &self.list {
            match section.id().kind {
                SectionKind::Listener => table.listeners.push(decode(section)?),
                SectionKind::Route => table.routes.push(decode(section)?),
                SectionKind::Backend => table.backends.push(decode(section)?),
                SectionKind::Certificate => table.certificates.push(decode(section)?),
                SectionKind::Keys => table.keys = Some(decode(section)?),
                SectionKind::Peer => table.peers.push(decode(section)?),
            }
        }
        Ok(table)
    }

    /// Over kinds, ids and digests of all sections. Equal tables have equal digests.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Octets of all sections together.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of kinds and ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Section>> {
        self.list.iter()
    }

    /// The section of that id.
    pub fn get(&self, id: &SectionId) -> Option<&Arc<Section>> {
        self.list.binary_search_by(|section| section.id().cmp(id)).ok().map(|index| &self.list[index])
    }
}

impl Default for Sections {
    /// Of an empty table.
    fn default() -> Self {
        Sections::from_sorted(Vec::new())
    }
}

/// The digest over ids and digests of sections, in the order of their ids. Lengths go first, so that no two lists of
/// sections are one string of octets.
pub(crate) fn digest_of<'a>(sections: impl Iterator<Item = (&'a SectionId, Digest)>) -> Digest {
    let mut hash = Sha256::new();
    for (id, digest) in sections {
        hash.update([kind_octet(id.kind)]);
        hash.update((id.id.len() as u64).to_be_bytes());
        hash.update(id.id.as_bytes());
        hash.update(digest.as_octets());
    }
    Digest::new(hash.finalize().into())
}

/// A kind in one octet, in digests and in the file. Numbers stay as they are for ever.
pub(crate) const fn kind_octet(kind: SectionKind) -> u8 {
    match kind {
        SectionKind::Listener => 1,
        SectionKind::Route => 2,
        SectionKind::Backend => 3,
        SectionKind::Certificate => 4,
        SectionKind::Keys => 5,
        SectionKind::Peer => 6,
    }
}

/// Appends the sections of one list, each taken from `previous` if it is there unchanged.
fn append<E: Entry>(list: &mut Vec<Arc<Section>>, entries: &[E], previous: Option<(&[E], &Sections)>) {
    list.extend(entries.iter().map(|entry| match previous.and_then(|previous| unchanged(entry, previous)) {
        Some(section) => Arc::clone(section),
        None => entry.section(),
    }));
}

/// The entry's section in the previous table, if it is the same. A list that is not sorted only shares less.
fn unchanged<'a, E: Entry>(entry: &E, (entries, sections): (&[E], &'a Sections)) -> Option<&'a Arc<Section>> {
    let index = entries.binary_search_by(|before| before.id().cmp(entry.id())).ok()?;
    if entries[index] != *entry {
        return None;
    }
    sections.get(&SectionId::new(E::KIND, entry.id()))
}
