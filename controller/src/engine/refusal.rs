//! Which refusals still stand.
//!
//! A pod refuses an entry of a table, and with that the object from which it was made, as the object was then. When the
//! object changes it is tried again. Owns which object an entry comes from, and how to tell whether it has changed.

use std::collections::{BTreeMap, VecDeque};

use headrace_compile::{Key, Kind};
use headrace_table::{SectionId, SectionKind};

use crate::publish::acknowledgements::Refusals;
use crate::watch::{Revision, Store};

/// Generations of which it is remembered how far the World was. A pod that answers later than this many compiles is told to
/// have refused the oldest that is known, and its refusal stands for what has not changed since.
const MAX_GENERATIONS: usize = 1024;

/// How far the World was at each generation.
#[derive(Debug, Default)]
pub(super) struct History {
    generations: VecDeque<(u64, Revision)>,
}

impl History {
    /// A generation was compiled from the World at that revision.
    pub(super) fn compiled(&mut self, generation: u64, revision: Revision) {
        if self.generations.len() == MAX_GENERATIONS {
            self.generations.pop_front();
        }
        self.generations.push_back((generation, revision));
    }

    /// The refusals of entries whose objects are as they were.
    pub(super) fn standing(&self, refusals: &Refusals, store: &Store) -> BTreeMap<SectionId, String> {
        let stands = refusals.sections.iter().filter(|(section, refusal)| {
            let Some((kind, key)) = object_of(section) else { return true };
            let Some(then) = self.revision(refusal.generation) else { return true };
            // An object that is gone has no entry to leave out.
            store.revision_of(kind, &key).is_some_and(|now| now <= then)
        });
        stands.map(|(section, refusal)| (section.clone(), refusal.message.clone())).collect()
    }

    fn revision(&self, generation: u64) -> Option<Revision> {
        let at = self.generations.partition_point(|(number, _)| *number < generation);
        self.generations.get(at).or_else(|| self.generations.back()).map(|(_, revision)| *revision)
    }
}

/// The object from which an entry is made, by the entry's id. A listener of an Ingress has none that could be named: it
/// is made from all of them.
fn object_of(section: &SectionId) -> Option<(Kind, Key)> {
    let parts: Vec<&str> = section.id.split('/').collect();
    match (section.kind, parts.as_slice()) {
        (SectionKind::Listener, [namespace, gateway, _]) => Some((Kind::Gateway, Key::new(*namespace, *gateway))),
        (SectionKind::Route, [kind, namespace, name, ..]) => {
            let kind = Kind::ALL.iter().copied().find(|known| known.label() == *kind)?;
            Some((kind, Key::new(*namespace, *name)))
        }
        // Behind the port stands what it is used for, where that is not requests.
        (SectionKind::Backend, [namespace, service, ..]) => {
            let (name, _) = service.rsplit_once(':')?;
            Some((Kind::Service, Key::new(*namespace, name)))
        }
        (SectionKind::Certificate, [namespace, name]) => Some((Kind::Secret, Key::new(*namespace, *name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn entries_come_from_objects() {
        for (kind, id, expect) in [
            (SectionKind::Listener, "infra/edge/https", Some((Kind::Gateway, Key::new("infra", "edge")))),
            (SectionKind::Listener, "ingress", None),
            (SectionKind::Route, "WebSocketRoute/shop/chat", Some((Kind::WebSocketRoute, Key::new("shop", "chat")))),
            (SectionKind::Route, "Ingress/shop/a/extra", Some((Kind::Ingress, Key::new("shop", "a")))),
            (SectionKind::Route, "Pod/shop/chat", None),
            (SectionKind::Backend, "shop/chat:8080", Some((Kind::Service, Key::new("shop", "chat")))),
            (SectionKind::Backend, "shop/chat:8080/tcp", Some((Kind::Service, Key::new("shop", "chat")))),
            (SectionKind::Certificate, "shop/tls", Some((Kind::Secret, Key::new("shop", "tls")))),
        ] {
            assert_eq!(object_of(&SectionId::new(kind, id)), expect, "{id}");
        }
    }

    #[test]
    fn generations_have_revisions_and_a_bound() {
        let mut history = History::default();
        assert_eq!(history.revision(1), None);
        for generation in 1..=2000 {
            history.compiled(generation, generation * 10);
        }
        assert_eq!(history.generations.len(), MAX_GENERATIONS);
        assert_eq!(history.revision(1500), Some(15_000));
        assert_eq!(history.revision(1), Some(9770), "the oldest that is known");
        assert_eq!(history.revision(5000), Some(20_000));
    }
}
