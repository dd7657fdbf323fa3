//! Events: what a person should notice without looking at conditions.
//!
//! Owns which transitions are worth an event, its words, and how many there may be. They are made of what a status write
//! changed, so that a condition that stays makes no second event, nor does a new leader. It must not know why a condition
//! holds.

use std::collections::BTreeMap;

use headrace_compile::{ConditionStatus, IngressStatus, ObjectRef};
use headrace_crds::condition::{ConditionType, GatewayReason};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tracing::debug;

use super::conditions::truncated;
use super::merge::Transition;
use super::metrics::{EventOutcome, StatusMetrics};
use super::queue::Pace;

/// `note` of events.k8s.io/v1 is at most 1 kB.
const MAX_NOTE_OCTETS: usize = 1024;
/// How many events wait to be sent. What comes on top is counted and dropped: conditions have it all.
const QUEUE: usize = 512;
/// Events a second, over time: ten are more than a person reads, and nothing for an API server.
const PER_SECOND: u32 = 10;
/// Events at once.
const BURST: u32 = 50;
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What was done, as an event has it.
const ACTION: &str = "Programming";

/// What is to be told of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Whether something is wrong.
    pub is_warning: bool,
    /// The word.
    pub reason: String,
    /// The sentence.
    pub note: String,
}

/// What the transitions of one write are worth: one notice for each reason.
pub(crate) fn notices(transitions: &[Transition]) -> Vec<Notice> {
    let mut by_reason: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for transition in transitions {
        let (is_warning, reason, note) = match transition {
            Transition::Addresses(addresses) => {
                (false, "AddressAssigned".to_owned(), format!("Reached at {}.", addresses.join(", ")))
            }
            Transition::Condition { of, before, after } => {
                let Some(is_warning) = severity(transition.condition_type(), before.as_deref(), after) else {
                    continue;
                };
                let note = match of {
                    Some(of) => format!("{of}: {}", after.message),
                    None => after.message.clone(),
                };
                (is_warning, after.reason.clone(), note)
            }
        };
        let notes = by_reason.entry((is_warning, reason)).or_default();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let notices = by_reason.into_iter().rev().map(|((is_warning, reason), notes)| Notice {
        is_warning,
        reason,
        note: truncated(notes.join(" "), MAX_NOTE_OCTETS),
    });
    notices.collect()
}

/// Whether a transition is worth a warning (true), a line (false) or nothing.
fn severity(r#type: Option<ConditionType>, before: Option<&str>, after: &Condition) -> Option<bool> {
    let r#type = r#type?;
    let is = |status: ConditionStatus, label: &str| status.label() == label;
    let trouble = ConditionStatus::of(r#type.is_negative());
    // Waiting for an address and for pods is what always happens first.
    let waits = [GatewayReason::Pending.label(), GatewayReason::AddressNotAssigned.label()];
    let is_waiting = r#type == ConditionType::Programmed && waits.contains(&after.reason.as_str());
    if is(trouble, &after.status) && !is_waiting {
        return Some(true);
    }
    let was_trouble = before.is_some_and(|before| is(trouble, before));
    let is_well = !is(trouble, &after.status) && !is(ConditionStatus::Unknown, &after.status);
    match r#type {
        ConditionType::Programmed if is_well => Some(false),
        _ if is_well && was_trouble => Some(false),
        _ => None,
    }
}

/// What an Ingress, which has no conditions to be read in, has to say that it did not say before.
pub(crate) fn ingress_notices(before: Option<&IngressStatus>, after: &IngressStatus) -> Vec<Notice> {
    let conditions = after.conditions.iter().filter(|condition| {
        condition.status == ConditionStatus::False
            && before.is_none_or(|before| !before.conditions.iter().any(|it| it == *condition))
    });
    let notices = conditions.map(|condition| Notice {
        is_warning: true,
        reason: condition.reason.label().to_owned(),
        note: truncated(condition.message.clone(), MAX_NOTE_OCTETS),
    });
    notices.collect()
}

/// Whether anything of an Ingress is not served.
pub(crate) fn is_in_trouble(status: &IngressStatus) -> bool {
    status.conditions.iter().any(|condition| condition.status == ConditionStatus::False)
}

/// Where notices go.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    queue: mpsc::Sender<(ObjectReference, Notice)>,
    metrics: StatusMetrics,
}

