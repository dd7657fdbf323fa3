//! Accepted, rejected, with faults, and what is sent after that.

use headrace_push::limits::{MAX_FAULTS, MAX_REASON_OCTETS};
use headrace_push::{Event, Fault};
use headrace_table::SectionKind;

use crate::pair::{Pair, routes};

fn fault(reason: &str) -> Vec<Fault> {
    vec![Fault::of(SectionKind::Certificate, "ns/a", reason)]
}

#[test]
fn a_rejected_version_is_not_sent_again_and_the_next_one_is() {
    let (good, bad, better) = (routes(0..3, 200), routes(0..4, 999), routes(0..4, 200));
    let mut pair = Pair::new(1, None);
    let first = pair.publish(&good);
    pair.settle();
    let second = pair.publish(&bad);
    let candidate = pair.candidate().unwrap();
    let faults = vec![Fault::of(SectionKind::Route, "HTTPRoute/ns/00003", "no such status"), Fault::of_table("bad")];
    pair.subscriber.reject(candidate.version, faults.clone());
    pair.settle();
    let Some(Event::Rejected { version, faults: mut told }) = pair.events.pop() else { panic!("not rejected") };
    told.sort_by_key(|fault| fault.section.is_none());
    assert_eq!((version, told), (second, faults));
    pair.assert_serves(&good, first);
    let state = pair.publisher.subscriber(pair.id).unwrap();
    assert_eq!((state.rejected, state.pending, state.in_flight), (Some(second), None, None));
    let third = pair.publish(&better);
    assert_eq!(pair.settle(), ["Begin", "Part", "Commit", "Accepted"]);
    pair.assert_serves(&better, third);
    assert_eq!(pair.publisher.subscriber(pair.id).unwrap().rejected, None);
}

#[test]
fn a_pod_that_rejects_behind_a_new_leader_is_asked_for_its_inventory_once() {
    let mut first = Pair::new(1, None);
    first.publish(&routes(0..3, 200));
    first.settle();
    let mut pair = Pair::new(2, first.subscriber.held().cloned());
    pair.publish(&routes(0..4, 999));
    let candidate = pair.candidate().unwrap();
    pair.subscriber.reject(candidate.version, Vec::new());
    assert_eq!(pair.settle(), ["Hello", "InventoryRequest", "Inventory", "Begin", "Part", "Commit", "Rejected"]);
    assert_eq!(pair.publisher.subscriber(pair.id).unwrap().listed, 3);
    let version = pair.publish(&routes(0..4, 200));
    assert_eq!(pair.settle(), ["Begin", "Part", "Commit", "Accepted"]);
    pair.assert_serves(&routes(0..4, 200), version);
    assert_eq!(pair.publisher.subscriber(pair.id).unwrap().listed, 0);
}

#[test]
fn the_newest_waits_and_those_between_are_never_sent() {
    let mut pair = Pair::new(1, None);
    let first = pair.publish(&routes(0..3, 200));
    let candidate = pair.candidate().unwrap();
    for count in 4..20 {
        pair.publish(&routes(0..count, 200));
        assert!(pair.step().is_none(), "nothing is sent while an answer is missing");
    }
    let newest = pair.publish(&routes(0..30, 200));
    let state = pair.publisher.subscriber(pair.id).unwrap();
    assert_eq!((state.in_flight, state.pending), (Some(first), Some(newest)));
    pair.subscriber.accept(candidate.version, Vec::new());
    pair.settle();
    pair.assert_serves(&routes(0..30, 200), newest);
    assert_eq!(pair.events.len(), 2);
}

#[test]
fn faults_are_told_again_when_they_change_and_when_a_new_leader_comes() {
    let table = routes(0..3, 200);
    let mut pair = Pair::new(1, None);
    let version = pair.publish(&table);
    let candidate = pair.candidate().unwrap();
    pair.subscriber.accept(candidate.version, fault("does not load"));
    pair.settle();
    pair.subscriber.accept(version, fault("has expired"));
    pair.settle();
    pair.subscriber.accept(version, Vec::new());
    pair.subscriber.accept(version, fault("does not load either"));
    pair.settle();
    let told = ["does not load", "has expired", "does not load either"];
    let expected: Vec<_> = told.iter().map(|reason| Event::Accepted { version, faults: fault(reason) }).collect();
    assert_eq!(pair.events, expected);

    let mut next = Pair { publisher: Pair::new(2, None).publisher, ..pair };
    next.connect();
    next.events.clear();
    let version = next.publish(&table);
    next.settle();
    assert_eq!(next.events, [Event::Accepted { version, faults: fault("does not load either") }]);
}

#[test]
fn a_pod_that_restarts_tells_the_faults_of_what_it_serves_from_its_file() {
    let table = routes(0..3, 200);
    let mut pair = Pair::new(1, Some(crate::pair::held((1, 1), &table)));
    pair.subscriber.accept(pair.subscriber.held().unwrap().version, fault("does not load"));
    let version = pair.publish(&table);
    assert_eq!(pair.settle(), ["Hello", "Adopt", "Accepted"]);
    assert_eq!(pair.events, [Event::Accepted { version, faults: fault("does not load") }]);
}

#[test]
fn a_decision_about_something_else_changes_nothing() {
    let mut pair = Pair::new(1, None);
    let version = pair.publish(&routes(0..3, 200));
    let candidate = pair.candidate().unwrap();
    let mut other = version;
    other.generation += 1;
    pair.subscriber.accept(other, Vec::new());
    pair.subscriber.reject(other, Vec::new());
    assert!(pair.subscriber.held().is_none());
    assert_eq!(pair.subscriber.undecided().unwrap().version, candidate.version);
    pair.subscriber.accept(version, Vec::new());
    pair.subscriber.reject(version, Vec::new());
    pair.settle();
    pair.assert_serves(&routes(0..3, 200), version);
}

#[test]
fn faults_are_cut_to_their_bounds() {
    let mut pair = Pair::new(1, None);
    let version = pair.publish(&routes(0..3, 200));
    let candidate = pair.candidate().unwrap();
    let fault =
        |index| Fault::of(SectionKind::Route, format!("HTTPRoute/ns/{index:05}"), "ä".repeat(MAX_REASON_OCTETS));
    let faults: Vec<_> = (0..MAX_FAULTS + 5).map(fault).chain([fault(0)]).collect();
    pair.subscriber.accept(candidate.version, faults);
    pair.settle();
    let [Event::Accepted { version: accepted, faults }] = &pair.events[..] else { panic!("{:?}", pair.events) };
    assert_eq!((*accepted, faults.len()), (version, MAX_FAULTS));
    assert!(faults.iter().all(|fault| fault.reason.len() == MAX_REASON_OCTETS));
}
