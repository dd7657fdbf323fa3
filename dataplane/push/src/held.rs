//! The last good table as it is kept in a file, so that a pod serves after a restart while no controller is there.
//!
//! Owns the file's format. It must not know where the file is or how it is written.

use std::sync::Arc;

use bytes::Bytes;
use headrace_table::{SectionId, SectionKind};

use crate::digest::Digest;
use crate::limits::{MAX_ID_OCTETS, MAX_SECTION_OCTETS, MAX_SECTIONS};
use crate::section::Section;
use crate::sections::{Sections, kind_octet};
use crate::version::Version;

/// The file's first octets.
const MAGIC: &[u8; 8] = b"headrace";

/// The one form there is. Another number is another form, and is not read.
const FORMAT: u32 = 1;

/// The version with its sections.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name.
    pub version: Version,
    /// What is in it.
    pub sections: Arc<Sections>,
}

/// Octets that are no table that was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// Something else's file.
    #[error("not a table that was kept")]
    Foreign,
    /// Written by a version of the program that has another form for it.
    #[error("in form {0}, where {FORMAT} is read")]
    Format(u32),
    /// Shorter than it says, as after a write that was cut off.
    #[error("{found} octets, where {expected} were written")]
    Truncated {
        /// What its head says, or the length of a head.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Not the octets that were written.
    #[error("damaged: its checksum is another")]
    Damaged,
    /// The octets that were written, and no table.
    #[error("not a whole table: {0}")]
    Malformed(&'static str),
}

/// Magic, form, length of the body, checksum of the body.
const HEAD_OCTETS: usize = MAGIC.len() + 4 + 8 + Digest::OCTETS;

/// Epoch, generation, digest, count.
const BODY_HEAD_OCTETS: usize = 8 + 8 + Digest::OCTETS + 4;

/// Kind, length of the id, length of the octets.
const SECTION_HEAD_OCTETS: usize = 1 + 2 + 4;

impl Held {
    /// As it is kept: numbers in network order, with a checksum.
    pub fn encode(&self) -> Vec<u8> {
        let ids: usize = self.sections.iter().map(|section| section.id().id.len() + SECTION_HEAD_OCTETS).sum();
        let mut body = Vec::with_capacity(BODY_HEAD_OCTETS + ids + self.sections.octets());
        body.extend(self.version.epoch.to_be_bytes());
        body.extend(self.version.generation.to_be_bytes());
        body.extend(self.version.digest.as_octets());
        body.extend((self.sections.len() as u32).to_be_bytes());
        for section in self.sections.iter() {
            let id = section.id().id.as_bytes();
            body.push(kind_octet(section.id().kind));
            body.extend((id.len() as u16).to_be_bytes());
            body.extend((section.octets().len() as u32).to_be_bytes());
            body.extend(id);
            body.extend(section.octets());
        }
        let mut file = Vec::with_capacity(HEAD_OCTETS + body.len());
        file.extend(MAGIC);
        file.extend(FORMAT.to_be_bytes());
        file.extend((body.len() as u64).to_be_bytes());
        file.extend(Digest::of(&body).as_octets());
        file.extend(body);
        file
    }

    /// What was kept.
    pub fn decode(file: &[u8]) -> Result<Self, NotHeld> {
        let truncated = |expected: usize| NotHeld::Truncated { expected: expected as u64, found: file.len() as u64 };
        let mut head = Reader(file);
        let magic = head.take(MAGIC.len()).ok_or(truncated(HEAD_OCTETS))?;
        if magic != MAGIC {
            return Err(NotHeld::Foreign);
        }
        let format = head.u32().ok_or(truncated(HEAD_OCTETS))?;
        if format != FORMAT {
            return Err(NotHeld::Format(format));
        }
        let length = head.u64().ok_or(truncated(HEAD_OCTETS))?;
        let checksum = head.digest().ok_or(truncated(HEAD_OCTETS))?;
        let body = head.0;
        if (body.len() as u64) < length {
            let expected = length.saturating_add(HEAD_OCTETS as u64);
            return Err(NotHeld::Truncated { expected, found: file.len() as u64 });
        }
        if body.len() as u64 > length || Digest::of(body) != checksum {
            return Err(NotHeld::Damaged);
        }
        decode_body(Reader(body))
    }
}

fn decode_body(mut body: Reader<'_>) -> Result<Held, NotHeld> {
    const SHORT: NotHeld = NotHeld::Malformed("a section is cut off");
    let epoch = body.u64().ok_or(SHORT)?;
    let generation = body.u64().ok_or(SHORT)?;
    let digest = body.digest().ok_or(SHORT)?;
    let count = body.u32().ok_or(SHORT)? as usize;
    if count > MAX_SECTIONS {
        return Err(NotHeld::Malformed("too many sections"));
    }
    let mut list: Vec<Arc<Section>> = Vec::new();
    for _ in 0..count {
        let section = body.section().ok_or(SHORT)??;
        if list.last().is_some_and(|before| before.id() >= section.id()) {
            return Err(NotHeld::Malformed("sections are out of order"));
        }
        list.push(Arc::new(section));
    }
    if !body.0.is_empty() {
        return Err(NotHeld::Malformed("something follows the last section"));
    }
    let sections = Arc::new(Sections::from_sorted(list));
    if sections.digest() != digest {
        return Err(NotHeld::Malformed("its version names another table"));
    }
    Ok(Held { version: Version { epoch, generation, digest }, sections })
}

/// The octets that are left. Everything is `None` past their end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::new)
    }

    fn section(&mut self) -> Option<Result<Section, NotHeld>> {
        let [kind] = self.array()?;
        let id_octets = usize::from(self.array().map(u16::from_be_bytes)?);
        let octets = self.u32()? as usize;
        let id = self.take(id_octets)?;
        let octets = self.take(octets)?;
        Some(section(kind, id, octets))
    }
}

fn section(kind: u8, id: &[u8], octets: &[u8]) -> Result<Section, NotHeld> {
    let kind = SectionKind::ALL.iter().copied().find(|known| kind_octet(*known) == kind);
    let kind = kind.ok_or(NotHeld::Malformed("a section of unknown kind"))?;
    let id = str::from_utf8(id).map_err(|_| NotHeld::Malformed("an id that is not UTF-8"))?;
    if id.is_empty() || id.len() > MAX_ID_OCTETS || octets.len() > MAX_SECTION_OCTETS {
        return Err(NotHeld::Malformed("a section over the bounds"));
    }
    Ok(Section::new(SectionId::new(kind, id), Bytes::copy_from_slice(octets)))
}
