//! A Gateway with one listener through generations and answers, step by step.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use headrace_push::{Digest, Version};
use jiff::Timestamp;

use super::*;
use crate::publish::acknowledgements::{Pod, Served};

/// `Programmed` of the object and of its listener as they are written, and the messages.
struct Bench {
    hold: Hold,
    uid: String,
    ready: BTreeSet<String>,
    before: Before,
    now: Instant,
}

/// A pod by name, and the generation that it serves.
type Answers<'a> = &'a [(&'a str, u64)];

fn acknowledgements(answers: Answers<'_>) -> Acknowledgements {
    let pods = answers.iter().map(|(name, generation)| {
        let served = (*generation > 0).then(|| Served {
            generation: *generation,
            version: Version { epoch: 1, generation: *generation, digest: Digest::of(b"a table") },
            lag: Duration::ZERO,
        });
        let pod = Pod {
            name: (*name).to_owned(),
            since: Timestamp::UNIX_EPOCH,
            served,
            waiting_since: None,
            overdue: false,
            faults: Vec::new(),
            rejection: None,
        };
        (format!("uid-{name}"), pod)
    });
    Acknowledgements { pod_sets: [("default".to_owned(), pods.collect())].into() }
}

impl Bench {
    fn new() -> Self {
        Bench {
            hold: Hold::default(),
            uid: "1".to_owned(),
            ready: BTreeSet::new(),
            before: Before::default(),
            now: Instant::now(),
        }
    }

    /// One look at the object of that `metadata.generation`, in that generation; says what is to be written of the Gateway
    /// and of its listener: status, reason, observedGeneration.
    fn look(&mut self, number: u64, object: i64, answers: Answers<'_>) -> (String, String) {
        self.look_at(number, object, true, answers)
    }

    fn look_at(&mut self, number: u64, object: i64, is_served: bool, answers: Answers<'_>) -> (String, String) {
        let reason = if is_served { "Programmed" } else { "Invalid" };
        let status = ConditionStatus::of(is_served);
        let programmed = condition(ConditionType::Programmed, status, reason, "All well.", Some(object));
        let mut desired = Desired::Gateway {
            conditions: vec![programmed.clone()],
            listeners: vec![Listener {
                name: "web".to_owned(),
                attached_routes: 0,
                supported_kinds: Vec::new(),
                conditions: vec![programmed],
            }],
            addresses: Vec::new(),
            attached_listener_sets: None,
        };
        let reference = ObjectRef::new(headrace_compile::Kind::Gateway, &headrace_compile::Key::new("shop", "edge"));
        let audience = Audience { pod_set: "default".to_owned(), ready: self.ready.clone() };
        let subject = Subject { object: &reference, uid: &self.uid, audience: &audience, generation: number };
        let answers = acknowledgements(answers);
        self.hold.attendance(["default"].into_iter(), &answers, self.now);
        self.hold.apply(&subject, &mut desired, &self.before, &answers, self.now);
        let Desired::Gateway { conditions, listeners, .. } = desired else { unreachable!() };
        self.before = Before { conditions, listeners };
        let words = |conditions: &[Condition]| {
            let it = find(conditions, ConditionType::Programmed).unwrap();
            format!("{} {} {}", it.status, it.reason, it.observed_generation.unwrap())
        };
        (words(&self.before.conditions), words(&self.before.listeners[0].conditions))
    }

    fn message(&self) -> &str {
        &self.before.conditions[0].message
    }
}

fn both(words: &str) -> (String, String) {
    (words.to_owned(), words.to_owned())
}

#[test]
fn a_new_gateway_is_programmed_when_everybody_serves_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.look(5, 1, &[("a", 4), ("b", 4), ("c", 4)]), both("False Pending 1"));
    assert_eq!(bench.message(), "0 of 3 data-plane pods serve it; waiting for a.");
    assert_eq!(bench.look(6, 1, &[("a", 5), ("b", 4), ("c", 6)]), both("False Pending 1"));
    assert_eq!(bench.message(), "2 of 3 data-plane pods serve it; waiting for b.");
    // A later generation in which nothing of it changed need not be waited for.
    assert_eq!(bench.look(9, 1, &[("a", 5), ("b", 5), ("c", 6)]), both("True Programmed 1"));
    // A pod that comes does not take it back.
    assert_eq!(bench.look(9, 1, &[("a", 5), ("b", 5), ("c", 6), ("d", 0)]), both("True Programmed 1"));
}

