//! Tables that do not arrive as they were sent. Whatever breaks, the last good one serves.

use crate::authority::Authority;
use crate::controller::{Controller, Role};
use crate::http::Backend;
use crate::patience::eventually;
use crate::pod::{Pod, Volumes, answers};
use crate::port::free_port;
use crate::table::forwarding;

#[tokio::test]
async fn what_arrived_in_part_is_forgotten() {
    for (role, broken_updates) in [(Role::BreaksOff, 0.0), (Role::LosesParts, 1.0)] {
        let ca = Authority::new();
        let (old, new) = (Backend::named("old").await, Backend::named("new").await);
        let port = free_port();
        let controller = Controller::leading(free_port(), &ca, 1).await;
        let volumes = Volumes::new(&ca);
        let pod = Pod::start(&volumes, &[controller.port]);
        controller.acknowledged(controller.publish(&forwarding(port, old.address))).await;

        controller.play(role);
        let version = controller.publish(&forwarding(port, new.address));
        // Once it has come back for more, it has dealt with what it got.
        eventually("another Hello", async || (controller.hellos().len() > 2).then_some(())).await;
        answers(port, "old").await;
        assert_eq!(pod.metric("table_generation").await, 1.0, "{role:?}");
        let broken = pod.metric("updates_total{result=\"broken\"}").await;
        assert_eq!(broken > 0.0, broken_updates > 0.0, "{role:?}");
        assert_eq!(pod.admin("/readyz").await.0, 200, "{role:?}: it serves");

        controller.play(Role::Leader);
        controller.acknowledged(version).await;
        answers(port, "new").await;
        pod.end().await;
    }
}
