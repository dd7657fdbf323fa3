//! Worlds, plans, and what is to be done.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use headrace_compile::{Object, PlannedPort, TransportProtocol};
use headrace_crds::gatewayparameters::{ExternalTrafficPolicy, ServiceType};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::json;

use super::*;

const OURS: &str = "headrace.dev/gateway-controller";

fn plan(gateway: &str) -> ServicePlan {
    let port = |port, protocol, name: &str| PlannedPort { port, protocol, name: name.to_owned(), target_port: 20_001 };
    ServicePlan {
        gateway: Key::new("shop", gateway),
        gateway_uid: format!("uid-{gateway}"),
        namespace: "shop".to_owned(),
        name: format!("{gateway}-headrace"),
        labels: BTreeMap::from([("gateway.networking.k8s.io/gateway-name".to_owned(), gateway.to_owned())]),
        annotations: BTreeMap::from([("a.example/b".to_owned(), "c".to_owned())]),
        r#type: ServiceType::LoadBalancer,
        load_balancer_class: Some("x.example/lb".to_owned()),
        external_traffic_policy: Some(ExternalTrafficPolicy::Local),
        ip_family_policy: None,
        load_balancer_source_ranges: vec!["192.0.2.0/24".to_owned()],
        addresses: vec!["198.51.100.7".parse().unwrap()],
        ports: vec![port(443, TransportProtocol::Tcp, "tcp-443"), port(443, TransportProtocol::Udp, "udp-443")],
        pod_set: "default".to_owned(),
    }
}

fn compiled(plans: Vec<ServicePlan>) -> Compiled {
    Compiled { services: plans, ..Compiled::default() }
}

/// A world with two classes, a Gateway of each name in class `headrace`, and pods with these addresses.
fn world(gateways: &[&str], pods: &[&str]) -> World {
    let mut world = World::default();
    for (class, controller) in [("headrace", OURS), ("other", "vendor.example/x")] {
        let object = json!({"metadata": {"name": class}, "spec": {"controllerName": controller}});
        world.insert(serde_json::from_value::<gateway_api::gatewayclasses::GatewayClass>(object).unwrap());
    }
    gateways.iter().for_each(|name| put_gateway(&mut world, name, "headrace"));
    for family in ["IPv4", "IPv6"] {
        let of_family = pods.iter().filter(|address| address.contains(':') == (family == "IPv6"));
        let endpoints: Vec<Value> = of_family
            .map(|address| json!({
                "addresses": [address],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "node-1", "zone": "z",
                "targetRef": {"kind": "Pod", "namespace": "headrace-system", "name": format!("pod-{address}"), "uid": "p"},
            }))
            .collect();
        put(
            &mut world,
            json!({
                "metadata": {
                    "name": format!("headrace-dataplane-{}", family.to_lowercase()), "namespace": "headrace-system",
                    "labels": {SERVICE_NAME_LABEL: "headrace-dataplane"},
                },
                "addressType": family, "endpoints": endpoints, "ports": [{"name": "admin", "port": 9090, "protocol": "TCP"}],
            }),
        );
    }
    world
}

fn put_gateway(world: &mut World, name: &str, class: &str) {
    let object = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": {"gatewayClassName": class, "listeners": []},
    });
    world.insert(serde_json::from_value::<gateway_api::gateways::Gateway>(object).unwrap());
}

fn put(world: &mut World, slice: Value) {
    world.insert(serde_json::from_value::<EndpointSlice>(slice).unwrap());
}

fn compare(compiled: &Compiled, world: &World) -> Operations {
    let pod_sets = BTreeMap::from([("default".to_owned(), "headrace-dataplane".to_owned())]);
    operations(compiled, world, &Names { controller_name: OURS, namespace: "headrace-system", pod_sets: &pod_sets })
}

/// Does what is to be done, as an API server would: with defaults, versions and addresses of its own.
fn carried_out(world: &World, operations: &Operations) -> World {
    let mut world = world.clone();
    for (target, operation) in &operations.by_target {
        match &operation.action {
            Action::ApplyService(service) => {
                let mut service = Service::clone(service);
                service.metadata.uid = Some(format!("uid-{}", target.key));
                service.metadata.resource_version = Some("12".to_owned());
                service.metadata.annotations.get_or_insert_default().insert("cloud/x".to_owned(), "y".to_owned());
                let spec = service.spec.as_mut().unwrap();
                spec.cluster_ip = Some("10.0.0.1".to_owned());
                for (index, port) in spec.ports.iter_mut().flatten().enumerate() {
                    port.node_port = Some(30_000 + i32::try_from(index).unwrap());
                }
                world.insert(service);
            }
            Action::ApplySlice(slice) => {
                let mut slice = EndpointSlice::clone(slice);
                slice.metadata.uid = Some(format!("uid-{}", target.key));
                world.insert(slice);
            }
            Action::Delete { .. } => {
                let kind = match target.kind {
                    TargetKind::Service => Kind::Service,
                    TargetKind::EndpointSlice => Kind::EndpointSlice,
                };
                assert!(world.remove(kind, &target.key));
            }
        }
    }
    world
}