impl Sender {
    /// A sender, and the task that sends, which ends with the last sender.
    pub(crate) fn new(
        client: kube::Client,
        controller: String,
        pod_name: String,
        metrics: StatusMetrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, notices) = mpsc::channel(QUEUE);
        let recorder = Recorder::new(client, Reporter { controller, instance: Some(pod_name) });
        (Sender { queue, metrics: metrics.clone() }, send(recorder, notices, metrics))
    }

    /// Tells something of an object, if there is room.
    pub(crate) fn tell(&self, object: &ObjectRef, uid: &str, notices: Vec<Notice>) {
        for notice in notices {
            let reference = ObjectReference {
                api_version: Some(object.kind.api_version().to_owned()),
                kind: Some(object.kind.label().to_owned()),
                name: Some(object.name.clone()),
                namespace: Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty()),
                uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            };
            if self.queue.try_send((reference, notice)).is_err() {
                self.metrics.event(EventOutcome::Dropped);
            }
        }
    }
}

async fn send(recorder: Recorder, mut notices: mpsc::Receiver<(ObjectReference, Notice)>, metrics: StatusMetrics) {
    let mut pace = Pace::new(PER_SECOND, BURST);
    while let Some((reference, notice)) = notices.recv().await {
        sleep_until(pace.next(Instant::now())).await;
        pace.take(Instant::now());
        let event = Event {
            type_: if notice.is_warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason,
            note: Some(notice.note),
            action: ACTION.to_owned(),
            secondary: None,
        };
        let outcome = match timeout(TIMEOUT, recorder.publish(&event, &reference)).await {
            Ok(Ok(())) => EventOutcome::Written,
            Ok(Err(error)) => {
                debug!(%error, "an event was not written");
                EventOutcome::Failed
            }
            Err(_) => EventOutcome::Failed,
        };
        metrics.event(outcome);
    }
}

#[cfg(test)]
mod tests {
    use headrace_compile::ConditionStatus::{False, True};
    use headrace_crds::condition::ConditionType::{Accepted, Conflicted, Programmed, ResolvedRefs};

    use super::super::conditions::condition;
    use super::*;

    fn transition(
        of: Option<&str>,
        before: Option<&str>,
        r#type: ConditionType,
        status: ConditionStatus,
        reason: &str,
    ) -> Transition {
        let after = condition(r#type, status, reason, format!("{reason} it is."), Some(1));
        Transition::Condition { of: of.map(str::to_owned), before: before.map(str::to_owned), after }
    }

    #[test]
    fn what_is_worth_an_event() {
        for (why, transition, expected) in [
            ("new trouble", transition(None, None, Accepted, False, "X"), Some((true, "X", "X it is."))),
            ("of a part", transition(Some("web"), None, ResolvedRefs, False, "X"), Some((true, "X", "web: X it is."))),
            ("well from the start", transition(None, None, Accepted, True, "X"), None),
            ("well again", transition(None, Some("False"), Accepted, True, "X"), Some((false, "X", "X it is."))),
            ("served", transition(None, None, Programmed, True, "Programmed"), {
                Some((false, "Programmed", "Programmed it is."))
            }),
            ("waiting", transition(None, None, Programmed, False, "Pending"), None),
            ("negative", transition(None, None, Conflicted, True, "X"), Some((true, "X", "X it is."))),
            ("negative, well", transition(None, None, Conflicted, False, "X"), None),
            ("addresses", Transition::Addresses(vec!["192.0.2.1".to_owned(), "a.example".to_owned()]), {
                Some((false, "AddressAssigned", "Reached at 192.0.2.1, a.example."))
            }),
        ] {
            let notices = notices(&[transition]);
            let told = notices.first().map(|it| (it.is_warning, it.reason.as_str(), it.note.as_str()));
            assert_eq!(told, expected, "{why}");
        }
    }

    #[test]
    fn one_reason_is_told_once() {
        let transitions = [
            transition(Some("a"), None, Programmed, False, "Invalid"),
            transition(Some("b"), None, Programmed, False, "Invalid"),
            transition(Some("b"), None, Accepted, False, "Invalid"),
            transition(None, None, Accepted, False, "Other"),
        ];
        let told = notices(&transitions);
        assert_eq!(told.len(), 2);
        assert!(told.iter().any(|it| it.reason == "Invalid" && it.note == "a: Invalid it is. b: Invalid it is."));
    }

    #[test]
    fn a_note_is_short() {
        let transitions: Vec<_> =
            (0..500).map(|n| transition(Some(&n.to_string()), None, Accepted, False, "Invalid")).collect();
        let told = notices(&transitions);
        assert_eq!(told.len(), 1);
        assert!(told[0].note.len() <= MAX_NOTE_OCTETS);
    }
}
