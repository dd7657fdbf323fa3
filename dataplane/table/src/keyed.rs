//! The hash maps of the index, and the seed that keeps them honest.
//!
//! Keys are host names and path elements, which users of the cluster write. Whoever knows the seed can choose keys that
//! collide and so slow down every lookup on a listener that several tenants share; whoever only sends requests cannot,
//! since requests insert nothing. This crate has no randomness of its own, so the seed is an argument: a data plane
//! draws one when it starts. `TryFrom`, which has no room for an argument, uses a fixed one: right for tests, for checks
//! and for tables whose authors trust each other.

use std::collections::HashMap;

use foldhash::quality::FixedState;

/// Keyed by octets, so that a lookup needs no owned key.
pub(crate) type OctetMap<V> = HashMap<Box<[u8]>, V, FixedState>;

/// What every map of one table is seeded with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn map<V>(self) -> OctetMap<V> {
        HashMap::with_hasher(FixedState::with_seed(self.0))
    }
}
