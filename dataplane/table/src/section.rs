//! The sections of a table: what travels, is refused and is named one by one.
//!
//! Owns the kinds of sections and their spelling. It must not know how a section is written or sent.

use serde::{Deserialize, Serialize};

/// What kind of entry of a [`wire::Table`](crate::wire::Table) a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SectionKind {
    /// A [`wire::Listener`](crate::wire::Listener).
    Listener,
    /// A [`wire::Route`](crate::wire::Route).
    Route,
    /// A [`wire::Backend`](crate::wire::Backend).
    Backend,
    /// A [`wire::Certificate`](crate::wire::Certificate).
    Certificate,
    /// The [`wire::Keys`](crate::wire::Keys).
    Keys,
    /// A [`wire::Peer`](crate::wire::Peer).
    Peer,
}

impl SectionKind {
    /// Every kind.
    pub const ALL: &'static [SectionKind] = &[
        SectionKind::Listener,
        SectionKind::Route,
        SectionKind::Backend,
        SectionKind::Certificate,
        SectionKind::Keys,
        SectionKind::Peer,
    ];

    /// The kind in a word, as it stands in messages and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            SectionKind::Listener => "listener",
            SectionKind::Route => "route",
            SectionKind::Backend => "backend",
            SectionKind::Certificate => "certificate",
            SectionKind::Keys => "keys",
            SectionKind::Peer => "peer",
        }
    }
}

/// A section by kind and id: unique in a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SectionId {
    /// What it is.
    pub kind: SectionKind,
    /// The entry's own id.
    pub id: String,
}

impl SectionId {
    /// The section of that kind and id.
    pub fn new(kind: SectionKind, id: impl Into<String>) -> Self {
        SectionId { kind, id: id.into() }
    }
}

impl std::fmt::Display for SectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.label(), self.id)
    }
}
