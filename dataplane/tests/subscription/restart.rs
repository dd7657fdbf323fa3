//! What a pod serves while nobody publishes, and what travels when somebody does again.

use std::os::unix::fs::PermissionsExt as _;

use headrace_push::{Held, Version};

use crate::authority::Authority;
use crate::controller::Controller;
use crate::http::Backend;
use crate::pod::{Pod, Volumes, answers};
use crate::port::free_port;
use crate::table::{forwarding, with_https};

#[tokio::test]
async fn a_pod_restarts_without_a_controller_and_serves() {
    let ca = Authority::new();
    let volumes = Volumes::new(&ca);
    let backend = Backend::named("backend").await;
    let (port, https) = (free_port(), free_port());
    let (chain, key) = ca.issue_pem("a.example.com");
    let controller = Controller::leading(free_port(), &ca, 3).await;
    let controller_port = controller.port;
    let pod = Pod::start(&volumes, &[controller_port]);
    let version = controller.publish(&with_https(forwarding(port, backend.address), https, &chain, &key));
    controller.acknowledged(version).await;
    controller.end().await;
    answers(port, "backend").await;
    pod.end().await;

    let mode = std::fs::metadata(volumes.table_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds a key");

    let pod = Pod::start(&volumes, &[controller_port]);
    pod.ready().await;
    answers(port, "backend").await;
    for (series, value) in [
        ("stored_table_total{event=\"restored\"}", 1.0),
        ("table_epoch", 3.0),
        ("table_generation", 1.0),
        ("subscription_connected", 0.0),
    ] {
        assert_eq!(pod.metric(series).await, value, "{series}");
    }
    let (status, _) = pod.admin("/readyz").await;
    assert_eq!(status, 200, "that no controller is there changes nothing");

    // The same leader comes back: it is told what is held, and answered for it.
    let controller = Controller::leading(controller_port, &ca, 4).await;
    let next = controller.publish(&with_https(forwarding(port, backend.address), https, &chain, &key));
    controller.acknowledged(next).await;
    assert_eq!(controller.hellos(), [Some(version)]);
    assert_eq!(controller.sent(), ["Adopt"], "it has the table already");
    pod.end().await;
}

#[tokio::test]
async fn a_new_leader_with_the_same_table_sends_nothing_of_it() {
    let ca = Authority::new();
    let volumes = Volumes::new(&ca);
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let (port, controller_port) = (free_port(), free_port());
    let table = forwarding(port, one.address);

    let controller = Controller::leading(controller_port, &ca, 10).await;
    let pod = Pod::start(&volumes, &[controller_port]);
    let first = controller.publish(&table);
    controller.acknowledged(first).await;
    assert_eq!(controller.sent(), ["Begin", "Part", "Commit"]);
    controller.end().await;

    let controller = Controller::leading(controller_port, &ca, 11).await;
    let second = controller.publish(&table);
    controller.acknowledged(second).await;
    assert_eq!((second.epoch, second.digest), (11, first.digest));
    assert_eq!(controller.hellos(), [Some(first)]);
    assert_eq!(controller.sent(), ["Adopt"]);
    assert_eq!(pod.metric("table_epoch").await, 11.0);
    assert_eq!(pod.metric("update_duration_seconds_count").await, 1.0, "nothing was served anew");
    assert_eq!(kept(&volumes), second, "a restart does not go back behind what was acknowledged");
    answers(port, "one").await;
    controller.end().await;

    // Another with other things to say asks what is there, and sends what is not.
    let controller = Controller::leading(controller_port, &ca, 12).await;
    let third = controller.publish(&forwarding(port, two.address));
    controller.acknowledged(third).await;
    assert_eq!(controller.sent(), ["InventoryRequest", "Begin", "Part", "Commit"]);
    answers(port, "two").await;
    assert_eq!(kept(&volumes), third);
    pod.end().await;
}

/// The version on disk.
fn kept(volumes: &Volumes) -> Version {
    Held::decode(&std::fs::read(volumes.table_file()).unwrap()).unwrap().version
}

#[tokio::test]
async fn what_is_no_table_on_disk_is_passed_over() {
    let ca = Authority::new();
    let backend = Backend::named("backend").await;
    let (port, controller_port) = (free_port(), free_port());
    let volumes = Volumes::new(&ca);
    let controller = Controller::leading(controller_port, &ca, 1).await;
    let pod = Pod::start(&volumes, &[controller_port]);
    let version = controller.publish(&forwarding(port, backend.address));
    controller.acknowledged(version).await;
    pod.end().await;

    let good = std::fs::read(volumes.table_file()).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let spoiled = [("nothing", Vec::new()), ("half", good[..good.len() / 2].to_vec()), ("a flipped bit", flipped)];
    for (what, octets) in spoiled {
        std::fs::write(volumes.table_file(), octets).unwrap();
        // Whatever a crash left behind is in nobody's way.
        std::fs::write(volumes.table_directory().join("last-good.new"), "half").unwrap();
        let pod = Pod::start(&volumes, &[controller_port]);
        pod.ready().await;
        assert_eq!(pod.metric("stored_table_total{event=\"unusable\"}").await, 1.0, "{what}");
        assert_eq!(controller.hellos().last(), Some(&None), "{what}");
        answers(port, "backend").await;
        // The pods before have acknowledged the version too.
        pod.metric_becomes("stored_table_total{event=\"written\"}", 1.0).await;
        pod.end().await;
        assert_eq!(std::fs::read(volumes.table_file()).unwrap(), good, "{what}: whole again");
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_kept_serves_all_the_same() {
    let ca = Authority::new();
    let volumes = Volumes::new(&ca);
    // No directory can be made where a file is.
    std::fs::write(volumes.table_directory(), "").unwrap();
    let backend = Backend::named("backend").await;
    let port = free_port();
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let pod = Pod::start(&volumes, &[controller.port]);
    controller.acknowledged(controller.publish(&forwarding(port, backend.address))).await;
    answers(port, "backend").await;
    assert_eq!(pod.metric("stored_table_total{event=\"write_failed\"}").await, 1.0);
    pod.end().await;
}
