//! A pod that is to go: new connections go to a peer at once, those that are there stay to the end.

use std::net::SocketAddr;
use std::time::Duration;

use headrace_table::wire::{self, Standing};

use crate::client::Client;
use crate::patience::{eventually, within};
use crate::plane::{OTHER_UID, Options, Plane, UID, keys, peer};
use crate::transfer::transfer;

const LEAVING: &str = "0000000000000001";
const HEIR: &str = "0000000000000002";

/// Two pods that know each other, on one port.
async fn pods(drain_timeout: Duration) -> (Plane, Plane) {
    let leaving = Plane::start(Options { has_hop: true, drain_timeout, ..Options::default() }).await;
    let at = SocketAddr::from(([127, 0, 0, 2], leaving.address().port()));
    let heir = Plane::start(Options { has_hop: true, at: Some(at), ..Options::default() }).await;
    publish(&leaving, &heir, Standing::Live).await;
    (leaving, heir)
}

async fn publish(leaving: &Plane, heir: &Plane, standing: Standing) {
    for plane in [leaving, heir] {
        let mut table = plane.table();
        table.keys = Some(keys());
        let with_hop = |peer, plane: &Plane| wire::Peer { hop: Some(plane.hop().to_string()), ..peer };
        table.peers = vec![
            with_hop(peer(UID, LEAVING, standing), leaving),
            with_hop(peer(OTHER_UID, HEIR, Standing::Live), heir),
        ];
        plane.publish(table).await;
    }
}

#[tokio::test]
async fn new_connections_go_to_a_peer_and_old_ones_stay() {
    let (leaving, heir) = pods(Duration::from_secs(30)).await;
    let mut old = Client::connect(leaving.address()).await;
    let mut old_tunnel = old.tunnel().await;
    let idle = Client::connect(leaving.address()).await;

    leaving.plane().leave_rotation();
    publish(&leaving, &heir, Standing::Draining).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(leaving.address()).await;
        let mut tunnel = client.tunnel().await;
        within("an echo", transfer(&mut tunnel, 1, 100_000)).await;
        clients.push((client, tunnel));
    }
    assert_eq!(heir.metric("connections_total{transport=\"quic\"}").await, 4.0, "they are all there");
    assert_eq!(leaving.metric("connections_total{transport=\"quic\"}").await, 2.0);
    assert!(leaving.metric("quic_given_away_total").await >= 4.0);

    let drained = tokio::spawn(leaving.drain());
    within("the idle connection ends", idle.connection.closed()).await;
    eventually("GOAWAY", async || (!old.is_open()).then_some(())).await;
    for (client, tunnel) in &mut clients {
        within("an echo", transfer(tunnel, 2, 100_000)).await;
        assert_eq!(client.connection.close_reason(), None);
    }
    within("an echo", transfer(&mut old_tunnel, 3, 100_000)).await;
    let mut late = Client::connect(leaving_address(&heir)).await;
    within("an echo", transfer(&mut late.tunnel().await, 4, 1000)).await;

    drop(old_tunnel);
    let report = within("the drain", drained).await.unwrap();
    assert_eq!((report.finished, report.cut), (2, 0));
}

/// Where the pod that leaves is, by its heir.
fn leaving_address(heir: &Plane) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], heir.address().port()))
}

#[tokio::test]
async fn what_is_there_at_the_deadline_is_cut_and_told_so() {
    let (leaving, heir) = pods(Duration::from_millis(500)).await;
    let mut client = Client::connect(leaving.address()).await;
    let tunnel = client.tunnel().await;
    publish(&leaving, &heir, Standing::Draining).await;
    let report = within("the drain", leaving.drain()).await;
    assert_eq!((report.finished, report.cut), (0, 1));
    let reason = within("the client is told", client.connection.closed()).await;
    assert!(matches!(reason, quinn::ConnectionError::ApplicationClosed(_)), "{reason}");
    drop(tunnel);
}
