//! What a peer may not do, and what must not be published.
//!
//! After a violation the connection is given up; what was served before is still served. Messages say what happened in
//! numbers and names, never in octets that a peer chose freely and without bound.

use headrace_table::SectionId;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::limits::{
    MAX_FAULTS, MAX_ID_OCTETS, MAX_INVENTORY_OCTETS, MAX_PART_OCTETS, MAX_REASON_OCTETS, MAX_SECTION_OCTETS,
    MAX_SECTIONS, MAX_TABLE_OCTETS,
};
use crate::version::Version;

/// A message that breaks the rules of the exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The subscriber was never opened, or is closed.
    #[error("a message of a subscriber that is not open")]
    NotOpen,
    /// A message without content, or with one that this version of the program does not know.
    #[error("a message of unknown content")]
    UnknownMessage,
    /// A message that is known, at a time when it means nothing.
    #[error("{message} is not expected now")]
    Unexpected {
        /// Its name.
        message: &'static str,
    },
    /// A number that the field cannot have.
    #[error("{field} cannot be {value}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// The number, or a length.
        value: u64,
    },
    /// A field that must be there.
    #[error("a message without its {field}")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A digest of another length than SHA-256 has.
    #[error("a digest of {octets} octets, not {expected}", expected = Digest::OCTETS)]
    DigestLength {
        /// Its length.
        octets: usize,
    },
    /// An id that is empty or over [`MAX_ID_OCTETS`].
    #[error("an id of {octets} octets, not 1 to {MAX_ID_OCTETS}")]
    IdLength {
        /// Its length.
        octets: usize,
    },
    /// A kind of section that this version of the program does not know.
    #[error("a section of unknown kind {kind}")]
    UnknownKind {
        /// Its number.
        kind: i32,
    },
    /// A reason over [`MAX_REASON_OCTETS`].
    #[error("a reason of {octets} octets, over {MAX_REASON_OCTETS}")]
    ReasonLength {
        /// Its length.
        octets: usize,
    },
    /// Faults over [`MAX_FAULTS`].
    #[error("{count} faults in one answer, over {MAX_FAULTS}")]
    TooManyFaults {
        /// How many.
        count: usize,
    },
    /// A message over [`MAX_PART_OCTETS`].
    #[error("a part of {octets} octets, over {MAX_PART_OCTETS}")]
    PartTooLarge {
        /// Its length.
        octets: usize,
    },
    /// Sections over [`MAX_SECTIONS`].
    #[error("a table or inventory of more than {MAX_SECTIONS} sections")]
    TooManySections,
    /// A section over [`MAX_SECTION_OCTETS`].
    #[error("{section} has more than {MAX_SECTION_OCTETS} octets")]
    SectionTooLarge {
        /// Which.
        section: SectionId,
    },
    /// A table over [`MAX_TABLE_OCTETS`].
    #[error("a table of more than {MAX_TABLE_OCTETS} octets")]
    TableTooLarge,
    /// An inventory over [`MAX_INVENTORY_OCTETS`].
    #[error("an inventory of more than {MAX_INVENTORY_OCTETS} octets")]
    InventoryTooLarge,
    /// An inventory must be sorted, with each section once.
    #[error("{section} is out of order in an inventory")]
    InventoryOrder {
        /// The one that does not come after the one before it.
        section: SectionId,
    },
    /// An inventory of another table than the one that was said to be held.
    #[error("an inventory of {found}, of a subscriber that said it holds {held}")]
    InventoryDigest {
        /// What was said.
        held: Version,
        /// What the inventory comes to.
        found: Digest,
    },
    /// A version from before the one that is held: of a leader that does not know that it is none any more.
    #[error("version {offered} is older than {held}, which is held")]
    Backwards {
        /// What the subscriber holds.
        held: Version,
        /// What it was offered.
        offered: Version,
    },
    /// A version of the same epoch and generation as the one that is held, and another table: two leaders had one epoch.
    #[error("version {offered} names another table than {held}, which is held")]
    Conflict {
        /// What the subscriber holds.
        held: Version,
        /// What it was offered.
        offered: Version,
    },
    /// A version that says it is the table that is held, and is not.
    #[error("version {offered} cannot be adopted, since it is not the table that is held")]
    AdoptsOther {
        /// What it was offered.
        offered: Version,
    },
    /// Changes to a table that is not held.
    #[error("version {offered} changes table {base}, which is not held")]
    UnknownBase {
        /// What it was offered.
        offered: Version,
        /// What it would change.
        base: Digest,
    },
    /// The same section twice in one version.
    #[error("{section} comes twice in one version")]
    Repeated {
        /// Which.
        section: SectionId,
    },
    /// A section is removed that is not there.
    #[error("{section} is removed, and is not there")]
    RemovesUnknown {
        /// Which.
        section: SectionId,
    },
    /// A section was left half sent.
    #[error("{section} is left half sent")]
    Interrupted {
        /// Which.
        section: SectionId,
    },
    /// The end of another version than the one that was begun.
    #[error("{committed} is committed, where {begun} was begun")]
    OtherCommit {
        /// What was begun.
        begun: Version,
        /// What was ended.
        committed: Version,
    },
    /// What arrived is not what the version names.
    #[error("what arrived as {version} is table {found}")]
    DigestMismatch {
        /// The version.
        version: Version,
        /// What its sections come to.
        found: Digest,
    },
    /// An answer to a version that was not sent, or not all of it.
    #[error("an answer about version {version}, which is not what was sent")]
    NotSent {
        /// The version that it is about.
        version: Version,
    },
}

/// A table that does not fit the bounds of the exchange, and is not published: the version before it stays current.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// Some sections cannot travel. Without them, the rest can.
    #[error("{count} sections cannot travel: {first}", count = .faults.len(), first = .faults.first().map(ToString::to_string).unwrap_or_default())]
    Sections {
        /// Which, and why. At least one.
        faults: Vec<Fault>,
    },
    /// More than [`MAX_SECTIONS`].
    #[error("a table of {count} sections, over {MAX_SECTIONS}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// More than [`MAX_TABLE_OCTETS`].
    #[error("a table of {octets} octets, over {MAX_TABLE_OCTETS}")]
    TooLarge {
        /// How many.
        octets: usize,
    },
}
