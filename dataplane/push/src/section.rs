//! One entry of a table as it travels: JSON of its wire type, with a digest.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use headrace_table::{SectionId, SectionKind, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;

/// One entry of a table.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    id: SectionId,
    digest: Digest,
    octets: Bytes,
}

impl Section {
    /// The section that has these octets.
    pub(crate) fn new(id: SectionId, octets: Bytes) -> Self {
        Section { digest: Digest::of(&octets), id, octets }
    }

    /// Which.
    pub fn id(&self) -> &SectionId {
        &self.id
    }

    /// Of its octets.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// JSON, once it is decoded successfully: until then whatever was received.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }
}

/// Without the octets, which may hold a private key.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} octets, {})", self.id, self.octets.len(), self.digest)
    }
}

/// A type whose values are sections.
pub(crate) trait Entry: Serialize + DeserializeOwned + PartialEq {
    /// What they are.
    const KIND: SectionKind;

    /// The value's own id.
    fn id(&self) -> &str;

    /// As it travels.
    fn section(&self) -> Arc<Section> {
        let octets = serde_json::to_vec(self).expect("wire types hold no map and no number that JSON has not");
        // Without the room that writing left over, since it is kept for long.
        Arc::new(Section::new(SectionId::new(Self::KIND, self.id()), octets.into_boxed_slice().into()))
    }
}

impl Entry for wire::Listener {
    const KIND: SectionKind = SectionKind::Listener;

    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for wire::Route {
    const KIND: SectionKind = SectionKind::Route;

    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for wire::Backend {
    const KIND: SectionKind = SectionKind::Backend;

    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for wire::Certificate {
    const KIND: SectionKind = SectionKind::Certificate;

    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for wire::Keys {
    const KIND: SectionKind = SectionKind::Keys;

    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for wire::Peer {
    const KIND: SectionKind = SectionKind::Peer;

    fn id(&self) -> &str {
        &self.id
    }
}

/// A section that is not what its name says.
#[derive(Debug, thiserror::Error)]
#[error("{section}: {fault}")]
pub struct Undecodable {
    /// Which.
    pub section: SectionId,
    /// What is wrong with it.
    pub fault: DecodeFault,
}

/// What is wrong with a section.
#[derive(Debug, thiserror::Error)]
pub enum DecodeFault {
    /// Not JSON of the kind's wire type, as this version of the program has it.
    #[error("not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// The entry calls itself otherwise.
    #[error("the entry has another id")]
    OtherId,
}

/// The entry that a section holds.
pub(crate) fn decode<E: Entry>(section: &Section) -> Result<E, Undecodable> {
    let undecodable = |fault| Undecodable { section: section.id.clone(), fault };
    let entry: E = serde_json::from_slice(&section.octets).map_err(|fault| undecodable(fault.into()))?;
    if entry.id() == section.id.id { Ok(entry) } else { Err(undecodable(DecodeFault::OtherId)) }
}
