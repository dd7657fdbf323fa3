//! Clients that take what they can: floods of sessions, streams and datagrams cost what is allowed, and a neighbour does
//! not notice. What breaks the protocol is tested where that is spoken.

use headrace_http3::frame::FrameType;
use headrace_http3::qpack::Encoder;
use headrace_http3::settings::id;
use headrace_http3::{Code, varint};

use crate::backend::echo;
use crate::client::{self, Client, HOST, pattern, read_all};
use crate::patience::within;
use crate::relay::{pair, stage};
use crate::stage::Stage;

fn integers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        varint::append(*value, &mut out);
    }
    out
}

fn frame(frame_type: FrameType, payload: &[u8]) -> Vec<u8> {
    [integers(&[frame_type.0, payload.len() as u64]), payload.to_vec()].concat()
}

/// A client of draft 07, which has no flow control for sessions, on bare QUIC.
struct Raw {
    quic: quinn::Connection,
    _control: quinn::SendStream,
}

impl Raw {
    async fn connect(stage: &Stage) -> Self {
        let quic = client::quic(stage).await;
        let mut control = quic.open_uni().await.unwrap();
        let settings = integers(&[id::H3_DATAGRAM, 1, id::WEBTRANSPORT_MAX_SESSIONS, 1]);
        let octets = [integers(&[0]), frame(FrameType::SETTINGS, &settings)].concat();
        control.write_all(&octets).await.unwrap();
        Self { quic, _control: control }
    }

    async fn ask(&self) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = within("a request stream", self.quic.open_bi()).await.unwrap();
        let mut section = Vec::new();
        let mut encoder = Encoder::new(&mut section);
        let lines = [
            (":method", "CONNECT"),
            (":protocol", "webtransport"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/"),
        ];
        for (name, value) in lines {
            encoder.line(name.as_bytes(), value.as_bytes(), false);
        }
        let _refused = send.write_all(&frame(FrameType::HEADERS, &section)).await;
        (send, recv)
    }

    /// The ID of a session that was accepted.
    async fn session(&self) -> (u64, quinn::SendStream, quinn::RecvStream) {
        let (send, mut recv) = self.ask().await;
        within("an answer", recv.read(&mut [0; 100])).await.unwrap();
        (quinn::VarInt::from(send.id()).into_inner(), send, recv)
    }
}

/// Somebody else's session goes on.
async fn is_unharmed(stage: &Stage, backend: &mut crate::backend::Backend) {
    let (session, behind) = pair(&mut Client::connect(stage).await, backend, "/").await;
    echo(behind);
    let (mut send, mut recv) = within("a stream", session.open_bi()).await.unwrap();
    let content = pattern(100_000);
    let sending = async {
        send.write_all(&content).await.unwrap();
        send.finish().unwrap();
    };
    let ((), got) = tokio::join!(sending, read_all(&mut recv));
    assert!(got.unwrap() == content);
}

#[tokio::test]
async fn a_flood_of_sessions() {
    let (stage, mut backend) = stage().await;
    let raw = Raw::connect(&stage).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(raw.ask().await);
    }
    stage.until(r#"session_refused_total{reason="too_many"}"#, 84.0).await;
    for _ in 0..16 {
        backend.session().await;
    }
    drop(held);
    is_unharmed(&stage, &mut backend).await;
}

/// None of them is taken at the other side, so that each waits here.
#[tokio::test]
async fn a_flood_of_streams() {
    let (stage, mut backend) = stage().await;
    let raw = Raw::connect(&stage).await;
    let (session, _send, _recv) = raw.session().await;
    let behind = backend.session().await;
    let mut held = Vec::new();
    let flood = async {
        for _ in 0..2000 {
            let mut send = raw.quic.open_uni().await.unwrap();
            let _refused = send.write_all(&[integers(&[0x54, session]), vec![7; 100]].concat()).await;
            held.push(send);
        }
    };
    // It waits when QUIC allows no more, or every one that is refused makes room for the next.
    let _waits = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
    let opened = stage.metric(r#"session_streams_total{initiator="client",kind="unidirectional"}"#).await;
    assert!(opened <= 100.0, "{opened} streams of one session");
    assert!(held.len() >= 100);
    assert!(behind.ended().is_none());
    is_unharmed(&stage, &mut backend).await;
}

#[tokio::test]
async fn streams_and_datagrams_for_sessions_that_never_come() {
    let (stage, mut backend) = stage().await;
    let raw = Raw::connect(&stage).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let opening = tokio::time::timeout(std::time::Duration::from_millis(300), raw.quic.open_uni()).await;
        let Ok(Ok(mut send)) = opening else { break };
        let _refused = send.write_all(&[integers(&[0x54, 400]), vec![7; 1000]].concat()).await;
        let _lost = raw.quic.send_datagram([integers(&[100]), vec![7; 1000]].concat().into());
        held.push(send);
    }
    // QUIC allows few streams before there is a session.
    assert!(held.len() < 16, "{}", held.len());
    assert!(raw.quic.close_reason().is_none());
    let (_id, _send, _recv) = raw.session().await;
    backend.session().await;
    // Now there are more, and the oldest of those that wait make room.
    for _ in 0..40 {
        let mut send = within("a stream", raw.quic.open_uni()).await.unwrap();
        let _refused = send.write_all(&integers(&[0x54, 400])).await;
        held.push(send);
    }
    let stopped = within("a refusal", held[0].stopped()).await.unwrap();
    assert_eq!(stopped.map(quinn::VarInt::into_inner), Some(Code::WT_BUFFERED_STREAM_REJECTED.value()));
    raw.quic.close(0x100_u32.into(), b"");
    crate::patience::eventually("the count", async || {
        let refused = stage.metric(r#"session_streams_refused_total{reason="early"}"#).await;
        (refused >= 1.0).then_some(())
    })
    .await;
    is_unharmed(&stage, &mut backend).await;
}

#[tokio::test]
async fn a_flood_of_datagrams() {
    let (stage, mut backend) = stage().await;
    let raw = Raw::connect(&stage).await;
    let (session, _send, _recv) = raw.session().await;
    let behind = backend.session().await;
    let datagram = bytes::Bytes::from([integers(&[session / 4]), vec![7; 1000]].concat());
    for _ in 0..20_000 {
        within("room for a datagram", raw.quic.send_datagram_wait(datagram.clone())).await.unwrap();
    }
    is_unharmed(&stage, &mut backend).await;
    assert!(behind.ended().is_none());
    let passed = stage.metric(r#"session_datagrams_total{direction="downstream_received"}"#).await;
    assert!(passed > 0.0 && passed <= 20_000.0, "{passed}");
    // Nobody takes one at the backend: they make room for each other there.
    crate::patience::eventually("datagrams that make room", async || (behind.dropped_datagrams() > 0).then_some(()))
        .await;
}
