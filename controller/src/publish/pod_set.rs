//! One pod set: its publisher, its pods, and what is known of each.
//!
//! Without IO: the time is an argument, and whoever owns the streams asks what to send. Owns which generation a version
//! is, when a pod is late, and what its answers mean. It must not know of tokens, connections or the API server.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headrace_push::proto::{FromSubscriber, ToSubscriber, to_subscriber};
use headrace_push::{Event, Fault, Publisher, Sections, SubscriberId, Unpublishable, Version, Violation};
use headrace_table::SectionId;
use jiff::Timestamp;

use super::acknowledgements::{Pod, PodUid, Refusal, Rejection, Served};
use super::told::Told;

/// A moment on both clocks: the one that measures, and the one that people read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) timestamp: Timestamp,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Moment { instant: Instant::now(), timestamp: Timestamp::now() }
    }
}

/// How long a pod may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After this it is told as overdue.
    pub(crate) overdue_after: Duration,
    /// After this without a message that went to it or came from it, its stream ends.
    pub(crate) stalled_after: Duration,
}

/// The pods of a set and the table that they are to have.
#[derive(Debug)]
pub(crate) struct PodSet {
    publisher: Publisher,
    current: Option<Current>,
    pods: BTreeMap<PodUid, Subscribed>,
    streams: BTreeMap<SubscriberId, PodUid>,
    /// Streams are numbered, and no number comes twice.
    last_id: u64,
}

/// The version that every pod is to have.
#[derive(Clone, Debug)]
struct Current {
    version: Version,
    sections: Arc<Sections>,
    /// The newest generation with this table.
    generation: u64,
    /// The revision of its keys; 0 without keys.
    keys: u64,
    /// When the first one came.
    since: Instant,
}

#[derive(Debug)]
struct Subscribed {
    stream: SubscriberId,
    opened: Instant,
    pod: Pod,
    told: Told,
    /// What travels, or did until it was answered.
    sent: Option<Current>,
    /// Since when an answer is out.
    waiting: Option<Instant>,
    /// When a message last went to it or came from it.
    moved: Instant,
}

/// What a pod's message comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing for anybody else.
    Nothing,
    /// It serves a table that was sent to it.
    Acked {
        /// How long that took.
        lag: Duration,
        /// The newest generation with that table.
        generation: u64,
        /// What is in it.
        sections: Arc<Sections>,
    },
    /// The faults of what it serves have changed.
    Faults,
    /// What its QUIC connections use has changed.
    Reported,
    /// It refuses a table, for these entries.
    Rejected {
        /// By entry. Empty if it is the table as a whole.
        refusals: Vec<(SectionId, Refusal)>,
    },
    /// It holds what a later leader published than we are.
    NewerEpoch {
        /// That leader's.
        epoch: u64,
    },
}

/// A message to a pod, and what it adds up to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: ToSubscriber,
    pub(crate) octets: u64,
    /// Sections that end in it.
    pub(crate) sections: u64,
}

impl PodSet {
    /// Without pods, and nothing published.
    pub(crate) fn new(epoch: u64) -> Self {
        let (pods, streams) = (BTreeMap::new(), BTreeMap::new());
        PodSet { publisher: Publisher::new(epoch), current: None, pods, streams, last_id: 0 }
    }

    /// Goes on under a higher epoch.
    pub(crate) fn raise(&mut self, epoch: u64, now: Moment) {
        if let (Some(version), Some(current)) = (self.publisher.raise(epoch), &mut self.current) {
            current.version = version;
        }
        self.tell_waiting(now);
    }

    /// The version that every pod is to have.
    pub(crate) fn current(&self) -> Option<Version> {
        self.current.as_ref().map(|current| current.version)
    }

    /// The table of a generation. The same table as before is the same version, and whoever serves it serves this
    /// generation.
    pub(crate) fn publish(
        &mut self,
        generation: u64,
        sections: Arc<Sections>,
        now: Moment,
    ) -> Result<Version, Unpublishable> {
        let version = self.publisher.publish(Arc::clone(&sections))?;
        match &mut self.current {
            Some(current) if current.version == version => current.generation = generation,
            _ => {
                let keys = sections.keys_revision().unwrap_or_default();
                self.current = Some(Current { version, sections, generation, keys, since: now.instant });
            }
        }
        for subscribed in self.pods.values_mut() {
            if let Some(sent) = subscribed.sent.as_mut().filter(|sent| sent.version == version) {
                sent.generation = generation;
            }
            if let Some(served) = subscribed.pod.served.as_mut().filter(|served| served.version == version) {
                served.generation = generation;
            }
        }
        self.tell_waiting(now);
        Ok(version)
    }

