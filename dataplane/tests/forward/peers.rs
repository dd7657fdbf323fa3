//! Tables change while packets are forwarded: secrets, and who is a peer.

use headrace_table::wire::Standing;

use crate::balancer::Balancer;
use crate::client::Client;
use crate::cluster::{Cluster, cid, packet, secret};
use crate::patience::within;
use crate::transfer::transfer;

#[tokio::test]
async fn secrets_are_rotated_under_way() {
    let mut cluster = Cluster::serving(2, true).await;
    let balancer = Balancer::start(cluster.addresses()).await;
    let mut client = Client::connect(balancer.address).await;
    let mut tunnel = client.tunnel().await;
    client.moves();
    // Known to all before it is used, and used by all before the one before it is let go.
    for (number, secrets) in (0..).zip([vec![1, 5], vec![5, 1], vec![5], vec![5, 6], vec![6, 5], vec![6]]) {
        cluster.table.keys.as_mut().unwrap().hop = secrets.into_iter().map(secret).collect();
        for pod in &cluster.pods {
            pod.publish(&cluster.table).await;
            within("an echo", transfer(&mut tunnel, number, 5_000)).await;
        }
    }
    assert!(cluster.pods[1].forwarded().await.0 > 0.0);
    assert_eq!(cluster.lost().await, []);
}

#[tokio::test]
async fn who_drains_is_forwarded_to_and_who_is_gone_is_not() {
    let mut cluster = Cluster::serving(2, true).await;
    let balancer = Balancer::start(cluster.addresses()).await;
    let mut client = Client::connect(balancer.address).await;
    let mut tunnel = client.tunnel().await;
    cluster.table.peers[0].standing = Standing::Draining;
    cluster.publish().await;
    client.moves();
    within("an echo", transfer(&mut tunnel, 1, 5_000)).await;
    assert!(cluster.pods[1].forwarded().await.0 > 0.0);

    cluster.table.peers[0].standing = Standing::Gone;
    cluster.pods[1].publish(&cluster.table).await;
    let before = cluster.pods[1].forwarded().await.0;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&packet(cid(0, 9).as_slice(), 200), cluster.pods[1].address).await.unwrap();
    // The peer answers in its place.
    let mut answer = [0; 1500];
    within("a reset", socket.recv(&mut answer)).await.unwrap();
    assert_eq!(cluster.pods[1].forwarded().await.0, before);
}
