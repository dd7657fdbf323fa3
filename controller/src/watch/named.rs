//! The watches of Secrets and ConfigMaps: one for each that something refers to, and none else.
//!
//! Watches come and go with references. There is a bound on how many there are, since each is a connection to the API server;
//! what is beyond it is read again from time to time instead. A reference that leads nowhere stays watched, so that what it
//! leads to is seen when it appears. Knows nothing of who refers to what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headrace_compile::{Key, Kind, Reference, References};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::backoff::Backoff;
use super::discovery::resource;
use super::entry::Entry;
use super::follow::{Follower, Sink};
use super::kinds::Watched;
use super::{Context, Store};

/// Watches at a time. A connection of HTTP/1.1 carries one, and an API server serves some thousands of connections.
const MAX_WATCHES: usize = 256;

/// How long it takes to read everything once more that is beyond the bound.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Between two reads, however many there are: fifty a second at the most are a tenth of what one client may ask.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// For one read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Watches what is referred to, until it is dropped.
pub(crate) async fn follow_references(context: Context, mut wanted: watch::Receiver<Arc<References>>) {
    let mut named = Named { context, watches: BTreeMap::new(), polled: BTreeSet::new(), tasks: JoinSet::new() };
    loop {
        let references = Arc::clone(&wanted.borrow_and_update());
        named.adjust(&references);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = named.poll(), if !named.polled.is_empty() => {}
        }
    }
}

struct Named {
    context: Context,
    watches: BTreeMap<Reference, tokio::task::AbortHandle>,
    /// Beyond the bound.
    polled: BTreeSet<Reference>,
    tasks: JoinSet<()>,
}

impl Named {
    /// Starts and stops watches so that they fit.
    fn adjust(&mut self, references: &References) {
        while self.tasks.try_join_next().is_some() {}
        let gone: Vec<Reference> =
            self.watches.keys().filter(|watched| !references.contains(watched)).cloned().collect();
        for reference in gone {
            if let Some(task) = self.watches.remove(&reference) {
                task.abort();
            }
            forget(&self.context.store, &reference);
        }
        let gone: Vec<Reference> = self.polled.difference(references).cloned().collect();
        for reference in gone {
            self.polled.remove(&reference);
            forget(&self.context.store, &reference);
        }
        for reference in references {
            if self.watches.contains_key(reference) {
                continue;
            }
            if self.watches.len() < MAX_WATCHES {
                self.polled.remove(reference);
                let task = self.spawn(reference.clone());
                self.watches.insert(reference.clone(), task);
            } else if self.polled.insert(reference.clone()) && self.polled.len() == 1 {
                tracing::warn!(
                    watched = MAX_WATCHES,
                    referred_to = references.len(),
                    interval_seconds = POLL_INTERVAL.as_secs(),
                    "more Secrets and ConfigMaps are referred to than are watched; the others are read from time to time"
                );
            }
        }
    }

    fn spawn(&mut self, reference: Reference) -> tokio::task::AbortHandle {
        let context = self.context.clone();
        match reference.kind {
            Kind::ConfigMap => self.tasks.spawn(follow::<ConfigMap>(context, reference)),
            _ => self.tasks.spawn(follow::<Secret>(context, reference)),
        }
    }

    /// Reads what is beyond the bound: at once what was never read, and everything within an interval.
    async fn poll(&self) {
        let (known, unknown): (Vec<_>, Vec<_>) =
            self.polled.iter().partition(|reference| self.context.store.is_resolved(reference));
        let pause = POLL_INTERVAL / u32::try_from(known.len().max(1)).unwrap_or(u32::MAX);
        for reference in unknown {
            self.read(reference).await;
            tokio::time::sleep(POLL_PAUSE).await;
        }
        for reference in known {
            self.read(reference).await;
            tokio::time::sleep(pause.max(POLL_PAUSE)).await;
        }
    }

    async fn read(&self, reference: &Reference) {
        match reference.kind {
            Kind::ConfigMap => read::<ConfigMap>(&self.context, reference).await,
            _ => read::<Secret>(&self.context, reference).await,
        }
    }
}

fn forget(store: &Store, reference: &Reference) {
    match reference.kind {
        Kind::ConfigMap => store.unreferenced::<ConfigMap>(reference),
        _ => store.unreferenced::<Secret>(reference),
    }
}

fn api<K: Watched>(client: &Client, key: &Key) -> Api<Entry<K>> {
    Api::namespaced_with(client.clone(), &key.namespace, &resource(K::KIND, None))
}

async fn follow<K: Watched>(context: Context, reference: Reference) {
    let follower = Follower {
        api: api::<K>(&context.client, &reference.key),
        selector: Some(format!("metadata.name={}", reference.key.name)),
        streaming: context.streaming,
        metrics: context.metrics,
        asked: Arc::default(),
        backoff: Backoff::default(),
    };
    follower.follow(One { store: context.store, reference }).await;
}

async fn read<K: Watched>(context: &Context, reference: &Reference) {
    match timeout(READ_TIMEOUT, api::<K>(&context.client, &reference.key).get_opt(&reference.key.name)).await {
        Ok(Ok(entry)) => context.store.resolve::<K>(reference, entry),
        Ok(Err(error)) => tracing::warn!(kind = K::KIND.label(), object = %reference.key, %error, "not read"),
        Err(_) => tracing::warn!(kind = K::KIND.label(), object = %reference.key, "not read in time"),
    }
}

/// Where the watch of one object puts it.
struct One {
    store: Arc<Store>,
    reference: Reference,
}

impl<K: Watched> Sink<K> for One {
    fn listed(&mut self, entries: Vec<Entry<K>>) {
        self.store.resolve(&self.reference, entries.into_iter().find(|entry| entry.key() == self.reference.key));
    }

    fn applied(&mut self, entry: Entry<K>) {
        if entry.key() == self.reference.key {
            self.store.resolve(&self.reference, Some(entry));
        }
    }

    fn deleted(&mut self, key: &Key) {
        if *key == self.reference.key {
            self.store.resolve::<K>(&self.reference, None);
        }
    }
}
