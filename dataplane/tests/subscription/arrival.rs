//! What is published is served and answered for, entry by entry.

use std::net::{Ipv4Addr, SocketAddr};

use headrace_push::{Event, Fault};
use headrace_table::{SectionKind, wire};

use crate::authority::Authority;
use crate::controller::Controller;
use crate::http::{Backend, get};
use crate::patience::eventually;
use crate::pod::{Pod, Volumes, answers};
use crate::port::free_port;
use crate::table::{self, forwarding, listener, over_tls, with_https};

#[tokio::test]
async fn a_table_arrives_and_serves_and_so_does_the_next() {
    let ca = Authority::new();
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let controller = Controller::leading(free_port(), &ca, 7).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port]);
    pod.not_ready_for(&["no routing table yet", "waiting for that of the controller 127.0.0.1:"]).await;
    assert_eq!(pod.metric("subscription_connected").await, 1.0);

    let port = free_port();
    let first = controller.publish(&forwarding(port, one.address));
    controller.acknowledged(first).await;
    pod.ready().await;
    answers(port, "one").await;

    let second = controller.publish(&forwarding(port, two.address));
    controller.acknowledged(second).await;
    answers(port, "two").await;

    for (series, value) in [
        ("table_epoch", 7.0),
        ("table_generation", 2.0),
        ("updates_total{result=\"accepted\"}", 2.0),
        ("updates_total{result=\"rejected\"}", 0.0),
        ("update_duration_seconds_count", 2.0),
        ("subscription_dials_total{result=\"ok\"}", 1.0),
        ("stored_table_total{event=\"written\"}", 2.0),
    ] {
        assert_eq!(pod.metric(series).await, value, "{series}");
    }
    assert!(pod.metric("subscription_received_bytes_total").await > 0.0);
    assert!(pod.metric("update_timestamp_seconds").await > 1.6e9);
    assert_eq!(controller.hellos(), [None]);
    pod.end().await;
}

#[tokio::test]
async fn a_cluster_without_gateways_is_ready() {
    let ca = Authority::new();
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port]);
    let version = controller.publish(&wire::Table::default());
    controller.acknowledged(version).await;
    pod.ready().await;
    pod.end().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_told_and_the_rest_serves() {
    let ca = Authority::new();
    let backend = Backend::named("backend").await;
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port]);

    // A key of another certificate, a backend to be known by no certificate at all, and a port that somebody else has.
    let (port, https, taken) = (free_port(), free_port(), free_port());
    let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    let (chain, _) = ca.issue_pem("a.example.com");
    let (_, key) = ca.issue_pem("b.example.com");
    let mut table = with_https(forwarding(port, backend.address), https, &chain, &key);
    table.listeners.push(listener("test/edge/taken", taken));
    table.backends.push(over_tls(
        "test/over-tls:443",
        backend.address,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ));
    let version = controller.publish(&table);

    answers(port, "backend").await;
    let events = eventually("an answer", async || Some(controller.events()).filter(|events| !events.is_empty())).await;
    let [Event::Accepted { version: accepted, faults }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*accepted, version);
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with(&format!("listener test/edge/taken: cannot listen on 127.0.0.1:{taken} (TCP): ")),
        "{told:?}"
    );
    assert_eq!(
        told[2],
        "certificate test/certificate: the private key does not belong to the first certificate of the chain"
    );

    assert!(told[1].starts_with("backend test/over-tls:443: "), "{told:?}");

    // The port is let go of: the pod finds out by itself and answers once more.
    drop(other);
    controller.hears(&Event::Accepted { version, faults: faults[1..].to_vec() }).await;
    let (status, _) = get(SocketAddr::from((Ipv4Addr::LOCALHOST, taken)), "/").await.unwrap();
    assert_eq!(status, 404, "no route is attached there");
    pod.end().await;
}

#[tokio::test]
async fn a_refused_table_names_the_entry_and_leaves_the_old_one_serving() {
    let ca = Authority::new();
    let (old, new) = (Backend::named("old").await, Backend::named("new").await);
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port]);
    let port = free_port();
    let good = forwarding(port, new.address);
    controller.acknowledged(controller.publish(&forwarding(port, old.address))).await;
    answers(port, "old").await;

    type Break = fn(&mut wire::Table);
    let cases: [(Break, Fault); 4] = [
        (
            |table| table.listeners[0].certificates.push("test/none".to_owned()),
            Fault::of(SectionKind::Listener, table::LISTENER, "certificates need a listener of protocol Https"),
        ),
        (
            |table| table.backends[0].endpoints.push("10.0.0.1:0".to_owned()),
            Fault::of(SectionKind::Backend, table::BACKEND, "port 0 cannot be served"),
        ),
        (
            |table| table.routes[0].rules[0].matches[0].path = wire::PathMatch::Prefix("a".to_owned()),
            Fault::of(SectionKind::Route, table::ROUTE, "rules[0].matches[0]: \"a\" is not a path"),
        ),
        (
            |table| table.backends.clear(),
            Fault::of(SectionKind::Route, table::ROUTE, "rules[0]: there is no backend test/backend:80"),
        ),
    ];
    let count = cases.len();
    for (spoil, fault) in cases {
        let mut table = good.clone();
        spoil(&mut table);
        let version = controller.publish(&table);
        controller.hears(&Event::Rejected { version, faults: vec![fault] }).await;
        answers(port, "old").await;
    }
    assert_eq!(pod.metric("updates_total{result=\"rejected\"}").await, count as f64);
    assert_eq!(pod.metric("table_rejected_total").await, count as f64);
    assert_eq!(pod.metric("table_generation").await, 1.0);

    controller.acknowledged(controller.publish(&good)).await;
    answers(port, "new").await;
    pod.end().await;
}

#[tokio::test]
async fn a_first_table_that_is_refused_is_why_a_pod_is_not_ready() {
    let ca = Authority::new();
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port]);
    let mut table = wire::Table::default();
    table.listeners.push(listener("test/edge/zero", 0));
    controller.publish(&table);
    pod.not_ready_for(&["the routing table is refused", "listener test/edge/zero: port 0 cannot be served"]).await;
    pod.end().await;
}