    /// A pod opens a stream. Answers with it, and with the one that it had before.
    pub(crate) fn open(&mut self, uid: &PodUid, name: &str, now: Moment) -> (SubscriberId, Option<SubscriberId>) {
        self.last_id += 1;
        let stream = SubscriberId(self.last_id);
        self.publisher.open(stream);
        self.streams.insert(stream, uid.clone());
        let (mut replaced, mut told) = (None, Told::default());
        let pod = match self.pods.remove(uid) {
            Some(before) => {
                replaced = Some(before.stream);
                self.publisher.close(before.stream);
                self.streams.remove(&before.stream);
                told = before.told;
                Pod { waiting_since: None, overdue: false, ..before.pod }
            }
            None => Pod {
                name: name.to_owned(),
                since: now.timestamp,
                served: None,
                waiting_since: None,
                overdue: false,
                faults: Vec::new(),
                rejection: None,
            },
        };
        let mut subscribed =
            Subscribed { stream, opened: now.instant, pod, told, sent: None, waiting: None, moved: now.instant };
        subscribed.tell_waiting(&self.publisher, now);
        self.pods.insert(uid.clone(), subscribed);
        (stream, replaced)
    }

    /// A stream has ended. If it is the pod's last one, the pod is gone.
    pub(crate) fn close(&mut self, stream: SubscriberId) {
        self.publisher.close(stream);
        if let Some(uid) = self.streams.remove(&stream) {
            self.pods.remove(&uid);
        }
    }

    /// What a pod says. After a violation its stream is to be ended.
    pub(crate) fn receive(
        &mut self,
        stream: SubscriberId,
        message: FromSubscriber,
        now: Moment,
    ) -> Result<Outcome, Violation> {
        let event = self.publisher.receive(stream, message)?;
        let uid = self.streams.get(&stream).ok_or(Violation::NotOpen)?;
        let subscribed = self.pods.get_mut(uid).ok_or(Violation::NotOpen)?;
        let outcome = match event {
            None => Outcome::Nothing,
            Some(Event::NewerEpoch { epoch }) => Outcome::NewerEpoch { epoch },
            Some(Event::Accepted { version, faults }) => subscribed.accepted(version, faults, now),
            Some(Event::Rejected { version, faults }) => subscribed.rejected(version, faults),
            Some(Event::Reported(report)) => {
                subscribed.told.report = Some(report);
                Outcome::Reported
            }
        };
        // An answer ends the wait, and so does a part of an inventory, which may have many. What else a pod tells does not.
        if !matches!(outcome, Outcome::Faults | Outcome::Reported) {
            subscribed.waiting = None;
            subscribed.moved = now.instant;
        }
        subscribed.tell_waiting(&self.publisher, now);
        // The first message is Hello, or there would have been a violation.
        let member = self.publisher.member(stream);
        let is_news = !subscribed.told.greeted || subscribed.told.member.as_ref() != member;
        subscribed.told.greeted = true;
        if is_news {
            subscribed.told.member = member.cloned();
        }
        Ok(if is_news && matches!(outcome, Outcome::Nothing) { Outcome::Reported } else { outcome })
    }

    /// What is to be sent on a stream, to be asked when it can take a message.
    pub(crate) fn poll(&mut self, stream: SubscriberId, now: Moment) -> Option<Outgoing> {
        let octets_sent = |publisher: &Publisher| publisher.subscriber(stream).map_or(0, |state| state.octets_sent);
        let before = octets_sent(&self.publisher);
        let message = self.publisher.poll(stream)?;
        let octets = octets_sent(&self.publisher) - before;
        if let (Some(uid), Some(current)) = (self.streams.get(&stream), &self.current)
            && let Some(subscribed) = self.pods.get_mut(uid)
        {
            subscribed.moved = now.instant;
            if begins(&message) {
                subscribed.sent = Some(current.clone());
            }
        }
        let sections = sections_in(&message);
        Some(Outgoing { message, octets, sections })
    }

