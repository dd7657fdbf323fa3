//! Every case is applied, read again and merged again: then there must be nothing left to do.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::IpAddr;

use headrace_compile::ConditionStatus::{False, True};
use headrace_compile::Key;

use super::super::conditions::condition;
use super::*;

const OURS: &str = "headrace.dev/gateway-controller";

fn now() -> Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

fn object(kind: Kind) -> ObjectRef {
    ObjectRef::new(kind, &Key::new(if kind.is_namespaced() { "shop" } else { "" }, "a"))
}

fn observed(status: Value) -> Observed {
    Observed { uid: "u".to_owned(), resource_version: "7".to_owned(), status }
}

fn accepted(status: headrace_compile::ConditionStatus) -> Condition {
    condition(ConditionType::Accepted, status, "Accepted", "So it is.", Some(2))
}

/// What `accepted` looks like in an object.
fn written(status: &str, time: &str) -> Value {
    json!({
        "type": "Accepted", "status": status, "reason": "Accepted", "message": "So it is.",
        "observedGeneration": 2, "lastTransitionTime": time,
    })
}

fn entry(name: &str, section: Option<&str>) -> Entry {
    let parent = ParentReference {
        name: name.to_owned(),
        section_name: section.map(str::to_owned),
        ..ParentReference::default()
    };
    Entry { parent, conditions: vec![accepted(True)] }
}

/// Merges, applies, and checks that merging again changes nothing.
fn merged(kind: Kind, before: Value, desired: &Desired) -> (Value, Vec<Transition>) {
    let seen = observed(before);
    let Some(change) = change(&object(kind), &seen, desired, OURS, now()) else { return (seen.status, Vec::new()) };
    let mut whole = json!({ "metadata": { "resourceVersion": "6" }, "status": seen.status });
    if whole["status"].is_null() {
        whole.as_object_mut().unwrap().remove("status");
    }
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(change.operations)).unwrap();
    json_patch::patch(&mut whole, &patch).unwrap();
    assert_eq!(whole["metadata"]["resourceVersion"], "7", "the API server is to see from which version this was made");
    let after = whole["status"].take();
    let later = now() + jiff::SignedDuration::from_hours(1);
    let again = super::change(&object(kind), &observed(after.clone()), desired, OURS, later);
    assert_eq!(again, None, "{after}");
    (after, change.transitions)
}

#[test]
fn a_new_class_gets_everything() {
    let desired = Desired::GatewayClass { conditions: vec![accepted(True)], features: vec!["A", "B"] };
    let expected = json!({
        "conditions": [written("True", "2026-02-03T04:05:06Z")],
        "supportedFeatures": [{"name": "A"}, {"name": "B"}],
    });
    let (after, transitions) = merged(Kind::GatewayClass, Value::Null, &desired);
    assert_eq!(after, expected);
    assert_eq!(transitions.len(), 1);
    assert_eq!(transitions[0].condition_type(), Some(ConditionType::Accepted));
}

#[test]
fn a_message_is_no_transition() {
    let mut before = written("True", "2020-01-01T00:00:00Z");
    before["message"] = json!("So it was.");
    before["observedGeneration"] = json!(1);
    let desired = Desired::GatewayClass { conditions: vec![accepted(True)], features: Vec::new() };
    let (after, transitions) = merged(Kind::GatewayClass, json!({"conditions": [before]}), &desired);
    assert_eq!(after, json!({"conditions": [written("True", "2020-01-01T00:00:00Z")]}));
    assert_eq!(transitions, []);
}

#[test]
fn listeners_keep_what_others_said_of_them() {
    let theirs = json!({
        "type": "vendor.example/Seen", "status": "True", "reason": "Seen", "message": "",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    });
    let before = json!({
        "addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
        "conditions": [written("False", "2020-01-01T00:00:00Z")],
        "listeners": [
            {"name": "gone", "attachedRoutes": 3, "supportedKinds": [], "conditions": []},
            {"name": "web", "attachedRoutes": 0, "supportedKinds": [],
             "conditions": [theirs.clone(), written("True", "2020-01-01T00:00:00Z")]},
        ],
    });
    let desired = Desired::Gateway {
        conditions: vec![accepted(True)],
        listeners: vec![Listener {
            name: "web".to_owned(),
            attached_routes: 2,
            supported_kinds: vec![GroupKind { group: Some(GATEWAY_API.to_owned()), kind: "HTTPRoute".to_owned() }],
            conditions: vec![accepted(True)],
        }],
        addresses: vec![Address::Ip(IpAddr::from([192, 0, 2, 2])), Address::Hostname("a.example".to_owned())],
        attached_listener_sets: Some(1),
    };
    let (after, transitions) = merged(Kind::Gateway, before, &desired);
    let expected = json!({
        "addresses": [{"type": "IPAddress", "value": "192.0.2.2"}, {"type": "Hostname", "value": "a.example"}],
        "attachedListenerSets": 1,
        "conditions": [written("True", "2026-02-03T04:05:06Z")],
        "listeners": [{
            "name": "web", "attachedRoutes": 2,
            "supportedKinds": [{"group": GATEWAY_API, "kind": "HTTPRoute"}],
            "conditions": [theirs, written("True", "2020-01-01T00:00:00Z")],
        }],
    });
    assert_eq!(after, expected);
    assert!(transitions.contains(&Transition::Addresses(vec!["192.0.2.2".to_owned(), "a.example".to_owned()])));
    assert_eq!(transitions.len(), 2);
}

