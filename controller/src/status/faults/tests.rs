//! What pods say, and what stands in conditions after it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use headrace_push::Fault;
use headrace_table::wire;
use jiff::Timestamp;

use super::*;
use crate::publish::acknowledgements::Pod;

fn desired() -> Desired {
    let programmed =
        |reason: &str| condition(ConditionType::Programmed, ConditionStatus::True, reason, "All well.", Some(4));
    let listener = |name: &str| Listener {
        name: name.to_owned(),
        attached_routes: 0,
        supported_kinds: Vec::new(),
        conditions: vec![
            condition(ConditionType::ResolvedRefs, ConditionStatus::True, "ResolvedRefs", "Found.", Some(4)),
            programmed("Programmed"),
        ],
    };
    Desired::Gateway {
        conditions: vec![programmed("Programmed")],
        listeners: vec![listener("tls"), listener("web")],
        addresses: Vec::new(),
        attached_listener_sets: None,
    }
}

fn table() -> Table {
    let listener = |name: &str, certificates: &[&str]| wire::Listener {
        id: format!("shop/edge/{name}"),
        port: 20_000,
        public_port: 443,
        protocol: wire::Protocol::Https,
        http3: false,
        quic: wire::QuicOptions::default(),
        hostname: None,
        certificates: certificates.iter().map(|id| (*id).to_owned()).collect(),
    };
    Table { listeners: vec![listener("tls", &["shop/cert"]), listener("web", &[])], ..Table::default() }
}

fn pods(faults: &[(&str, SectionKind, &str, &str)]) -> Acknowledgements {
    let pods = ["a", "b", "c"].into_iter().map(|name| {
        let of_pod = faults.iter().filter(|(pod, ..)| *pod == name);
        let faults = of_pod.map(|(_, kind, id, reason)| Fault::of(*kind, *id, *reason));
        let pod = Pod {
            name: name.to_owned(),
            since: Timestamp::UNIX_EPOCH,
            served: None,
            waiting_since: None,
            overdue: false,
            faults: faults.collect(),
            rejection: None,
        };
        (name.to_owned(), pod)
    });
    Acknowledgements { pod_sets: BTreeMap::from([("default".to_owned(), pods.collect())]) }
}

/// Type, status and message of a list.
fn words(conditions: &[Condition], r#type: ConditionType) -> String {
    let it = find(conditions, r#type).unwrap();
    assert_eq!(it.observed_generation, Some(4));
    format!("{} {}: {}", it.status, it.reason, it.message)
}

fn applied(faults: &[(&str, SectionKind, &str, &str)]) -> (Vec<Condition>, Vec<Listener>) {
    let mut desired = desired();
    let object = ObjectRef::new(Kind::Gateway, &Key::new("shop", "edge"));
    apply(&object, &object.key(), &mut desired, &table(), "default", &pods(faults));
    let Desired::Gateway { conditions, listeners, .. } = desired else { unreachable!() };
    (conditions, listeners)
}

#[test]
fn a_port_that_cannot_be_bound_is_told_of_its_listener() {
    let (conditions, listeners) = applied(&[
        ("b", SectionKind::Listener, "shop/edge/web", "port 20000 is taken"),
        ("a", SectionKind::Listener, "shop/edge/web", "port 20000 is taken"),
    ]);
    let expected = "False Invalid: port 20000 is taken (on 2 of 3 data-plane pods: a, b).";
    assert_eq!(words(&listeners[1].conditions, ConditionType::Programmed), expected);
    assert_eq!(words(&listeners[0].conditions, ConditionType::Programmed), "True Programmed: All well.");
    assert_eq!(words(&conditions, ConditionType::Programmed), "True Programmed: All well.");
}

#[test]
fn a_certificate_is_told_of_every_listener_that_shows_it() {
    let (_, listeners) = applied(&[("a", SectionKind::Certificate, "shop/cert", "the key is of another kind.")]);
    let message = "certificate shop/cert: the key is of another kind (on 1 of 3 data-plane pods: a).";
    let of = |r#type| words(&listeners[0].conditions, r#type);
    assert_eq!(of(ConditionType::ResolvedRefs), format!("False InvalidCertificateRef: {message}"));
    assert_eq!(of(ConditionType::Programmed), format!("False Invalid: {message}"));
}

#[test]
fn a_gateway_without_a_listener_that_works_is_not_programmed() {
    let (conditions, _) = applied(&[
        ("a", SectionKind::Certificate, "shop/cert", "broken"),
        ("c", SectionKind::Listener, "shop/edge/web", "taken"),
    ]);
    let expected = "False Invalid: Data-plane pods can serve no listener: see the conditions of each.";
    assert_eq!(words(&conditions, ConditionType::Programmed), expected);
}

#[test]
fn faults_of_others_are_others() {
    for fault in [
        ("a", SectionKind::Listener, "shop/edge", "x"),
        ("a", SectionKind::Listener, "shop/other/web", "x"),
        ("a", SectionKind::Route, "shop/edge/web", "x"),
    ] {
        let Desired::Gateway { conditions, listeners, .. } = desired() else { unreachable!() };
        assert_eq!(applied(&[fault]), (conditions, listeners), "{fault:?}");
    }
}

#[test]
fn a_listener_of_a_set_has_the_sets_name_in_its_id() {
    let object = ObjectRef::new(Kind::ListenerSet, &Key::new("team", "more"));
    assert_eq!(section_id(&object, &Key::new("shop", "edge"), "web"), "shop/edge/team/more/web");
}

#[test]
fn a_service_that_cannot_be_had_says_why() {
    let object = ObjectRef::new(Kind::Gateway, &Key::new("shop", "edge"));
    let faults = BTreeMap::from([(object.key(), "Service shop/x was refused.".to_owned())]);
    let mut desired = desired();
    apply_service(&object, &mut desired, &faults);
    let Desired::Gateway { conditions, .. } = &desired else { unreachable!() };
    let expected = "False AddressNotAssigned: Service shop/x was refused.";
    assert_eq!(words(conditions, ConditionType::Programmed), expected);
    // The compiler may have seen that there is no address, and does not know why.
    let Desired::Gateway { conditions, .. } = &mut desired else { unreachable!() };
    conditions[0].message = "There is none.".to_owned();
    apply_service(&object, &mut desired, &faults);
    let Desired::Gateway { conditions, .. } = &desired else { unreachable!() };
    assert_eq!(words(conditions, ConditionType::Programmed), expected);
}
