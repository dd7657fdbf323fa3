//! The messages of `headrace.push.v1`, as far as a publisher needs them that always sends whole tables.
//!
//! Written from the protocol's definition, and of none of Headrace's own crates: what a pod makes of a publisher is seen
//! from outside here.

use prost::{Message, Oneof};
use sha2::{Digest as _, Sha256};

/// The path of the one method.
pub(crate) const SUBSCRIBE: &str = "/headrace.push.v1.Push/Subscribe";

/// `SectionKind`, by number.
pub(crate) const LISTENER: i32 = 1;
pub(crate) const ROUTE: i32 = 2;
pub(crate) const BACKEND: i32 = 3;
pub(crate) const CERTIFICATE: i32 = 4;
pub(crate) const KEYS: i32 = 5;
pub(crate) const PEER: i32 = 6;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FromSubscriber {
    #[prost(oneof = "Said", tags = "1, 3, 4")]
    pub(crate) message: Option<Said>,
}

/// What matters here of what a pod says.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Said {
    #[prost(message, tag = "1")]
    Hello(Empty),
    #[prost(message, tag = "3")]
    Accepted(Answer),
    #[prost(message, tag = "4")]
    Rejected(Answer),
}

/// A message whose fields are passed over.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

/// `Accepted` and `Rejected`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<Version>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) faults: Vec<Fault>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Fault {
    #[prost(message, optional, tag = "1")]
    pub(crate) section: Option<SectionId>,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ToSubscriber {
    #[prost(oneof = "Say", tags = "2, 3, 4")]
    pub(crate) message: Option<Say>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Say {
    #[prost(message, tag = "2")]
    Begin(Begin),
    #[prost(message, tag = "3")]
    Part(Part),
    #[prost(message, tag = "4")]
    Commit(Commit),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Version {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) generation: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Begin {
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<Version>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) base: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Part {
    #[prost(message, repeated, tag = "1")]
    pub(crate) changed: Vec<Fragment>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Fragment {
    #[prost(message, optional, tag = "1")]
    pub(crate) section: Option<SectionId>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) octets: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
pub(crate) struct SectionId {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(string, tag = "2")]
    pub(crate) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Commit {
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<Version>,
}

/// One entry of a table.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) id: SectionId,
    /// JSON.
    pub(crate) octets: Vec<u8>,
}

/// The messages by which a whole table is given to who holds whatever: it changes the table of no sections.
pub(crate) fn whole(sections: &[Section], generation: u64) -> [ToSubscriber; 3] {
    let version = Version { epoch: 1, generation, digest: digest(sections) };
    let base = Sha256::digest([]).to_vec();
    let fragment = |section: &Section| Fragment { section: Some(section.id.clone()), octets: section.octets.clone() };
    let says = [
        Say::Begin(Begin { version: Some(version.clone()), base }),
        Say::Part(Part { changed: sections.iter().map(fragment).collect() }),
        Say::Commit(Commit { version: Some(version) }),
    ];
    says.map(|say| ToSubscriber { message: Some(say) })
}

/// Over kind, length of the id, id and digest of each section, in the order of kinds and ids.
fn digest(sections: &[Section]) -> Vec<u8> {
    let mut sorted: Vec<&Section> = sections.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let mut hash = Sha256::new();
    for Section { id, octets } in sorted {
        hash.update([u8::try_from(id.kind).expect("there are six kinds")]);
        hash.update((id.id.len() as u64).to_be_bytes());
        hash.update(&id.id);
        hash.update(Sha256::digest(octets));
    }
    hash.finalize().to_vec()
}