/// What is to be done, in words.
fn words(operations: &Operations) -> Vec<String> {
    let words = operations.by_target.iter().map(|(target, operation)| {
        let verb = if matches!(operation.action, Action::Delete { .. }) { "delete" } else { "apply" };
        format!("{verb} {} {}", target.kind.label(), target.key)
    });
    words.collect()
}

#[test]
fn a_new_gateway_gets_a_service_with_endpoints() {
    let world = world(&["edge"], &["10.0.0.2", "10.0.0.1", "2001:db8::1"]);
    let compiled = compiled(vec![plan("edge")]);
    let operations = compare(&compiled, &world);
    assert_eq!(
        words(&operations),
        [
            "apply Service shop/edge-headrace",
            "apply EndpointSlice shop/edge-headrace-ipv4-0",
            "apply EndpointSlice shop/edge-headrace-ipv6-0",
        ]
    );
    let actions: Vec<&Action> = operations.by_target.values().map(|operation| &operation.action).collect();
    let Action::ApplyService(service) = actions[0] else { panic!("{actions:?}") };
    let mut service = serde_json::to_value(service).unwrap();
    assert!(service["metadata"]["annotations"].as_object_mut().unwrap().remove(APPLIED_ANNOTATION).is_some());
    assert_eq!(
        service,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "edge-headrace", "namespace": "shop",
                "labels": {
                    "gateway.networking.k8s.io/gateway-name": "edge",
                    "headrace.dev/controller": "headrace.dev_gateway-controller",
                },
                "annotations": {"a.example/b": "c"},
                "ownerReferences": [{
                    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": "uid-edge",
                    "controller": true,
                }],
            },
            "spec": {
                "type": "LoadBalancer",
                "ports": [
                    {"name": "tcp-443", "port": 443, "protocol": "TCP", "targetPort": 20001},
                    {"name": "udp-443", "port": 443, "protocol": "UDP", "targetPort": 20001},
                ],
                "loadBalancerClass": "x.example/lb", "externalTrafficPolicy": "Local",
                "loadBalancerIP": "198.51.100.7", "loadBalancerSourceRanges": ["192.0.2.0/24"],
            },
        })
    );
    let Action::ApplySlice(slice) = actions[1] else { panic!("{actions:?}") };
    assert_eq!(slice.address_type, "IPv4");
    assert_eq!(slice.endpoints.iter().map(|it| &*it.addresses[0]).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(slice.endpoints[0].node_name.as_deref(), Some("node-1"));
    assert_eq!(
        slice.ports.as_ref().unwrap().iter().map(|it| it.port).collect::<Vec<_>>(),
        [Some(20_001), Some(20_001)]
    );
    let labels = slice.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "headrace.dev");
    assert_eq!(labels[SERVICE_NAME_LABEL], "edge-headrace");

    let after = carried_out(&world, &operations);
    assert_eq!(compare(&compiled, &after), Operations::default(), "then there is nothing left to do");
}

