//! Holding `Programmed` back until the data plane has said that it serves what it is to be True of.
//!
//! Owns when `Programmed` may be True, and what stands there meanwhile. Pure: the pods' answers and the time are arguments.
//! It must not know how conditions are written.
//!
//! What was programmed stays programmed while something newer travels: its condition keeps its old `observedGeneration`, which
//! says that it is about an older object. So nothing flaps when a pod restarts, a leader changes or a change is on its way;
//! and nothing is True before every pod that may get traffic has answered.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use headrace_compile::{ConditionStatus, ObjectRef};
use headrace_crds::condition::{ConditionType, GatewayReason, ListenerReason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::conditions::{condition, find, is_true};
use super::desired::{Desired, Listener};
use crate::publish::acknowledgements::{Acknowledgements, Progress};

/// How long a pod set may be without any pod before that is told. Pods dial a new leader within seconds; what they serve they
/// serve all the same.
pub(crate) const NOBODY_GRACE: Duration = Duration::from_secs(30);

/// A Gateway or a ListenerSet, in one generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The object.
    pub object: &'a ObjectRef,
    /// Its uid: an object that was made anew was never programmed.
    pub uid: &'a str,
    /// The pods that are to serve it.
    pub audience: &'a Audience,
    /// The generation that is in hand.
    pub generation: u64,
}

/// The pods of a pod set that have to serve a Gateway before it is programmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    /// The pod set.
    pub pod_set: String,
    /// The names of the pods that get traffic by the EndpointSlices of the pod set. One of them that is not subscribed serves
    /// something that nobody knows.
    pub ready: BTreeSet<String>,
}

/// What was made of a desired status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Whether something in it waits for pods.
    pub waiting: bool,
    /// When to look again, though nothing changed.
    pub again_at: Option<Instant>,
}

/// What is known of every condition that is to be True.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// By object, and by listener where it is not the object itself. As large as the World has Gateways and listeners.
    awaited: HashMap<ObjectRef, HashMap<Option<String>, Awaited>>,
    /// Pod sets without a pod, and since when.
    nobody_since: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Awaited {
    uid: String,
    pod_set: String,
    condition: Condition,
    /// The first generation in which the condition was to be just that.
    since: u64,
    /// Whether everybody has served it once. Pods that come later do not take that back.
    served: bool,
}

impl Hold {
    /// Notes which pod sets have nobody, so that waiting for their first pod begins now.
    pub(crate) fn attendance<'a>(
        &mut self,
        pod_sets: impl Iterator<Item = &'a str>,
        acknowledgements: &Acknowledgements,
        now: Instant,
    ) {
        for pod_set in pod_sets {
            if acknowledgements.pods(pod_set).next().is_some() {
                self.nobody_since.remove(pod_set);
            } else {
                self.nobody_since.entry(pod_set.to_owned()).or_insert(now);
            }
        }
    }

    /// Forgets objects that are no more.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&ObjectRef) -> bool) {
        self.awaited.retain(|object, _| is_there(object));
    }

    /// Puts into `desired` what may be said of `Programmed` now.
    pub(crate) fn apply(
        &mut self,
        subject: &Subject<'_>,
        desired: &mut Desired,
        before: &Before,
        acknowledgements: &Acknowledgements,
        now: Instant,
    ) -> Held {
        let (conditions, listeners): (&mut Vec<Condition>, &mut Vec<Listener>) = match desired {
            Desired::Gateway { conditions, listeners, .. } | Desired::ListenerSet { conditions, listeners } => {
                (conditions, listeners)
            }
            Desired::GatewayClass { .. } | Desired::Entries(_) | Desired::Ingress(_) => return Held::default(),
        };
        let mut held = Held::default();
        let awaited = self.awaited.entry(subject.object.clone()).or_default();
        awaited.retain(|name, _| name.as_ref().is_none_or(|name| listeners.iter().any(|it| it.name == *name)));
        let nobody_since = self.nobody_since.get(&subject.audience.pod_set).copied();
        let mut turn = Turn { subject, awaited, acknowledgements, nobody_since, now, held: &mut held };
        turn.list(None, conditions, &before.conditions);
        for listener in listeners.iter_mut() {
            let earlier = before.listeners.iter().find(|it| it.name == listener.name);
            let earlier = earlier.map_or(&[][..], |it| &it.conditions);
            turn.list(Some(listener.name.clone()), &mut listener.conditions, earlier);
        }
        held
    }
}

/// The conditions that stand in the object now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Before {
    /// Its own.
    pub conditions: Vec<Condition>,
    /// Its listeners'.
    pub listeners: Vec<Listener>,
}

impl Before {
    /// What a status of a Gateway or a ListenerSet says.
    pub(crate) fn of(status: &Value) -> Self {
        fn read<T: DeserializeOwned + Default>(status: &Value, field: &str) -> T {
            status.get(field).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
        }
        Before { conditions: read(status, "conditions"), listeners: read(status, "listeners") }
    }
}

