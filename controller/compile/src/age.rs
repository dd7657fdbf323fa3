//! Which of two objects is the older, by which every conflict is decided.
//!
//! Owns that order: creation time, then namespace and name. It must not know what the conflict is about.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::world::Key;

/// An object's place in the order of age; the least is the oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    created: i64,
    key: Key,
}

impl Age {
    pub(crate) fn of(key: &Key, meta: &ObjectMeta) -> Self {
        Age { created: created(meta), key: key.clone() }
    }
}

/// Creation time in seconds since the Unix epoch; 0 where nobody created the object (a manifest read from a file).
pub(crate) fn created(meta: &ObjectMeta) -> i64 {
    meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}