    /// Notes who is late. Answers with the streams that are to be ended for it, and whether anything changed.
    pub(crate) fn look_at_the_clock(&mut self, patience: Patience, now: Moment) -> (Vec<SubscriberId>, bool) {
        let (mut stalled, mut changed) = (Vec::new(), false);
        for subscribed in self.pods.values_mut() {
            let waits = subscribed.waiting.map(|since| now.instant.saturating_duration_since(since));
            let overdue = waits.is_some_and(|waits| waits >= patience.overdue_after);
            changed |= subscribed.pod.overdue != overdue;
            subscribed.pod.overdue = overdue;
            // A large table on a narrow link is no stall: half of it would be lost with the stream, again and again.
            let rests = waits.map(|waits| waits.min(now.instant.saturating_duration_since(subscribed.moved)));
            if rests.is_some_and(|rests| rests >= patience.stalled_after) {
                stalled.push(subscribed.stream);
            }
        }
        (stalled, changed)
    }

    /// Whether a pod of that name is subscribed.
    pub(crate) fn has_pod(&self, name: &str) -> bool {
        self.pods.values().any(|subscribed| subscribed.pod.name == name)
    }

    /// Every pod, as others may know it.
    pub(crate) fn pods(&self) -> BTreeMap<PodUid, Pod> {
        self.pods.iter().map(|(uid, subscribed)| (uid.clone(), subscribed.pod.clone())).collect()
    }

    /// What every pod said of its QUIC connections.
    pub(crate) fn told(&self) -> BTreeMap<PodUid, Told> {
        self.pods.iter().map(|(uid, subscribed)| (uid.clone(), subscribed.told.clone())).collect()
    }

    fn tell_waiting(&mut self, now: Moment) {
        for subscribed in self.pods.values_mut() {
            subscribed.tell_waiting(&self.publisher, now);
        }
    }
}

impl Subscribed {
    /// Whether it has an answer to give, and since when.
    fn tell_waiting(&mut self, publisher: &Publisher, now: Moment) {
        let state = publisher.subscriber(self.stream);
        let is_out = state.is_some_and(|state| state.in_flight.is_some() || state.pending.is_some());
        if is_out && self.waiting.is_some() {
            return;
        }
        self.waiting = is_out.then_some(now.instant);
        self.pod.waiting_since = is_out.then_some(now.timestamp);
        self.pod.overdue = false;
    }

    fn accepted(&mut self, version: Version, faults: Vec<Fault>, now: Moment) -> Outcome {
        self.pod.faults = faults;
        let Some(sent) = self.sent.take_if(|sent| sent.version == version) else {
            return Outcome::Faults;
        };
        self.pod.rejection = None;
        self.told.acknowledged = sent.keys;
        // A table that was there before the pod came did not take since then to reach it.
        let lag = now.instant.saturating_duration_since(sent.since.max(self.opened));
        self.pod.served = Some(Served { generation: sent.generation, version, lag });
        Outcome::Acked { lag, generation: sent.generation, sections: sent.sections }
    }

    fn rejected(&mut self, version: Version, faults: Vec<Fault>) -> Outcome {
        let generation = self.sent.take().filter(|sent| sent.version == version).map_or(0, |sent| sent.generation);
        let refusals = refusals(&faults, generation, Some(&self.pod.name));
        self.pod.rejection = Some(Rejection { generation, version, faults });
        Outcome::Rejected { refusals }
    }
}

/// The entries of a table that somebody refuses.
pub(crate) fn refusals(faults: &[Fault], generation: u64, pod: Option<&str>) -> Vec<(SectionId, Refusal)> {
    let of_sections = faults.iter().filter_map(|fault| fault.section.clone().zip(Some(&fault.reason)));
    of_sections
        .map(|(section, message)| {
            (section, Refusal { generation, message: message.clone(), pod: pod.map(str::to_owned) })
        })
        .collect()
}

fn begins(message: &ToSubscriber) -> bool {
    use to_subscriber::Message;
    matches!(message.message, Some(Message::Begin(_) | Message::Adopt(_)))
}

fn sections_in(message: &ToSubscriber) -> u64 {
    match &message.message {
        Some(to_subscriber::Message::Part(part)) => {
            let whole = part.changed.iter().filter(|fragment| !fragment.continues).count();
            (whole + part.removed.len()) as u64
        }
        _ => 0,
    }
}
