//! Where streams, tables and leadership meet: every pod set with its open streams, and what is told to the rest of the
//! controller.
//!
//! Owns the locks, one for each pod set, held for as long as it takes to look. It must not know what a stream is made of:
//! it wakes one or ends it through its [`Stream`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use headrace_push::proto::{FromSubscriber, ToSubscriber};
use headrace_push::{Sections, SubscriberId, Unpublishable, Version, Violation};
use headrace_table::SectionId;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::acknowledgements::{Acknowledgements, Refusal, Refusals};
use super::identity::PodIdentity;
use super::metrics::{Ended, PushMetrics};
use super::pod_set::{Moment, Outcome, Patience, PodSet, refusals};
use super::told::Members;

/// Acknowledgements are told no more often than this: a thousand pods that answer at once are told in one go, and nobody
/// who waits for `Programmed` notices.
const TOLD_EVERY: Duration = Duration::from_millis(10);

/// Entries of tables that are known as refused. More are told when these are mended.
const MAX_REFUSALS: usize = 4096;

/// How far an epoch that a pod names may be ahead of the clock, in seconds. Epochs follow the clock, and a pod that was
/// taken over must not be able to use them up: after the greatest number there is no next leader.
const MAX_EPOCH_AHEAD: u64 = 366 * 24 * 3600;

/// What all streams of this controller share.
#[derive(Debug)]
pub(crate) struct Hub {
    pod_sets: BTreeMap<String, Mutex<Option<Led>>>,
    patience: Patience,
    metrics: Arc<PushMetrics>,
    changed: Notify,
    acknowledgements: watch::Sender<Arc<Acknowledgements>>,
    members: watch::Sender<Arc<Members>>,
    refusals: watch::Sender<Arc<Refusals>>,
    challenges: watch::Sender<u64>,
}

/// A pod set while this controller leads.
#[derive(Debug)]
struct Led {
    pod_set: PodSet,
    streams: BTreeMap<SubscriberId, Arc<Stream>>,
}

/// What its own task knows of a stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Something may be there to be sent, or the stream is to end.
    pub(crate) wake: Notify,
    ended: OnceLock<Ended>,
}

impl Stream {
    /// Why it is to end, if it is.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// The first reason counts.
    fn end(&self, why: Ended) {
        let _ = self.ended.set(why);
        self.wake.notify_one();
    }
}

/// A stream's place in the hub.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: SubscriberId,
    pub(crate) stream: Arc<Stream>,
}

/// This controller does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the leader")]
pub(crate) struct NotLeader;

