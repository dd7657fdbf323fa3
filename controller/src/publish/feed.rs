//! From generations to tables in sections, for as long as this controller leads.
//!
//! Owns the sections of the newest table of each pod set: those that were compiled, and beside them what the pods of the set
//! share. Encoding is work for the processor and done aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use headrace_push::Sections;
use tokio::sync::watch;

use super::hub::Hub;
use super::metrics::Ended;
use crate::generation::Generation;
use crate::leader::Leadership;
use crate::quic::{Share, Shares};

/// The generation that was encoded last, with its sections for each pod set.
#[derive(Clone)]
struct Encoded {
    generation: Arc<Generation>,
    sections: BTreeMap<String, Arc<Sections>>,
}

/// A pod set's table with what its pods share.
struct Joined {
    compiled: Arc<Sections>,
    share: Option<Arc<Share>>,
    whole: Arc<Sections>,
}

/// Follows generations, shares and leadership until generations or leadership end.
pub(crate) async fn feed(
    hub: Arc<Hub>,
    mut generations: watch::Receiver<Option<Arc<Generation>>>,
    mut shares: watch::Receiver<Shares>,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut encoded: Option<Encoded> = None;
    let mut joined: BTreeMap<String, Joined> = BTreeMap::new();
    let mut was = Leadership::Follower;
    loop {
        let is = *leadership.borrow_and_update();
        if is != was {
            tell(&hub, is);
            was = is;
        }
        let newest = generations.borrow_and_update().clone();
        let shared = shares.borrow_and_update().clone();
        if !is.is_leader() {
            // A table that nobody is to be sent is memory for nothing.
            (encoded, joined) = (None, BTreeMap::new());
        }
        if let (Some(epoch), Some(newest)) = (is.epoch(), newest) {
            encoded = encode(&hub, newest, encoded).await;
            // Whoever lost the lead meanwhile has nothing to say, even to pods that would not listen.
            if let Some(encoded) = encoded.as_ref().filter(|_| *leadership.borrow() == is) {
                for (pod_set, sections) in &encoded.sections {
                    // Pods that have keys would lose them by a table without, so that there is none before it has them.
                    let Some(share) = shared.of(pod_set, epoch) else { continue };
                    let whole = join(&mut joined, pod_set, sections, share);
                    hub.publish(pod_set, encoded.generation.number, whole);
                }
            }
        }
        let changed = tokio::select! {
            changed = leadership.changed() => changed,
            changed = generations.changed() => changed,
            Ok(()) = shares.changed() => Ok(()),
        };
        if changed.is_err() {
            return;
        }
    }
}

/// A pod set's table with what its pods share: the one from before, where neither is another.
fn join(
    joined: &mut BTreeMap<String, Joined>,
    pod_set: &str,
    compiled: &Arc<Sections>,
    share: Option<Arc<Share>>,
) -> Arc<Sections> {
    let before = joined.get(pod_set);
    if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.compiled, compiled) && before.share == share) {
        return Arc::clone(&before.whole);
    }
    let whole = match &share {
        None => Arc::clone(compiled),
        Some(share) => {
            let before = before.map(|before| before.whole.as_ref());
            Arc::new(compiled.with_shared(Some(&share.keys), &share.peers, before))
        }
    };
    joined.insert(pod_set.to_owned(), Joined { compiled: Arc::clone(compiled), share, whole: Arc::clone(&whole) });
    whole
}

fn tell(hub: &Hub, leadership: Leadership) {
    match leadership {
        Leadership::Leader { epoch } => {
            tracing::info!(epoch, "push: this replica publishes");
            hub.lead(epoch);
        }
        Leadership::Follower => {
            tracing::info!("push: this replica does not publish");
            hub.follow(Ended::NotLeader);
        }
    }
}

/// The sections of a generation, sharing with those before what has not changed. `None` after a fault of ours, which is
/// told by its panic: the next generation is encoded from nothing.
async fn encode(hub: &Arc<Hub>, generation: Arc<Generation>, before: Option<Encoded>) -> Option<Encoded> {
    if before.as_ref().is_some_and(|before| before.generation.number == generation.number) {
        return before;
    }
    let hub = Arc::clone(hub);
    let encoding = tokio::task::spawn_blocking(move || {
        let sections = hub.pod_sets().map(|pod_set| {
            let table = generation.compiled.table_for(pod_set);
            let before = before.as_ref().and_then(|before| {
                Some((before.generation.compiled.table_for(pod_set), before.sections.get(pod_set)?))
            });
            let before = before.as_ref().map(|(table, sections)| (table.as_ref(), sections.as_ref()));
            (pod_set.clone(), Arc::new(Sections::of(&table, before)))
        });
        let sections = sections.collect();
        Encoded { generation, sections }
    });
    match encoding.await {
        Ok(encoded) => Some(encoded),
        Err(error) => {
            tracing::error!(%error, "push: a table could not be encoded");
            None
        }
    }
}
