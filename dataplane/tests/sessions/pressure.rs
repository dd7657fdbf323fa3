//! One stream that nobody reads: its sender waits, what lies on the way is bounded, and nobody else notices.

use std::time::Duration;

use headrace_http3::webtransport::Session;
use tokio::time::timeout;

use crate::client::{Client, pattern, read_all};
use crate::patience::within;
use crate::relay::{pair, stage};

/// What may lie between the two ends of a stream that nobody reads: the credit of one stream at the data plane and at the
/// reader, one read that is held, and what QUIC packs ahead.
const BOUND: usize = (256 << 10) + (256 << 10) + (16 << 10) + (32 << 10);

/// How long a stream that takes nothing is taken for stalled.
const STALLED: Duration = Duration::from_millis(500);

/// Sends until nothing is taken any more; says how much was.
async fn fill(send: &mut headrace_http3::webtransport::SendStream) -> usize {
    let (octets, mut taken) = (vec![7; 16 << 10], 0);
    while let Ok(more) = timeout(STALLED, send.write_data(&octets)).await {
        taken += more.unwrap();
    }
    taken
}

async fn echo_beside(from: &Session, to: &Session) {
    let (mut send, mut recv) = within("a stream", from.open_bi()).await.unwrap();
    let content = pattern(2 << 20);
    let there = async {
        let (mut back, mut there) = within("a stream", to.accept_bi()).await.unwrap();
        let got = read_all(&mut there).await.unwrap();
        back.write_all(&got).await.unwrap();
        back.finish().unwrap();
    };
    let sending = async {
        send.write_all(&content).await.unwrap();
        send.finish().unwrap();
    };
    let ((), (), got) = tokio::join!(there, sending, read_all(&mut recv));
    assert!(got.unwrap() == content);
}

#[tokio::test]
async fn a_slow_reader_slows_its_own_stream_alone() {
    let (stage, mut backend) = stage().await;
    let mut connection = Client::connect(&stage).await;
    let (client, behind) = pair(&mut connection, &mut backend, "/").await;
    let (other, other_behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    for (from, to) in [(&client, &behind), (&behind, &client)] {
        let (mut send, _recv) = within("a stream", from.open_bi()).await.unwrap();
        let (taken, stalled) = tokio::join!(fill(&mut send), to.accept_bi());
        let (_back, mut there) = stalled.unwrap();
        assert!(taken <= BOUND, "{taken} octets are on their way");
        // Others of the session, of another session of the backend's same connection, and datagrams.
        echo_beside(&client, &behind).await;
        echo_beside(&behind, &client).await;
        echo_beside(&other, &other_behind).await;
        from.send_datagram(b"beside").unwrap();
        assert_eq!(within("a datagram", to.recv_datagram()).await.unwrap(), "beside");
        // Nothing was lost.
        send.finish().unwrap();
        assert_eq!(read_all(&mut there).await.unwrap().len(), taken);
    }
    assert_eq!(backend.connections(), 1);
}

/// Three stalled streams of each of ten sessions leave room for everybody's fourth.
#[tokio::test]
async fn many_slow_readers_on_one_backends_connection() {
    let (stage, mut backend) = stage().await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut connection = Client::connect(&stage).await;
        let (client, behind) = pair(&mut connection, &mut backend, "/").await;
        held.push((connection, client, behind));
    }
    let mut stalled = Vec::new();
    for (_, client, behind) in &held {
        for _ in 0..3 {
            // Of the backend's making, so that they meet on its connection.
            let mut send = within("a stream", behind.open_uni()).await.unwrap();
            let task = tokio::spawn(async move {
                let taken = fill(&mut send).await;
                (taken, send)
            });
            stalled.push((task, within("a stream", client.accept_uni()).await.unwrap()));
        }
    }
    let mut kept = Vec::new();
    for (task, recv) in stalled {
        let (taken, send) = within("a stall", task).await.unwrap();
        assert!(taken <= BOUND, "{taken} octets are on their way");
        kept.push((send, recv));
    }
    for (_, client, behind) in &held {
        echo_beside(client, behind).await;
    }
    assert_eq!(backend.connections(), 1);
}
