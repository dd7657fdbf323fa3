//! What a pod says of itself besides its answers: what packets find it by, and which keys it goes by.

use headrace_push::Member;
use headrace_table::wire;

use crate::authority::Authority;
use crate::controller::Controller;
use crate::patience::eventually;
use crate::pod::{Pod, Volumes};
use crate::port::free_port;

fn keys(revision: u64, phase: wire::Phase) -> wire::Table {
    let secret = |id| wire::Secret { id, octets: "5a".repeat(32) };
    let configuration = wire::Configuration {
        number: 1,
        phase,
        form: wire::Form::Encrypted,
        server_id_octets: 8,
        nonce_octets: 8,
        key: "a5".repeat(16),
    };
    let keys = wire::Keys {
        id: wire::KEYS_ID.to_owned(),
        revision,
        configurations: vec![configuration],
        hop: vec![secret(1)],
        reset: secret(2),
        tokens: vec![secret(3)],
        tickets: vec![secret(4)],
    };
    wire::Table { keys: Some(keys), ..wire::Table::default() }
}

#[tokio::test]
async fn a_pod_says_which_keys_it_goes_by_and_which_it_uses() {
    let ca = Authority::new();
    let controller = Controller::leading(free_port(), &ca, 1).await;
    let volumes = Volumes::new(&ca);
    let pod = Pod::start(&volumes, &[controller.port]);
    let reported = async |revision, uses| {
        let is_so = |report: headrace_push::Report| (report.revision, report.uses) == (revision, uses);
        eventually("a report", async || controller.report().filter(|report| is_so(*report)).map(drop)).await;
    };
    reported(0, 0).await;
    assert_eq!(controller.member(), Some(Member { server_id: None, cid_octets: 17, hop_port: None }));
    for (revision, phase, uses) in
        [(3, wire::Phase::Published, 0), (4, wire::Phase::Encoding, 0b10), (5, wire::Phase::Draining, 0b10)]
    {
        let version = controller.publish(&keys(revision, phase));
        controller.acknowledged(version).await;
        reported(revision, uses).await;
    }
    pod.end().await;
}