#[test]
fn what_was_programmed_stays_while_newer_things_travel() {
    let mut bench = Bench::new();
    bench.look(5, 1, &[("a", 5)]);
    assert_eq!(bench.look(6, 2, &[("a", 5)]), both("True Programmed 1"));
    assert_eq!(bench.look(7, 3, &[("a", 6)]), both("True Programmed 1"), "6 is about an older object");
    assert_eq!(bench.look(7, 3, &[("a", 7)]), both("True Programmed 3"));
    // What is no longer served is told at once, and what is served again has to be answered again.
    assert_eq!(bench.look_at(8, 3, false, &[("a", 7)]), both("False Invalid 3"));
    assert_eq!(bench.look(9, 3, &[("a", 8)]), both("False Pending 3"));
    assert_eq!(bench.look(9, 3, &[("a", 9)]), both("True Programmed 3"));
}

#[test]
fn another_object_of_the_same_name_was_never_programmed() {
    let mut bench = Bench::new();
    bench.look(5, 1, &[("a", 5)]);
    bench.uid = "2".to_owned();
    bench.before = Before::default();
    assert_eq!(bench.look(6, 1, &[("a", 5)]), both("False Pending 1"));
    assert_eq!(bench.look(6, 1, &[("a", 6)]), both("True Programmed 1"));
}

#[test]
fn a_pod_that_gets_traffic_and_says_nothing_is_waited_for() {
    let mut bench = Bench::new();
    bench.ready = ["a".to_owned(), "z".to_owned()].into();
    assert_eq!(bench.look(5, 1, &[("a", 5)]), both("False Pending 1"));
    assert_eq!(
        bench.message(),
        "1 of 2 data-plane pods serve it; waiting for z, which is not subscribed to the controller."
    );
    bench.ready.remove("z");
    assert_eq!(bench.look(5, 1, &[("a", 5)]), both("True Programmed 1"));
}

#[test]
fn a_new_leader_takes_nothing_back_while_pods_come() {
    let mut bench = Bench::new();
    bench.look(5, 1, &[("a", 5), ("b", 5)]);
    bench.hold = Hold::default();
    bench.ready = ["a".to_owned(), "b".to_owned()].into();
    for answers in [&[][..], &[("a", 0)], &[("a", 1)], &[("a", 1), ("b", 0)], &[("a", 1), ("b", 1)]] {
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.look(1, 1, answers), both("True Programmed 1"), "{answers:?}");
    }
}

#[test]
fn when_nobody_is_there_it_is_told_after_a_while() {
    let mut bench = Bench::new();
    assert_eq!(bench.look(5, 1, &[]), ("False NoResources 1".to_owned(), "False Pending 1".to_owned()));
    assert!(bench.message().contains("pod set default"), "{}", bench.message());
    assert_eq!(bench.look(5, 1, &[("a", 5)]), both("True Programmed 1"));
    assert_eq!(bench.look(5, 1, &[]), both("True Programmed 1"));
    bench.now += NOBODY_GRACE;
    assert_eq!(bench.look(5, 1, &[]).0, "False NoResources 1");
    // Pods that come then have nothing yet.
    assert_eq!(bench.look(5, 1, &[("b", 0)]), both("False Pending 1"));
    assert_eq!(bench.look(5, 1, &[("b", 5)]), both("True Programmed 1"));
}

#[test]
fn waiting_goes_on_when_the_last_pod_goes_for_a_moment() {
    let mut bench = Bench::new();
    bench.look(5, 1, &[("a", 4)]);
    assert_eq!(bench.look(5, 1, &[]), both("False Pending 1"));
    assert_eq!(bench.look(5, 1, &[("a", 5)]), both("True Programmed 1"));
}