/// One object, one time.
struct Turn<'a, 'b> {
    subject: &'a Subject<'b>,
    awaited: &'a mut HashMap<Option<String>, Awaited>,
    acknowledgements: &'a Acknowledgements,
    nobody_since: Option<Instant>,
    now: Instant,
    held: &'a mut Held,
}

impl Turn<'_, '_> {
    fn list(&mut self, listener: Option<String>, desired: &mut [Condition], before: &[Condition]) {
        let Some(programmed) = desired.iter_mut().find(|it| it.type_ == ConditionType::Programmed.label()) else {
            return;
        };
        if !is_true(programmed) {
            self.awaited.remove(&listener);
            return;
        }
        let (since, was_served) = self.awaited(&listener, programmed);
        let before = find(before, ConditionType::Programmed);
        let stays = match was_served {
            true => Some(programmed.clone()),
            false => before.filter(|before| is_true(before)).cloned(),
        };
        let instead = match self.subject.audience.progress(self.acknowledgements, since) {
            Progress::Everybody { .. } => {
                self.remember(&listener, true);
                return;
            }
            Progress::Waiting { acked, pods, longest } => stays.unwrap_or_else(|| {
                let message = format!("{acked} of {pods} data-plane pods serve it; waiting for {longest}.");
                not_yet(programmed, ListenerReason::Pending.label(), message)
            }),
            Progress::Nobody => {
                let nobody = self.nobody(&listener, programmed);
                // What stands there as waiting goes on waiting for as long as nobody may be on the way.
                let waits = before.filter(|it| {
                    it.reason == ListenerReason::Pending.label() && it.observed_generation == nobody.observed_generation
                });
                match self.patience() {
                    true => stays.or(waits.cloned()).unwrap_or(nobody),
                    false => {
                        self.remember(&listener, false);
                        nobody
                    }
                }
            }
        };
        if *programmed != instead {
            self.held.waiting = true;
            *programmed = instead;
        }
    }

    /// Since which generation the condition is to be what it is, and whether everybody has served that.
    fn awaited(&mut self, listener: &Option<String>, programmed: &Condition) -> (u64, bool) {
        let subject = self.subject;
        let known = self.awaited.get(listener).filter(|known| {
            known.uid == subject.uid && known.pod_set == subject.audience.pod_set && known.condition == *programmed
        });
        if let Some(known) = known {
            return (known.since, known.served);
        }
        let awaited = Awaited {
            uid: subject.uid.to_owned(),
            pod_set: subject.audience.pod_set.clone(),
            condition: programmed.clone(),
            since: subject.generation,
            served: false,
        };
        self.awaited.insert(listener.clone(), awaited);
        (subject.generation, false)
    }

    fn remember(&mut self, listener: &Option<String>, served: bool) {
        if let Some(awaited) = self.awaited.get_mut(listener) {
            awaited.served = served;
        }
    }

    /// Whether a pod may still be on the way.
    fn patience(&mut self) -> bool {
        let ends = self.nobody_since.unwrap_or(self.now) + NOBODY_GRACE;
        let is_patient = self.now < ends;
        if is_patient {
            self.held.again_at = Some(self.held.again_at.map_or(ends, |at| at.min(ends)));
        }
        is_patient
    }

    fn nobody(&self, listener: &Option<String>, programmed: &Condition) -> Condition {
        // A listener has no reason for this.
        let reason = match listener {
            None => GatewayReason::NoResources.label(),
            Some(_) => ListenerReason::Pending.label(),
        };
        not_yet(programmed, reason, self.subject.audience.nobody())
    }
}

fn not_yet(programmed: &Condition, reason: &str, message: String) -> Condition {
    let generation = programmed.observed_generation;
    condition(ConditionType::Programmed, ConditionStatus::False, reason, message, generation)
}

impl Audience {
    /// How far a generation got, where a pod that gets traffic and is not subscribed has not got it.
    fn progress(&self, acknowledgements: &Acknowledgements, generation: u64) -> Progress {
        let subscribed: BTreeSet<&str> = acknowledgements.pods(&self.pod_set).map(|pod| pod.name.as_str()).collect();
        let absent: Vec<&String> = self.ready.iter().filter(|name| !subscribed.contains(name.as_str())).collect();
        match (acknowledgements.progress(&self.pod_set, generation), absent.first()) {
            (progress, None) => progress,
            (Progress::Nobody, Some(_)) => Progress::Nobody,
            (Progress::Everybody { pods }, Some(longest)) => Progress::Waiting {
                acked: pods,
                pods: pods + absent.len(),
                longest: format!("{longest}, which is not subscribed to the controller"),
            },
            (Progress::Waiting { acked, pods, longest }, Some(_)) => {
                Progress::Waiting { acked, pods: pods + absent.len(), longest }
            }
        }
    }

    fn nobody(&self) -> String {
        format!(
            "No data-plane pod of pod set {} is subscribed to the controller: check that its pods run, and their logs \
             for why they cannot subscribe.",
            self.pod_set
        )
    }
}

#[cfg(test)]
mod tests;
