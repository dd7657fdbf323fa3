//! What a rule allows one session: beyond it streams are refused and datagrams dropped, and both are counted.

use std::time::Duration;

use headrace_http3::webtransport::{self, Session};
use headrace_http3::{Code, StreamError};
use headrace_table::wire::SessionLimits;

use crate::backend::{Backend, echo};
use crate::client::Client;
use crate::patience::within;
use crate::relay::pair;
use crate::stage::{Stage, http3, session_with};

async fn limited(limits: SessionLimits) -> (Stage, Backend) {
    let backend = Backend::with(
        webtransport::Config { max_streams_bidi: 300, max_streams_uni: 300, ..Default::default() },
        256 << 10,
    );
    let rule = session_with("/", "wt", |session| session.limits = limits);
    let stage = Stage::serving(vec![rule], vec![http3("wt", &[backend.address], &backend.authority)]).await;
    (stage, backend)
}

async fn is_refused(from: &Session) -> bool {
    let (mut send, mut recv) = within("a stream", from.open_bi()).await.unwrap();
    let _gone = send.write_all(b"x").await;
    match within("an octet, or a reset", recv.read_data(&mut [0; 9])).await {
        Ok(_) => false,
        Err(StreamError::Reset(Code::WT_BUFFERED_STREAM_REJECTED)) => true,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn streams_at_once() {
    let (stage, mut backend) = limited(SessionLimits { streams: 3, ..SessionLimits::default() }).await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    echo(behind.clone());
    let mut held = Vec::new();
    for _ in 0..3 {
        let (mut send, recv) = client.open_bi().await.unwrap();
        send.write_all(b"held").await.unwrap();
        held.push((send, recv));
        let mut got = [0; 4];
        let last = held.last_mut().unwrap();
        assert_eq!(within("an echo", last.1.read_data(&mut got)).await.unwrap(), 4);
    }
    assert!(is_refused(&client).await);
    assert_eq!(stage.metric(r#"session_streams_refused_total{reason="too_many"}"#).await, 1.0);
    // The backend's own are counted apart, and so are unidirectional ones.
    let _theirs = within("a stream", behind.open_bi()).await.unwrap();
    within("a stream", client.accept_bi()).await.unwrap();
    let mut uni = within("a stream", client.open_uni()).await.unwrap();
    uni.write_all(b"x").await.unwrap();
    within("a stream", client.accept_uni()).await.unwrap();
    let (mut send, mut recv) = held.pop().unwrap();
    send.finish().unwrap();
    assert_eq!(within("the end", recv.read_data(&mut [0; 9])).await.unwrap(), 0);
    stage.until(r#"session_streams_total{initiator="client",kind="bidirectional"}"#, 3.0).await;
    crate::patience::eventually("room again", async || (!is_refused(&client).await).then_some(())).await;
}

/// A rule may allow more than a client is told before the rule is known.
#[tokio::test]
async fn more_streams_than_usual() {
    let (stage, mut backend) =
        limited(SessionLimits { streams: 250, opening_per_second: 1000, ..SessionLimits::default() }).await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    echo(behind);
    let mut held = Vec::new();
    for n in 0..250_u32 {
        let (mut send, mut recv) = within("a stream", client.open_bi()).await.unwrap();
        send.write_all(&n.to_be_bytes()).await.unwrap();
        let mut got = [0; 4];
        assert_eq!(within("an echo", recv.read_data(&mut got)).await.unwrap(), 4);
        assert_eq!(u32::from_be_bytes(got), n);
        held.push((send, recv));
    }
    let one_more = tokio::time::timeout(Duration::from_millis(200), client.open_bi()).await;
    assert!(one_more.is_err(), "the client knows its limit");
    assert!(client.ended().is_none());
    assert_eq!(stage.metric(r#"session_streams_refused_total{reason="too_many"}"#).await, 0.0);
}

#[tokio::test]
async fn streams_in_a_second() {
    let (stage, mut backend) = limited(SessionLimits { opening_per_second: 5, ..SessionLimits::default() }).await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    echo(behind);
    let mut refused = 0;
    for _ in 0..40 {
        refused += u32::from(is_refused(&client).await);
    }
    assert!(refused >= 20, "{refused} of 40 at once");
    assert_eq!(stage.metric(r#"session_streams_refused_total{reason="rate"}"#).await, f64::from(refused));
    crate::patience::eventually("a token", async || (!is_refused(&client).await).then_some(())).await;
}

#[tokio::test]
async fn datagrams() {
    let limits = SessionLimits { datagram_octets: 100, datagrams_per_second: 10, ..SessionLimits::default() };
    let (stage, mut backend) = limited(limits).await;
    let (client, behind) = pair(&mut Client::connect(&stage).await, &mut backend, "/").await;
    client.send_datagram(&[0; 101]).unwrap();
    stage.until(r#"session_datagrams_dropped_total{reason="too_large"}"#, 1.0).await;
    for _ in 0..40 {
        client.send_datagram(&[7; 100]).unwrap();
        tokio::task::yield_now().await;
    }
    let passed = async || {
        let passed = stage.metric(r#"session_datagrams_total{direction="downstream_received"}"#).await;
        let mut dropped = 0.0;
        for reason in ["rate", "queue"] {
            dropped += stage.metric(&format!(r#"session_datagrams_dropped_total{{reason="{reason}"}}"#)).await;
        }
        (passed + dropped == 40.0).then_some(passed)
    };
    let passed = crate::patience::eventually("all 40", passed).await;
    assert!((10.0..=20.0).contains(&passed), "{passed}");
    for _ in 0..passed as usize {
        assert_eq!(within("a datagram", behind.recv_datagram()).await.unwrap(), &[7; 100][..]);
    }
}
