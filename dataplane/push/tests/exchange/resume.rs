//! A pod that comes with a table: from its file, from another leader, or from a stream that broke.

use headrace_push::Event;

use crate::pair::{Pair, held, route, routes};

#[test]
fn a_new_leader_asks_for_no_more_than_it_needs() {
    let old = routes(0..10, 200);
    let mut changed = old.clone();
    changed.routes[2] = route("00002", 404);
    let begun = ["Begin", "Part", "Commit", "Accepted"];
    let listed = ["Hello", "InventoryRequest", "Inventory", "Begin", "Part", "Commit", "Accepted"];
    let cases: &[(&str, _, _, &[&str])] = &[
        ("the same table", Some(held((1, 7), &old)), &old, &["Hello", "Adopt", "Accepted"]),
        ("the same version", Some(held((2, 1), &old)), &old, &["Hello", "Adopt", "Accepted"]),
        ("another table", Some(held((1, 7), &changed)), &old, &listed),
        ("an empty table", Some(held((1, 7), &routes([], 200))), &old, &listed),
        ("nothing", None, &old, &["Hello", begun[0], begun[1], begun[2], begun[3]]),
    ];
    for (case, held, table, said) in cases {
        let mut pair = Pair::new(2, held.clone());
        let version = pair.publish(table);
        assert_eq!(pair.settle(), *said, "{case}");
        pair.assert_serves(table, version);
        assert_eq!(pair.events, [Event::Accepted { version, faults: Vec::new() }], "{case}");
        // From here on the base is known.
        let version = pair.publish(&changed);
        let said = pair.settle();
        assert_eq!(said, begun, "{case}");
        pair.assert_serves(&changed, version);
    }
}

#[test]
fn a_table_that_another_pod_holds_needs_no_inventory() {
    let (old, new) = (routes(0..10, 200), routes(0..11, 200));
    let mut pair = Pair::new(1, None);
    pair.publish(&old);
    pair.settle();
    // This one stays at the old table, as if it took its time.
    let slow = pair.id;
    let version = pair.publish(&new);
    let mut other = Pair::new(1, pair.subscriber.held().cloned());
    std::mem::swap(&mut other.publisher, &mut pair.publisher);
    other.id = headrace_push::SubscriberId(slow.0 + 1);
    other.publisher.open(other.id);
    assert_eq!(other.settle(), ["Hello", "Begin", "Part", "Commit", "Accepted"]);
    other.assert_serves(&new, version);
}

#[test]
fn what_arrived_by_halves_is_forgotten() {
    let (old, new) = (routes(0..10, 200), routes(0..3000, 404));
    let mut pair = Pair::new(1, None);
    let first = pair.publish(&old);
    pair.settle();
    let version = pair.publish(&new);
    // Begin, parts without number, Commit: broken after each.
    for steps in 1..5 {
        for _ in 0..steps {
            assert!(pair.step().is_some_and(|arrival| arrival.is_none()), "nothing is there before all is");
        }
        pair.subscriber.disconnected();
        assert_eq!(pair.subscriber.held().unwrap().version, first);
        assert!(pair.subscriber.poll().is_none(), "without a stream there is nobody to talk to");
        pair.connect();
    }
    pair.settle();
    pair.assert_serves(&new, version);
}

#[test]
fn a_candidate_outlives_its_stream_and_the_next_hello_waits_for_it() {
    let (old, new) = (routes(0..10, 200), routes(0..11, 200));
    for is_accepted in [true, false] {
        let mut pair = Pair::new(1, None);
        let first = pair.publish(&old);
        pair.settle();
        let second = pair.publish(&new);
        let candidate = pair.candidate().unwrap();
        pair.connect();
        assert!(pair.subscriber.poll().is_none(), "nobody can say yet what is held");
        if is_accepted {
            pair.subscriber.accept(candidate.version, Vec::new());
        } else {
            pair.subscriber.reject(candidate.version, Vec::new());
        }
        pair.answer();
        let said = pair.publisher.subscriber(pair.id).unwrap().held;
        assert_eq!(said, Some(if is_accepted { second } else { first }));
        pair.settle();
        pair.assert_serves(&new, second);
    }
}

#[test]
fn only_what_somebody_needs_is_kept() {
    let mut pair = Pair::new(1, None);
    for count in 0..50 {
        pair.publish(&routes(0..count, 200));
        assert!(pair.publisher.retained() <= 3, "current, acknowledged and in flight");
        pair.step();
        pair.step();
    }
    let candidate = pair.subscriber.undecided().unwrap().version;
    pair.subscriber.accept(candidate, Vec::new());
    pair.settle();
    assert_eq!(pair.publisher.retained(), 1);
}
