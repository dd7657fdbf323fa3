//! What is sent to the hop by who is no peer, what is recorded and sent again, and what would go round for ever.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use headrace_cid::{Config, ConfigId, Key, Layout, LowBits, Nonce, ServerId};
use headrace_table::wire;
use tokio::net::UdpSocket;

use crate::client::Client;
use crate::cluster::{Cluster, KEY, Pod, cid, packet, server_id};
use crate::patience::within;
use crate::tap::Tap;
use crate::transfer::transfer;

async fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Sends them one by one, at a pace at which nothing is lost on the loopback.
async fn send(to: SocketAddr, packets: impl IntoIterator<Item = Vec<u8>>) -> usize {
    let (socket, mut sent) = (socket().await, 0);
    for packet in packets {
        socket.send_to(&packet, to).await.unwrap();
        sent += 1;
        if sent % 64 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    sent
}

/// Waits until as many packets were dropped for a reason.
async fn dropped(pod: &Pod, reason: &str, count: usize) {
    within(reason, async {
        while pod.dropped(reason).await < count as f64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(pod.dropped(reason).await, count as f64, "{reason}");
}

/// Two pods, a connection at the second whose packets come by the first, and what was seen on the way to the second.
async fn tapped() -> (Cluster, Tap, Client, Vec<Vec<u8>>) {
    let mut cluster = Cluster::start(2, true).await;
    let tap = Tap::start(cluster.pods[1].hop).await;
    cluster.table.peers[1].hop = Some(tap.address.to_string());
    cluster.publish().await;
    let balancer = crate::balancer::Balancer::start(cluster.addresses()).await;
    // The first address would go to the first pod.
    send(balancer.address, [vec![0]]).await;
    let mut client = Client::connect(balancer.address).await;
    let mut tunnel = client.tunnel().await;
    client.moves();
    within("an echo", transfer(&mut tunnel, 1, 20_000)).await;
    let seen = tap.seen();
    assert!(!seen.is_empty());
    assert_eq!(cluster.lost().await, []);
    (cluster, tap, client, seen)
}

#[tokio::test]
async fn what_was_recorded_changed_or_made_up() {
    let (cluster, _tap, client, seen) = tapped().await;
    let owner = &cluster.pods[1];
    let replayed = send(owner.hop, seen.iter().cloned()).await;
    dropped(owner, "replayed", replayed).await;
    let changed = seen.iter().map(|packet| {
        let mut packet = packet.clone();
        // The client's port: replies would go to somebody else.
        packet[81] ^= 1;
        packet
    });
    let changed = send(owner.hop, changed).await;
    dropped(owner, "wrong_tag", changed).await;
    // What was for one pod is for no other, and nothing comes back from where it went.
    let elsewhere = send(cluster.pods[0].hop, seen.iter().cloned()).await;
    dropped(&cluster.pods[0], "unknown_sender", elsewhere).await;

    let one = &seen[0];
    let with = |at: usize, octet: u8| {
        let mut packet = one.clone();
        packet[at] = octet;
        packet
    };
    let cases = [
        ("malformed", vec![vec![0x11], vec![0x11; 99], with(0, 0x21), one[..100].to_vec()]),
        ("unknown_sender", vec![with(16, 0x99)]),
        ("unknown_secret", vec![with(7, 9)]),
        ("earlier_boot", vec![with(28, 0)]),
    ];
    for (reason, packets) in cases {
        let sent = send(owner.hop, packets).await;
        dropped(owner, reason, sent).await;
    }
    assert!(client.connection.close_reason().is_none());
}

#[tokio::test]
async fn ids_of_nobody_are_forwarded_to_nobody() {
    let cluster = Cluster::serving(2, true).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut octet = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let random = (0..4_000).map(|number| {
        let mut packet: Vec<u8> = (0..60).map(|_| octet()).collect();
        // Every other one is a packet of a connection.
        packet[0] = if number % 2 == 0 { 0x40 } else { 0xc0 };
        packet
    });
    let entry = &cluster.pods[0];
    let sent = send(entry.address, random.collect::<Vec<_>>()).await;
    within("they arrive", async {
        while entry.metric("quic_datagrams_total", "worker").await < sent as f64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(entry.forwarded().await, (0.0, 0.0));
    assert_eq!(cluster.pods[1].forwarded().await, (0.0, 0.0));
}

/// Each of two pods takes the other for the owner of an ID, because they read it otherwise.
#[tokio::test]
async fn two_pods_that_disagree_drop() {
    let mut cluster = Cluster::start(2, true).await;
    // What decrypts to the first pod's server ID has in clear text that of the second.
    let config = Config::encrypted(ConfigId::FIRST, Layout::SINGLE_BLOCK, LowBits::Length, Key::from(KEY));
    let first = ServerId::try_from(&server_id(0).to_be_bytes()[..]).unwrap();
    let id = config.encode(&first, &Nonce::try_from(&[0x77; 8][..]).unwrap(), 0).unwrap();
    cluster.table.peers[1].server_id = id.as_slice()[1..9].iter().map(|octet| format!("{octet:02x}")).collect();
    let encrypted = cluster.table.clone();
    cluster.table.keys.as_mut().unwrap().configurations[0].form = wire::Form::Clear;
    cluster.pods[0].publish(&cluster.table).await;
    cluster.pods[1].publish(&encrypted).await;

    let sent = send(cluster.pods[0].address, vec![packet(id.as_slice(), 200); 10]).await;
    dropped(&cluster.pods[1], "looped", sent).await;
    assert_eq!(cluster.pods[0].forwarded().await, (sent as f64, 0.0));
    assert_eq!(cluster.pods[1].forwarded().await, (0.0, sent as f64));
    // The other way round, it is forwarded once as well.
    send(cluster.pods[1].address, vec![packet(id.as_slice(), 200); 10]).await;
    dropped(&cluster.pods[0], "looped", sent).await;
    assert_eq!(cluster.pods[0].forwarded().await, (sent as f64, sent as f64));
    assert_eq!(cluster.pods[1].forwarded().await, (sent as f64, sent as f64));
}

#[tokio::test]
async fn packets_of_connections_that_the_owner_does_not_have() {
    let cluster = Cluster::serving(2, true).await;
    let socket = socket().await;
    socket.send_to(&packet(cid(1, 1).as_slice(), 200), cluster.pods[0].address).await.unwrap();
    // The owner's stateless reset comes by the pod that was asked (RFC 9000 section 10.3).
    let mut answer = [0; 1500];
    let (length, from) = within("a reset", socket.recv_from(&mut answer)).await.unwrap();
    assert_eq!(from, cluster.pods[0].address);
    assert!(length < 200 && answer[0] & 0xc0 == 0x40, "{length} octets");
    assert_eq!(cluster.pods[1].metric("hop_sent_total", "kind=\"return\",result=\"sent\"").await, 1.0);
    assert_eq!(cluster.lost().await, []);
}