impl Hub {
    /// Of a controller that does not lead yet.
    pub(crate) fn new(
        pod_sets: impl Iterator<Item = String>,
        patience: Patience,
        metrics: Arc<PushMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pod_sets: pod_sets.map(|name| (name, Mutex::new(None))).collect(),
            patience,
            metrics,
            changed: Notify::new(),
            acknowledgements: watch::Sender::default(),
            members: watch::Sender::default(),
            refusals: watch::Sender::default(),
            challenges: watch::Sender::default(),
        })
    }

    pub(crate) fn pod_sets(&self) -> impl Iterator<Item = &String> {
        self.pod_sets.keys()
    }

    pub(crate) fn acknowledgements(&self) -> watch::Receiver<Arc<Acknowledgements>> {
        self.acknowledgements.subscribe()
    }

    pub(crate) fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.members.subscribe()
    }

    pub(crate) fn refusals(&self) -> watch::Receiver<Arc<Refusals>> {
        self.refusals.subscribe()
    }

    pub(crate) fn challenges(&self) -> watch::Receiver<u64> {
        self.challenges.subscribe()
    }

    /// The version that the pods of a set are to have.
    pub(crate) fn current(&self, pod_set: &str) -> Option<Version> {
        self.led(pod_set)?.as_ref()?.pod_set.current()
    }

    /// This controller leads, with that epoch. Streams that are open stay so.
    pub(crate) fn lead(&self, epoch: u64) {
        for name in self.pod_sets.keys() {
            let Some(mut led) = self.led(name) else { continue };
            match &mut *led {
                Some(led) => {
                    led.pod_set.raise(epoch, Moment::now());
                    led.wake_all();
                }
                None => *led = Some(Led { pod_set: PodSet::new(epoch), streams: BTreeMap::new() }),
            }
        }
        self.changed.notify_one();
    }

    /// Another one leads, or this process ends: every stream ends, and what the pods said is no longer ours to tell.
    pub(crate) fn follow(&self, why: Ended) {
        for name in self.pod_sets.keys() {
            if let Some(led) = self.led(name).and_then(|mut led| led.take()) {
                led.streams.values().for_each(|stream| stream.end(why));
            }
        }
        self.refusals.send_if_modified(|refusals| {
            let had_some = !refusals.sections.is_empty();
            *refusals = Arc::default();
            had_some
        });
        self.changed.notify_one();
    }

    /// Publishes a table to a pod set. Nothing happens on a controller that does not lead.
    pub(crate) fn publish(&self, pod_set: &str, generation: u64, sections: Arc<Sections>) {
        let octets = sections.octets();
        let published = {
            let Some(mut led) = self.led(pod_set) else { return };
            let Some(led) = &mut *led else { return };
            let published = led.pod_set.publish(generation, sections, Moment::now());
            led.wake_all();
            published
        };
        match published {
            Ok(version) => self.metrics.published(pod_set, version.generation, octets),
            Err(error) => {
                tracing::error!(pod_set, generation, %error, "the table cannot be published: pods keep the one before");
                self.metrics.unpublishable();
                if let Unpublishable::Sections { faults } = &error {
                    self.refuse(refusals(faults, generation, None));
                }
            }
        }
        self.changed.notify_one();
    }

    /// A pod opens a stream. One that it had is over.
    pub(crate) fn open(&self, pod: &PodIdentity) -> Result<Subscription, NotLeader> {
        let mut led = self.led(&pod.pod_set).ok_or(NotLeader)?;
        let led = led.as_mut().ok_or(NotLeader)?;
        let (id, replaced) = led.pod_set.open(&pod.uid, &pod.name, Moment::now());
        if let Some(replaced) = replaced.and_then(|replaced| led.streams.remove(&replaced)) {
            replaced.end(Ended::Followed);
        }
        let stream = Arc::new(Stream::default());
        led.streams.insert(id, Arc::clone(&stream));
        self.changed.notify_one();
        Ok(Subscription { id, stream })
    }

    /// A stream is over.
    pub(crate) fn close(&self, pod_set: &str, subscription: &Subscription) {
        let Some(mut led) = self.led(pod_set) else { return };
        if let Some(led) = led.as_mut().filter(|led| led.has(subscription)) {
            led.streams.remove(&subscription.id);
            led.pod_set.close(subscription.id);
        }
        self.changed.notify_one();
    }

    /// What a pod says.
    pub(crate) fn receive(
        &self,
        pod: &PodIdentity,
        subscription: &Subscription,
        message: FromSubscriber,
    ) -> Result<(), Violation> {
        let outcome = {
            let mut led = self.led(&pod.pod_set).ok_or(Violation::NotOpen)?;
            let Some(led) = led.as_mut().filter(|led| led.has(subscription)) else {
                // It has ended meanwhile, as its task is about to find out.
                return Ok(());
            };
            led.pod_set.receive(subscription.id, message, Moment::now())?
        };
        self.note(pod, outcome);
        Ok(())
    }

    /// What is to be sent on a stream, to be asked when it can take a message.
    pub(crate) fn poll(&self, pod_set: &str, subscription: &Subscription) -> Option<ToSubscriber> {
        let mut led = self.led(pod_set)?;
        let led = led.as_mut().filter(|led| led.has(subscription))?;
        let outgoing = led.pod_set.poll(subscription.id, Moment::now())?;
        self.metrics.sent(outgoing.octets, outgoing.sections);
        Some(outgoing.message)
    }

    /// Notes who is late, and ends the streams of those who are too late.
    pub(crate) fn look_at_the_clock(&self) {
        for name in self.pod_sets.keys() {
            let Some(mut led) = self.led(name) else { continue };
            let Some(led) = &mut *led else { continue };
            let (stalled, changed) = led.pod_set.look_at_the_clock(self.patience, Moment::now());
            for stream in stalled.iter().filter_map(|id| led.streams.get(id)) {
                stream.end(Ended::Stalled);
            }
            if changed {
                self.changed.notify_one();
            }
        }
    }

    /// Tells the rest of the controller what the pods say, for as long as it lives.
    pub(crate) async fn tell(&self) {
        loop {
            self.changed.notified().await;
            let told = Instant::now();
            self.tell_now();
            tokio::time::sleep_until(told + TOLD_EVERY).await;
        }
    }

    fn tell_now(&self) {
        let (mut acknowledgements, mut members) = (Acknowledgements::default(), Members::new());
        for name in self.pod_sets.keys() {
            let said = self.led(name).and_then(|led| led.as_ref().map(|led| (led.pod_set.pods(), led.pod_set.told())));
            let (pods, told) = said.unzip();
            members.extend(told.map(|told| (name.clone(), told)));
            let (count, overdue) =
                pods.as_ref().map_or((0, 0), |pods| (pods.len(), pods.values().filter(|pod| pod.overdue).count()));
            self.metrics.subscribers(name, count, overdue);
            if let Some(pods) = pods {
                acknowledgements.pod_sets.insert(name.clone(), pods);
            }
        }
        replace_if_other(&self.acknowledgements, acknowledgements);
        replace_if_other(&self.members, members);
    }

    fn note(&self, pod: &PodIdentity, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => return,
            Outcome::Faults | Outcome::Reported => {}
            Outcome::Acked { lag, generation, sections } => {
                self.metrics.acked(lag);
                self.forget_refusals(pod, generation, &sections);
            }
            Outcome::Rejected { refusals } => {
                self.metrics.rejected();
                let first = refusals.first().map(|(section, refusal)| format!("{section}: {}", refusal.message));
                tracing::warn!(pod = pod.name, entries = refusals.len(), first, "a pod refuses a table");
                self.refuse(refusals);
            }
            Outcome::NewerEpoch { epoch } => self.challenge(pod, epoch),
        }
        self.changed.notify_one();
    }

    /// A pod has what a leader after us published. Whether we lead after all, and with which epoch, is for the Lease.
    fn challenge(&self, pod: &PodIdentity, epoch: u64) {
        let now = u64::try_from(Moment::now().timestamp.as_second()).unwrap_or_default();
        if epoch > now.saturating_add(MAX_EPOCH_AHEAD) {
            tracing::error!(pod = pod.name, epoch, "a pod names an epoch that no leader can have had: it is ignored");
            return;
        }
        tracing::warn!(pod = pod.name, epoch, "a pod serves a table of another leader with a higher epoch");
        self.challenges.send_if_modified(|highest| {
            let is_higher = epoch > *highest;
            *highest = epoch.max(*highest);
            is_higher
        });
    }

    /// An entry that was mended and taken is no longer refused: by the pod that refused it, or after that one is gone.
    fn forget_refusals(&self, pod: &PodIdentity, generation: u64, accepted: &Sections) {
        let known = Arc::clone(&self.refusals.borrow());
        let is_forgotten = |section: &SectionId, refusal: &Refusal| {
            let is_accepted = refusal.generation < generation && accepted.get(section).is_some();
            let by = refusal.pod.as_deref();
            is_accepted && by.is_none_or(|by| by == pod.name || !self.is_subscribed(by))
        };
        // Found out beforehand: pod sets are locked before refusals, never while they are.
        let forgotten: Vec<_> = known.sections.iter().filter(|(id, refusal)| is_forgotten(id, refusal)).collect();
        if forgotten.is_empty() {
            return;
        }
        self.refusals.send_modify(|refusals| {
            let sections = &mut Arc::make_mut(refusals).sections;
            for (section, refusal) in &forgotten {
                if sections.get(*section) == Some(*refusal) {
                    sections.remove(*section);
                }
            }
        });
    }

    fn is_subscribed(&self, pod: &str) -> bool {
        self.pod_sets
            .keys()
            .any(|name| self.led(name).is_some_and(|led| led.as_ref().is_some_and(|led| led.pod_set.has_pod(pod))))
    }

    fn refuse(&self, refused: Vec<(SectionId, Refusal)>) {
        self.refusals.send_if_modified(|refusals| {
            let before = Arc::clone(refusals);
            let sections = &mut Arc::make_mut(refusals).sections;
            for (section, refusal) in refused {
                let known = sections.get(&section);
                let is_older = known.is_some_and(|known| known.generation > refusal.generation);
                if !is_older && (known.is_some() || sections.len() < MAX_REFUSALS) {
                    sections.insert(section, refusal);
                }
            }
            before != *refusals
        });
    }

    fn led(&self, pod_set: &str) -> Option<MutexGuard<'_, Option<Led>>> {
        // What panicked half-way is a pod set whose streams have ended with their tasks, and not the others.
        Some(self.pod_sets.get(pod_set)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes nobody for nothing.
fn replace_if_other<T: PartialEq>(sender: &watch::Sender<Arc<T>>, value: T) {
    sender.send_if_modified(|told| {
        let differs = **told != value;
        if differs {
            *told = Arc::new(value);
        }
        differs
    });
}

impl Led {
    fn wake_all(&self) {
        self.streams.values().for_each(|stream| stream.wake.notify_one());
    }

    /// Numbers of streams begin anew with each time of leading, so that a number alone is not enough.
    fn has(&self, subscription: &Subscription) -> bool {
        self.streams.get(&subscription.id).is_some_and(|stream| Arc::ptr_eq(stream, &subscription.stream))
    }
}
