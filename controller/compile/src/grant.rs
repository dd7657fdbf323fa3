//! ReferenceGrants: who may refer into another namespace.
//!
//! Owns the one question whether a reference is permitted. It must not know what the reference is for.

use std::collections::BTreeMap;

use gateway_api::referencegrants::ReferenceGrantSpec;

use crate::world::World;

/// The end of a reference that names: an object of that group and kind, in that namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

/// The end of a reference that is named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referent<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Every ReferenceGrant, by the namespace that it opens.
pub(crate) struct Grants<'w> {
    by_namespace: BTreeMap<&'w str, Vec<&'w ReferenceGrantSpec>>,
}

impl<'w> Grants<'w> {
    pub(crate) fn of(world: &'w World) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<&ReferenceGrantSpec>> = BTreeMap::new();
        for (key, grant) in &world.reference_grants {
            by_namespace.entry(&key.namespace).or_default().push(&grant.spec);
        }
        Grants { by_namespace }
    }

    /// Within a namespace everything is permitted; across, only what one grant names in both `from` and `to`.
    pub(crate) fn permit(&self, from: Referrer<'_>, to: Referent<'_>) -> bool {
        from.namespace == to.namespace
            || self.by_namespace.get(to.namespace).is_some_and(|grants| {
                grants.iter().any(|grant| {
                    grant.from.iter().any(|entry| {
                        entry.group == from.group && entry.kind == from.kind && entry.namespace == from.namespace
                    }) && grant.to.iter().any(|entry| {
                        entry.group == to.group
                            && entry.kind == to.kind
                            // An empty name is how some write "all of them".
                            && entry.name.as_deref().is_none_or(|name| name.is_empty() || name == to.name)
                    })
                })
            })
    }
}
