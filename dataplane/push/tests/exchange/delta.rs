//! What travels is what changed.

use std::sync::Arc;

use headrace_push::limits::MAX_PART_OCTETS;
use headrace_push::{Sections, SubscriberId};
use headrace_table::wire;
use prost::Message;

use crate::pair::{Pair, certificate, name_to, route, routes, sections};

/// What one changed route costs at most, with the version and everything around it.
const ONE_ROUTE_OCTETS: usize = 600;

#[test]
fn every_change_arrives_and_costs_what_it_changes() {
    let all = routes(0..10, 200);
    let mut one_changed = all.clone();
    one_changed.routes[3] = route("00003", 404);
    let mut with_certificate = all.clone();
    with_certificate.certificates.push(certificate("a", 10));
    let cases: &[(&str, wire::Table, wire::Table, &[&str])] = &[
        ("from nothing", wire::Table::default(), all.clone(), &["Begin", "Part", "Commit", "Accepted"]),
        ("to nothing", all.clone(), wire::Table::default(), &["Begin", "Part", "Commit", "Accepted"]),
        ("one changed", all.clone(), one_changed, &["Begin", "Part", "Commit", "Accepted"]),
        ("one kind more", all.clone(), with_certificate.clone(), &["Begin", "Part", "Commit", "Accepted"]),
        ("one kind less", with_certificate, all.clone(), &["Begin", "Part", "Commit", "Accepted"]),
        ("others altogether", all.clone(), routes(20..30, 200), &["Begin", "Part", "Commit", "Accepted"]),
        ("some gone, some new", all.clone(), routes(5..15, 200), &["Begin", "Part", "Commit", "Accepted"]),
        ("nothing changed", all.clone(), all, &[]),
    ];
    for (case, before, after, said) in cases {
        let mut pair = Pair::new(1, None);
        let version = pair.publish(before);
        pair.settle();
        pair.assert_serves(before, version);
        let version = pair.publish(after);
        assert_eq!(pair.settle(), *said, "{case}");
        pair.assert_serves(after, version);
    }
}

#[test]
fn one_route_costs_the_same_in_a_table_of_any_size() {
    let cost = |count: usize| {
        let mut pair = Pair::new(1, None);
        let mut table = routes(0..count, 200);
        pair.publish(&table);
        pair.settle();
        pair.octets = (0, 0);
        table.routes[count / 2] = route(format_args!("{:05}", count / 2), 404);
        let version = pair.publish(&table);
        pair.settle();
        pair.assert_serves(&table, version);
        pair.octets
    };
    let (small, large) = (cost(10), cost(10_000));
    assert_eq!(small, large);
    assert!(small.0 < ONE_ROUTE_OCTETS, "{} octets", small.0);
}

#[test]
fn one_route_costs_no_more_by_inventory() {
    let mut table = routes(0..10_000, 200);
    let mut pair = Pair::new(1, None);
    pair.publish(&table);
    pair.settle();
    let mut next = Pair::new(2, pair.subscriber.held().cloned());
    table.routes[77] = route("00077", 404);
    let version = next.publish(&table);
    let said = next.settle();
    assert_eq!(said.iter().filter(|name| **name == "Part").count(), 1);
    next.assert_serves(&table, version);
    assert!(next.octets.0 < ONE_ROUTE_OCTETS, "{} octets", next.octets.0);
}

#[test]
fn large_sections_go_in_parts_of_bounded_size() {
    for octets in [MAX_PART_OCTETS - 200, MAX_PART_OCTETS - 100, MAX_PART_OCTETS, MAX_PART_OCTETS + 1, 1_000_000] {
        let certificates = vec![certificate("a", octets), certificate("b", 5), certificate("c", octets)];
        let table = wire::Table { certificates, ..routes(0..3000, 200) };
        let mut pair = Pair::new(1, None);
        let version = pair.publish(&table);
        pair.answer();
        let mut parts = 0;
        while let Some(message) = pair.publisher.poll(pair.id) {
            assert!(message.encoded_len() <= MAX_PART_OCTETS);
            parts += usize::from(name_to(&message) == "Part");
            if pair.subscriber.receive(message).unwrap().is_some() {
                pair.subscriber.accept(version, Vec::new());
            }
        }
        assert!(parts <= 1 + sections(&table).octets() * 5 / 4 / MAX_PART_OCTETS + 1, "{parts} parts");
        pair.answer();
        pair.assert_serves(&table, version);
    }
}

#[test]
fn what_does_not_change_is_shared() {
    let before = routes(0..100, 200);
    let first = Sections::of(&before, None);
    let mut after = before.clone();
    after.routes[5] = route("00005", 404);
    after.routes.remove(50);
    let second = Sections::of(&after, Some((&before, &first)));
    let shared = second.iter().filter(|section| first.get(section.id()).is_some_and(|it| Arc::ptr_eq(it, section)));
    assert_eq!(shared.count(), 98);
    assert_eq!(second.digest(), Sections::of(&after, None).digest());
    assert_eq!(second.table().unwrap(), after);
    assert_eq!(second.octets(), Sections::of(&after, None).octets());
}

#[test]
fn a_digest_depends_on_kind_id_and_content_and_on_no_order() {
    let mut reversed = routes(0..10, 200);
    reversed.routes.reverse();
    assert_eq!(sections(&routes(0..10, 200)).digest(), sections(&reversed).digest());
    let tables = [wire::Table::default(), routes(0..1, 200), routes(1..2, 200), routes(0..1, 404), routes(0..2, 200)];
    for (index, table) in tables.iter().enumerate() {
        for other in &tables[index + 1..] {
            assert_ne!(sections(table).digest(), sections(other).digest());
        }
    }
}

#[test]
fn octets_sent_are_counted() {
    let mut pair = Pair::new(1, None);
    pair.publish(&routes(0..100, 200));
    pair.settle();
    assert_eq!(pair.publisher.subscriber(pair.id).unwrap().octets_sent, pair.octets.0 as u64);
    assert_eq!(pair.publisher.subscriber(SubscriberId(99)), None);
}

#[test]
fn no_private_key_reaches_a_log() {
    let table = wire::Table { certificates: vec![certificate("a", 10)], ..wire::Table::default() };
    let mut pair = Pair::new(1, None);
    pair.publish(&table);
    pair.answer();
    let mut seen = format!("{:?}", sections(&table));
    while let Some(message) = pair.publisher.poll(pair.id) {
        seen += &format!("{message:?}");
        pair.subscriber.receive(message).unwrap();
    }
    seen += &format!("{:?} {:?}", pair.publisher, pair.subscriber);
    assert!(seen.contains("ns/a") && !seen.contains("secret"), "{seen}");
}
