//! The messages as they travel, generated from `proto/headrace/push/v1/push.proto`, which documents them.
//!
//! Owns the generated types and their way from and to ours. It must not know who sends what when.

use std::fmt;

use headrace_table as table;

use crate::limits::{MAX_FAULTS, MAX_ID_OCTETS, MAX_REASON_OCTETS};
use crate::violation::Violation;
use crate::{digest, fault, version};

#[allow(missing_docs, unreachable_pub, rust_2018_idioms, clippy::all, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/headrace.push.v1.rs"));
}

pub use generated::*;

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("section", &self.section)
            .field("octets", &self.octets.len())
            .field("continues", &self.continues)
            .finish()
    }
}

impl From<version::Version> for Version {
    fn from(version: version::Version) -> Self {
        Version {
            epoch: version.epoch,
            generation: version.generation,
            digest: version.digest.as_octets().to_vec().into(),
        }
    }
}

impl TryFrom<Version> for version::Version {
    type Error = Violation;

    fn try_from(version: Version) -> Result<Self, Violation> {
        let digest = digest_of(&version.digest)?;
        Ok(version::Version { epoch: version.epoch, generation: version.generation, digest })
    }
}

impl From<&table::SectionId> for SectionId {
    fn from(section: &table::SectionId) -> Self {
        SectionId { kind: kind_of(section.kind).into(), id: section.id.clone() }
    }
}

impl TryFrom<SectionId> for table::SectionId {
    type Error = Violation;

    fn try_from(section: SectionId) -> Result<Self, Violation> {
        if section.id.is_empty() || section.id.len() > MAX_ID_OCTETS {
            return Err(Violation::IdLength { octets: section.id.len() });
        }
        let kind = match SectionKind::try_from(section.kind) {
            Ok(SectionKind::Listener) => table::SectionKind::Listener,
            Ok(SectionKind::Route) => table::SectionKind::Route,
            Ok(SectionKind::Backend) => table::SectionKind::Backend,
            Ok(SectionKind::Certificate) => table::SectionKind::Certificate,
            Ok(SectionKind::Keys) => table::SectionKind::Keys,
            Ok(SectionKind::Peer) => table::SectionKind::Peer,
            Ok(SectionKind::Unspecified) | Err(_) => return Err(Violation::UnknownKind { kind: section.kind }),
        };
        Ok(table::SectionId { kind, id: section.id })
    }
}

impl From<fault::Fault> for Fault {
    fn from(fault: fault::Fault) -> Self {
        Fault { section: fault.section.as_ref().map(SectionId::from), reason: fault.reason }
    }
}

impl TryFrom<Fault> for fault::Fault {
    type Error = Violation;

    fn try_from(fault: Fault) -> Result<Self, Violation> {
        if fault.reason.len() > MAX_REASON_OCTETS {
            return Err(Violation::ReasonLength { octets: fault.reason.len() });
        }
        let section = fault.section.map(table::SectionId::try_from).transpose()?;
        Ok(fault::Fault { section, reason: fault.reason })
    }
}

/// The version that a message must have.
pub(crate) fn version_of(version: Option<Version>) -> Result<version::Version, Violation> {
    version.ok_or(Violation::Missing { field: "version" })?.try_into()
}

/// The section that a message must name.
pub(crate) fn section_of(section: Option<SectionId>) -> Result<table::SectionId, Violation> {
    section.ok_or(Violation::Missing { field: "section" })?.try_into()
}

/// A digest by its octets.
pub(crate) fn digest_of(octets: &[u8]) -> Result<digest::Digest, Violation> {
    octets.try_into().map(digest::Digest::new).map_err(|_| Violation::DigestLength { octets: octets.len() })
}

/// The faults of an answer.
pub(crate) fn faults_of(faults: Vec<Fault>) -> Result<Vec<fault::Fault>, Violation> {
    if faults.len() > MAX_FAULTS {
        return Err(Violation::TooManyFaults { count: faults.len() });
    }
    faults.into_iter().map(fault::Fault::try_from).collect()
}

fn kind_of(kind: table::SectionKind) -> SectionKind {
    match kind {
        table::SectionKind::Listener => SectionKind::Listener,
        table::SectionKind::Route => SectionKind::Route,
        table::SectionKind::Backend => SectionKind::Backend,
        table::SectionKind::Certificate => SectionKind::Certificate,
        table::SectionKind::Keys => SectionKind::Keys,
        table::SectionKind::Peer => SectionKind::Peer,
    }
}
