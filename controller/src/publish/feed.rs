//! From generations to tables in sections, for as long as this controller leads.
//!
//! Owns the sections of the newest table of each pod set. Encoding is work for the processor and done aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use headrace_push::Sections;
use tokio::sync::watch;

use super::hub::Hub;
use super::metrics::Ended;
use crate::generation::Generation;
use crate::leader::Leadership;

/// The generation that was encoded last, with its sections for each pod set.
#[derive(Clone)]
struct Encoded {
    generation: Arc<Generation>,
    sections: BTreeMap<String, Arc<Sections>>,
}

/// Follows generations and leadership until either ends.
pub(crate) async fn feed(
    hub: Arc<Hub>,
    mut generations: watch::Receiver<Option<Arc<Generation>>>,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut encoded: Option<Encoded> = None;
    let mut was = Leadership::Follower;
    loop {
        let is = *leadership.borrow_and_update();
        if is != was {
            tell(&hub, is);
            was = is;
        }
        let newest = generations.borrow_and_update().clone();
        if !is.is_leader() {
            // A table that nobody is to be sent is memory for nothing.
            encoded = None;
        }
        if let (true, Some(newest)) = (is.is_leader(), newest) {
            encoded = encode(&hub, newest, encoded).await;
            // Whoever lost the lead meanwhile has nothing to say, even to pods that would not listen.
            if let Some(encoded) = encoded.as_ref().filter(|_| *leadership.borrow() == is) {
                for (pod_set, sections) in &encoded.sections {
                    hub.publish(pod_set, encoded.generation.number, Arc::clone(sections));
                }
            }
        }
        let changed = tokio::select! {
            changed = leadership.changed() => changed,
            changed = generations.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
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
