//! What is known of the cluster: the World as watches have brought it in, and how far each watch is.
//!
//! Watches write, everybody else reads snapshots. Owns the difference between a change that matters and one that does not,
//! and remembers when each object last changed so that it mattered. Knows nothing of how watches work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headrace_compile::{Key, Kind, Reference, References, World};
use tokio::sync::watch;

use super::entry::Entry;
use super::kinds::Watched;

/// Unreadable objects that are remembered by name. Of more, the count is enough.
const MAX_UNREADABLE: usize = 100;

/// Counts changes that matter.
pub type Revision = u64;

/// How far the watch of a kind is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindState {
    /// Not looked for yet.
    Unknown,
    /// The API server does not have it; for this reason.
    Missing(String),
    /// The API server has it, and not all objects are here yet.
    Listing,
    /// All objects are here.
    Listed,
}

/// The World at one moment, with what a compile needs to know besides.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The objects.
    pub world: Arc<World>,
    /// How many changes that matter went into it.
    pub revision: Revision,
    /// Whether every kind that exists has been listed.
    pub is_complete: bool,
    /// The version of the Gateway API's CRDs, as their annotation has it.
    pub gateway_api_version: Option<String>,
}

/// One object that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: Key,
    /// What was wrong, and where.
    pub reason: String,
}

/// Shared by all watches.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    changed: watch::Sender<Revision>,
}

#[derive(Debug)]
struct State {
    world: Arc<World>,
    revision: Revision,
    /// When each object last changed so that it mattered.
    revisions: BTreeMap<(Kind, Key), Revision>,
    kinds: BTreeMap<Kind, KindState>,
    /// References that have been looked up, whether something was there or not.
    resolved: BTreeSet<Reference>,
    unreadable: BTreeMap<(Kind, Key), String>,
    gateway_api_version: Option<String>,
}

impl Default for Store {
    fn default() -> Self {
        let state = State {
            world: Arc::default(),
            revision: 0,
            revisions: BTreeMap::new(),
            kinds: Kind::ALL
                .iter()
                .filter(|kind| !Reference::is_kind(**kind))
                .map(|kind| (*kind, KindState::Unknown))
                .collect(),
            resolved: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            gateway_api_version: None,
        };
        Store { state: Mutex::new(state), changed: watch::Sender::new(0) }
    }
}

