//! A client's packets come to one pod and then to another, and nothing on its tunnels is lost or repeated.

use tokio::task::JoinSet;

use crate::balancer::Balancer;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::patience::within;
use crate::transfer::{moves_with_tunnels, transfer};

/// Tunnels of a client.
const TUNNELS: u8 = 20;

/// Octets of the transfer that goes on while it moves: some round trips of a whole window.
const TRANSFER: usize = 16 * 1024 * 1024;

async fn a_client_moves_from_pod_to_pod(pods: usize, kernel_steering: bool) {
    let cluster = Cluster::serving(pods, kernel_steering).await;
    let balancer = Balancer::start(cluster.addresses()).await;
    let mut client = Client::connect(balancer.address).await;
    let moved = moves_with_tunnels(&mut client, TUNNELS, TRANSFER).await;
    assert_eq!(balancer.flows(), 1 + moved);

    // The connection stayed at the pod where it began, and every other one brought it packets.
    let (sent, received) = cluster.pods[0].forwarded().await;
    assert!(sent == 0.0 && received > 0.0, "{sent} and {received}");
    let answered = cluster.pods[0].metric("hop_sent_total", "kind=\"return\",result=\"sent\"").await;
    assert!(answered > 0.0);
    for pod in &cluster.pods[1..] {
        let (sent, received) = pod.forwarded().await;
        assert!(sent > 0.0 && received == 0.0, "{sent} and {received}");
        assert!(pod.metric("hop_received_total", "kind=\"return\"").await > 0.0);
    }
    assert_eq!(cluster.lost().await, []);
    for pod in &cluster.pods {
        let taken = pod.metric("hop_handed_over_total", "taken").await;
        assert!(!kernel_steering || taken == 0.0, "{taken} handed over though the kernel steers");
    }
}

#[tokio::test]
async fn between_two_pods() {
    a_client_moves_from_pod_to_pod(2, true).await;
}

#[tokio::test]
async fn between_three_pods() {
    a_client_moves_from_pod_to_pod(3, true).await;
}

#[tokio::test]
async fn between_two_pods_whose_kernel_does_not_steer() {
    a_client_moves_from_pod_to_pod(2, false).await;
}

#[tokio::test]
async fn many_clients_at_every_pod() {
    let cluster = Cluster::serving(3, true).await;
    let balancer = Balancer::start(cluster.addresses()).await;
    let mut clients = JoinSet::new();
    for _ in 0..12 {
        let address = balancer.address;
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut tunnel = client.tunnel().await;
            for number in 0..6 {
                client.moves();
                within("an echo", transfer(&mut tunnel, number, 3000)).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert_eq!(cluster.lost().await, []);
}