#[test]
fn addresses_that_are_gone_are_taken_out() {
    let desired = Desired::Gateway {
        conditions: Vec::new(),
        listeners: Vec::new(),
        addresses: Vec::new(),
        attached_listener_sets: None,
    };
    let before = json!({"addresses": [{"type": "IPAddress", "value": "192.0.2.1"}], "listeners": []});
    assert_eq!(merged(Kind::Gateway, before, &desired), (json!({"listeners": []}), Vec::new()));
}

#[test]
fn entries_of_other_controllers_are_not_touched() {
    let theirs = |name: &str| {
        json!({
            "parentRef": {"name": name, "ofTheFuture": true}, "controllerName": "vendor.example/x", "conditions": [],
        })
    };
    let ours = |reference: Value, time: &str| {
        json!({
            "parentRef": reference, "controllerName": OURS, "conditions": [written("True", time)],
        })
    };
    let old = "2020-01-01T00:00:00Z";
    let new = "2026-02-03T04:05:06Z";
    for (why, before, entries, expected) in [
        (
            "nothing there",
            Value::Null,
            vec![entry("edge", None)],
            json!({"parents": [ours(json!({"name": "edge"}), new)]}),
        ),
        (
            "among others",
            json!({"parents": [theirs("edge")]}),
            vec![entry("edge", None)],
            json!({"parents": [theirs("edge"), ours(json!({"name": "edge"}), new)]}),
        ),
        (
            "defaults that the API server filled in",
            json!({"parents": [ours(json!({"group": GATEWAY_API, "kind": "Gateway", "name": "edge"}), old), theirs("x")]}),
            vec![entry("edge", None)],
            json!({"parents": [ours(json!({"group": GATEWAY_API, "kind": "Gateway", "name": "edge"}), old), theirs("x")]}),
        ),
        (
            "one goes, one stays, one comes",
            json!({"parents": [
                ours(json!({"name": "gone"}), old), theirs("x"), ours(json!({"name": "edge", "sectionName": "web"}), old),
                ours(json!({"name": "gone too"}), old), theirs("y"),
            ]}),
            vec![entry("edge", Some("web")), entry("edge", Some("tls"))],
            json!({"parents": [
                theirs("x"), ours(json!({"name": "edge", "sectionName": "web"}), old), theirs("y"),
                ours(json!({"name": "edge", "sectionName": "tls"}), new),
            ]}),
        ),
        (
            "the same twice",
            json!({"parents": [ours(json!({"name": "edge"}), old), ours(json!({"name": "edge"}), new)]}),
            vec![entry("edge", None)],
            json!({"parents": [ours(json!({"name": "edge"}), old)]}),
        ),
        (
            "no parent of ours any more",
            json!({"parents": [theirs("x"), ours(json!({"name": "edge"}), old)]}),
            Vec::new(),
            { json!({"parents": [theirs("x")]}) },
        ),
        ("what cannot be read", json!({"parents": [{"parentRef": 3, "controllerName": OURS}]}), Vec::new(), {
            json!({"parents": []})
        }),
    ] {
        for kind in [Kind::HttpRoute, Kind::WebSocketRoute, Kind::WebTransportRoute] {
            assert_eq!(merged(kind, before.clone(), &Desired::Entries(entries.clone())).0, expected, "{why}");
        }
    }
}

#[test]
fn there_are_never_too_many_entries() {
    let theirs: Vec<Value> = (0..30)
        .map(|n| json!({"parentRef": {"name": format!("theirs-{n}")}, "controllerName": "x.example/x", "conditions": []}))
        .collect();
    let entries: Vec<Entry> = (0..5).map(|n| entry(&format!("ours-{n}"), None)).collect();
    let (after, _) = merged(Kind::HttpRoute, json!({"parents": theirs}), &Desired::Entries(entries.clone()));
    assert_eq!(after["parents"].as_array().unwrap().len(), MAX_PARENTS);
    let ancestors: Vec<Entry> = (0..40).map(|n| entry(&format!("ours-{n}"), None)).collect();
    let (after, _) = merged(Kind::BackendTlsPolicy, Value::Null, &Desired::Entries(ancestors));
    assert_eq!(after["ancestors"].as_array().unwrap().len(), MAX_ANCESTORS);
    assert_eq!(after["ancestors"][0]["ancestorRef"], json!({"name": "ours-0"}));
}

#[test]
fn an_ingress_keeps_ports_that_others_added() {
    let desired = Desired::Ingress(vec![Address::Ip(IpAddr::from([192, 0, 2, 1]))]);
    let before =
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "TCP"}]}]}});
    assert_eq!(merged(Kind::Ingress, before.clone(), &desired), (before, Vec::new()));
    let (after, transitions) = merged(Kind::Ingress, json!({"loadBalancer": {}}), &desired);
    assert_eq!(after, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    assert_eq!(transitions, [Transition::Addresses(vec!["192.0.2.1".to_owned()])]);
    let gone = Desired::Ingress(Vec::new());
    assert_eq!(merged(Kind::Ingress, after, &gone).0, json!({"loadBalancer": {"ingress": []}}));
    assert_eq!(merged(Kind::Ingress, json!({"loadBalancer": {}}), &gone).0, json!({"loadBalancer": {}}));
}

#[test]
fn whatever_stands_there_can_be_merged_with() {
    let desired = Desired::Gateway {
        conditions: vec![accepted(False)],
        listeners: Vec::new(),
        addresses: Vec::new(),
        attached_listener_sets: None,
    };
    for before in [json!(3), json!({"conditions": 3, "listeners": {"a": 1}}), json!({"conditions": [{"type": 1}]})] {
        let before = if before.is_object() { before } else { Value::Null };
        let (after, _) = merged(Kind::Gateway, before, &desired);
        assert_eq!(after["conditions"][0]["status"], "False");
    }
}