#[test]
fn fields_that_only_a_load_balancer_has_are_for_load_balancers() {
    for (r#type, policy) in [(ServiceType::NodePort, Some("Local")), (ServiceType::ClusterIp, None)] {
        let spec = service(&ServicePlan { r#type, ..plan("edge") }, OURS).spec.unwrap();
        assert_eq!(spec.external_traffic_policy.as_deref(), policy);
        assert_eq!(
            (spec.load_balancer_class, spec.load_balancer_ip, spec.load_balancer_source_ranges),
            (None, None, None)
        );
    }
}

#[test]
fn what_changes_is_applied_again_and_nothing_else() {
    let world = world(&["edge", "side"], &["10.0.0.1", "10.0.0.2"]);
    let plans = vec![plan("edge"), plan("side")];
    let there = carried_out(&world, &compare(&compiled(plans.clone()), &world));

    let mut without_annotation = plans.clone();
    without_annotation[0].annotations.clear();
    assert_eq!(words(&compare(&compiled(without_annotation), &there)), ["apply Service shop/edge-headrace"]);

    let mut other_port = plans.clone();
    other_port[1].ports[0].port = 8443;
    assert_eq!(words(&compare(&compiled(other_port), &there)), ["apply Service shop/side-headrace"]);

    let mut other_target = plans.clone();
    other_target[1].ports[0].target_port = 20_009;
    let expected = ["apply Service shop/side-headrace", "apply EndpointSlice shop/side-headrace-ipv4-0"];
    assert_eq!(words(&compare(&compiled(other_target), &there)), expected);

    // Somebody changes what is ours.
    let mut edited = there.clone();
    let key = Key::new("shop", "edge-headrace");
    let mut service = Service::clone(&edited.services[&key]);
    service.spec.as_mut().unwrap().type_ = Some("ClusterIP".to_owned());
    edited.services.insert(key, Arc::new(service));
    let operations = compare(&compiled(plans.clone()), &edited);
    assert_eq!(words(&operations), ["apply Service shop/edge-headrace"]);
    assert_eq!(operations.by_target.values().next().unwrap().seen, "12");

    // A pod goes.
    let mut fewer = there.clone();
    let mut slice =
        EndpointSlice::clone(&fewer.endpoint_slices[&Key::new("headrace-system", "headrace-dataplane-ipv4")]);
    slice.endpoints.pop();
    fewer.insert(slice);
    let expected = ["apply EndpointSlice shop/edge-headrace-ipv4-0", "apply EndpointSlice shop/side-headrace-ipv4-0"];
    assert_eq!(words(&compare(&compiled(plans), &fewer)), expected);
}

#[test]
fn a_slice_has_at_most_a_thousand_endpoints() {
    let addresses: Vec<String> = (0..2500).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let pods: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let big = world(&["edge"], &pods);
    let compiled = compiled(vec![plan("edge")]);
    let operations = compare(&compiled, &big);
    let sizes = operations.by_target.values().filter_map(|operation| match &operation.action {
        Action::ApplySlice(slice) => Some(slice.endpoints.len()),
        _ => None,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [1000, 1000, 500]);
    // Slices that are no longer needed go.
    let mut there = carried_out(&big, &operations);
    let small = world(&["edge"], &pods[..10]);
    there.endpoint_slices.extend(small.endpoint_slices);
    assert_eq!(
        words(&compare(&compiled, &there)),
        [
            "apply EndpointSlice shop/edge-headrace-ipv4-0",
            "delete EndpointSlice shop/edge-headrace-ipv4-1",
            "delete EndpointSlice shop/edge-headrace-ipv4-2",
        ]
    );
}

#[test]
fn a_service_of_somebody_else_is_never_touched() {
    let owned = |uid: &str, selector: Value, labels: Value| {
        json!({
            "metadata": {
                "name": "edge-headrace", "namespace": "shop", "uid": "s", "labels": labels,
                "ownerReferences": [{
                    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": uid,
                    "controller": true,
                }],
            },
            "spec": {"selector": selector, "ports": [{"port": 80}]},
        })
    };
    let vendors = json!({CONTROLLER_LABEL: "vendor"});
    for (why, service) in [
        ("nobody's", json!({"metadata": {"name": "edge-headrace", "namespace": "shop", "uid": "s"}})),
        ("of another Gateway", owned("uid-side", json!({}), json!({}))),
        ("of another implementation", owned("uid-edge", json!({"app": "proxy"}), json!({}))),
        ("of another installation", owned("uid-edge", json!({}), vendors)),
    ] {
        let mut world = world(&["edge"], &["10.0.0.1"]);
        world.insert(serde_json::from_value::<Service>(service).unwrap());
        let operations = compare(&compiled(vec![plan("edge")]), &world);
        assert_eq!(words(&operations), [""; 0], "{why}");
        assert!(operations.faults[&Key::new("shop", "edge")].contains("shop/edge-headrace"), "{why}");
        assert_eq!(words(&compare(&compiled(Vec::new()), &world)), [""; 0], "{why}: nor is it deleted");
    }
}

#[test]
fn what_is_no_longer_planned_goes_only_if_somebody_else_serves_the_gateway() {
    let world = world(&["edge"], &["10.0.0.1"]);
    let there = carried_out(&world, &compare(&compiled(vec![plan("edge")]), &world));
    let gone = ["delete Service shop/edge-headrace", "delete EndpointSlice shop/edge-headrace-ipv4-0"];
    let of_class = |class: &str| {
        let mut there = there.clone();
        put_gateway(&mut there, "edge", class);
        there
    };
    assert_eq!(words(&compare(&compiled(Vec::new()), &of_class("other"))), gone);
    for class in ["headrace", "missing"] {
        assert_eq!(words(&compare(&compiled(Vec::new()), &of_class(class))), [""; 0], "{class}");
    }
    let held = Compiled { held: BTreeSet::from([Key::new("shop", "edge")]), ..Compiled::default() };
    assert_eq!(words(&compare(&held, &of_class("other"))), [""; 0], "held");
    let mut deleted = there.clone();
    deleted.remove(Kind::Gateway, &Key::new("shop", "edge"));
    assert_eq!(words(&compare(&compiled(Vec::new()), &deleted)), [""; 0], "the garbage collector's");

    // The class was renamed: the Service has another name, and the old one goes.
    let mut renamed = plan("edge");
    renamed.name = "edge-renamed".to_owned();
    assert_eq!(
        words(&compare(&compiled(vec![renamed]), &there)),
        [
            "delete Service shop/edge-headrace",
            "apply Service shop/edge-renamed",
            "delete EndpointSlice shop/edge-headrace-ipv4-0",
            "apply EndpointSlice shop/edge-renamed-ipv4-0",
        ]
    );
}

#[test]
fn a_gateway_that_was_made_anew_waits_for_the_old_service_to_go() {
    let world = world(&["edge"], &["10.0.0.1"]);
    let mut there = carried_out(&world, &compare(&compiled(vec![plan("edge")]), &world));
    let mut gateway = gateway_api::gateways::Gateway::clone(&there.gateways[&Key::new("shop", "edge")]);
    gateway.metadata.uid = Some("uid-new".to_owned());
    there.insert(gateway);
    let anew = compiled(vec![ServicePlan { gateway_uid: "uid-new".to_owned(), ..plan("edge") }]);
    let operations = compare(&anew, &there);
    assert_eq!(words(&operations), ["delete Service shop/edge-headrace"]);
    let after = carried_out(&there, &operations);
    let expected = ["apply Service shop/edge-headrace", "apply EndpointSlice shop/edge-headrace-ipv4-0"];
    assert_eq!(words(&compare(&anew, &after)), expected);
}

#[test]
fn nothing_new_is_made_for_what_is_ending() {
    let plans = compiled(vec![plan("edge")]);
    let before = world(&["edge"], &["10.0.0.1"]);
    let there = carried_out(&before, &compare(&plans, &before));
    let ending = json!({"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": ending })).unwrap();
    let mut gateway = gateway_api::gateways::Gateway::clone(&before.gateways[&Key::new("shop", "edge")]);
    gateway.metadata.deletion_timestamp.clone_from(&namespace.metadata.deletion_timestamp);
    let more = world(&["edge"], &["10.0.0.1", "10.0.0.2"]);
    for end in [Object::from(namespace), Object::from(gateway)] {
        let mut nothing_there = before.clone();
        nothing_there.insert(end.clone());
        assert_eq!(words(&compare(&plans, &nothing_there)), [""; 0], "{end:?}");
        // What is there is kept as it should be until it goes.
        let mut all_there = there.clone();
        all_there.insert(end.clone());
        more.endpoint_slices.values().for_each(|slice| put(&mut all_there, serde_json::to_value(&**slice).unwrap()));
        assert_eq!(words(&compare(&plans, &all_there)), ["apply EndpointSlice shop/edge-headrace-ipv4-0"], "{end:?}");
    }
}

#[test]
fn only_pods_that_get_traffic_are_ready() {
    let mut world = World::default();
    put(
        &mut world,
        json!({
            "metadata": {"name": "x", "namespace": "a", "labels": {SERVICE_NAME_LABEL: "dp"}}, "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "one"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "two"}},
                {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Pod", "name": "three"}},
                {"addresses": ["10.0.0.4"], "targetRef": {"kind": "Node", "name": "four"}},
            ],
        }),
    );
    put(
        &mut world,
        json!({
            "metadata": {"name": "y", "namespace": "a", "labels": {SERVICE_NAME_LABEL: "other"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.9"], "targetRef": {"kind": "Pod", "name": "nine"}}],
        }),
    );
    let ready = super::super::ready_pods(&world, "a", "dp");
    assert_eq!(ready.into_iter().collect::<Vec<_>>(), ["one", "three"]);
}

#[test]
fn the_controllers_name_fits_a_label() {
    assert_eq!(controller_label(OURS), "headrace.dev_gateway-controller");
    for long in ["a.example/".to_owned() + &"x".repeat(100), "a.example/x-".to_owned()] {
        let label = controller_label(&long);
        assert!(label.len() <= 63 && label.ends_with(|last: char| last.is_ascii_alphanumeric()), "{label}");
    }
}