impl Store {
    /// Changes whenever something did that matters: an object, how far a watch is, a reference looked up.
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.changed.subscribe()
    }

    /// What is known now. Cheap; yet a snapshot that is held makes the next change copy the World's maps.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            world: Arc::clone(&state.world),
            revision: state.revision,
            is_complete: state.kinds.values().all(|kind| matches!(kind, KindState::Listed | KindState::Missing(_))),
            gateway_api_version: state.gateway_api_version.clone(),
        }
    }

    /// How far each kind is, with the number of its objects.
    pub fn kinds(&self) -> Vec<(Kind, KindState, usize)> {
        let state = self.lock();
        state.kinds.iter().map(|(kind, how)| (*kind, how.clone(), count(&state.world, *kind))).collect()
    }

    /// How many objects of a kind there are that are fetched by name alone.
    pub fn referenced(&self) -> Vec<(Kind, usize)> {
        let state = self.lock();
        Reference::KINDS.iter().map(|kind| (*kind, count(&state.world, *kind))).collect()
    }

    /// The objects that could not be read, as far as they are remembered.
    pub fn unreadable(&self) -> Vec<Unreadable> {
        let state = self.lock();
        let unreadable = state.unreadable.iter();
        unreadable
            .map(|((kind, key), reason)| Unreadable { kind: *kind, key: key.clone(), reason: reason.clone() })
            .collect()
    }

    /// Since which revision an object is as it is. Absent if there is none.
    pub fn revision_of(&self, kind: Kind, key: &Key) -> Option<Revision> {
        self.lock().revisions.get(&(kind, key.clone())).copied()
    }

    /// Which of these have not been looked up yet.
    pub fn unresolved(&self, references: &References) -> usize {
        let state = self.lock();
        references.iter().filter(|reference| !state.resolved.contains(reference)).count()
    }

    /// Whether a reference has been looked up.
    pub(crate) fn is_resolved(&self, reference: &Reference) -> bool {
        self.lock().resolved.contains(reference)
    }

    /// The API server does not have a kind: its objects are gone.
    pub(crate) fn missing<K: Watched>(&self, reason: &str) {
        self.change(|state| {
            let was = state.kinds.insert(K::KIND, KindState::Missing(reason.to_owned()));
            state.forget_unreadable(K::KIND);
            let gone: Vec<Key> = K::objects(&state.world).keys().cloned().collect();
            for key in &gone {
                state.take::<K>(key);
            }
            !gone.is_empty() || !matches!(was, Some(KindState::Missing(_)))
        });
    }

    /// The API server has a kind; its objects are on their way.
    pub(crate) fn listing(&self, kind: Kind) {
        self.change(|state| {
            let is_new = !matches!(state.kinds.get(&kind), Some(KindState::Listed | KindState::Listing));
            if is_new {
                state.kinds.insert(kind, KindState::Listing);
            }
            is_new
        });
    }

    /// All objects of a kind, in place of those from before.
    pub(crate) fn replace<K: Watched>(&self, entries: Vec<Entry<K>>) {
        self.change(|state| {
            state.forget_unreadable(K::KIND);
            let keys: BTreeSet<Key> = entries.iter().map(Entry::key).collect();
            let gone: Vec<Key> = K::objects(&state.world).keys().filter(|key| !keys.contains(*key)).cloned().collect();
            let mut matters = !gone.is_empty();
            for key in &gone {
                state.take::<K>(key);
            }
            for entry in entries {
                matters |= state.put(entry);
            }
            let was = state.kinds.insert(K::KIND, KindState::Listed);
            matters || was != Some(KindState::Listed)
        });
    }

    /// An object is new or has changed.
    pub(crate) fn apply<K: Watched>(&self, entry: Entry<K>) {
        self.change(|state| state.put(entry));
    }

    /// An object is gone.
    pub(crate) fn delete<K: Watched>(&self, key: &Key) {
        self.change(|state| {
            state.unreadable.remove(&(K::KIND, key.clone()));
            state.take::<K>(key)
        });
    }

    /// What a reference leads to.
    pub(crate) fn resolve<K: Watched>(&self, reference: &Reference, entry: Option<Entry<K>>) {
        self.change(|state| {
            let is_first = state.resolved.insert(reference.clone());
            let matters = match entry {
                Some(entry) => state.put(entry),
                None => {
                    state.unreadable.remove(&(K::KIND, reference.key.clone()));
                    state.take::<K>(&reference.key)
                }
            };
            matters || is_first
        });
    }

    /// Nothing refers to it any more.
    pub(crate) fn unreferenced<K: Watched>(&self, reference: &Reference) {
        self.change(|state| {
            state.resolved.remove(reference);
            state.unreadable.remove(&(K::KIND, reference.key.clone()));
            state.take::<K>(&reference.key)
        });
    }

    /// The version of the Gateway API's CRDs.
    pub(crate) fn gateway_api_version(&self, version: Option<String>) {
        self.change(|state| {
            let is_new = state.gateway_api_version != version;
            state.gateway_api_version = version;
            is_new
        });
    }

    /// For tests: a kind is listed, and there is nothing of it.
    #[cfg(test)]
    pub(crate) fn list_as_empty(&self, kind: Kind) {
        self.change(|state| {
            state.kinds.insert(kind, KindState::Listed);
            true
        });
    }

    /// For tests: an object of one of some kinds, as it comes from a watch.
    #[cfg(test)]
    pub(crate) fn put_for_test(&self, object: serde_json::Value) {
        use gateway_api::gatewayclasses::GatewayClass;
        use gateway_api::gateways::Gateway;
        const READABLE: &str = "the test writes it so";
        match object["kind"].as_str() {
            Some("GatewayClass") => self.apply::<GatewayClass>(serde_json::from_value(object).expect(READABLE)),
            _ => self.apply::<Gateway>(serde_json::from_value(object).expect(READABLE)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.lock();
        // What changes in this step is of the next revision, whether it turns out to matter or not.
        state.revision += 1;
        if change(&mut state) {
            self.changed.send_replace(state.revision);
        } else {
            state.revision -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts an object in; says whether that matters.
    fn put<K: Watched>(&mut self, entry: Entry<K>) -> bool {
        let key = entry.key();
        let mut object = match entry {
            Entry::Readable(object) => object,
            Entry::Unreadable { reason, .. } => return self.put_unreadable::<K>(key, reason),
        };
        object.trim();
        self.unreadable.remove(&(K::KIND, key.clone()));
        let matters = match K::objects(&self.world).get(&key) {
            Some(before) if before.meta().resource_version == object.meta().resource_version => return false,
            Some(before) => !before.means_the_same(&object),
            None => true,
        };
        if matters {
            self.revisions.insert((K::KIND, key.clone()), self.revision);
        }
        K::objects_mut(Arc::make_mut(&mut self.world)).insert(key, Arc::new(object));
        matters
    }

    /// An object that cannot be read is not served: what it was before says nothing about what it should be now.
    fn put_unreadable<K: Watched>(&mut self, key: Key, reason: String) -> bool {
        let kind = K::KIND;
        let known = self.unreadable.get(&(kind, key.clone()));
        if known != Some(&reason) && (known.is_some() || self.unreadable.len() < MAX_UNREADABLE) {
            tracing::warn!(kind = kind.label(), object = %key, reason, "an object cannot be read, and is left out");
            self.unreadable.insert((kind, key.clone()), reason);
        }
        self.take::<K>(&key)
    }

    /// Takes an object out; says whether it was there.
    fn take<K: Watched>(&mut self, key: &Key) -> bool {
        if !K::objects(&self.world).contains_key(key) {
            return false;
        }
        self.revisions.remove(&(K::KIND, key.clone()));
        K::objects_mut(Arc::make_mut(&mut self.world)).remove(key).is_some()
    }

    fn forget_unreadable(&mut self, kind: Kind) {
        self.unreadable.retain(|(of, _), _| *of != kind);
    }
}

/// How many objects of a kind the World has.
pub(crate) fn count(world: &World, kind: Kind) -> usize {
    match kind {
        Kind::GatewayClass => world.gateway_classes.len(),
        Kind::Gateway => world.gateways.len(),
        Kind::ListenerSet => world.listener_sets.len(),
        Kind::GatewayParameters => world.gateway_parameters.len(),
        Kind::EdgePolicy => world.edge_policies.len(),
        Kind::HttpRoute => world.http_routes.len(),
        Kind::WebSocketRoute => world.websocket_routes.len(),
        Kind::WebTransportRoute => world.webtransport_routes.len(),
        Kind::Ingress => world.ingresses.len(),
        Kind::IngressClass => world.ingress_classes.len(),
        Kind::Service => world.services.len(),
        Kind::EndpointSlice => world.endpoint_slices.len(),
        Kind::BackendTlsPolicy => world.backend_tls_policies.len(),
        Kind::Secret => world.secrets.len(),
        Kind::ConfigMap => world.config_maps.len(),
        Kind::Node => world.nodes.len(),
        Kind::Namespace => world.namespaces.len(),
        Kind::ReferenceGrant => world.reference_grants.len(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use gateway_api::httproutes::HttpRoute;
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;

    use super::*;

    fn route(name: &str, version: &str, generation: i64) -> Entry<HttpRoute> {
        let metadata = json!({"name": name, "namespace": "a", "resourceVersion": version, "generation": generation});
        serde_json::from_value(json!({"metadata": metadata, "spec": {}})).unwrap()
    }

    fn unreadable(name: &str) -> Entry<HttpRoute> {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "a"}, "spec": 3})).unwrap()
    }

    #[test]
    fn only_changes_that_matter_wake_anybody() {
        let store = Store::default();
        let mut changed = store.subscribe();
        store.replace(vec![route("one", "1", 1), route("two", "2", 1)]);
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        let before = store.snapshot();

        store.apply(route("one", "3", 1));
        store.replace(vec![route("one", "4", 1), route("two", "2", 1)]);
        store.delete::<HttpRoute>(&Key::new("a", "three"));
        assert!(!changed.has_changed().unwrap(), "only versions have changed");
        assert_eq!(store.snapshot().revision, before.revision);
        let now = store.snapshot().world.http_routes[&Key::new("a", "one")].metadata.resource_version.clone();
        assert_eq!(now.as_deref(), Some("4"), "and they are kept all the same");

        store.apply(route("one", "5", 2));
        assert!(changed.has_changed().unwrap());
        let after = store.snapshot();
        assert_eq!(store.revision_of(Kind::HttpRoute, &Key::new("a", "one")), Some(after.revision));
        assert!(store.revision_of(Kind::HttpRoute, &Key::new("a", "two")).unwrap() <= before.revision);
        assert_eq!(before.world.http_routes[&Key::new("a", "one")].metadata.generation, Some(1), "a snapshot stays");
    }

    #[test]
    fn a_list_replaces_and_a_missing_kind_is_empty() {
        let store = Store::default();
        assert!(!store.snapshot().is_complete);
        store.replace(vec![route("one", "1", 1), route("two", "2", 1)]);
        store.replace(vec![route("two", "2", 1), route("three", "3", 1)]);
        let names: Vec<_> = store.snapshot().world.http_routes.keys().map(|key| key.name.clone()).collect();
        assert_eq!(names, ["three", "two"]);

        store.missing::<HttpRoute>("not installed");
        assert!(store.snapshot().world.is_empty());
        let mut changed = store.subscribe();
        store.missing::<HttpRoute>("not installed");
        assert!(!changed.has_changed().unwrap());
        store.listing(Kind::HttpRoute);
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        store.replace::<HttpRoute>(Vec::new());
        assert!(changed.has_changed().unwrap(), "the list was awaited, though it is empty");
    }

    #[test]
    fn an_unreadable_object_is_out_and_told_of() {
        let store = Store::default();
        store.replace(vec![route("one", "1", 1), route("two", "2", 1)]);
        store.apply(unreadable("one"));
        assert_eq!(store.snapshot().world.len(), 1);
        assert_eq!(store.unreadable()[0].key, Key::new("a", "one"));
        store.apply(route("one", "4", 2));
        assert_eq!((store.snapshot().world.len(), store.unreadable().len()), (2, 0));
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_resolved() {
        let store = Store::default();
        let reference = Reference { kind: Kind::Secret, key: Key::new("a", "tls") };
        let references = References::from([reference.clone()]);
        assert_eq!(store.unresolved(&references), 1);
        store.resolve::<Secret>(&reference, None);
        assert_eq!(store.unresolved(&references), 0);
        let secret = json!({"metadata": {"name": "tls", "namespace": "a", "resourceVersion": "1"}});
        store.resolve::<Secret>(&reference, Some(serde_json::from_value(secret).unwrap()));
        assert_eq!(store.snapshot().world.secrets.len(), 1);
        store.unreferenced::<Secret>(&reference);
        assert_eq!(store.snapshot().world.secrets.len(), 0);
    }
}
