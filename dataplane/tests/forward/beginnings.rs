//! First packets, whose ID is of the client's choice: what looks like a peer's is the peer's, and a connection comes of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use headrace_table::wire::Standing;
use quinn::crypto::rustls::QuicClientConfig;

use crate::certificates::client_tls;
use crate::cluster::{Cluster, cid};
use crate::patience::within;

/// Connects by a first packet with this ID.
async fn connect(to: SocketAddr, first: &[u8]) -> (quinn::Endpoint, quinn::Connection) {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let tls = QuicClientConfig::try_from(client_tls(&["h3"])).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    let first = quinn::ConnectionId::new(first);
    config.initial_dst_cid_provider(Arc::new(move || first));
    endpoint.set_default_client_config(config);
    let connecting = endpoint.connect(to, "a.example.com").unwrap();
    let connection = within("a connection", connecting).await.unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn an_id_that_looks_like_a_peers() {
    let mut cluster = Cluster::serving(2, true).await;
    let [entry, owner] = &cluster.pods[..] else { unreachable!() };
    // At the peer, and through the pod that it was sent to.
    let (endpoint, connection) = connect(entry.address, cid(1, 7).as_slice()).await;
    assert!(entry.forwarded().await.0 > 0.0 && owner.forwarded().await.1 > 0.0);
    connection.close(0_u32.into(), b"");
    within("its end", endpoint.wait_idle()).await;
    let (sent, _) = entry.forwarded().await;
    // Our own, and one that is nobody's: here.
    for first in [cid(0, 7).as_slice(), &[0xff; 17], &[1, 2, 3, 4, 5, 6, 7, 8]] {
        connect(entry.address, first).await;
    }
    assert_eq!(entry.forwarded().await.0, sent);
    // Of one that is gone: here as well.
    cluster.table.peers[1].standing = Standing::Gone;
    cluster.pods[0].publish(&cluster.table).await;
    connect(cluster.pods[0].address, cid(1, 8).as_slice()).await;
    assert_eq!(cluster.pods[0].forwarded().await.0, sent);
    assert_eq!(cluster.lost().await, []);
}
